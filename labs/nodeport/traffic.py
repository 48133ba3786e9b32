"""What happens to requests: inside as before, from outside through every node."""

from __future__ import annotations

from l4lab.checks import (
    DBHOST,
    HOST,
    NODES,
    Hold,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.kernel import see
from l4lab.checks.network import spoken, tally, worst
from labs.nodeport import facts
from labs.nodeport.scene import WAY, WAY_IN, at_node, service_at

OUTSIDE = (HOST, DBHOST)
"""On the node network, and no node of the cluster."""


@check(
    id="cluster-address",
    title="the cluster address still answers on every node",
    why="NodePort adds a way in and takes none away: inside, nothing changes.",
    expect="HTTP 200 for every request to the cluster address",
    anchor="cluster-address",
    vantage=NODES,
    verb=eventually(hold=Hold(samples=2, over=1.0)),
    traffic=Traffic.SOME,
    path=WAY,
)
def cluster_address(look: Look) -> Seen:
    """Ask often enough that round robin reaches every backend."""
    address = service_at(look)
    answers = look.curl(f"http://{address}/", times=2 * facts.REPLICAS)
    counts = tally(str(answer) for answer in answers)
    if bad := worst(answers):
        raise Unmet(
            f"{spoken(counts)} from http://{address}/",
            fault=bad.fault,
            counts=counts,
            then=see(look, address),
        )
    return Seen(f"{spoken(counts)} from {address}", counts)


@check(
    id="from-outside",
    title="every node answers on the node port, also a node without a pod",
    why="Each node's kernel knows all pods of the Service, so a client may ask any node.",
    expect=f"HTTP 200 from each node's address, port {facts.NODE_PORT}",
    anchor="outside",
    vantage=OUTSIDE,
    verb=eventually(hold=Hold(samples=2, over=1.0)),
    traffic=Traffic.SOME,
    path=WAY_IN,
)
def from_outside(look: Look) -> Seen:
    """Ask all nodes; what each said is told, not only what the first bad one said."""
    look.get("Service", facts.SERVICE)
    said, bad = {}, None
    for node in look.topology.nodes:
        answers = look.curl(f"http://{at_node(node)}/", times=facts.REPLICAS)
        said[node.name] = spoken(tally(str(answer) for answer in answers))
        bad = bad or worst(answers)
    text = "; ".join(f"{name}: {what}" for name, what in said.items())
    if bad:
        raise Unmet(
            text,
            fault=bad.fault,
            causes=("a firewall of that node drops or refuses the port",),
            then="./l4lab ssh NODE nft list ruleset",
        )
    return Seen(text)
