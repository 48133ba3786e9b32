"""What the kernel of every node holds: rows by protocol, and how long an entry lives."""

from __future__ import annotations

from l4lab.checks import NODES, ONCE, Look, Seen, Traffic, Unmet, check, eventually, kernel
from l4lab.checks.service import at_rest, kernel_row, same_backends, stats

from . import facts
from .scene import Asked, ask, at, backends, table, unused_ports

DATAGRAMS = 3


@check(
    id="ipvs-rows",
    title="every protocol has a row of its own, at one address and one number",
    why="The kernel looks a packet up by protocol, address and port; all three must fit.",
    expect="a TCP and a UDP row with both pods; an SCTP row with the pods of this node; "
    "three rows without anybody",
    anchor="rows",
    vantage=NODES,
)
def rows(look: Look) -> Seen:
    """Read all rows of the three addresses."""
    pods = backends(look)
    everywhere = [f"{pod.address}:{facts.TARGET_PORT}" for pod in pods]
    here = [f"{pod.address}:{facts.TARGET_PORT}" for pod in pods if pod.node == look.vantage.name]
    wanted = {facts.MIXED: everywhere, facts.SCTP: here, facts.NOBODY: []}
    for service, ports in facts.SERVICE_PORTS.items():
        address = at(look, service)
        found = {protocol for protocol, virtual in kernel.rows(look) if virtual == address}
        for protocol in ports.values():
            row = kernel_row(look, address, protocol=protocol)
            same_backends(
                f"the row {protocol} {address}",
                [one.address for one in row.live],
                wanted[service],
                then=kernel.see(look),
            )
        if extra := found - set(ports.values()):
            raise Unmet(f"{service} has a row {', '.join(sorted(extra))} {address} as well")
    return Seen(f"TCP and UDP with {len(everywhere)} pods, SCTP with {len(here)}, three with none")


@check(
    id="own-counters",
    title="datagrams move the counter of the UDP row and leave the TCP row alone",
    why="Same address, same number, other protocol: another row, with counters of its own.",
    expect=f"{DATAGRAMS} more connections in the UDP row, none in the TCP row",
    anchor="rows",
    vantage=NODES,
    verb=eventually(within=8, hold=ONCE),
    traffic=Traffic.COUNTED,
    mode="ipvs",
)
def own_counters(look: Look) -> Seen:
    """Send from fresh ports and read both rows."""
    address = at(look, facts.MIXED)
    ports = unused_ports(look, "UDP", address, DATAGRAMS)
    before = at_rest(
        look,
        lambda: {one: stats(look, address, protocol=one) for one in ("UDP", "TCP")},
    )
    replies = ask(
        look, {str(p): Asked(protocol="UDP", target=address, source_port=p) for p in ports}
    )
    for reply in replies.values():
        if not reply.fine:
            raise Unmet(f"a datagram: {reply}", fault=reply.fault)
    moved = {}
    # The kernel brings these numbers up to date every two seconds only.
    for _ in range(20):
        moved = {
            protocol: stats(look, address, protocol=protocol).since(before[protocol]).total
            for protocol in before
        }
        if moved["UDP"] >= DATAGRAMS:
            break
        look.pause(0.25)
    if moved != {"UDP": DATAGRAMS, "TCP": 0}:
        raise Unmet(
            f"UDP {moved['UDP']}, TCP {moved['TCP']} after {DATAGRAMS} datagrams",
            causes=("somebody else uses the Service from this node",),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln --stats --exact",
        )
    return Seen(f"{DATAGRAMS} datagrams: UDP +{moved['UDP']}, TCP +{moved['TCP']}")


@check(
    id="udp-entry",
    title="the kernel remembers a UDP client for 300 seconds after its last datagram",
    why="UDP has no end that the kernel could see, so the choice is kept until a time-out.",
    expect="an entry for the datagram's source port, to live for just under 300 s",
    anchor="entries",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    mode="ipvs",
)
def udp_entry(look: Look) -> Seen:
    """Send one datagram and find its entry."""
    address = at(look, facts.MIXED)
    limits = look.read(["ipvsadm", "-l", "--timeout"]).stdout.rpartition(":")[2].split()
    wanted = [str(facts.IDLE_SECONDS["TCP"]), str(facts.IDLE_SECONDS["UDP"])]
    if limits[::2] != wanted:
        raise Unmet(
            f"time-outs {' '.join(limits)}",
            expected=f"TCP {wanted[0]} s and UDP {wanted[1]} s",
            causes=("somebody set them with ipvsadm --set", "kube-proxy's configuration does"),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -l --timeout",
        )
    (port,) = unused_ports(look, "UDP", address, 1)
    reply = ask(look, {"one": Asked(protocol="UDP", target=address, source_port=port)})["one"]
    if not reply.fine:
        raise Unmet(f"a datagram: {reply}", fault=reply.fault)
    entry = table(look, "UDP", address).get(port)
    if entry is None:
        raise Unmet(f"no entry for source port {port}")
    most = facts.IDLE_SECONDS["UDP"]
    if not most - 60 < entry.expires <= most:
        raise Unmet(f"it is forgotten in {entry.expires} s", expected=f"in about {most} s")
    return Seen(f"port {port} -> {entry.destination}, forgotten in {entry.expires} s")
