"""What learners and machines get wrong: told in clear words, and `destroy` cleans up all the same.

Through stack.py, the real Pulumi CLI and our provider, on a real API server.
"""

import contextlib
import dataclasses
import json
import os
import socket
import ssl
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from l4lab import pulumi_cli, stack
from l4lab.errors import L4labError, LockedError, StackError
from l4lab.retry import wait_for
from l4lab.state import Paths
from tests.provider.certificates import FUTURE, PAST, Authority
from tests.provider.server import Server
from tests.provider.test_stack import MadeLab, declare_config, lab_of

pytestmark = pytest.mark.server


def refusal(call, *words):
    """The error of a call, which has a line for what, why and next."""
    with pytest.raises(L4labError) as caught:
        call(*words)
    error = caught.value
    assert error.brief
    assert error.resolution
    for line in (error.brief, error.reason, error.resolution):
        assert "\n" not in line
    assert "Traceback" not in str(error)
    return error


class Space:
    """A namespace, looked at without any of the code under test."""

    def __init__(self, server, name):
        self.server, self.name = server, name
        self.path = f"/api/v1/namespaces/{name}"
        self.service = f"{self.path}/services/web"
        self.deployment = f"/apis/apps/v1/namespaces/{name}/deployments/web"

    def spec(self):
        return self.server.get(self.service)["spec"]

    def edit(self, **fields):
        self.server.patch(self.service, {"spec": fields})

    def post(self, plural, body):
        kinds = {"services": "Service", "configmaps": "ConfigMap"}
        full = {"apiVersion": "v1", "kind": kinds[plural], **body}
        return self.server.request("POST", f"{self.path}/{plural}", full)

    def make(self):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name}}
        self.server.request("POST", "/api/v1/namespaces", body)
        self.server.wait_for_account(self.name)

    def delete(self):
        self.server.request("DELETE", self.path)

    def wait_until_gone(self, path):
        wait_for(path, lambda: "there" if self.server.get(path) else None, within=60)

    def is_empty(self):
        return all(self.server.get(path) is None for path in (self.service, self.deployment))


@pytest.fixture
def space(server, namespace):
    return Space(server, namespace)


# --- a Service that was edited into something odd -----------------------------------------------

