"""The way of a packet between pods of two nodes: wrapped in another, from node to node."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

from l4lab.checks import (
    NODES,
    ONCE,
    CannotMeasure,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    Vantage,
    Where,
    check,
    eventually,
)
from l4lab.checks.network import worst
from l4lab.checks.service import Pod

from . import facts
from .scene import (
    CLIENT,
    WAY,
    backends,
    bound,
    client,
    joined,
    machine_of,
    route_to,
    tunnel_address,
)

_CALICO = "./l4lab kubectl get pods -n kube-system -l k8s-app=calico-node -o wide"


@check(
    id="tunnel",
    title="every node has an end of the tunnel, with an address of the pod network",
    why="A VXLAN interface wraps whole packets into UDP between nodes, so the network between "
    "the machines needs to know nothing of pods.",
    expect=f"{facts.TUNNEL}: VXLAN to port {facts.TUNNEL_PORT}, from the node's own address, "
    "itself with an address of the pod network",
    anchor="path",
    vantage=NODES,
    verb=eventually(hold=ONCE),
)
def tunnel(look: Look) -> Seen:
    """Read the interface's kind, its settings and its address."""
    shown = ["ip", "-d", "link", "show", facts.TUNNEL]
    result = look.run(["ip", "-j", "-d", "link", "show", facts.TUNNEL], shown=shown)
    if not result.succeeded:
        raise Unmet(f"there is no {facts.TUNNEL}: {result.last_line}", then=_CALICO)
    info = json.loads(result.stdout)[0].get("linkinfo", {})
    data = info.get("info_data", {})
    found = (info.get("info_kind"), data.get("local"), data.get("port"))
    wanted = ("vxlan", str(machine_of(look).address), facts.TUNNEL_PORT)
    if found != wanted:
        raise Unmet(joined(found), expected=joined(wanted), then=_CALICO)
    address = tunnel_address(look, look.vantage.name)
    if IPv4Address(address) not in look.topology.networks.pods:
        raise Unmet(f"{address} is not in {look.topology.networks.pods}", then=_CALICO)
    return Seen(f"{address} on {facts.TUNNEL}, from {wanted[1]} to UDP port {facts.TUNNEL_PORT}")


@check(
    id="route-to-far-pods",
    title="the route to a pod of another node leads through that node's end of the tunnel",
    why="Each node's share of the pod network is one route: via the tunnel's address on the node "
    "that has the share. A table says which machine has that end.",
    expect="each far pod: via the address of its node's tunnel, and that behind its node's address",
    anchor="path",
    vantage=NODES,
    verb=eventually(hold=ONCE),
)
def route_to_far_pods(look: Look) -> Seen:
    """Follow route, neighbour and forwarding table to the machine they end at."""
    said = []
    for pod in _far(look):
        route, end = route_to(look, pod.address), tunnel_address(look, pod.node)
        then = f"./l4lab ssh {look.vantage.name} ip route get {pod.address}"
        if (route.link, route.via) != (facts.TUNNEL, end):
            raise Unmet(
                f"{pod.address} on {pod.node}: {route}",
                expected=f"via {end} dev {facts.TUNNEL}",
                causes=("calico-node does not run on this node",),
                then=then,
            )
        machine, behind = look.topology.machine(pod.node), _machine_behind(look, end)
        if machine is None or behind != str(machine.address):
            raise Unmet(f"{end} is behind {behind}", expected=f"behind {pod.node}", then=then)
        said.append(f"{pod.address} via {end} behind {behind}")
    return Seen(joined(said))


def _machine_behind(look: Look, end: str) -> str:
    """The node address to which packets for a far end of the tunnel are sent."""
    table = json.loads(look.read(["ip", "-j", "neigh", "show", "dev", facts.TUNNEL]).stdout)
    cards = {entry["dst"]: entry.get("lladdr") for entry in table}
    forwards = json.loads(look.read(["bridge", "-j", "fdb", "show", "dev", facts.TUNNEL]).stdout)
    return next(
        (one["dst"] for one in forwards if one.get("mac") == cards.get(end) and "dst" in one),
        "nobody",
    )


def _far(look: Look) -> list[Pod]:
    """The lab's pods that are not on this node.

    Raises:
        NotHere: All are.
    """
    far = [pod for pod in backends(look) if pod.node != look.vantage.name]
    if not far:
        raise NotHere("all pods are on this node: nothing crosses between nodes")
    return far


