"""Reads all objects that the API server can list, of all kinds, over a few kept connections.

kubectl asks for one kind after the other, five a second: a cluster has some seventy.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3

from l4lab.checks.listing import connections
from l4lab.errors import MachineError

Json = dict[str, Any]

_CONNECTIONS = 4
_SECONDS = 20.0
# A server with much to do answers 429 or 503 and says when to come again; and once, just after an
# `up`, a handshake failed that did not fail again.
_RETRIES = urllib3.Retry(
    connect=1,
    read=1,
    other=2,
    status=5,
    redirect=0,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 503, 504),
    raise_on_status=False,
)
_OK = 200
_GONE = 404
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

LEFT_OUT = {
    "Event": "tells what happened, not what is; gone after an hour",
    "Lease": "renewed every few seconds by whoever holds it",
    "ComponentStatus": "measured at the moment of asking, and deprecated",
    "CertificateSigningRequest": "what a joining node asked for; deleted after an hour",
    "Endpoints": "mirrors EndpointSlices, which are facts; a hand-made one is mirrored to a slice",
}
"""Kinds that are no facts, each with its reason."""


def read(kubeconfig: Path) -> list[Json]:
    """All objects, each with its ``kind`` and ``apiVersion``.

    Raises:
        MachineError: The API server does not answer, or refuses.
    """
    try:
        with (
            connections(kubeconfig, at_once=_CONNECTIONS) as pool,
            ThreadPoolExecutor(_CONNECTIONS) as workers,
        ):
            kinds = [kind for root in ("/api", "/apis") for kind in _kinds(pool, root)]
            lists = workers.map(lambda kind: _list(pool, *kind), kinds)
            return [item for items in lists for item in items]
    except (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError) as failed:
        raise MachineError(
            "the cluster's objects cannot be read", str(failed), "./l4lab status"
        ) from failed


def _kinds(pool: urllib3.HTTPSConnectionPool, root: str) -> list[tuple[str, str, str]]:
    """Path, version and kind of whatever can be listed, each in its preferred version."""
    found = []
    for group in _get(pool, root, accept=_DISCOVERY).get("items", []):
        name = group["metadata"].get("name", "")
        seen: set[str] = set()
        for version in group["versions"]:  # the preferred one comes first
            full = f"{name}/{version['version']}" if name else version["version"]
            for resource in version.get("resources", []):
                kind = resource["responseKind"]["kind"]
                if "list" in resource["verbs"] and kind not in LEFT_OUT and kind not in seen:
                    seen.add(kind)
                    found.append((f"{root}/{full}/{resource['resource']}", full, kind))
    return found


def _list(pool: urllib3.HTTPSConnectionPool, path: str, version: str, kind: str) -> list[Json]:
    items = _get(pool, path).get("items") or []
    return [{"apiVersion": version, "kind": kind, **item} for item in items]


def _get(pool: urllib3.HTTPSConnectionPool, path: str, accept: str = "application/json") -> Json:
    answer = pool.request(
        "GET",
        path,
        headers={**pool.headers, "Accept": accept},
        retries=_RETRIES,
        timeout=urllib3.Timeout(total=_SECONDS),
    )
    if answer.status == _GONE:
        return {}  # a kind that was taken off meanwhile
    if answer.status != _OK:
        raise ValueError(f"GET {path}: HTTP {answer.status}")
    loaded: Json = json.loads(answer.data)
    return loaded
