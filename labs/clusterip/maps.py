"""What the kernel of every node holds in mode nftables: a map, and no address anywhere."""

from __future__ import annotations

import json

from l4lab.checks import API, NODES, ONCE, Look, Seen, Traffic, Unmet, check, eventually
from l4lab.checks.kernel import see, table
from l4lab.checks.network import spoken, tally, worst
from l4lab.checks.service import (
    chosen_backends,
    cluster_address,
    endpoints,
    kernel_row,
    same_backends,
)
from labs.clusterip import facts
from labs.clusterip.scene import WAY, backends, service_at

REQUESTS = 10


@check(
    id="nft-entry",
    title="the kernel of every node has the Service and both pods",
    why="Every node chooses for itself: the same map is in each kernel, and leads from the cluster "
    "address to a chain, and from there to one pod.",
    expect="an entry with the cluster address, and behind it exactly the endpoints",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:3],
    mode="nftables",
)
def entry(look: Look) -> Seen:
    """Hold the kernel's map against the pods, and against the EndpointSlice."""
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    found = kernel_row(look, service_at(look), protocol=facts.PROTOCOL)
    live = [backend.address for backend in found.live]
    same_backends("the nftables entry", live, wanted, then=see(look))
    same_backends("the nftables entry", live, endpoints(look.at(API), facts.SERVICE))
    chain = table(look).chains[facts.PROTOCOL, found.address]
    return Seen(f"{found.protocol} {found.address} -> {chain} -> {', '.join(sorted(live))}")


@check(
    id="nft-random",
    title="each connection is given to a pod by chance, without memory",
    why="The chain draws a random number for each new connection; all pods are equally likely.",
    expect="numgen random over all endpoints, and no affinity",
    anchor="kernel",
    vantage=NODES,
    mode="nftables",
)
def chance(look: Look) -> Seen:
    """Find the draw in the Service's chain."""
    found = kernel_row(look, service_at(look), protocol=facts.PROTOCOL)
    drawn = table(look).drawn.get(table(look).chains[facts.PROTOCOL, found.address])
    if drawn != len(found.live) or found.flags:
        raise Unmet(
            f"a draw over {drawn or 'nothing'}{f', {found.flags}' if found.flags else ''}",
            expected=f"a draw over {len(found.live)}",
            causes=("sessionAffinity is ClientIP", "kube-proxy has not caught up on this node"),
            then=see(look, found.address),
        )
    return Seen(f"numgen random mod {drawn}")


@check(
    id="no-interface",
    title="the cluster address sits on no interface at all",
    why="nftables rewrites a packet before it is routed, so nobody needs to have the address: "
    "what IPVS keeps on kube-ipvs0 is not there.",
    expect="the address on no interface, and no kube-ipvs0",
    anchor="kernel",
    vantage=NODES,
    mode="nftables",
)
def no_interface(look: Look) -> Seen:
    """Search all interfaces."""
    address = cluster_address(look.at(API), facts.SERVICE)
    links = json.loads(look.read(["ip", "-j", "-4", "address", "show"]).stdout)
    odd = [
        link["ifname"]
        for link in links
        if link["ifname"] == "kube-ipvs0"
        or any(entry.get("local") == address for entry in link.get("addr_info", []))
    ]
    if odd:
        raise Unmet(
            f"{address}: {', '.join(odd)}",
            causes=("mode ipvs has left it behind", "somebody gave the node the address"),
            then="./l4lab proxy nftables",
        )
    return Seen(f"{address} on no interface, no kube-ipvs0")


@check(
    id="tracked",
    title="the kernel has tracked exactly the requests made, each led to a pod",
    why="nftables counts nothing for a Service. The proof is the table of connections, where each "
    "stands with the address asked for and the address that answered.",
    expect="each request in the table, from the cluster address to one of the pods",
    anchor="counters",
    vantage=NODES,
    verb=eventually(within=8, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY,
    mode="nftables",
)
def tracked(look: Look) -> Seen:
    """Follow a known number of requests by their source ports."""
    address = service_at(look)
    answers = look.curl(f"http://{address}/", times=REQUESTS)
    if bad := worst(answers):
        raise Unmet(f"a request failed: {bad}", fault=bad.fault)
    chosen = chosen_backends(look, address, [answer.source for answer in answers])
    counts = tally(chosen.values())
    strange = set(counts) - {f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)}
    if len(chosen) != REQUESTS or strange:
        raise Unmet(
            f"{len(chosen)} of {REQUESTS} requests: {spoken(counts)}",
            counts=counts,
            then=f"./l4lab ssh {look.vantage.name} conntrack -L -d {address.partition(':')[0]}",
        )
    return Seen(f"{REQUESTS} requests tracked: {spoken(counts)}", counts)
