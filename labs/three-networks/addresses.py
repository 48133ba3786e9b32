"""Where the addresses of pods and Services are: in the pod alone, and on every node."""

from __future__ import annotations

from l4lab.checks import (
    NODES,
    ONCE,
    CannotMeasure,
    Fault,
    Hold,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)

from . import facts
from .scene import (
    CLIENT,
    WAY,
    backends,
    bound,
    client,
    joined,
    ping_argv,
    ping_outcome,
    route_to,
    service_at,
)

PINGS = 3


@check(
    id="pod-address-inside",
    title="a pod's address is on eth0 inside the pod",
    why="A pod has a network stack of its own; its address lives there, with prefix 32: "
    "it has no neighbours, and everything it sends goes to its node.",
    expect=f"the pod's address with prefix 32 on {facts.POD_LINK}, and a route for all the rest",
    anchor="pod-address",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def pod_address_inside(look: Look) -> Seen:
    """Compare what the pod has with what the API says."""
    address = client(look).address
    found = [one for one in bound(look) if one.link != "lo"]
    wanted = f"{address}/32 on {facts.POD_LINK}"
    if [str(one) for one in found] != [wanted]:
        raise Unmet(
            joined(found),
            expected=wanted,
            then=f"./l4lab kubectl exec {facts.CLIENT} -- ip -4 address",
        )
    return Seen(f"{wanted}; to a node: {route_to(look, str(look.topology.control_plane.address))}")


@check(
    id="pod-address-nowhere-else",
    title="no interface of any node has a pod's address, but every node has a route to it",
    why="On the pod's own node the route ends at the cable into the pod, on the others at the "
    "tunnel: a route is all that a node has of a pod.",
    expect="none of the lab's pod addresses on an interface, and for each a route: to a cable "
    "on the pod's own node, to the tunnel on the others",
    anchor="pod-address",
    vantage=NODES,
    verb=eventually(hold=Hold(samples=2, over=1.0)),
)
def pod_address_nowhere_else(look: Look) -> Seen:
    """Search all interfaces of the node, then ask its routes."""
    pods = [*backends(look), client(look)]
    here = {str(one.address): one for one in bound(look)}
    said = []
    for pod in pods:
        if pod.address in here:
            raise Unmet(
                f"{here[pod.address]}, although it is the address of pod {pod.name}",
                causes=("somebody gave this node the address of a pod",),
                then=f"./l4lab ssh {look.vantage.name} ip -4 -br address",
            )
        route = route_to(look, pod.address)
        near = pod.node == look.vantage.name
        right = route.link.startswith("cali") if near else route.link == facts.TUNNEL
        if route.local or not right:
            raise Unmet(
                f"{pod.address} ({pod.name} on {pod.node}): {route}",
                expected="a cable cali..." if near else f"{facts.TUNNEL}",
                causes=("calico-node does not run on this node", "somebody changed its routes"),
                then=f"./l4lab ssh {look.vantage.name} ip route",
            )
        said.append(f"{pod.address} {route}")
    return Seen(joined(said))


@check(
    id="cluster-address-on-nodes",
    title="the cluster address is on kube-ipvs0 of every node",
    why="It is often said that a cluster address is on no interface. Not so in IPVS mode: IPVS "
    "takes what arrives only if it is for the node itself, so each node is given all of them.",
    expect=f"the address on {facts.DUMMY} of this node and on nothing else",
    anchor="cluster-address",
    vantage=NODES,
    mode="ipvs",
)
def cluster_address_on_nodes(look: Look) -> Seen:
    """Find the interfaces that carry the address, and the route to it."""
    address = service_at(look)
    found = [one for one in bound(look) if str(one.address) == address]
    if [one.link for one in found] != [facts.DUMMY]:
        raise Unmet(
            f"{address}: {joined(found)}",
            causes=("kube-proxy does not run on this node, or not in IPVS mode",),
            then=f"./l4lab ssh {look.vantage.name} ip address show {facts.DUMMY}",
        )
    route = route_to(look, address)
    if not route.local:
        raise Unmet(f"{address}: {route}", expected="a local route: the node takes it for its own")
    return Seen(f"{found[0]}, {route}")


@check(
    id="cluster-address-not-in-pods",
    title="no pod has the cluster address",
    why="The pods that answer for a Service do not know its address: the node's kernel writes "
    "theirs into each packet before it arrives.",
    expect="the address on no interface of the pod, and a route out to the node",
    anchor="cluster-address",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def cluster_address_not_in_pods(look: Look) -> Seen:
    """Search the interfaces of the pod, then ask its route."""
    address = service_at(look)
    if found := [one for one in bound(look) if str(one.address) == address]:
        raise Unmet(joined(found))
    return Seen(f"{address}: {route_to(look, address)}")


@check(
    id="ping-proves-nothing",
    title="a ping of the cluster address gets no further than the node you ask from",
    why="The node has the address, so it deals with the ping itself: kube-proxy's rules refuse "
    "whatever is not a Service's port. No pod hears of it, so it says nothing about the Service.",
    expect="each ping turned down by this node itself, while HTTP gets 200 at the Service's port; "
    "REFUSED at a port the Service lacks",
    anchor="ping",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
    mode="ipvs",
)
def ping_proves_nothing(look: Look) -> Seen:
    """Count what this node's kernel says while it is pinged, then ask two ports."""
    address = service_at(look)
    before = _said(look)
    result = look.run(ping_argv(address, PINGS))
    said = _said(look) - before
    if said < PINGS:
        raise Unmet(
            f"{PINGS} pings, of which this node dealt with {said}: {ping_outcome(result)}",
            causes=(f"{address} is not on {facts.DUMMY} of this node",),
            then=f"./l4lab ssh {look.vantage.name} ip route get {address}",
        )
    fine, refused = (
        look.curl(f"http://{address}:{port}/")[0] for port in (facts.PORT, facts.NO_PORT)
    )
    if not fine.fine:
        raise Unmet(f"port {facts.PORT}: {fine}", fault=fine.fault)
    if refused.fault is not Fault.REFUSED:
        raise Unmet(
            f"port {facts.NO_PORT}: {refused}",
            fault=refused.fault,
            expected=f"REFUSED at port {facts.NO_PORT}, which the Service does not have",
        )
    return Seen(
        f"{ping_outcome(result)}, by {look.vantage.name} itself; port {facts.PORT}: {fine}, "
        f"port {facts.NO_PORT}: {refused}"
    )


def _said(look: Look) -> int:
    """How often this machine's kernel has answered a ping, or turned something down."""
    names = ("IcmpOutEchoReps", "IcmpOutDestUnreachs")
    result = look.run(["nstat", "-asz", *names])
    lines = [line.split() for line in result.stdout.splitlines()]
    found = [int(words[1]) for words in lines if words and words[0] in names]
    if len(found) != len(names):
        raise CannotMeasure(f"nstat does not tell {' and '.join(names)}: {result.last_line}")
    return sum(found)


@check(
    id="cluster-address-answers",
    title="at its port the cluster address is a way to the pods",
    why="An address with a port is a row in each kernel's table, with the pods behind it.",
    expect="HTTP 200 from every node",
    anchor="cluster-address",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def cluster_address_answers(look: Look) -> Seen:
    """Ask as often as there are pods."""
    url = f"http://{service_at(look)}:{facts.PORT}/"
    answers = look.curl(url, times=facts.REPLICAS)
    for answer in answers:
        if not answer.fine:
            raise Unmet(f"{url}: {answer}", fault=answer.fault)
    return Seen(f"{url}: {joined(sorted({one.served_by or 'HTTP 200' for one in answers}))}")
