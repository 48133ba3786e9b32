"""Reads lists of objects from the API server over one kept connection.

Checks ask for the same few kinds again and again. A new kubectl each time costs a quarter of a
second of processor time, on machines that share theirs with the cluster.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import urllib3
import yaml

from l4lab.command import Result

# The plural that kubectl takes, its path, and the kind that a list leaves out of its items.
_KINDS: Final = {
    "deployments": ("apis/apps/v1", "apps/v1", "Deployment"),
    "pods": ("api/v1", "v1", "Pod"),
    "services": ("api/v1", "v1", "Service"),
    "endpointslices": ("apis/discovery.k8s.io/v1", "discovery.k8s.io/v1", "EndpointSlice"),
}
_OK: Final = 200
_CONNECTIONS: Final = 4
_LATE: Final = 124


class Listing:
    """Answers ``kubectl get KINDS -n NAMESPACE -o json`` for the kinds it knows."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._opening = threading.Lock()
        self._pool: urllib3.HTTPSConnectionPool | None = None

    def run(self, argv: Sequence[str], *, timeout: float) -> Result | None:
        """What kubectl would say to ``argv``, or None where that is not such a list.

        Args:
            argv: The whole command, ``kubectl`` first.
            timeout: Seconds; then the exit code is 124.
        """
        match argv:
            case ["kubectl", "get", kinds, "-n", namespace, "-o", "json", *rest] if all(
                word.startswith("--request-timeout=") for word in rest
            ):
                names = kinds.split(",")
            case _:
                return None
        if any(name not in _KINDS for name in names):
            return None
        started = time.monotonic()
        rc, out, err = 0, "", ""
        try:
            items: list[Any] = []
            for name in names:
                left = timeout - (time.monotonic() - started)
                items += self._list(name, namespace, timeout=max(left, 0.01))
            out = json.dumps({"kind": "List", "apiVersion": "v1", "items": items})
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as failed:
            why = getattr(failed, "reason", None) or failed
            if isinstance(why, urllib3.exceptions.TimeoutError) and not isinstance(
                why, urllib3.exceptions.NewConnectionError
            ):
                rc, err = _LATE, f"the API server gave no answer within {timeout:.0f} s"
            elif isinstance(why, urllib3.exceptions.NewConnectionError):
                rc, err = 1, f"the API server cannot be reached: {why.__cause__ or why}"
            else:
                rc, err = 1, f"{why}"
        return Result(
            argv=tuple(argv), rc=rc, stdout=out, stderr=err, seconds=time.monotonic() - started
        )

    def close(self) -> None:
        """End its connections."""
        if self._pool:
            self._pool.close()

    def _list(self, name: str, namespace: str, *, timeout: float) -> list[Any]:
        path, version, kind = _KINDS[name]
        # A server that has just been started anew has closed the connection: that is asked again.
        answer = self._connections().request(
            "GET",
            f"/{path}/namespaces/{namespace}/{name}",
            timeout=timeout,
            retries=urllib3.Retry(connect=0, read=1, redirect=0, other=1),
        )
        said = json.loads(answer.data)
        if answer.status != _OK:
            raise ValueError(f"Error from server: {said.get('message', answer.status)}")
        for item in said["items"]:
            item["metadata"].pop("managedFields", None)  # as kubectl does
        return [{"apiVersion": version, "kind": kind, **item} for item in said["items"]]

    def _connections(self) -> urllib3.HTTPSConnectionPool:
        with self._opening:
            if self._pool is None:
                self._pool = connections(self._kubeconfig, at_once=_CONNECTIONS)
        return self._pool


def connections(kubeconfig: Path, *, at_once: int) -> urllib3.HTTPSConnectionPool:
    """Connections to the server of a kubeconfig with one cluster and one user, as ours all are.

    Args:
        kubeconfig: The file; its user has a certificate or a token.
        at_once: How many there are at most.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    headers = {}
    if "token" in user:
        headers["Authorization"] = f"Bearer {user['token']}"
    else:
        # The interpreter takes a client's certificate from a file only: one that lies in memory.
        with os.fdopen(os.memfd_create("l4lab"), "wb") as file:
            for key in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[key]))
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    server = urllib3.util.parse_url(cluster["server"])
    return urllib3.HTTPSConnectionPool(
        server.host or "",
        server.port,
        ssl_context=context,
        headers=headers,
        maxsize=at_once,
        block=True,
    )