ODD = {
    "ExternalName": {"type": "ExternalName", "externalName": "a.example", "clusterIP": ""},
    "NodePort": {
        "type": "NodePort",
        "sessionAffinity": "ClientIP",
        "ports": [{"name": "other", "port": 81, "nodePort": 30999}, {"name": "b", "port": 82}],
    },
    "LoadBalancer": {
        "type": "LoadBalancer",
        "externalIPs": ["192.168.128.99"],
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local",
        "publishNotReadyAddresses": True,
        "selector": {"run": "nothing"},
    },
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_a_service_that_was_edited(access, space, odd):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    before = space.spec()
    space.edit(**odd)
    assert space.spec()["type"] == odd["type"]
    assert stack.preview(lab, access).changed
    assert stack.deploy(lab, access).changed
    after = space.spec()
    if odd["type"] == "ExternalName":  # it had given its address back
        for spec in (before, after):
            assert spec.pop("clusterIP").startswith("10.10.")
            assert spec.pop("clusterIPs")
    assert after == before
    assert not stack.deploy(lab, access).changed
    space.edit(**odd)
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_service_that_was_made_anew_without_an_address(access, server, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    server.request("DELETE", space.service)
    spec = {"clusterIP": "None", "selector": {"run": "web"}, "ports": [{"name": "a", "port": 1}]}
    space.post("services", {"metadata": {"name": "web"}, "spec": spec})
    assert stack.deploy(lab, access).changed
    assert space.spec()["clusterIP"].startswith("10.10.")
    assert [port["port"] for port in space.spec()["ports"]] == [80]
    assert not stack.deploy(lab, access).changed
    stack.destroy(lab, access)
    assert space.is_empty()


# --- node ports ---------------------------------------------------------------------------------


def declare_node_port(namespace, node_port=None):
    import pulumi_kubernetes as k8s

    port = {"port": 80, **({"node_port": node_port} if node_port else {})}
    meta = {"name": "web", "namespace": namespace}
    k8s.core.v1.Service("web", metadata=meta, spec={"type": "NodePort", "ports": [port]})
    declare_config("settings", namespace)


def node_port_lab(space, node_port=None):
    return MadeLab("made", partial(declare_node_port, space.name, node_port))


def take(space, name, node_port=None):
    port = {"port": 80, **({"nodePort": node_port} if node_port else {})}
    body = {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}}
    return space.post("services", body)


def test_a_node_port_that_another_service_has(access, server, space):
    take(space, "theirs", 31999)
    lab = node_port_lab(space, 31999)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == "cannot deploy lab made: Service web"
    assert "31999: provided port is already allocated" in error.reason
    assert "get services -A" in error.resolution
    stack.destroy(lab, access)
    assert server.get(f"{space.path}/configmaps/settings") is None
    assert server.get(f"{space.path}/services/theirs"), "it is not ours"
    server.request("DELETE", f"{space.path}/services/theirs")
    stack.deploy(lab, access)
    stack.destroy(lab, access)


@pytest.fixture(scope="module")
def narrow(server, tmp_path_factory):
    """An API server with two node ports for all."""
    options = ("--service-node-port-range=30380-30381",)
    running = Server(tmp_path_factory.mktemp("narrow"), server.binaries, options)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_no_node_port_is_free(access, narrow):
    narrow.write_kubeconfig(access.paths.kubeconfig)
    space = Space(narrow, "default")
    for name in ("one", "two"):
        take(space, name)
    lab = node_port_lab(space)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == "cannot deploy lab made: Service web"
    assert "range is full" in error.reason
    assert "get services -A" in error.resolution
    stack.destroy(lab, access)
    assert narrow.get(f"{space.path}/configmaps/settings") is None
    narrow.request("DELETE", f"{space.path}/services/one")
    stack.deploy(lab, access)
    stack.destroy(lab, access)


# --- namespaces ---------------------------------------------------------------------------------


def test_a_namespace_that_was_deleted(access, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    space.delete()
    space.wait_until_gone(space.path)
    assert stack.status(lab, access).deployed, "the state alone is asked"
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.reason == f'namespaces "{space.name}" not found'
    make = f"./l4lab kubectl create namespace {space.name}"
    assert error.resolution == f"{make}, then: ./l4lab deploy made"
    assert not stack.status(lab, access).deployed
    stack.destroy(lab, access)
    space.make()
    stack.deploy(lab, access)
    assert not space.is_empty()
    space.delete()
    space.wait_until_gone(space.path)
    stack.destroy(lab, access)
    assert not stack.status(lab, access).deployed
    space.make()


def test_a_namespace_that_does_not_end(access, server, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    held = {"metadata": {"name": "held", "finalizers": ["lab.example/held"]}}
    space.post("configmaps", held)
    space.delete()
    space.wait_until_gone(space.service)

    def unsaid():
        said = json.dumps(server.get(space.path)["status"])
        return None if "lab.example/held" in said else said

    wait_for("the reason", unsaid, within=60)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.reason.count("is being terminated") == 1
    assert "lab.example/held" in error.reason
    assert "kubernetes:" not in error.reason, "the engine's packing"
    assert space.name in error.resolution
    stack.destroy(lab, access)
    assert not stack.status(lab, access).deployed
    server.patch(f"{space.path}/configmaps/held", {"metadata": {"finalizers": None}})
    space.wait_until_gone(space.path)
    space.make()
    stack.deploy(lab, access)
    stack.destroy(lab, access)


# --- half-deployed, held, damaged ---------------------------------------------------------------


def test_half_deployed_then_destroyed_then_deployed(access, server, space):
    lab = lab_of(space.name)
    refusal(stack.deploy, lab_of(space.name, port=70000), access)
    assert server.get(space.deployment)
    assert server.get(space.service) is None
    stack.destroy(lab, access)
    assert space.is_empty()
    assert stack.deploy(lab, access).changed
    assert not stack.deploy(lab, access).changed
    stack.destroy(lab, access)
    assert space.is_empty()


def locks(access):
    return access.paths.pulumi / ".pulumi/locks/organization/l4lab/made"


@contextlib.contextmanager
def held(access, **holder):
    path = locks(access) / "0d1e.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"username": "ann", "timestamp": "2026-01-01", **holder}))
    yield path
    path.unlink(missing_ok=True)


def test_a_stack_that_another_host_holds(access, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    with held(access, pid=4711, hostname="elsewhere") as path:
        for operation in (stack.deploy, stack.preview, stack.destroy):
            error = refusal(operation, lab, access)
            assert isinstance(error, LockedError)
            assert error.exit_code == 2
            assert error.reason == "held by process 4711 on host elsewhere"
            assert str(path) in error.resolution, "a kill here would end another process"
            assert "kill" not in error.resolution
        assert stack.status(lab, access).deployed
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_stack_that_a_living_pulumi_holds(access, space, tmp_path):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    sleeper = tmp_path / "pulumi"
    sleeper.write_bytes(Path("/bin/sleep").read_bytes())
    sleeper.chmod(0o755)
    living = subprocess.Popen([sleeper, "600"])
    try:
        with held(access, pid=living.pid, hostname=os.uname().nodename):
            name = Path(f"/proc/{living.pid}/comm")
            wait_for("exec", lambda: None if name.read_text() == "pulumi\n" else "fork", within=30)
            error = refusal(stack.destroy, lab, access)
            assert isinstance(error, LockedError)
            assert error.resolution.endswith(f"kill -INT {living.pid}")
            living.kill()
            living.wait()
            stack.destroy(lab, access)  # it is dead: its lock counts no more
    finally:
        living.kill()
        living.wait()
    assert space.is_empty()


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_state_that_cannot_be_read(access, space, damage):
    path = pulumi_cli.checkpoint(access.paths, "made")
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    for operation in (stack.status, stack.deploy, stack.destroy):
        error = refusal(operation, lab_of(space.name), access)
        assert error.exit_code == 5
        assert error.brief == "cannot read the state of stack made"
        assert "./l4lab reset made" in error.resolution
        assert error.details == path
    assert path.read_text() == damage, "it may still be of use to somebody"


# --- names and folders --------------------------------------------------------------------------


def test_a_folder_of_many_letters(access, server, space, tmp_path):
    paths = Paths(tmp_path / "我的 实验 #1? 50%25 (a&b) 'c'" / ".l4lab" / "l4lab")
    paths.root.mkdir(mode=0o700, parents=True)
    server.write_kubeconfig(paths.kubeconfig)
    there = dataclasses.replace(access, paths=paths)
    lab = lab_of(space.name, secret="hunter-two")
    stack.deploy(lab, there)
    assert pulumi_cli.checkpoint(paths, "made").is_file()
    assert not stack.deploy(lab, there).changed
    stack.destroy(lab, there)
    assert space.is_empty()


@pytest.mark.parametrize("name", ["我的 配置", "my config", "My_Config"])
def test_an_object_s_name_that_is_none(access, server, space, name):
    lab = MadeLab("made", partial(declare_config, name, space.name))
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == f"cannot deploy lab made: ConfigMap {name}"
    assert "RFC 1123" in error.reason
    stack.destroy(lab, access)


# --- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "first", "then"),
    [
        ("no.example/nothing:1", "ErrImagePull", "ImagePullBackOff"),
        ("我的 镜像", "InvalidImageName", "InvalidImageName"),
    ],
)
def test_an_image_that_does_not_exist(access, kubelet, space, image, first, then):
    heard = []

    def hear(line):
        heard.append(line)
        if first in line:
            kubelet.trouble[image] = then

    kubelet.trouble[image] = first
    try:
        lab = lab_of(space.name, image=image)
        with pytest.raises(StackError) as caught:
            stack.deploy(lab, access, on_event=hear)
    finally:
        del kubelet.trouble[image]
    assert any(first in line for line in heard)
    assert f"{then}: no luck with {image}" in caught.value.reason
    assert "not ready within" not in caught.value.reason, "it was told at once"
    assert "./l4lab kubectl" in caught.value.resolution
    stack.destroy(lab, access)
    assert space.is_empty()


# --- certificates -------------------------------------------------------------------------------


def test_a_client_s_certificate_that_has_expired(access, server, space):
    lab = lab_of(space.name)
    server.write_kubeconfig(access.paths.kubeconfig, ends=FUTURE)
    stack.deploy(lab, access)
    server.write_kubeconfig(access.paths.kubeconfig, ends=PAST)
    for operation in (stack.preview, stack.deploy, stack.destroy):
        error = refusal(operation, lab, access)
        assert error.exit_code == 5
        assert error.reason.startswith(f"{server.url} refuses the kubeconfig: its certificate has")
        assert "2021-03-04 05:06 UTC" in error.reason
        assert "./l4lab reset, then ./l4lab up" in error.resolution
    assert len(stack.status(lab, access).resources) == 2, "nothing was forgotten"
    assert not space.is_empty()
    server.write_kubeconfig(access.paths.kubeconfig, ends=FUTURE)
    stack.destroy(lab, access)
    assert space.is_empty()


@pytest.fixture
def stale(tmp_path):
    """Port and authority of a server whose own certificate has expired."""
    authority = Authority("servers")
    (tmp_path / "server.pem").write_bytes(
        b"".join(authority.sign("server", ends=PAST, address="127.0.0.1"))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # the test is over
            with contextlib.suppress(OSError), connection:
                context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], authority.certificate
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def test_a_server_s_certificate_that_has_expired(access, server, space, stale):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    port, authority = stale
    url = f"https://127.0.0.1:{port}"
    server.write_kubeconfig(access.paths.kubeconfig, url=url, authority=authority)
    for operation in (stack.deploy, stack.destroy):
        error = refusal(operation, lab, access)
        assert error.exit_code == 5
        assert f"cannot reach the Kubernetes API at {url}" in error.reason
        assert "certificate has expired" in error.reason
        assert "./l4lab reset, then ./l4lab up" in error.resolution
    server.write_kubeconfig(access.paths.kubeconfig)
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_token_that_is_unknown(access, server, space):
    config = json.loads(access.paths.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "nobody"
    access.paths.kubeconfig.write_text(json.dumps(config))
    error = refusal(stack.deploy, lab_of(space.name), access)
    assert "its token is unknown, or has expired" in error.reason
    assert error.resolution == "./l4lab status"
