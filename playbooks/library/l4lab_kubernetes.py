#!/usr/bin/python
"""Ansible module: make a cluster hold objects, and wait until its nodes and workloads are ready.

It talks to the API itself: each start of kubectl costs a small machine a third of a second, and its
apply of Calico's definitions fifteen seconds, where this takes two. It is written without
``ansible.module_utils``: see ``l4lab_look``.
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
from datetime import datetime
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: l4lab_kubernetes
short_description: Apply objects, then wait until nodes and workloads of the cluster are ready
description:
  - Runs on the control plane machine, with the administrator's client certificate.
  - Applies on the server's side, as field manager l4lab, and takes fields over from others.
options:
  address:
    description: The API server's address.
    type: str
    required: true
  objects:
    description: Objects to apply, in order; definitions before what they define.
    type: list
    elements: dict
    default: []
  nodes:
    description: Names of the nodes that must be Ready.
    type: list
    elements: str
    default: []
  workloads:
    description: Workloads of namespace kube-system, as daemonsets/NAME or deployments/NAME.
    type: list
    elements: str
    default: []
  booted:
    description:
      - When each node's machine was started, in seconds of the epoch; 0 where nobody knows. What
        nodes and pods are said to be is believed only if it was said since.
    type: dict
    default: {}
  within:
    description: Seconds until the wait is given up.
    type: float
    default: 180
  proxy_mode:
    description:
      - The mode kube-proxy must run in. Where it is another, kube-proxy is started anew with it.
      - Until proxy_settled is told, each later run says that the change is not through.
    type: str
    default: ""
  proxy_settled:
    description: Whether a change of kube-proxy's mode is through, on all nodes.
    type: bool
    default: false
author: l4lab
"""

EXAMPLES = r"""
- name: Wait for the cluster
  l4lab_kubernetes:
    address: 192.168.128.11
    nodes: [k8s-master01]
    workloads: [deployments/coredns]
"""

RETURN = r"""
applied:
  description: Objects that were made or changed, as Kind/name.
  returned: always
  type: list
ready_after:
  description: Seconds after which each node and workload was first seen ready.
  returned: always
  type: dict
proxy_changing:
  description: Whether kube-proxy's mode was changed, and is not known to be through.
  returned: always
  type: bool
"""

