"""What the kernel of every node holds in mode nftables: the port on the node's address alone."""

from __future__ import annotations

from l4lab.checks import (
    API,
    HOST,
    NODES,
    ONCE,
    Fault,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.kernel import connections, rows, see
from l4lab.checks.network import spoken, tally, worst
from l4lab.checks.service import endpoints, kernel_row, same_backends
from labs.nodeport import facts
from labs.nodeport.kernel import own_addresses
from labs.nodeport.scene import WAY, WAY_IN, at_node, backends, own_machine

REQUESTS = 4


@check(
    id="nft-ports",
    title="the kernel takes the node port on the node's one address, with both pods behind it",
    why="In mode nftables kube-proxy opens node ports on the primary address only, unless "
    "nodePortAddresses says otherwise; in mode ipvs it does so on all that the node has.",
    expect="an entry for the node's address and for no other, and in it exactly the endpoints",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:2],
    mode="nftables",
)
def ports(look: Look) -> Seen:
    """Hold the addresses that take the port against the node's, and the backends to the API."""
    look.get("Service", facts.SERVICE)
    own = at_node(own_machine(look))
    found = {
        address
        for protocol, address in rows(look)
        if protocol == facts.PROTOCOL and address.endswith(f":{facts.NODE_PORT}")
    }
    if found != {own}:
        raise Unmet(
            f"the port is taken at {', '.join(sorted(found)) or 'no address'}",
            expected=f"at {own}",
            causes=(
                "the Service has another nodePort, or is not of type NodePort",
                f"kube-proxy does not run on {look.vantage.name}, or has not caught up",
                "kube-proxy's nodePortAddresses names other addresses",
            ),
            then=see(look),
        )
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    live = [one.address for one in kernel_row(look, own, protocol=facts.PROTOCOL).live]
    same_backends(f"the entry of {own}", live, wanted, then=see(look))
    return Seen(f"{own} -> {', '.join(sorted(wanted))}")


@check(
    id="nft-localhost",
    title="neither 127.0.0.1 nor the tunnel's address answers on the node port",
    why="Rules take the port at the node's primary address only, and no process listens anywhere.",
    expect="HTTP 200 from the node's own address, REFUSED from all others of the node",
    anchor="localhost",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY_IN,
    mode="nftables",
)
def localhost(look: Look) -> Seen:
    """Ask the node's own address first: without it the refusals would prove nothing."""
    look.get("Service", facts.SERVICE)
    own = at_node(own_machine(look))
    if bad := worst(look.curl(f"http://{own}/")):
        raise Unmet(f"the node's own {own}: {bad}", fault=bad.fault)
    others = sorted({"127.0.0.1", *own_addresses(look)} - {own.partition(":")[0]})
    for address in others:
        answer = look.curl(f"http://{address}:{facts.NODE_PORT}/")[0]
        if answer.fault is not Fault.REFUSED:
            raise Unmet(
                f"{address}:{facts.NODE_PORT}: {answer}",
                fault=answer.fault,
                expected="REFUSED",
                causes=("a process of the node listens on that port",),
                then=f"./l4lab ssh {look.vantage.name} ss -ltnp",
            )
    return Seen(f"{own} HTTP 200; {', '.join(others)} REFUSED")


@check(
    id="nft-tracked",
    title="the requests from outside stand in the node's table of connections",
    why="Which address a client asked, and which pod was drawn for it, is one entry each.",
    expect=f"{REQUESTS} connections from this host to the node's port, each led to a pod",
    anchor="counters",
    vantage=NODES,
    verb=eventually(within=8, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY_IN,
    mode="nftables",
)
def tracked(look: Look) -> Seen:
    """Follow a known number of requests by their source ports."""
    port = at_node(own_machine(look))
    answers = look.at(HOST).curl(f"http://{port}/", times=REQUESTS)
    if bad := worst(answers):
        raise Unmet(f"a request from outside to {port} failed: {bad}", fault=bad.fault)
    sources = {answer.source for answer in answers}
    found = [one for one in connections(look) if one.virtual == port and one.source in sources]
    counts = tally(one.destination for one in found)
    strange = set(counts) - {f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)}
    if len(found) != REQUESTS or strange:
        raise Unmet(
            f"{len(found)} of {REQUESTS} requests: {spoken(counts)}",
            counts=counts,
            then=f"./l4lab ssh {look.vantage.name} conntrack -L -p tcp --dport {facts.NODE_PORT}",
        )
    return Seen(f"{REQUESTS} requests at {port}: {spoken(counts)}", counts)


@check(
    id="nft-local",
    title="with policy Local the node port leads to the node's own pods alone, or to nobody",
    why="So no packet from outside needs to cross to another node. Where mode ipvs keeps the pods "
    "of others in the row and lets the client hang, mode nftables drops the packet by a rule.",
    expect="behind the node port this node's pods and no others; behind the cluster address all",
    anchor="local",
    vantage=NODES,
    mode="nftables",
)
def local(look: Look) -> Seen:
    """Hold both entries of the second Service against the places of the pods."""
    cluster = look.get("Service", facts.LOCAL_SERVICE)["spec"].get("clusterIP", "")
    port = at_node(own_machine(look), facts.LOCAL_NODE_PORT)
    here = [pod for pod in backends(look) if pod.node == look.vantage.name]
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in here]
    outer = [one.address for one in kernel_row(look, port, protocol=facts.PROTOCOL).live]
    same_backends(f"the entry of {port}", outer, wanted, then=see(look))
    inner = [one.address for one in kernel_row(look, f"{cluster}:{facts.PORT}").live]
    same_backends(f"the entry of {cluster}", inner, endpoints(look.at(API), facts.LOCAL_SERVICE))
    return Seen(f"{port} -> {', '.join(wanted) or 'dropped'}; {cluster} -> {len(inner)} pods")


@check(
    id="nft-local-lost",
    title="a node without a pod serves itself, and drops what comes from outside",
    why="The policy is about clients outside. The node's own connections are let through to pods "
    "of other nodes; for others a rule says drop, so they wait for nothing.",
    expect="HTTP 200 to the node itself, TIMEOUT outside, and no entry for the latter",
    anchor="local-lost",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    mode="nftables",
)
def local_lost(look: Look) -> Seen:
    """Ask from the node and from outside; what is dropped is not tracked."""
    look.get("Service", facts.LOCAL_SERVICE)
    if look.vantage.name in {pod.node for pod in backends(look)}:
        raise NotHere("this node has a pod of its own")
    port = at_node(own_machine(look), facts.LOCAL_NODE_PORT)
    if bad := worst(look.curl(f"http://{port}/")):
        raise Unmet(f"the node asked its own {port}: {bad}", fault=bad.fault)
    answer = look.at(HOST).curl(f"http://{port}/")[0]
    client = f"{look.topology.networks.gateway}:"
    found = [one for one in connections(look) if one.virtual == port]
    tracked = [one for one in found if one.source.startswith(client)]
    if answer.fault is not Fault.TIMEOUT or tracked:
        raise Unmet(
            f"{answer} from {port} to a client outside, {len(tracked)} connections of it",
            fault=answer.fault,
            expected="TIMEOUT, and none",
            causes=("externalTrafficPolicy is not Local",),
            then=see(look),
        )
    return Seen("HTTP 200 on the node; from outside TIMEOUT, and nothing tracked")
