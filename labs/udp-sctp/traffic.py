"""What happens to lines sent by TCP, UDP and SCTP: to the pods, and to the three Services."""

from __future__ import annotations

from collections.abc import Sequence

from l4lab.checks import (
    NODES,
    ONCE,
    Fault,
    Hold,
    Look,
    Seen,
    Traffic,
    Unmet,
    Where,
    check,
    eventually,
)
from l4lab.checks.echo import Reply
from l4lab.checks.kernel import fair, sample, see
from l4lab.checks.network import spoken, tally
from l4lab.checks.service import node_of

from . import facts
from .scene import CLIENT, Asked, ask, at, backends, table, unused_ports

DATAGRAMS = 6
"""Of a check that counts: a multiple of the backends."""

_SOON = eventually(hold=ONCE)


def _answered(reply: Reply, what: str, *, then: str) -> None:
    if not reply.fine:
        raise Unmet(
            f"{what}: {reply}",
            fault=reply.fault,
            causes=(
                "the server in the pod has ended",
                "a firewall rule drops this protocol on the way",
                "kube-proxy has not brought this node's kernel up to date",
            ),
            then=then,
        )


_NO_LEAVE = "operation not permitted"


@check(
    id="pods-answer",
    title="every node reaches every pod directly, by all three protocols",
    why="The pod network carries any IP protocol: Calico forwards packets, it does not know ports.",
    expect="an answer over TCP, UDP and SCTP from each pod's own address",
    anchor="pods",
    vantage=NODES,
    verb=_SOON,
)
def pods_answer(look: Look) -> Seen:
    """Ask each pod by each protocol."""
    pods = backends(look)
    replies = ask(
        look,
        {
            f"{pod.name}/{protocol}": Asked(
                protocol=protocol, target=f"{pod.address}:{facts.TARGET_PORT}"
            )
            for pod in pods
            for protocol in ("TCP", "UDP", "SCTP")
        },
    )
    for label, reply in replies.items():
        pod, _, protocol = label.partition("/")
        _answered(reply, label, then=f"./l4lab kubectl logs {pod}")
        if (reply.server, reply.protocol) != (pod, protocol):
            raise Unmet(f"{label}: {reply.server} answered over {reply.protocol}")
    return Seen(f"TCP, UDP and SCTP from {', '.join(pod.name for pod in pods)}")


@check(
    id="mixed-answers",
    title="one number, two protocols: the Service answers over TCP and over UDP",
    why="DNS is the model: port 53 over UDP, and over TCP for what is too long for one datagram.",
    expect="an answer over each, from the server of that protocol",
    anchor="ask",
    vantage=(NODES, CLIENT),
    verb=eventually(hold=Hold(samples=2, over=0.5)),
    traffic=Traffic.SOME,
)
def mixed_answers(look: Look) -> Seen:
    """Ask the same address and number by both protocols."""
    target = at(look, facts.MIXED)
    replies = ask(
        look, {one: Asked(protocol=one, target=target) for one in facts.MIXED_PORTS.values()}
    )
    for protocol, reply in replies.items():
        _answered(
            reply, f"{protocol} {target}", then=f"./l4lab kubectl describe service {facts.MIXED}"
        )
        if reply.protocol != protocol:
            raise Unmet(f"asked over {protocol}, answered over {reply.protocol}")
    return Seen(", ".join(f"{one} from {reply.server}" for one, reply in replies.items()))


@check(
    id="sctp-answers",
    title="the SCTP Service answers on a node that has a pod, and is silent on one that has none",
    why="internalTrafficPolicy Local keeps associations on the node. It is needed here: an SCTP "
    "packet that IPVS has rewritten is lost when it must leave the node through VXLAN.",
    expect="an answer from this node's own pod; TIMEOUT where the row has no backend",
    anchor="sctp",
    vantage=(NODES, CLIENT),
    verb=_SOON,
    traffic=Traffic.SOME,
)
def sctp_answers(look: Look) -> Seen:
    """Open an association and see who answers."""
    node = node_of(look)
    here = [pod.name for pod in backends(look) if node and pod.node == node.name]
    target = at(look, facts.SCTP)
    reply = ask(look, {"one": Asked(protocol="SCTP", target=target)})["one"]
    if not here:
        if reply.fault is not Fault.TIMEOUT:
            raise Unmet(
                f"SCTP {target}: {reply}",
                fault=reply.fault,
                expected="TIMEOUT: there is no pod on this node",
                causes=("internalTrafficPolicy is not Local",),
            )
        return Seen(f"TIMEOUT: no pod of the lab is on {node}")
    _answered(reply, f"SCTP {target}", then=f"./l4lab ssh {node.name if node else ''} ipvsadm -Ln")
    if reply.server not in here or reply.protocol != "SCTP":
        raise Unmet(f"{reply.server} answered over {reply.protocol}", fault=Fault.WRONG_BACKEND)
    return Seen(f"SCTP from {reply.server}, on this node")


