"""Deaths beyond the choice of a backend: on the way to it, at it, and of its answer."""

from __future__ import annotations

from l4lab.checks.model import Fault
from l4lab.path.measured import Kind, Measured
from l4lab.path.model import Death


def fault_of(found: Measured) -> Fault:
    """How the client saw it fail."""
    return (found.outcome.fault if found.outcome else None) or Fault.OTHER


def died(hop: str, fault: Fault, seen: str, *, causes: tuple[str, ...], then: str) -> Death:
    """The death at a hop; causes that were found twice are told once."""
    return Death(hop=hop, fault=fault, seen=seen, causes=tuple(dict.fromkeys(causes)), then=then)


def at_backend(found: Measured) -> Death | None:
    """It opened no connection: nobody listens, or somebody on the way drops or rejects."""
    outcome = found.outcome
    if not found.backend or outcome is None or outcome.connected:
        return None
    host, _, number = found.backend.rpartition(":")
    port = int(number)
    if found.listeners is not None and port not in found.listeners:
        return _nobody_listens(found, host, port)
    if found.kind is Kind.POD and not found.pod:
        return died(
            "backend",
            fault_of(found),
            f"no running pod has the address {host}",
            causes=("the pod was replaced, and its successor has another address",),
            then="./l4lab kubectl get pods -A -o wide",
        )
    return _dropped(found)


def _nobody_listens(found: Measured, host: str, port: int) -> Death:
    who = f"pod {found.pod}" if found.pod else found.backend_node or host
    listed = ", ".join(str(one) for one in sorted(found.listeners or ())) or "no port at all"
    service, at = found.target.service, found.target.service_port
    causes: tuple[str, ...] = (f"nothing in {who} listens on port {port}; it listens on {listed}",)
    if service and at and found.virtual:
        causes += (f"targetPort of Service {service} is {at.target}",)
        then = f"./l4lab kubectl describe service {service.flag}"
    elif found.pod:
        then = f"./l4lab kubectl describe pod {found.pod.name} -n {found.pod.namespace}"
    else:
        then = f"./l4lab ssh {found.backend_node or found.handler} ss -ltnp"
    seen = f"{who} does not take {found.backend}"
    return died("backend", fault_of(found), seen, causes=causes, then=then)


def _dropped(found: Measured) -> Death:
    """How far it came is told by who tracks the connection.

    A packet that is dropped on a machine is not kept by that machine's connection tracking: only
    what leaves, or is delivered, is.
    """
    near, far = found.handler, found.backend_node
    who = f"pod {found.pod}" if found.pod else found.backend
    across = bool(near and far and near != far)
    if near and not found.tracked and "nat" not in found.problems:
        seen, node = f"the packet for {found.backend} did not leave {near}", near
        other: tuple[str, ...] = (
            f"a firewall rule on {near} drops or rejects it",
            f"Calico on {near} has not set up the pod's interface yet",
        )
    elif across and not found.tracked_there and "wire" not in found.problems:
        seen, node = f"the packet left {near} and did not get through {far} to {who}", far
        device = found.onward.device if found.onward else "the wire"
        other = (
            f"a firewall rule on {far} drops it before it is delivered",
            f"it is lost between the nodes ({device})",
        )
    elif across and found.tracked_there and found.tracked_there.replied:
        seen, node = f"{who} answered, and the answer did not come back to {near}", far
        other = (f"a firewall rule on {far} or {near} drops the answer", "a route leads elsewhere")
    else:
        seen, node = f"the packet was delivered to {who}, and no answer came back", far or near
        other = (
            f"a firewall rule on {node} drops the answer",
            f"{who} does not take packets: it hangs, or has rules of its own",
        )
    policies = _policies(found)
    known = (*suspects(found, node), *suspects(found, far if node == near else near), *policies)
    then = f"./l4lab ssh {node} nft list ruleset" if node else "./l4lab status"
    if policies and known == policies:
        then = "./l4lab kubectl describe networkpolicies -A"
    return died("wire", fault_of(found), seen, causes=(*known, *other), then=then)


def _policies(found: Measured) -> tuple[str, ...]:
    """Network policies about either pod: what they forbid, Calico drops."""
    ends = [pod for pod in (found.pod, found.client.pod) if pod]
    return tuple(
        f"NetworkPolicy {one.namespace}/{one.name} is about pod {pod}, and may forbid it"
        for one in found.snapshot.policies
        for pod in ends
        if one.covers(pod)
    )


def suspects(found: Measured, node: str) -> tuple[str, ...]:
    """Firewall rules on the node that may have met the connection."""
    return tuple(f"a rule on {node}: {rule}" for rule in found.rules.get(node, [])[:2])


def silent(found: Measured) -> Death | None:
    """The connection opened; what came after it was not an answer."""
    outcome = found.outcome
    if outcome is None or not outcome.connected:
        return None
    who = f"pod {found.pod}" if found.pod else found.backend or found.destination
    causes = {
        Fault.HTTP: (f"the program in {who} says that it failed",),
        Fault.TIMEOUT: (f"the program in {who} hangs", "only small packets get through (MTU)"),
        Fault.RESET: (f"the program in {who} ended the connection: another protocol?",),
    }.get(fault_of(found), (f"the program in {who} speaks another protocol",))
    then = "./l4lab kubectl get pods -A -o wide"
    if found.pod:
        then = f"./l4lab kubectl logs {found.pod.name} -n {found.pod.namespace} --tail=20"
    return died("answer", fault_of(found), outcome.said, causes=causes, then=then)
