"""A real Kubernetes API on loopback (etcd, API server, controllers) and a stand-in for kubelet."""

import base64
import contextlib
import functools
import http.client
import json
import os
import secrets
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from l4lab.retry import wait_for
from tests.provider.certificates import Authority

COMMANDS = ("etcd", "kube-apiserver", "kube-controller-manager")
NODE = "node-of-the-test"


def free_port():
    """A port that stays free until somebody binds it: no kernel hands out those below 32768."""
    while True:
        port = 20000 + secrets.randbelow(10000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Server:
    """The running API; ``request`` speaks to it without any of the code under test."""

    folder: Path
    binaries: Path
    options: tuple = ()
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    processes: list = field(default_factory=list)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    @property
    def kubeconfig(self):
        return self.folder / "kubeconfig"

    @property
    def certificate(self):
        return self.folder / "certificates" / "apiserver.crt"

    @functools.cached_property
    def authority(self):
        """Who signs the certificates that the API server lets clients in with."""
        return Authority("clients")

    def start(self):
        etcd, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._key()
        (self.folder / "clients.pem").write_bytes(self.authority.certificate)
        (self.folder / "tokens.csv").write_text(f"{self.token},admin,admin,system:masters\n")
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
        )
        key = self.folder / "accounts.pem"
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.certificate.parent}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--client-ca-file={self.folder / 'clients.pem'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.10.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            *self.options,
        )
        wait_for("the API server", self._not_ready, within=300)
        self.write_kubeconfig(self.kubeconfig)
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={self.certificate}",
            "--leader-elect=false",
            "--secure-port=0",
            "--use-service-account-credentials=false",
            # Without a kubelet nobody reports for the node; the pods' tests do, for themselves.
            "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
        )
        self.wait_for_account("default")

    def wait_for_account(self, namespace):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        wait_for(
            f"the service account of {namespace}",
            lambda: None if self.get(path) else "none yet",
            within=180,
        )

    def _key(self):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        (self.folder / "accounts.pem").write_bytes(
            rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )

    def write_kubeconfig(self, path, *, url=None, authority=None, ends=None):
        """A kubeconfig as kubeadm writes it, but for its token.

        Args:
            path: Where to.
            url: Of another server.
            authority: Who has signed that server's certificate, as PEM.
            ends: When the client's certificate ends, which it has in place of a token.
        """
        trusted = base64.b64encode(authority or self.certificate.read_bytes()).decode()
        cluster = {"server": url or self.url, "certificate-authority-data": trusted}
        user = {"token": self.token}
        if ends:
            pair = self.authority.sign("admin", group="system:masters", ends=ends)
            names = ("client-certificate-data", "client-key-data")
            user = {n: base64.b64encode(pem).decode() for n, pem in zip(names, pair, strict=True)}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": "test", "user": user}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                }
            )
        )

    def _run(self, command, *arguments):
        log = (self.folder / f"{command}.log").open("wb")
        self.processes.append(
            subprocess.Popen([self.binaries / command, *arguments], stdout=log, stderr=log)
        )

    def _not_ready(self):
        for process in self.processes:
            if process.poll() is not None:
                name = Path(process.args[0]).name
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} ended: {tail}")
        try:
            self.request("GET", "/readyz", plain=True)
        except OSError as failed:
            return str(failed)
        return None

    def stop(self):
        for process in self.processes:
            process.kill()  # nothing of theirs is kept, and the API server takes its time otherwise
            process.wait()

    def request(self, method, path, body=None, *, kind="application/json", plain=False):
        context = ssl.create_default_context(
            cafile=self.certificate if self.certificate.exists() else None
        )
        request = urllib.request.Request(  # noqa: S310  our own https address
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(request, timeout=60) as answer:
            text = answer.read()
        return text if plain else json.loads(text)

    def get(self, path):
        try:
            return self.request("GET", path)
        except urllib.error.HTTPError as refused:
            if refused.code == 404:
                return None
            raise

    def patch(self, path, body):
        return self.request("PATCH", path, body, kind="application/merge-patch+json")


class FakeKubelet:
    """Reports for pods what a kubelet would: bound, running with an address, ready; or not.

    A pod whose image is a key of ``trouble`` waits with that reason; one with the image
    ``nowhere`` finds no node.
    """

    def __init__(self, server):
        self.server = server
        self.trouble = {"bad": "ImagePullBackOff", "crash": "CrashLoopBackOff"}
        self.paused = False
        self._addresses = 1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self):
        self.server.request(
            "POST",
            "/api/v1/nodes",
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}},
        )
        self._thread.start()

    def stop(self):
        self._ended.set()
        self._thread.join(20)

    def _work(self):
        while not self._ended.wait(0.2):
            if self.paused:
                continue
            # A busy server may be late or refuse: nobody else is there for the tests that follow.
            with contextlib.suppress(OSError, http.client.HTTPException):
                pods = self.server.request("GET", "/api/v1/pods")["items"]
                for pod in pods:
                    # A pod may go or change while we write: the next round sees it again.
                    with contextlib.suppress(urllib.error.HTTPError):
                        self._serve(pod)

    def _serve(self, pod):
        meta, status = pod["metadata"], pod.get("status", {})
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        image = pod["spec"]["containers"][0]["image"]
        if "deletionTimestamp" in meta:
            self.server.request("DELETE", path, {"gracePeriodSeconds": 0})
        elif image == "nowhere":
            self._report(path, [_condition("PodScheduled", "False", "Unschedulable")], [])
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
            self.server.request(
                "POST",
                f"{path}/binding",
                {
                    "apiVersion": "v1",
                    "kind": "Binding",
                    "metadata": {"name": meta["name"]},
                    "target": target,
                },
            )
        elif image in self.trouble:
            waiting = {"reason": self.trouble[image], "message": f"no luck with {image}"}
            if status.get("containerStatuses", [{}])[0].get("state") != {"waiting": waiting}:
                self._report(path, [], [_container(pod, {"waiting": waiting}, ready=False)])
        elif not status.get("podIP"):
            self._addresses += 1
            self._report(
                path,
                [_condition("PodScheduled", "True"), _condition("Ready", "True")],
                [_container(pod, {"running": {}}, ready=True)],
                phase="Running",
                podIP=(address := f"10.244.0.{self._addresses}"),
                podIPs=[{"ip": address}],
            )

    def _report(self, path, conditions, containers, **more):
        status = {"conditions": conditions, "containerStatuses": containers, **more}
        self.server.patch(f"{path}/status", {"status": status})


def _condition(kind, status, reason=""):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    message = "0/1 nodes are available" if reason else ""
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": now,
    }


def _container(pod, state, *, ready):
    container = pod["spec"]["containers"][0]
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": ready,
        "restartCount": 3 if "waiting" in state else 0,
        "state": state,
        "lastState": {},
    }


def binaries():
    """The folder with the server's binaries, or why there is none."""
    folder = os.environ.get("L4LAB_SERVER_BIN")
    if not folder:
        return None, "L4LAB_SERVER_BIN names no folder with etcd and kube-apiserver"
    missing = [name for name in COMMANDS if not (Path(folder) / name).is_file()]
    if missing:
        return None, f"{folder} lacks {', '.join(missing)}"
    return Path(folder), ""