@check(
    id="other-protocol",
    title="the same number with another protocol is nobody's: refused",
    why="The address is the Service's, but nothing has this protocol: kube-proxy's last firewall "
    "rule refuses what comes to such an address and was led nowhere.",
    expect="TCP and UDP to the SCTP Service's address and number: REFUSED",
    anchor="other-protocol",
    vantage=(NODES, CLIENT),
    verb=_SOON,
)
def other_protocol(look: Look) -> Seen:
    """Ask the SCTP Service in the wrong ways."""
    target = at(look, facts.SCTP)
    replies = ask(look, {one: Asked(protocol=one, target=target) for one in ("TCP", "UDP")})
    for protocol, reply in replies.items():
        # In mode nftables the rule takes what a node sends on its way out: the sender is told so.
        own_rule = look.mode == "nftables" and _NO_LEAVE in reply.message.lower()
        if reply.fault is not Fault.REFUSED and not own_rule:
            raise Unmet(
                f"{protocol} {target}: {reply}",
                fault=reply.fault,
                expected="REFUSED",
                causes=("the Service has a port of that protocol as well",),
                then=f"./l4lab kubectl get service {facts.SCTP}",
            )
    return Seen(f"TCP and UDP to {target}: REFUSED")


@check(
    id="nobody",
    title="without a backend TCP and UDP are refused, SCTP hears nothing",
    why="The kernel answers with ICMP port unreachable; a UDP sender hears of it only if its "
    "socket is connected, and SCTP does not believe it. On a node, sending itself fails.",
    expect="TCP REFUSED; UDP REFUSED in a pod, not permitted on a node; SCTP TIMEOUT",
    anchor="nobody",
    vantage=(NODES, CLIENT),
    verb=_SOON,
)
def nobody(look: Look) -> Seen:
    """Ask the Service without endpoints by all three protocols."""
    target = at(look, facts.NOBODY)
    replies = ask(
        look, {one: Asked(protocol=one, target=target) for one in facts.NOBODY_PORTS.values()}
    )
    said = ", ".join(f"{one} {reply}" for one, reply in replies.items())
    on_node = look.vantage.where is Where.NODE
    udp = replies["UDP"]
    not_sent = udp.fault is Fault.OTHER and _NO_LEAVE in udp.message.lower()
    as_told = (
        replies["TCP"].fault is Fault.REFUSED
        and (not_sent if on_node else udp.fault is Fault.REFUSED)
        and replies["SCTP"].fault is Fault.TIMEOUT
    )
    if not as_told:
        raise Unmet(
            said,
            causes=("somebody gave the Service endpoints", "kube-proxy has made no rows for it"),
            then=f"./l4lab kubectl get endpointslices -l kubernetes.io/service-name={facts.NOBODY}",
        )
    return Seen(said)


_AT_A_TIME = 20
"""Ports that are asked, and asked again: in mode nftables the choice for a datagram is forgotten
after 30 seconds, and a slow machine asks for longer from all of them."""
_TRIES = 2
"""A datagram may be lost, and its server begun anew: a client that hears nothing asks again."""


def _heard(look: Look, target: str, ports: Sequence[int]) -> dict[int, str]:
    """Which pod answers a datagram from each of these ports.

    Raises:
        Unmet: One is not answered.
    """
    servers: dict[int, str] = {}
    silent, replies = list(ports), dict[str, Reply]()
    for _ in range(_TRIES):
        replies = ask(
            look,
            {str(port): Asked(protocol="UDP", target=target, source_port=port) for port in silent},
        )
        servers |= {port: replies[str(port)].server for port in silent if replies[str(port)].fine}
        silent = [port for port in silent if port not in servers]
        if not silent:
            return servers
    reply = replies[str(silent[0])]
    raise Unmet(f"a datagram from port {silent[0]}: {reply}", fault=reply.fault)


@check(
    id="udp-balance",
    title="datagrams from one source port stay with one pod; new ports are shared evenly",
    why="To the kernel a UDP 'connection' is two addresses and two ports: a client that never "
    "changes its port is never balanced anew.",
    expect=f"one pod for one port; each pod {DATAGRAMS // facts.REPLICAS} of {DATAGRAMS} ports",
    anchor="balance",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.COUNTED,
)
def udp_balance(look: Look) -> Seen:
    """Send from many ports and from one, and read the kernel's choices."""
    target = at(look, facts.MIXED)
    datagrams = sample(look, DATAGRAMS)
    ports = unused_ports(look, "UDP", target, datagrams)
    names = {f"{pod.address}:{facts.TARGET_PORT}": pod.name for pod in backends(look)}
    first: dict[int, str] = {}
    for start in range(0, len(ports), _AT_A_TIME):
        some = ports[start : start + _AT_A_TIME]
        heard = _heard(look, target, some)
        entries = table(look, "UDP", target)
        for port, server in heard.items():
            entry = entries.get(port)
            if entry is None or names.get(entry.destination) != server:
                raise Unmet(
                    f"port {port}: the kernel chose {entry.destination if entry else 'nobody'}, "
                    f"{server} answered",
                    fault=Fault.WRONG_BACKEND,
                )
        again = _heard(look, target, some)
        if moved := [port for port in some if again[port] != heard[port]]:
            raise Unmet(
                f"port {moved[0]} went to {heard[moved[0]]} and then to {again[moved[0]]}",
                expected="the same pod for the same source port",
            )
        first |= heard
    counts = tally(first.values())
    shares = [counts.get(name, 0) for name in names.values()]
    if not fair(look, shares):
        raise Unmet(
            f"{datagrams} ports: {spoken(counts)}",
            counts=counts,
            causes=("the weights differ", "another scheduler", "session affinity is on"),
            then=see(look),
        )
    return Seen(f"{datagrams} ports: {spoken(counts)}; each port the same pod again", counts)
