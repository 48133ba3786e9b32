"""What the API says: who asks for an address, who gives one, and who has none and why."""

from __future__ import annotations

import re
from typing import Any

from l4lab.checks import API, ONCE, Look, Seen, Unmet, check, eventually
from l4lab.checks.diff import differences
from labs.loadbalancer import facts
from labs.loadbalancer.scene import OURS, given, ingress, outer, word

_MAY = {"services": {"get", "list", "watch"}, "services/status": {"get", "patch"}}
_ROW = re.compile(r"^(\S+) +\[[^]]*\] +\[[^]]*\] +\[([^]]*)\] *$", re.MULTILINE)


@check(
    id="service-fields",
    title="four Services want an address: one from anybody, three from the lab's allocator",
    why="LoadBalancer is NodePort and one wish more: an address that somebody else must fulfil. "
    "The class says who.",
    expect="class, policy, source ranges and node ports as the lab declares them",
    anchor="pending",
    vantage=API,
)
def service_fields(look: Look) -> Seen:
    """Compare the fields that the lab is about."""
    port = {"name": facts.PORT_NAME, "port": facts.PORT, "targetPort": facts.TARGET_PORT}
    common = {"type": "LoadBalancer", "selector": facts.LABELS, "ports": [port]}
    ours = {"loadBalancerClass": facts.LB_CLASS}
    wanted: dict[str, dict[str, Any]] = {
        facts.PENDING: {"externalTrafficPolicy": "Cluster"},
        facts.OPEN: {
            **ours,
            "externalTrafficPolicy": "Cluster",
            "loadBalancerSourceRanges": [f"{look.topology.networks.gateway}/32"],
        },
        facts.LOCAL: {
            **ours,
            "externalTrafficPolicy": "Local",
            "allocateLoadBalancerNodePorts": False,
        },
        facts.THIRD: {**ours, "externalTrafficPolicy": "Cluster"},
    }
    for name, fields in wanted.items():
        spec = look.get("Service", name)["spec"]
        lines = differences({**common, **fields}, spec)
        if name == facts.PENDING and "loadBalancerClass" in spec:
            lines.append(f"loadBalancerClass: expected none, found {spec['loadBalancerClass']}")
        ports = [one["nodePort"] for one in spec["ports"] if one.get("nodePort")]
        if bool(ports) is (name == facts.LOCAL):
            lines.append(f"nodePort: {ports[0] if ports else 'none'}")
        if lines:
            raise Unmet(
                "\n".join([f"Service {name}:", *lines]),
                causes=("the Service was changed after it was deployed",),
                then=f"./l4lab kubectl get service {name} -o yaml",
            )
    return Seen(f"{', '.join(wanted)}; {facts.LOCAL} without a node port")


@check(
    id="pending",
    title="without a class nobody gives an address: the Service stays <pending>",
    why="Kubernetes has no load balancer of its own. In a cloud its controller orders one; here "
    "nobody feels called, and the API waits without an error.",
    expect="no address and no word in the Service's status",
    anchor="pending",
    vantage=API,
)
def pending(look: Look) -> Seen:
    """Read the status, and the line that a learner reads."""
    then = f"./l4lab kubectl get service {facts.PENDING} -o yaml --show-managed-fields"
    if found := ingress(look, facts.PENDING):
        raise Unmet(
            f"{facts.PENDING} has {', '.join(found)}",
            causes=("a cloud's controller or another allocator runs on this cluster",),
            then=then,
        )
    if said := word(look, facts.PENDING):
        raise Unmet(f"the allocator has touched it: {said.get('message')}", then=then)
    lines = look.kubectl("get", "service", facts.PENDING, "-n", facts.NAMESPACE).stdout.splitlines()
    if not lines or "<pending>" not in lines[-1]:
        raise Unmet(lines[-1] if lines else "no line", expected="EXTERNAL-IP <pending>", then=then)
    return Seen("EXTERNAL-IP <pending>, and no controller for it")


