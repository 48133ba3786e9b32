"""The steps of the lab that change something: a backend that goes away, a policy by protocol."""

from __future__ import annotations

from l4lab.checks import (
    API,
    Fault,
    Look,
    NotHere,
    Seen,
    Stage,
    Unmet,
    Vantage,
    Where,
    exercise,
)
from l4lab.checks.echo import Reply
from l4lab.checks.service import kernel_row, pods, ready_pods

from . import facts
from .scene import Asked, ask, at, unused_ports


def _far(stage: Stage) -> Look:
    """A node that has no pod of the lab: all packets to them cross between nodes."""
    return stage.at(Vantage(Where.NODE, stage.topology.control_plane.name))


def _whole(stage: Stage) -> Seen:
    found = ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
    return Seen(f"{len(found)} pods")


@exercise(
    id="backend-gone",
    title="a UDP client that keeps its port is led to another pod when its pod goes",
    why="Its entry points to a pod that is no more. kube-proxy takes the backend out at once and "
    "lets the kernel drop such entries (expire_nodest_conn); else it would wait 300 s for each.",
    expect="the same port: one pod before, another one soon after",
    anchor="backend-gone",
)
def backend_gone(stage: Stage) -> Seen:
    """Delete the pod that a source port was given, and go on sending from that port."""
    _whole(stage)
    far = _far(stage)
    target = at(stage, facts.MIXED)
    (port,) = unused_ports(far, "UDP", target, 1)
    asked = {"one": Asked(protocol="UDP", target=target, source_port=port)}

    def heard() -> Reply:
        reply = ask(far, asked)["one"]
        if not reply.fine:
            raise Unmet(f"from port {port}: {reply}", fault=reply.fault)
        return reply

    def told() -> Seen:
        return Seen(heard().server)

    before = [stage.wait("an answer", told).text for _ in range(2)]
    if len(set(before)) != 1:
        raise Unmet(f"port {port} went to {before[0]} and then to {before[1]}")
    victim = before[0]
    stage.undo("all pods", lambda: stage.wait("all pods again", lambda: _whole(stage)))
    stage.change("delete", "pod", victim, "--wait=false")

    def elsewhere() -> Seen:
        living = {pod.name for pod in pods(stage.at(API), facts.LABELS)}
        server = heard().server
        if server == victim or server not in living:
            raise Unmet(f"port {port} is still answered by {server}")
        return Seen(server)

    after = stage.wait("an answer from another pod", elsewhere).text
    return Seen(f"port {port}: {victim}, and after its end {after}")


@exercise(
    id="sctp-across",
    title="an SCTP packet that IPVS has rewritten does not survive the tunnel to another node",
    why="Sent directly the same packet arrives, so neither SCTP nor the tunnel is at fault alone; "
    "internalTrafficPolicy Local avoids the case.",
    expect="with policy Cluster: an answer from a pod asked directly, TIMEOUT through the Service",
    anchor="sctp",
    mode="ipvs",
)
def sctp_across(stage: Stage) -> Seen:
    """Give a node without pods the backends of the others, and ask them in both ways."""
    far = _far(stage)
    found = ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
    service = at(stage, facts.SCTP)

    def backends_are(count: int) -> Seen:
        live = kernel_row(far, service, protocol="SCTP").live
        if len(live) != count:
            raise Unmet(f"{len(live)} backends on {far.vantage.name}")
        return Seen(f"{count} backends")

    def policy(value: str) -> None:
        change = f'{{"spec":{{"internalTrafficPolicy":"{value}"}}}}'
        stage.change("patch", "service", facts.SCTP, "--type=merge", "-p", change)

    def back() -> None:
        policy("Local")
        stage.wait("no backend again", lambda: backends_are(0))

    stage.undo("internalTrafficPolicy Local", back)
    policy("Cluster")
    stage.wait("all backends", lambda: backends_are(len(found)))
    targets = {pod.name: f"{pod.address}:{facts.TARGET_PORT}" for pod in found}
    targets["Service"] = service
    asked = {label: Asked(protocol="SCTP", target=target) for label, target in targets.items()}
    replies: dict[str, Reply] = {}

    def directly() -> Seen:
        replies.update(ask(far, asked))
        if lost := [name for name in targets if name != "Service" and not replies[name].fine]:
            said = replies[lost[0]]
            raise Unmet(f"{lost[0]} asked directly: {said}", fault=said.fault)
        return Seen("every pod answers")

    # A pod that has just been replaced is ready a moment before its servers listen.
    stage.wait("an answer of every pod", directly)
    through = replies.pop("Service")
    if through.fine:
        raise NotHere(f"the kernel of {far.vantage.name} carries such packets: nothing is lost")
    if through.fault is not Fault.TIMEOUT:
        raise Unmet(f"through the Service: {through}", fault=through.fault)
    return Seen(f"directly: {', '.join(replies)}; through the Service: {through}")


@exercise(
    id="only-sctp",
    title="Calico's policy knows SCTP: a labelled pod takes SCTP and drops TCP and UDP",
    why="A NetworkPolicy names protocol and port; what it does not name is dropped in silence.",
    expect="from another node: SCTP answered, TCP and UDP TIMEOUT, until the label is taken away",
    anchor="only-sctp",
)
def only_sctp(stage: Stage) -> Seen:
    """Let the policy select one pod, and ask that pod directly from another node."""
    pod = ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)[0]
    far = _far(stage)
    target = f"{pod.address}:{facts.TARGET_PORT}"
    asked = {one: Asked(protocol=one, target=target) for one in ("TCP", "UDP", "SCTP")}

    def open_for(*protocols: str) -> Seen:
        replies = ask(far, asked)
        said = ", ".join(f"{one} {reply}" for one, reply in replies.items())
        for one, reply in replies.items():
            if reply.fault is not (None if one in protocols else Fault.TIMEOUT):
                raise Unmet(said, fault=reply.fault)
        return Seen(said)

    # A pod that has just been replaced is ready a moment before its servers listen.
    stage.wait("all three protocols", lambda: open_for(*asked))

    def back() -> None:
        stage.change("label", "pod", pod.name, f"{facts.POLICY_LABEL}-")
        stage.wait("all three protocols again", lambda: open_for(*asked))

    stage.undo("no policy", back)
    stage.change("label", "pod", pod.name, f"{facts.POLICY_LABEL}={facts.POLICY_VALUE}")
    return stage.wait("SCTP alone", lambda: open_for("SCTP"))
