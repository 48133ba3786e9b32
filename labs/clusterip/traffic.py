"""What happens to requests: to the pods, and to the cluster address."""

from __future__ import annotations

from l4lab.checks import (
    NODES,
    ONCE,
    CannotMeasure,
    Fault,
    Hold,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.kernel import fair, sample, see
from l4lab.checks.network import spoken, tally, worst
from l4lab.checks.service import at_rest, chosen_backends, stats
from labs.clusterip import facts
from labs.clusterip.scene import WAY, backends, service_at

REQUESTS = 10
"""Requests of a check that counts: a multiple of the backends."""


@check(
    id="pods-answer",
    title="every node reaches every pod by its own address",
    why="Pods are reached without any Service from all nodes: the pod network is flat.",
    expect="HTTP 200 from each pod's own address",
    anchor="pods",
    vantage=NODES,
    verb=eventually(hold=ONCE),
)
def pods_answer(look: Look) -> Seen:
    """Ask each pod directly."""
    said = []
    for pod in backends(look):
        url = f"http://{pod.address}:{facts.CONTAINER_PORT}/"
        if bad := worst(look.curl(url)):
            raise Unmet(
                f"{pod.name} on {pod.node} at {pod.address}: {bad}",
                fault=bad.fault,
                causes=(
                    f"packets between {look.vantage.name} and {pod.node} are dropped: "
                    "a firewall rule, or the VXLAN tunnel",
                ),
                then=f"./l4lab ssh {look.vantage.name} ip route get {pod.address}",
            )
        said.append(f"{pod.address} on {pod.node}")
    return Seen(f"HTTP 200 from {', '.join(said)}")


@check(
    id="service-answers",
    title="the cluster address answers on every node",
    why="One address, valid on every node, stands for all the pods behind it.",
    expect="HTTP 200 for every request to the cluster address",
    anchor="ask-the-cluster-address",
    vantage=NODES,
    verb=eventually(hold=Hold(samples=3, over=1.0)),
    traffic=Traffic.SOME,
    path=WAY,
)
def service_answers(look: Look) -> Seen:
    """Ask often enough that round robin reaches every backend."""
    address = service_at(look)
    answers = look.curl(f"http://{address}/", times=2 * facts.REPLICAS)
    counts = tally(str(answer) for answer in answers)
    if bad := worst(answers):
        raise Unmet(
            f"{spoken(counts)} from http://{address}/",
            fault=bad.fault,
            counts=counts,
            then=f"./l4lab path {look.vantage.name} {address}",
        )
    return Seen(f"{spoken(counts)} from {address}", counts)


@check(
    id="counters",
    title="the kernel's counters move with exactly the requests made",
    why="A counter that moves is proof that this row carried the request, and nothing else did.",
    expect="as many new connections in the row, and in its backends together, as requests",
    anchor="counters",
    vantage=NODES,
    verb=eventually(within=8, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY,
    mode="ipvs",
)
def counters(look: Look) -> Seen:
    """Count connections around a known number of requests."""
    address = service_at(look)
    before = at_rest(look, lambda: stats(look, address))
    if bad := worst(look.curl(f"http://{address}/", times=REQUESTS)):
        raise Unmet(f"a request failed: {bad}", fault=bad.fault)
    moved = stats(look, address).since(before)
    # The kernel brings these numbers up to date every two seconds only.
    for _ in range(20):
        if min(moved.total, sum(moved.backends.values())) >= REQUESTS:
            break
        look.pause(0.25)
        moved = stats(look, address).since(before)
    shares = {backend: count for backend, count in moved.backends.items() if count}
    if moved.total != REQUESTS or sum(shares.values()) != REQUESTS:
        raise Unmet(
            f"{moved.total} connections in the row, {sum(shares.values())} in its backends",
            expected=f"{REQUESTS} more connections after {REQUESTS} requests",
            counts=shares,
            causes=("somebody else sends requests to the Service from this node",),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln --stats --exact",
        )
    return Seen(f"{REQUESTS} requests, {moved.total} connections", shares)


@check(
    id="balance",
    title="requests are shared evenly between the pods",
    why="Round robin over equal weights gives each pod the same number of connections; mode "
    "nftables draws by chance, and comes near to it over many.",
    expect="each backend gets the same share, give or take one; by chance at least a fifth",
    anchor="balance",
    vantage=NODES,
    verb=eventually(within=6, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY,
)
def balance(look: Look) -> Seen:
    """Follow each connection to its backend through the kernel's connection table."""
    address = service_at(look)
    names = {f"{pod.address}:{facts.TARGET_PORT}": pod.name for pod in backends(look)}
    requests = sample(look, REQUESTS)
    answers = look.curl(f"http://{address}/", times=requests)
    if bad := worst(answers):
        raise Unmet(f"a request failed: {bad}", fault=bad.fault)
    chosen = chosen_backends(look, address, [answer.source for answer in answers])
    if len(chosen) != requests:
        raise CannotMeasure(f"{len(chosen)} of {requests} connections are in the kernel's table")
    counts = tally(chosen.values())
    for answer in answers:
        # The web server may name its pod: then both must tell the same story.
        told, pod = answer.served_by, names.get(chosen[answer.source])
        if pod is None or (told and told != pod):
            raise Unmet(
                f"the kernel chose {chosen[answer.source]} ({pod or 'no pod of the lab'}), "
                f"the answer came from {told or 'an unnamed pod'}",
                fault=Fault.WRONG_BACKEND,
                counts=counts,
            )
    shares = [counts.get(backend, 0) for backend in names]
    if not fair(look, shares):
        raise Unmet(
            f"{requests} requests: {spoken(counts)}",
            expected=f"about {requests // len(names)} for each of {', '.join(names)}",
            counts=counts,
            causes=("the weights differ", "another scheduler", "session affinity is on"),
            then=see(look, address),
        )
    return Seen(f"{requests} requests: {spoken(counts)}", counts)


_LOST_PACKET_SECONDS = 0.9
"""TCP sends a lost first packet again after one second; a healthy handshake needs milliseconds."""


@check(
    id="first-packet",
    title="the first packet to a pod on another node arrives",
    why="A SYN with a wrong checksum is dropped in silence and sent again a second later: "
    "everything works, but every new connection takes 1.02 s.",
    expect="no SYN is sent twice when connecting to pods on other nodes",
    anchor="first-packet",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def first_packet(look: Look) -> Seen:
    """Count retransmitted SYNs around connections that cross between nodes.

    The kernel's counter tells a lost packet from a slow machine; the time of the handshake tells
    our lost packet from somebody else's. Only both together are a failure.
    """
    remote = [pod for pod in backends(look) if pod.node != look.vantage.name]
    if not remote:
        raise NotHere("all pods are on this node: nothing crosses between nodes")
    address = service_at(look)
    before = _sent_again(look)
    answers = look.curl(f"http://{address}/", times=2 * facts.REPLICAS)
    again = _sent_again(look) - before
    if bad := worst(answers):
        raise Unmet(f"a request failed: {bad}", fault=bad.fault)
    slow = [one.connect_seconds for one in answers if one.connect_seconds > _LOST_PACKET_SECONDS]
    if slow and again:
        raise Unmet(
            f"{again} SYNs were sent twice; {len(slow)} of {len(answers)} connections took "
            f"{max(slow):.2f} s to open",
            fault=Fault.SLOW_CONNECT,
            then=f"./l4lab ssh {look.vantage.name} ethtool -k vxlan.calico",
        )
    slowest = max(one.connect_seconds for one in answers)
    return Seen(f"{len(answers)} connections, none slower than {slowest * 1000:.0f} ms")


def _sent_again(look: Look) -> int:
    result = look.run(["nstat", "-asz", "TcpExtTCPSynRetrans"])
    for line in result.stdout.splitlines():
        words = line.split()
        if words and words[0] == "TcpExtTCPSynRetrans":
            return int(words[1])
    raise CannotMeasure(f"nstat does not tell TcpExtTCPSynRetrans: {result.last_line}")
