"""What is different where kube-proxy runs in mode nftables: the address is nobody's."""

from __future__ import annotations

import json

from l4lab.checks import HOST, NODES, Fault, Look, Seen, Unmet, check
from l4lab.checks.kernel import rows, see
from l4lab.checks.service import same_backends
from labs.loadbalancer import facts
from labs.loadbalancer.scene import backends, outer


@check(
    id="nft-nobody",
    title="every node has rules for the address, but none says that it is there",
    why="In mode nftables kube-proxy binds no address, so nobody answers ARP for this one. What "
    "gives addresses must then announce them, too: MetalLB does, this lab's allocator does not.",
    expect="a rule with all pods on each node, on no interface the address, no answer outside",
    anchor="kernel",
    vantage=NODES,
    mode="nftables",
)
def nobody(look: Look) -> Seen:
    """Look into the table and at the interfaces, then ask from outside."""
    ip = outer(look, facts.OPEN)
    address = f"{ip}:{facts.PORT}"
    row = rows(look).get(("TCP", address))
    if row is None:
        raise Unmet(f"no rule for {address}", then=see(look))
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    live = [backend.address for backend in row.live]
    same_backends(f"the rule for {address}", live, wanted, then=see(look))
    links = json.loads(look.read(["ip", "-j", "-4", "address", "show"]).stdout)
    if holders := [
        link["ifname"]
        for link in links
        if ip in {entry.get("local") for entry in link.get("addr_info", [])}
    ]:
        raise Unmet(f"{ip} is on {', '.join(holders)}")
    host = look.at(HOST)
    # Since a time in mode ipvs it may remember the card of a node, which would answer at that.
    host.run(["ip", "neigh", "flush", "to", ip])
    answer = host.curl(f"http://{address}/")[0]
    if answer.fault not in (Fault.TIMEOUT, Fault.UNREACHABLE):
        raise Unmet(f"{answer} from http://{address}/ outside", fault=answer.fault)
    return Seen(f"{address} -> {len(live)} pods, on no interface; outside {answer.fault}")
