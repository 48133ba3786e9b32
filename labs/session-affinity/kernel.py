"""What the kernel of every node holds: a flag on the row, and what it remembers of clients."""

from __future__ import annotations

from l4lab.checks import NODES, ONCE, Hopeless, Look, Seen, Traffic, Unmet, check, eventually
from l4lab.checks.kernel import NFTABLES, fair, sample, scheduler, see
from l4lab.checks.service import kernel_row
from l4lab.topology import Machine

from . import facts
from .scene import WAY, answered, at_node, connections, remembered, service_at


def _own(look: Look) -> Machine:
    return next(node for node in look.topology.nodes if node.name == look.vantage.name)


def flags_of(look: Look, address: str) -> str:
    """Scheduler and flags of a row on this node."""
    row = kernel_row(look, address, protocol=facts.PROTOCOL)
    return f"{row.scheduler} {row.flags}".strip()


@check(
    id="persistent-flag",
    title="the rows of the Services carry the flag persistent, with the seconds; or none",
    why="kube-proxy does not keep clients itself: it sets a flag (in mode nftables it makes a set "
    "of addresses that forgets), and the kernel does the rest.",
    expect=f"persistent {facts.TIMEOUT_SECONDS} at cluster address and node port of the first, "
    f"persistent {facts.DEFAULT_TIMEOUT_SECONDS} at the second, no flag at the third",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:3],
)
def persistent_flag(look: Look) -> Seen:
    """Read the rows of all three Services."""
    how = scheduler(look)
    short, default = facts.TIMEOUT_SECONDS, facts.DEFAULT_TIMEOUT_SECONDS
    wanted = {
        service_at(look): f"{how} persistent {short}",
        at_node(_own(look)): f"{how} persistent {short}",
        service_at(look, facts.DEFAULT_SERVICE): f"{how} persistent {default}",
        service_at(look, facts.PLAIN_SERVICE): how,
    }
    for address, flags in wanted.items():
        if (found := flags_of(look, address)) != flags:
            raise Unmet(
                f"{address}: {found}",
                expected=f"{address}: {flags}",
                causes=(
                    "sessionAffinity or timeoutSeconds of the Service was changed",
                    "somebody set it with ipvsadm -E on this node",
                    f"kube-proxy does not run on {look.vantage.name}, or has not caught up",
                ),
                then=see(look, address),
            )
    return Seen("; ".join(f"{address} {flags}" for address, flags in wanted.items()))


# An ordinary connection is held for two minutes, and the memory of it for up to one more.
_LONGEST_SECONDS = 200
_EVERY_SECONDS = 4


def _wait_until_unknown(look: Look, address: str, client: str) -> None:
    """Wait until the kernel has forgotten what this client did before.

    An entry that an ordinary connection has held begins again with a minute, not with the Service's
    time-out: only a new one tells, so nothing may be sent until the old one is gone.

    Raises:
        Unmet: It does not forget.
    """
    for _ in range(0, _LONGEST_SECONDS, _EVERY_SECONDS):
        earlier = [one for one in connections(look, address) if one.source.startswith(f"{client}:")]
        if not earlier:
            return
        look.pause(_EVERY_SECONDS)
    raise Unmet(
        f"earlier requests of this node are remembered for {earlier[-1].expires} s more",
        causes=("something on this node keeps asking the Service",),
        then=see(look),
    )


_ENDS_AT_ONCE = ("linger=0", "shut-none", "end-close")
"""socat's options for a connection that is reset rather than closed: it is soon forgotten."""
_CHANGED = ("timeoutSeconds of the Service was changed", "its affinity is None")


@check(
    id="forgotten",
    title="a client that stays away is forgotten after the time-out",
    why="The time-out counts from the client's last connection, and not before that connection "
    "itself is forgotten: one that was closed in order is held for two minutes more.",
    expect=f"the entry counts down from at most {facts.TIMEOUT_SECONDS} s and goes away",
    anchor="forgotten",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def forgotten(look: Look) -> Seen:
    """Connect once, reset the connection, and watch the entry until it is gone."""
    address = service_at(look)
    # A node that asks a cluster address asks itself: the address is its own, and so the client's.
    # Mode nftables has it on no interface, and the request leaves from the node's own.
    own = str(_own(look).address)
    client = own if look.mode == NFTABLES else address.partition(":")[0]
    # Without the flag nobody is remembered, and kube-proxy may still be about to set it.
    flag = f"persistent {facts.TIMEOUT_SECONDS}"
    row = kernel_row(look, address, protocol=facts.PROTOCOL)
    if row.flags != flag:
        raise Unmet(
            f"{address}: {row.flags or 'no flag'}",
            expected=f"{address}: {flag}",
            causes=_CHANGED,
            then=see(look, address),
        )
    _wait_until_unknown(look, address, client)
    options = ",".join(_ENDS_AT_ONCE)
    said = look.run(["socat", "-u", "OPEN:/dev/null", f"TCP4:{address},{options}"], timeout=5)
    if not said.succeeded:
        raise Unmet(f"no connection to {address}: {said.last_line}")
    entry = remembered(connections(look, address), client)
    if entry is None or entry.expires > facts.TIMEOUT_SECONDS:
        raise Hopeless(
            f"kept for {entry.expires} s" if entry else "the client is not remembered at all",
            expected=f"kept for at most {facts.TIMEOUT_SECONDS} s",
            causes=_CHANGED,
            then=see(look),
        )
    kept, seen = entry.destination, [entry.expires]
    # A look takes its time, too, so twice the time-out is more than enough.
    for _ in range(2 * facts.TIMEOUT_SECONDS):
        look.pause(1)
        entry = remembered(connections(look, address), client)
        if entry is None:
            return Seen(f"kept at {kept}: {', '.join(map(str, seen))} s left, then gone")
        seen.append(entry.expires)
    raise Unmet(
        f"still kept at {kept}, for {seen[-1]} s more",
        expected=f"forgotten after {facts.TIMEOUT_SECONDS} s",
        causes=("another connection of this node began meanwhile",),
        then=see(look),
    )


REQUESTS = 6


@check(
    id="none-spreads",
    title="without affinity one client is served by all pods",
    why="The same client and the same pods: only the flag on the row makes the difference.",
    expect="each pod answers its share: the same number, or by chance at least a fifth",
    anchor="spread",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.COUNTED,
)
def none_spreads(look: Look) -> Seen:
    """Follow the connections of one client to their backends."""
    address = service_at(look, facts.PLAIN_SERVICE)
    requests = sample(look, REQUESTS)
    sources = {one.source for one in answered(look, address, times=requests)}
    taken = [entry.destination for entry in connections(look, address) if entry.source in sources]
    shares = {backend: taken.count(backend) for backend in sorted(set(taken))}
    told = ", ".join(f"{backend} x {count}" for backend, count in shares.items())
    whole = len(shares) == facts.REPLICAS and sum(shares.values()) == requests
    if not (whole and fair(look, list(shares.values()))):
        raise Unmet(
            f"{requests} requests: {told or 'nothing in the table'}",
            expected=f"about {requests // facts.REPLICAS} for each of {facts.REPLICAS} pods",
            counts=shares,
            causes=("sessionAffinity is ClientIP", "a pod is missing"),
            then=see(look, address),
        )
    return Seen(f"{requests} requests: {told}", shares)