AUTHORITY = "/etc/kubernetes/pki/ca.crt"
ADMINISTRATOR = Path("/etc/kubernetes/admin.conf")
PORT = 6443
EVERY = 0.5  # seconds
PROXY = "/api/v1/namespaces/kube-system/configmaps/kube-proxy"
PROXY_PODS = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"
# On the settings: a change began. On the pods: which settings they were started with.
CHANGING = "l4lab/proxy-mode-changing"
STARTED_WITH = "l4lab/proxy-mode"


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

        self.kinds: dict[tuple[str, str], dict[str, Any]] = {}

    def get(self, path: str) -> dict[str, Any]:
        """The object at ``path``."""
        return self.request("GET", path)

    def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, merge: bool = False
    ) -> dict[str, Any]:
        """Ask, and return the object that is answered; a refusal raises with the API's words."""
        headers = {"Accept": "application/json"}
        if body is not None:
            kind = "merge-patch+json" if merge else "apply-patch+yaml"  # JSON is YAML
            headers["Content-Type"] = f"application/{kind}"
        try:
            sent = None if body is None else json.dumps(body)
            self.connection.request(method, path, body=sent, headers=headers)
            answer = self.connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()  # the next request connects anew
            raise
        if answer.status not in {http.client.OK, http.client.CREATED}:
            raise RefusedError(
                answer.status, f"{method} {path}: HTTP {answer.status}: {words(said)}"
            )
        loaded: dict[str, Any] = json.loads(said)
        return loaded

    def path(self, wanted: dict[str, Any]) -> str:
        """Where the API keeps an object."""
        version, kind = wanted["apiVersion"], wanted["kind"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self.kinds:
            for found in self.get(base)["resources"]:
                if "/" not in found["name"]:
                    self.kinds[version, found["kind"]] = found
        resource = self.kinds.get((version, kind))
        if not resource:
            raise OSError(f"the API does not know {kind} of {version}")
        metadata = wanted["metadata"]
        if resource["namespaced"]:
            base += f"/namespaces/{metadata.get('namespace', 'default')}"
        return f"{base}/{resource['name']}/{metadata['name']}"

    def apply(self, wanted: dict[str, Any], *, check: bool) -> bool:
        """Make the cluster hold an object; return whether it did not already."""
        path = self.path(wanted)
        try:
            before = self.get(path)["metadata"]["resourceVersion"]
        except RefusedError as refused:
            if refused.status != http.client.NOT_FOUND:
                raise
            before = ""
        dry = "&dryRun=All" if check else ""
        after = self.request("PATCH", f"{path}?fieldManager=l4lab&force=true{dry}", wanted)
        # An apply that changes nothing leaves the version alone.
        return bool(after["metadata"].get("resourceVersion") != before)


class RefusedError(OSError):
    """The API answered, but not with what was asked for."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def words(body: bytes) -> str:
    """The API's own words in an answer that refuses."""
    try:
        return str(json.loads(body).get("message", ""))
    except ValueError:
        return body[:200].decode(errors="replace")


def client_certificate(kubeconfig: str) -> bytes:
    """Certificate and key of a kubeconfig, one after the other, as PEM."""
    found = dict(re.findall(r"client-(certificate|key)-data: (\S+)", kubeconfig))
    return b"".join(base64.b64decode(found[part]) for part in ("certificate", "key"))


def seconds(timestamp: str) -> float:
    """A time of the API in seconds of the epoch; 0 where there is none."""
    if not timestamp:
        return 0.0
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def node_problems(
    nodes: dict[str, Any], wanted: list[str], booted: dict[str, float]
) -> dict[str, str]:
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
        if seconds(ready.get("lastHeartbeatTime", "")) < booted.get(name, 0):
            problems[name] = "has said nothing since it was started"
    return problems


def stale_pods(pods: dict[str, Any], workload: str, booted: dict[str, float]) -> list[str]:
    """Pods of a workload of which the API only has what they were before their machine started.

    An API server that comes back with its disk tells the last word of kubelets that are no more.
    """
    stale = []
    for pod in pods.get("items", []):
        owner = next(iter(pod["metadata"].get("ownerReferences", [])), {}).get("name", "")
        own = workload in (owner, owner.rpartition("-")[0])  # a Deployment's: of its ReplicaSet
        # What has ended, as an evicted pod, stays listed beside the one that took its place.
        if not own or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            continue
        since = booted.get(pod["spec"].get("nodeName", ""), 0)
        containers = pod.get("status", {}).get("containerStatuses", [])
        started = [one.get("state", {}).get("running", {}).get("startedAt") for one in containers]
        if any(seconds(one or "") < since for one in started):
            stale.append(pod["metadata"]["name"])
    return stale


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


def problems(
    api: Api, nodes: list[str], workloads: list[str], booted: dict[str, float]
) -> dict[str, str]:
    """What keeps each node and workload from being ready, by name; empty text for nothing."""
    listed = api.get("/api/v1/nodes")
    seen = {f"node {name}": text for name, text in node_problems(listed, nodes, booted).items()}
    pods = api.get("/api/v1/namespaces/kube-system/pods") if booted and workloads else {}
    for workload in workloads:
        kind, name = workload.split("/", 1)
        try:
            found = api.get(f"/apis/apps/v1/namespaces/kube-system/{kind}/{name}")
        except OSError as failed:
            seen[workload] = str(failed)
        else:
            seen[workload] = workload_problem(kind, found, len(listed.get("items", [])))
            stale = stale_pods(pods, name, booted)
            if stale and not seen[workload]:
                seen[workload] = f"{stale[0]} is not running since its machine was started"
    return seen


def wait(api: Api, arguments: dict[str, Any]) -> dict[str, Any]:
    """Wait as the arguments say; return Ansible's result."""
    within = float(arguments.get("within") or 180)
    started = time.monotonic()
    ready_after: dict[str, float] = {}
    while True:
        try:
            seen = problems(
                api,
                arguments.get("nodes") or [],
                arguments.get("workloads") or [],
                {name: at for name, at in (arguments.get("booted") or {}).items() if at},
            )
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


def may_pass(status: int) -> bool:
    """Whether a refusal says that the server is starting, rather than something of the object.

    Until it has read its rules, a server that has just started forbids all to all.
    """
    starting = {http.client.UNAUTHORIZED, http.client.FORBIDDEN, http.client.TOO_MANY_REQUESTS}
    return status in starting or status >= http.client.INTERNAL_SERVER_ERROR


def apply_patiently(api: Api, wanted: dict[str, Any], *, check: bool, deadline: float) -> bool:
    """Apply an object, again while the API server does not answer: it may just be starting."""
    while True:
        try:
            return api.apply(wanted, check=check)
        except RefusedError as refused:
            if not may_pass(refused.status) or time.monotonic() > deadline:
                raise
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
        time.sleep(EVERY)


def with_proxy_mode(config: str, mode: str) -> str:
    """Kube-proxy's configuration file with that mode, else as it was."""
    changed, count = re.subn(r"(?m)^mode:.*$", f"mode: {mode}", config)
    if count != 1:
        raise OSError("kube-proxy's configuration has no line that names its mode")
    return changed


def set_proxy_mode(api: Api, mode: str, *, check: bool) -> tuple[bool, bool]:
    """Make kube-proxy run in a mode; return whether that changed something, and is not through."""
    kept = api.get(PROXY)
    config = kept["data"]["config.conf"]
    wanted = with_proxy_mode(config, mode)
    marked = kept["metadata"].get("annotations", {}).get(CHANGING) == mode
    changed = wanted != config
    if check or not (changed or marked):
        return changed, changed or marked
    if changed:
        # One request, so that an interrupted change is known for one by the next run.
        mark = {"metadata": {"annotations": {CHANGING: mode}}, "data": {"config.conf": wanted}}
        api.request("PATCH", PROXY, mark, merge=True)
    # Pods read their configuration at their start only: another label starts them anew, one node
    # after the other; the same one does nothing.
    template = {"metadata": {"annotations": {STARTED_WITH: mode}}}
    api.request("PATCH", PROXY_PODS, {"spec": {"template": template}}, merge=True)
    return changed, True


def settle_proxy(api: Api) -> bool:
    """Forget that kube-proxy's mode was being changed; return whether it was."""
    if CHANGING not in api.get(PROXY)["metadata"].get("annotations", {}):
        return False
    api.request("PATCH", PROXY, {"metadata": {"annotations": {CHANGING: None}}}, merge=True)
    return True


def work(arguments: dict[str, Any]) -> dict[str, Any]:
    """Apply, then wait; return Ansible's result."""
    api = Api(arguments["address"])
    check = bool(arguments.get("_ansible_check_mode"))
    deadline = time.monotonic() + float(arguments.get("within") or 180)
    applied = [
        f"{wanted['kind']}/{wanted['metadata']['name']}"
        for wanted in arguments.get("objects") or []
        if apply_patiently(api, wanted, check=check, deadline=deadline)
    ]
    changed = changing = False
    if mode := arguments.get("proxy_mode"):
        changed, changing = set_proxy_mode(api, mode, check=check)
    if arguments.get("proxy_settled") and not check:
        changed = settle_proxy(api) or changed
    result: dict[str, Any] = {"changed": False, "ready_after": {}}
    if arguments.get("nodes") or arguments.get("workloads"):
        result = wait(api, arguments)
    told = {"applied": applied, "proxy_changing": changing}
    return result | told | {"changed": bool(applied) or changed}


def main(arguments: dict[str, Any]) -> int:
    """Answer Ansible on standard output."""
    try:
        result = work(arguments)
    except (OSError, KeyError, http.client.HTTPException) as failed:
        result = {"failed": True, "changed": False, "msg": f"{type(failed).__name__}: {failed}"}
    sys.stdout.write(json.dumps(result))
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")))
