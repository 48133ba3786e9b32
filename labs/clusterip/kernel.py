"""What the kernel of every node holds: in mode ipvs a table, and the address on kube-ipvs0.

What it holds in mode nftables is in ``maps``.
"""

from __future__ import annotations

import json

from l4lab.checks import API, NODES, Look, Seen, Unmet, check
from l4lab.checks.kernel import ASK_MODE, see, title
from l4lab.checks.service import cluster_address, endpoints, kernel_row, same_backends
from labs.clusterip import facts
from labs.clusterip.scene import WAY, backends, service_at


@check(
    id="proxy-mode",
    title="kube-proxy runs on every node, in the mode of the cluster",
    why="No process carries the packets: kube-proxy only tells the kernel, and must run for that.",
    expect="kube-proxy answers, on every node with the same mode",
    anchor="kernel",
    vantage=NODES,
)
def proxy_mode(look: Look) -> Seen:
    """Ask kube-proxy itself; it answers on the node's loopback only."""
    result = look.run(ASK_MODE)
    if result.stdout.strip() != look.mode:
        raise Unmet(
            result.stdout.strip() or result.last_line or "no answer",
            causes=("kube-proxy does not run on this node", "it runs in another mode"),
            then="./l4lab kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide",
        )
    return Seen(look.mode)


@check(
    id="ipvs-row",
    title="the kernel of every node has the Service and both pods",
    why="Every node balances for itself: the same table is in each kernel.",
    expect="a row with the cluster address, and behind it exactly the endpoints",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:3],
    mode="ipvs",
)
def row(look: Look) -> Seen:
    """Hold the kernel's table against the EndpointSlice, and that against the pods."""
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    found = kernel_row(look, service_at(look), protocol=facts.PROTOCOL)
    live = [backend.address for backend in found.live]
    same_backends(f"the {title(look)} row", live, wanted, then=see(look))
    same_backends(f"the {title(look)} row", live, endpoints(look.at(API), facts.SERVICE))
    return Seen(f"{found.protocol} {found.address} -> {', '.join(sorted(live))}")


@check(
    id="ipvs-scheduler",
    title="the scheduler is round robin, without persistence",
    why="Round robin hands each new connection to the next backend in turn.",
    expect="rr and no flag",
    anchor="kernel",
    vantage=NODES,
    mode="ipvs",
)
def scheduler(look: Look) -> Seen:
    """Read the scheduler of the row."""
    found = kernel_row(look, service_at(look), protocol=facts.PROTOCOL)
    said = f"{found.scheduler} {found.flags}".strip()
    if said != "rr":
        raise Unmet(
            said or "none",
            causes=(
                "somebody set it with ipvsadm -E on this node",
                "sessionAffinity is ClientIP (flag persistent)",
                "kube-proxy's configuration names another scheduler",
            ),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln -t {found.address}",
        )
    return Seen("rr")


@check(
    id="ipvs-masq",
    title="both pods take part alike: forwarded by Masq, weight 1",
    why="Masq rewrites the destination to the pod's address; equal weights mean equal shares.",
    expect="Masq and weight 1 for each backend",
    anchor="kernel",
    vantage=NODES,
    mode="ipvs",
)
def masq(look: Look) -> Seen:
    """Read forwarding and weight of each backend."""
    found = kernel_row(look, service_at(look), protocol=facts.PROTOCOL)
    if not found.live:
        raise Unmet("the row has no backend", then="./l4lab kubectl get endpointslices")
    odd = [one for one in found.live if (one.forward, one.weight) != ("Masq", 1)]
    if odd:
        raise Unmet("; ".join(f"{one.address} {one.forward} {one.weight}" for one in odd))
    return Seen(f"Masq 1 for {len(found.live)} backends")


@check(
    id="kube-ipvs0",
    title="the cluster address sits on kube-ipvs0 of every node, and on nothing else",
    why="IPVS takes only packets for local addresses, so kube-proxy gives each node the address: "
    "a ping to it is dealt with by that very node, and proves nothing.",
    expect="the address on interface kube-ipvs0 alone",
    anchor="kernel",
    vantage=NODES,
    mode="ipvs",
)
def dummy_interface(look: Look) -> Seen:
    """Find the interfaces that carry the address."""
    address = cluster_address(look.at(API), facts.SERVICE)
    found = json.loads(look.read(["ip", "-j", "-4", "address", "show"]).stdout)
    holders = [
        link["ifname"]
        for link in found
        for entry in link.get("addr_info", [])
        if entry.get("local") == address
    ]
    if holders != ["kube-ipvs0"]:
        raise Unmet(
            f"{address} is on {', '.join(holders) or 'no interface'}",
            causes=("kube-proxy does not run on this node, or not in IPVS mode",),
            then=f"./l4lab ssh {look.vantage.name} ip address show kube-ipvs0",
        )
    return Seen(f"{address} on kube-ipvs0")
