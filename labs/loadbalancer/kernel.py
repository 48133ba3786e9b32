"""What the kernel of every node holds for an address from outside."""

from __future__ import annotations

import json

from l4lab.checks import NODES, CannotMeasure, Look, Seen, Unmet, check
from l4lab.checks.service import kernel_row, same_backends
from labs.loadbalancer import facts
from labs.loadbalancer.scene import OURS, backends, outer

_SET = "KUBE-LOAD-BALANCER-SOURCE-CIDR"


@check(
    id="on-kube-ipvs0",
    title="kube-proxy binds both addresses on every node",
    why="As soon as an address is in a Service's status, kube-proxy treats it as its own: every "
    "node holds it, on kube-ipvs0, like a cluster address.",
    expect="both addresses on interface kube-ipvs0, and on nothing else",
    anchor="kernel",
    vantage=NODES,
    mode="ipvs",
)
def on_kube_ipvs0(look: Look) -> Seen:
    """Find the interfaces that carry them."""
    wanted = {outer(look, service) for service in OURS}
    links = json.loads(look.read(["ip", "-j", "-4", "address", "show"]).stdout)
    for address in sorted(wanted):
        holders = [
            link["ifname"]
            for link in links
            for entry in link.get("addr_info", [])
            if entry.get("local") == address
        ]
        if holders != ["kube-ipvs0"]:
            raise Unmet(
                f"{address} is on {', '.join(holders) or 'no interface'}",
                causes=("kube-proxy does not run on this node, or not in IPVS mode",),
                then=f"./l4lab ssh {look.vantage.name} ip address show kube-ipvs0",
            )
    return Seen(f"{', '.join(sorted(wanted))} on kube-ipvs0")


@check(
    id="ipvs-rows",
    title="each address has an IPVS row; with policy Local, a node's own pods alone",
    why="The row is made as for a cluster address. The policy decides which pods are in it; a node "
    "without a pod keeps all in its row, but only for its own requests.",
    expect="all pods behind the first address; behind the second this node's own, if it has any",
    anchor="kernel",
    vantage=NODES,
    mode="ipvs",
)
def rows(look: Look) -> Seen:
    """Hold both rows against the places of the pods."""
    pods = backends(look)
    here = [pod for pod in pods if pod.node == look.vantage.name]
    said = []
    for service, behind in ((facts.OPEN, pods), (facts.LOCAL, here or pods)):
        address = f"{outer(look, service)}:{facts.PORT}"
        row = kernel_row(look, address)
        same_backends(
            f"the row of {address}",
            [backend.address for backend in row.live],
            [f"{pod.address}:{facts.TARGET_PORT}" for pod in behind],
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln -t {address}",
        )
        said.append(f"{address} -> {len(behind)} pods")
    return Seen(", ".join(said))


@check(
    id="source-ranges",
    title="who may come in is an ipset on every node",
    why="In a cloud the balancer itself filters. Here every node does, in the firewall before "
    "IPVS: the ranges lie in an ipset, and what matches none is dropped.",
    expect="for the first address and its port exactly the ranges of the Service",
    anchor="source-ranges",
    vantage=NODES,
    mode="ipvs",
)
def source_ranges(look: Look) -> Seen:
    """Read the set."""
    address = outer(look, facts.OPEN)
    result = look.run(["ipset", "save", _SET])
    if not result.succeeded:
        raise CannotMeasure(f"ipset failed on {look.vantage}: {result.last_line}")
    key = f"{address},tcp:{facts.PORT},"
    members = [line.split()[2] for line in result.stdout.splitlines() if line.startswith("add ")]
    found = {one.removeprefix(key) for one in members if one.startswith(key)}
    wanted = {str(look.topology.networks.gateway)}
    if {one.removesuffix("/32") for one in found} != wanted:
        raise Unmet(
            f"{_SET} has {', '.join(sorted(found)) or 'nothing'} for {address}",
            expected=f"exactly {', '.join(wanted)}",
            causes=("loadBalancerSourceRanges was changed", "kube-proxy does not run here"),
            then=f"./l4lab ssh {look.vantage.name} ipset list {_SET}",
        )
    return Seen(f"{address} port {facts.PORT}: only {', '.join(sorted(found))}")
