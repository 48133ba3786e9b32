"""What happens to requests from outside: who takes the address, who is let in, who is seen."""

from __future__ import annotations

import json
import re
import uuid

from l4lab.checks import (
    API,
    DBHOST,
    HOST,
    ONCE,
    CannotMeasure,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.network import spoken, tally, worst
from l4lab.checks.service import cluster_address
from labs.loadbalancer import facts
from labs.loadbalancer.arp import replies
from labs.loadbalancer.scene import backends, cards, on_node, outer

_SOON = eventually(hold=ONCE)
_SELECTOR = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_LOGS = ("logs", "-l", _SELECTOR, "-n", facts.NAMESPACE, "--tail=100")
_REQUESTS = 4


def _node_port(look: Look, service: str) -> int:
    ports = look.at(API).get("Service", service)["spec"]["ports"]
    found: int = ports[0].get("nodePort", 0)
    if not found:
        raise Unmet(f"Service {service} has no node port")
    return found


@check(
    id="pending-works",
    title="while it is pending, the Service works by node port and by cluster address",
    why="LoadBalancer contains NodePort, and that contains ClusterIP: the missing address takes "
    "nothing away from the other two.",
    expect="HTTP 200 from the node port of every node and from the cluster address on it",
    anchor="pending",
    vantage=HOST,
    verb=_SOON,
    traffic=Traffic.SOME,
)
def pending_works(look: Look) -> Seen:
    """Ask every node's port from outside, and the cluster address on the node itself."""
    port = _node_port(look, facts.PENDING)
    inner = cluster_address(look.at(API), facts.PENDING)
    for node in look.topology.nodes:
        for place, url in (
            (look, f"http://{node.address}:{port}/"),
            (on_node(look, node.name), f"http://{inner}:{facts.PORT}/"),
        ):
            if bad := worst(place.curl(url)):
                raise Unmet(
                    f"{url} from {place.vantage}: {bad}",
                    fault=bad.fault,
                    causes=("kube-proxy has not brought this node's kernel up to date",),
                    then=f"./l4lab ssh {node.name} ipvsadm -Ln",
                )
    return Seen(f"HTTP 200 from port {port} of every node, and from {inner} on each")


@check(
    id="outside-answers",
    title="a host outside the cluster reaches the Service by its address",
    why="The address is of the node network, so the host asks for it by ARP, like for a machine.",
    expect="HTTP 200 for every request, from all pods",
    anchor="outside",
    vantage=HOST,
    verb=_SOON,
    traffic=Traffic.SOME,
    mode="ipvs",
)
def outside_answers(look: Look) -> Seen:
    """Ask the first address from here."""
    address = outer(look, facts.OPEN)
    answers = look.curl(f"http://{address}:{facts.PORT}/", times=_REQUESTS)
    counts = tally(str(answer) for answer in answers)
    if bad := worst(answers):
        raise Unmet(
            f"{spoken(counts)} from http://{address}/",
            fault=bad.fault,
            counts=counts,
            causes=(
                "this host is not in loadBalancerSourceRanges",
                "no node holds the address",
                "the neighbour table still has a node that is gone",
            ),
            then=f"./l4lab exec ip neigh show {address}",
        )
    return Seen(f"{spoken(counts)} from {address}")


@check(
    id="who-answers-arp",
    title="every node says that the address is its own",
    why="All of them hold it, and Linux answers ARP for any address it has. MetalLB therefore "
    "wants strictARP and lets one node speak; this lab's allocator does not: the fastest wins.",
    expect="a reply from the network card of every node",
    anchor="arp",
    vantage=DBHOST,
    verb=_SOON,
    mode="ipvs",
)
def who_answers_arp(look: Look) -> Seen:
    """Ask by ARP from a machine that is no node, and gather all replies."""
    address = outer(look, facts.OPEN)
    known = cards(look)
    found = replies(look, address)
    names = {known.get(mac, mac) for mac in found}
    if names != set(known.values()):
        raise Unmet(
            f"{address} is at {', '.join(sorted(names)) or 'nobody'}",
            expected=f"replies of {', '.join(known.values())}",
            causes=(
                "strictARP, or arp_ignore, is set on a node",
                "a machine outside the cluster has the same address",
            ),
            then="./l4lab ssh NODE sysctl net.ipv4.conf.all.arp_ignore",
        )
    return Seen(f"{address} is at {', '.join(f'{known[mac]} ({mac})' for mac in found)}")


@check(
    id="neighbour",
    title="the outside host sends to one node, until its neighbour table says otherwise",
    why="There is no balancing between nodes: one of them gets everything and balances to the "
    "pods. When it dies, the entry must grow old or somebody must announce another one.",
    expect="the address in the neighbour table, with the network card of one node",
    anchor="arp",
    vantage=HOST,
    verb=_SOON,
    traffic=Traffic.SOME,
    mode="ipvs",
)
def neighbour(look: Look) -> Seen:
    """Ask once, then read the entry."""
    address = outer(look, facts.OPEN)
    if bad := worst(look.curl(f"http://{address}:{facts.PORT}/")):
        raise Unmet(f"http://{address}/: {bad}", fault=bad.fault)
    result = look.run(["ip", "-j", "neigh", "show", address])
    entries = json.loads(result.stdout or "[]") if result.succeeded else []
    known = cards(look)
    found = [known.get(entry.get("lladdr", ""), entry.get("lladdr", "?")) for entry in entries]
    if len(found) != 1 or found[0] not in known.values():
        raise Unmet(
            f"{address} is at {', '.join(found) or 'nobody'}",
            expected=f"one of {', '.join(known.values())}",
            causes=("a machine outside the cluster has the same address",),
            then=f"./l4lab exec ip neigh show {address}",
        )
    return Seen(f"{address} is at {found[0]}")


@check(
    id="refused-client",
    title="a client outside loadBalancerSourceRanges is dropped in silence",
    why="Dropped, not refused: the client waits, and cannot tell the filter from a lost packet.",
    expect="TIMEOUT at the first address, while a node port answers the same client",
    anchor="source-ranges",
    vantage=DBHOST,
    verb=_SOON,
    traffic=Traffic.SOME,
    mode="ipvs",
)
def refused_client(look: Look) -> Seen:
    """Prove that the nodes can be reached from here, then ask the address."""
    address = outer(look, facts.OPEN)
    node = look.topology.control_plane
    way_in = f"http://{node.address}:{_node_port(look, facts.PENDING)}/"
    if bad := worst(look.curl(way_in)):
        raise CannotMeasure(f"{way_in} does not answer either ({bad}), which proves nothing")
    answer = look.curl(f"http://{address}:{facts.PORT}/")[0]
    if answer.fault is not Fault.TIMEOUT:
        raise Unmet(
            f"{answer} from http://{address}/",
            fault=answer.fault,
            expected="TIMEOUT",
            causes=("loadBalancerSourceRanges was changed",),
            then=f"./l4lab kubectl get service {facts.OPEN} -o yaml",
        )
    return Seen(f"TIMEOUT at {address}; {way_in} answers")


def sources(look: Look, address: str) -> list[str]:
    """Ask ``address`` from here; the client addresses that the pods' logs have for it.

    Raises:
        Unmet: A request failed.
        CannotMeasure: The logs do not have the requests.
    """
    mark = f"l4lab-{uuid.uuid4().hex[:12]}"
    answers = look.curl(f"http://{address}:{facts.PORT}/?{mark}&", times=_REQUESTS)
    if bad := worst(answers):
        raise Unmet(f"http://{address}/: {bad}", fault=bad.fault)
    line = re.compile(rf"^(\d+(?:\.\d+){{3}}) .*\?{mark}\b", re.MULTILINE)
    found: list[str] = []
    for _ in range(10):
        logs = look.at(API).run(["kubectl", *_LOGS], shown=["kubectl", *_LOGS])
        found = line.findall(logs.stdout)
        if len(found) >= len(answers):
            return found
        look.pause(0.3)
    raise CannotMeasure(
        f"the pods' logs have {len(found)} of {len(answers)} requests",
        then=f"./l4lab kubectl logs -l {_SELECTOR}",
    )


@check(
    id="source-hidden",
    title="with policy Cluster the pods do not see who asked",
    why="The node may hand the request to a pod of another node, and the answer must come back "
    "through it: so it puts an address of its own in the client's place.",
    expect="in the pods' logs an address of a node or of its tunnel, never this host's",
    anchor="source",
    vantage=HOST,
    verb=_SOON,
    traffic=Traffic.SOME,
    mode="ipvs",
)
def source_hidden(look: Look) -> Seen:
    """Ask with a mark and find it in the logs."""
    address = outer(look, facts.OPEN)
    found = sources(look, address)
    client = str(look.topology.networks.gateway)
    if client in found:
        raise Unmet(
            f"the pods saw {spoken(tally(found))}",
            causes=("externalTrafficPolicy is Local: the client's address is kept",),
            then=f"./l4lab kubectl get service {facts.OPEN} -o yaml",
        )
    return Seen(f"the pods saw {spoken(tally(found))}, and {client} asked")


@check(
    id="health-check",
    title="with policy Local every node tells on a port of its own whether it has a pod",
    why="A real balancer asks healthCheckNodePort and sends nothing to nodes that say 503. "
    "This lab's allocator does not ask: the next exercise shows what comes of it.",
    expect="HTTP 200 from nodes with a pod of the lab, HTTP 503 from the others",
    anchor="local",
    vantage=HOST,
    verb=_SOON,
)
def health_check(look: Look) -> Seen:
    """Ask every node."""
    port = look.at(API).get("Service", facts.LOCAL)["spec"].get("healthCheckNodePort", 0)
    if not port:
        raise Unmet(
            f"{facts.LOCAL} has no healthCheckNodePort",
            causes=("externalTrafficPolicy is not Local",),
            then=f"./l4lab kubectl get service {facts.LOCAL} -o yaml",
        )
    busy = {pod.node for pod in backends(look)}
    said = []
    for node in look.topology.nodes:
        answer = look.curl(f"http://{node.address}:{port}/healthz")[0]
        wanted = 200 if node.name in busy else 503
        if answer.status != wanted:
            raise Unmet(
                f"{node.name} says {answer}",
                fault=answer.fault,
                expected=f"HTTP {wanted}",
                causes=("kube-proxy does not run there, or has not caught up",),
                then=f"./l4lab exec curl -s http://{node.address}:{port}/healthz",
            )
        said.append(f"{node.name} {answer.status}")
    return Seen(f"port {port}: {', '.join(said)}")
