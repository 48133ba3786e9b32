#!/usr/bin/python
"""Ansible module: wait until a cluster's nodes and workloads are ready, asking its API itself.

One process that asks twice a second costs the machine next to nothing, while each start of kubectl
costs it a third of a second. It is written without ``ansible.module_utils``: see ``l4lab_look``.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: l4lab_ready
short_description: Wait until nodes and workloads of the cluster are ready
description:
  - Runs on the control plane machine, with the administrator's client certificate.
options:
  address:
    description: The API server's address.
    type: str
    required: true
  nodes:
    description: Names of the nodes that must be Ready.
    type: list
    elements: str
    required: true
  workloads:
    description: Workloads of namespace kube-system, as daemonsets/NAME or deployments/NAME.
    type: list
    elements: str
    default: []
  within:
    description: Seconds until the wait is given up.
    type: float
    default: 180
author: l4lab
"""

EXAMPLES = r"""
- name: Wait for the cluster
  l4lab_ready:
    address: 192.168.128.11
    nodes: [k8s-master01]
    workloads: [deployments/coredns]
"""

RETURN = r"""
ready_after:
  description: Seconds after which each node and workload was first seen ready.
  returned: always
  type: dict
"""

AUTHORITY = "/etc/kubernetes/pki/ca.crt"
ADMINISTRATOR = Path("/etc/kubernetes/admin.conf")
PORT = 6443
EVERY = 0.5  # seconds


class Api:
    """The API server, over one kept connection."""

    def __init__(self, address: str) -> None:
        context = ssl.create_default_context(cafile=AUTHORITY)
        # ssl reads certificates from files only; this one is private and gone at once.
        with tempfile.NamedTemporaryFile(dir="/run") as file:
            file.write(client_certificate(ADMINISTRATOR.read_text()))
            file.flush()
            context.load_cert_chain(file.name)
        self.connection = http.client.HTTPSConnection(address, PORT, timeout=10, context=context)

    def get(self, path: str) -> dict[str, Any]:
        """The object at ``path``."""
        try:
            self.connection.request("GET", path, headers={"Accept": "application/json"})
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()  # the next request connects anew
            raise
        if answer.status != http.client.OK:
            raise OSError(f"GET {path}: HTTP {answer.status}")
        loaded: dict[str, Any] = json.loads(body)
        return loaded


def client_certificate(kubeconfig: str) -> bytes:
    """Certificate and key of a kubeconfig, one after the other, as PEM."""
    found = dict(re.findall(r"client-(certificate|key)-data: (\S+)", kubeconfig))
    return b"".join(base64.b64decode(found[part]) for part in ("certificate", "key"))


def node_problems(nodes: dict[str, Any], wanted: list[str]) -> dict[str, str]:
    """What keeps each wanted node from being ready, by name; empty text for none."""
    problems = dict.fromkeys(wanted, "is not there")
    for node in nodes.get("items", []):
        name = node["metadata"]["name"]
        if name not in problems:
            continue
        conditions = {one["type"]: one for one in node.get("status", {}).get("conditions", [])}
        ready = conditions.get("Ready", {})
        message = ready.get("message", "no status yet")
        problems[name] = "" if ready.get("status") == "True" else f"is not Ready: {message}"
    return problems


def workload_problem(kind: str, workload: dict[str, Any], nodes: int) -> str:
    """What keeps a workload from being ready; empty text for nothing."""
    status = workload.get("status", {})
    if kind == "daemonsets":
        wanted, ready, current = nodes, "numberReady", "updatedNumberScheduled"
    else:
        wanted = workload.get("spec", {}).get("replicas", 1)
        ready, current = "readyReplicas", "updatedReplicas"
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return "its controller has not seen it yet"
    counts = min(status.get(ready, 0), status.get(current, 0))
    return "" if counts >= wanted else f"{counts} of {wanted} pods are ready"


def problems(api: Api, nodes: list[str], workloads: list[str]) -> dict[str, str]:
    """What keeps each node and workload from being ready, by name; empty text for nothing."""
    listed = api.get("/api/v1/nodes")
    seen = {f"node {name}": text for name, text in node_problems(listed, nodes).items()}
    for workload in workloads:
        kind, name = workload.split("/", 1)
        try:
            found = api.get(f"/apis/apps/v1/namespaces/kube-system/{kind}/{name}")
        except OSError as failed:
            seen[workload] = str(failed)
        else:
            seen[workload] = workload_problem(kind, found, len(listed.get("items", [])))
    return seen


def wait(arguments: dict[str, Any]) -> dict[str, Any]:
    """Wait as the arguments say; return Ansible's result."""
    within = float(arguments.get("within") or 180)
    api = Api(arguments["address"])
    started = time.monotonic()
    ready_after: dict[str, float] = {}
    while True:
        try:
            seen = problems(api, arguments["nodes"], arguments.get("workloads") or [])
        except (OSError, ValueError, http.client.HTTPException) as failed:
            seen = {"the API server": str(failed) or type(failed).__name__}
        waited = time.monotonic() - started
        for name, problem in seen.items():
            if not problem:
                ready_after.setdefault(name, round(waited, 1))
        missing = [f"{name}: {problem}" for name, problem in seen.items() if problem]
        if not missing:
            return {"changed": False, "ready_after": ready_after}
        if waited >= within:
            text = f"not ready within {within:.0f} s: {'; '.join(missing)}"
            return {"failed": True, "changed": False, "msg": text, "ready_after": ready_after}
        time.sleep(EVERY)


def main(arguments: dict[str, Any]) -> int:
    """Answer Ansible on standard output."""
    try:
        result = wait(arguments)
    except (OSError, KeyError, ssl.SSLError) as failed:
        result = {"failed": True, "changed": False, "msg": f"no client certificate: {failed}"}
    sys.stdout.write(json.dumps(result))
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")))