@check(
    id="allocator",
    title="the allocator runs: one pod with a shell loop",
    why="A load balancer's controller is an ordinary program that watches Services and writes "
    "their status; one alone, or two would give one address twice.",
    expect="its Deployment is available, and never has two pods",
    anchor="allocator",
    vantage=API,
)
def allocator(look: Look) -> Seen:
    """Look at the Deployment."""
    found = look.get("Deployment", facts.ALLOCATOR)
    wanted: dict[str, dict[str, Any]] = {
        "spec": {"replicas": 1, "strategy": {"type": "Recreate"}},
        "status": {"readyReplicas": 1},
    }
    if lines := differences(wanted, found):
        raise Unmet(
            "\n".join(lines),
            causes=("it was scaled", "its pod does not start"),
            then=f"./l4lab kubectl describe deployment {facts.ALLOCATOR}",
        )
    return Seen(f"{facts.ALLOCATOR}: 1 of 1 ready")


@check(
    id="allocator-rights",
    title="the allocator may read Services and patch their status, nothing else",
    why="What runs in the cluster gets the rights it needs and no more: with these it can neither "
    "delete a Service nor read a Secret.",
    expect="get, list, watch on services; get, patch on services/status; no other change",
    anchor="allocator",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def allocator_rights(look: Look) -> Seen:
    """Ask the API server what the ServiceAccount may do beyond what every account may."""
    look.get("Deployment", facts.ALLOCATOR)
    own, everybody = (_listed(look, account) for account in (facts.ALLOCATOR, "default"))
    found = {
        resource: more
        for resource, verbs in own.items()
        if (more := verbs - everybody.get(resource, set()))
    }
    if found != _MAY:
        said = [f"{name} {' '.join(sorted(verbs))}" for name, verbs in sorted(found.items())]
        raise Unmet(
            "; ".join(said) or "nothing at all",
            causes=("the Role or its RoleBinding was changed",),
            then=f"./l4lab kubectl describe role {facts.ALLOCATOR}",
        )
    return Seen("; ".join(f"{name} {' '.join(sorted(verbs))}" for name, verbs in found.items()))


def _listed(look: Look, account: str) -> dict[str, set[str]]:
    who = f"system:serviceaccount:{facts.NAMESPACE}:{account}"
    words = ("auth", "can-i", "--list", f"--as={who}", "-n", facts.NAMESPACE)
    return rights(look.kubectl(*words).stdout)


def rights(listed: str) -> dict[str, set[str]]:
    """What ``kubectl auth can-i --list`` says, by resource; rows of URLs have none."""
    found: dict[str, set[str]] = {}
    for resource, verbs in _ROW.findall(listed):
        found.setdefault(resource, set()).update(verbs.split())
    return found


@check(
    id="addresses",
    title="two Services of the class have an address each, both from the range",
    why="status.loadBalancer.ingress is all that a controller has to write: kube-proxy and clients "
    "read it from there.",
    expect="two different addresses of the range, and the allocator's word for each",
    anchor="addresses",
    vantage=API,
)
def addresses(look: Look) -> Seen:
    """Hold the addresses against the range."""
    found = {service: outer(look, service) for service in OURS}
    if sorted(found.values()) != sorted(given(look)):
        raise Unmet(
            ", ".join(f"{service} {address}" for service, address in found.items()),
            expected=f"one each of {', '.join(given(look))}",
            causes=("somebody wrote another address into the status",),
            then=f"./l4lab kubectl logs deployment/{facts.ALLOCATOR}",
        )
    for service in found:
        said = word(look, service)
        if (said.get("status"), said.get("reason")) != ("True", facts.GIVEN):
            raise Unmet(f"{service}: {said.get('message', 'no word of the allocator')}")
    return Seen(", ".join(f"{service} {address}" for service, address in found.items()))


@check(
    id="beyond-the-range",
    title="the third Service of the class gets none, and its status says why",
    why="A pending Service without a reason costs hours; a condition costs the controller a line.",
    expect=f"no address; condition {facts.CONDITION} False, reason {facts.NONE_LEFT}",
    anchor="beyond-the-range",
    vantage=API,
)
def beyond_the_range(look: Look) -> Seen:
    """Read the third Service's status."""
    found, said = ingress(look, facts.THIRD), word(look, facts.THIRD)
    reason = (said.get("status"), said.get("reason"))
    if found or reason != ("False", facts.NONE_LEFT):
        raise Unmet(
            f"{facts.THIRD}: {', '.join(found) or 'no address'}, "
            f"{said.get('message', 'and the allocator says nothing')}",
            causes=("another Service has given its address back", "the allocator does not run"),
            then=f"./l4lab kubectl get service {facts.THIRD} -o yaml",
        )
    return Seen(str(said["message"]))