@check(
    id="outer-packet",
    title="between two nodes a pod's packet travels inside a UDP packet of the nodes",
    why="The network between the machines sees only node addresses: it delivers pod packets "
    "without knowing that there are pods.",
    expect=f"on the network card, UDP to port {facts.TUNNEL_PORT} between the two node addresses, "
    "with the pod's address inside",
    anchor="path",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def outer_packet(look: Look) -> Seen:
    """Catch one packet for a far pod on the network card, while the pod is asked."""
    pod = _far(look)[0]
    machine, other = machine_of(look), look.topology.machine(pod.node)
    if other is None:
        raise CannotMeasure(f"{pod.node} is no machine of the cluster", final=True)
    card = next((one.link for one in bound(look) if one.address == machine.address), "any")
    # Behind the outer UDP header (8) come VXLAN's (8), Ethernet's (14), and 16 bytes of IP.
    only = f"udp dst port {facts.TUNNEL_PORT} and udp[46:4] = {int(IPv4Address(pod.address)):#x}"
    # Ask until a packet is caught: nobody knows when tcpdump has begun to listen.
    script = (
        f"timeout 8 tcpdump -nn -c 1 -i {card} '{only}' & "
        "while kill -0 $! 2>/dev/null; do "
        f"curl -s -o /dev/null -m 2 http://{pod.address}:{facts.CONTAINER_PORT}/; sleep 0.2; done"
    )
    result = look.run(["sh", "-c", script], shown=["tcpdump", "-nn", "-c", "1", "-i", card, only])
    caught = " ".join(result.stdout.split())
    if not caught:
        raise Unmet(
            f"no packet for {pod.address} left by {card}",
            causes=("packets to that node do not go through the tunnel",),
            then=f"./l4lab ssh {look.vantage.name} ip route get {pod.address}",
        )
    outer, _, inner = caught.partition("VXLAN")
    if f"{machine.address}." not in outer or f"> {other.address}.{facts.TUNNEL_PORT}" not in outer:
        raise Unmet(outer, expected=f"{machine.address} > {other.address}.{facts.TUNNEL_PORT}")
    end = tunnel_address(look, look.vantage.name)
    if f"{end}." not in inner or f"> {pod.address}.{facts.CONTAINER_PORT}" not in inner:
        raise Unmet(inner, expected=f"{end} > {pod.address}.{facts.CONTAINER_PORT}")
    return Seen(
        f"outside {machine.address} > {other.address}, inside {end} > {pod.address} on {card}"
    )


@check(
    id="pod-to-pod",
    title="between pods both addresses stay as they are",
    why="No address is translated on the way: a pod sees who really asks. Only the way back "
    "through a Service's address needs the kernel to change one.",
    expect="in the connection table of the other pod's node: from pod to pod, and back the same",
    anchor="path",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def pod_to_pod(look: Look) -> Seen:
    """Ask a pod on another node, then find the connection in that node's kernel."""
    own = client(look)
    pod = next((one for one in backends(look) if one.node != own.node), None)
    if pod is None:
        raise NotHere("all pods are on one node: nothing crosses between nodes")
    answers = look.curl(f"http://{pod.address}:{facts.CONTAINER_PORT}/")
    if bad := worst(answers):
        raise Unmet(f"{pod.name} on {pod.node}: {bad}", fault=bad.fault)
    source, _, port = answers[0].source.partition(":")
    there = look.at(Vantage(Where.NODE, pod.node))
    words = ["conntrack", "-L", "-p", "tcp", "--sport", port, "-d", pod.address]
    result = there.run(words)
    entry = next((line for line in result.stdout.splitlines() if f"sport={port}" in line), "")
    # Two lines of addresses: as it came, and as the answer must look to belong to it.
    if f"src={source} dst={pod.address}" not in entry:
        raise Unmet(f"on {pod.node}: {entry or result.last_line or 'no such connection'}")
    if source != own.address or f"src={pod.address} dst={source}" not in entry:
        raise Unmet(
            f"{pod.node} sees {source}: {' '.join(entry.split())}",
            expected=f"{own.address} and {pod.address}, untranslated",
            causes=("a rule translates addresses between pods (masquerade)",),
        )
    return Seen(f"{own.name} {source} on {own.node} -> {pod.name} {pod.address} on {pod.node}")
