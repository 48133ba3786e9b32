"""Who reaches what: nodes and pods reach all three networks, a host outside only the nodes."""

from __future__ import annotations

from l4lab.checks import (
    DBHOST,
    HOST,
    NODES,
    ONCE,
    CannotMeasure,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    consistently,
    eventually,
)
from l4lab.checks.look import as_typed
from l4lab.checks.path import outside_reason

from . import facts
from .scene import CLIENT, WAY, backends, joined, service_at


def _addresses(look: Look) -> tuple[dict[str, str], dict[str, str]]:
    """URLs of the nodes, and of the lab's pods and Service, by what they are."""
    nodes = {
        f"node {node.name}": f"https://{node.address}:{facts.KUBELET_PORT}/healthz"
        for node in look.topology.nodes
    }
    pods = {
        f"pod {pod.name}": f"http://{pod.address}:{facts.CONTAINER_PORT}/" for pod in backends(look)
    }
    service = {f"Service {facts.SERVICE}": f"http://{service_at(look)}:{facts.PORT}/"}
    return nodes, pods | service


def _all_reached(look: Look) -> Seen:
    nodes, others = _addresses(look)
    for what, url in (nodes | others).items():
        answer = look.curl(url)[0]
        # Any answer will do: kubelet lets nobody in who has no certificate.
        if not answer.status:
            raise Unmet(
                f"{what} ({url}): {answer}",
                fault=answer.fault,
                causes=("a firewall rule drops the packets", "a route is missing on a node"),
                then=as_typed(look.vantage, ["curl", "-k", url]),
            )
    return Seen(f"{len(nodes)} nodes, {len(others) - 1} pods and the Service all answer")


@check(
    id="from-nodes",
    title="a node reaches nodes, pods and cluster addresses",
    why="A node has a card in the first network, routes into the second, a table for the third.",
    expect="an answer from every node, every pod of the lab, and the Service",
    anchor="who-reaches-what",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def from_nodes(look: Look) -> Seen:
    """Ask all of them."""
    return _all_reached(look)


@check(
    id="from-a-pod",
    title="a pod reaches nodes, pods and cluster addresses",
    why="Whatever a pod sends goes to its node first, so it reaches all that its node reaches.",
    expect="an answer from every node, every pod of the lab, and the Service",
    anchor="who-reaches-what",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def from_a_pod(look: Look) -> Seen:
    """Ask all of them."""
    return _all_reached(look)


@check(
    id="from-outside",
    title="a host outside the cluster reaches nodes, but neither pods nor cluster addresses",
    why="The last two networks exist in the kernels of the nodes only: a neighbour on the node "
    "network has no route to them, and nobody on the way who would know one.",
    expect="an answer from every node, and none from any pod or the Service",
    anchor="who-reaches-what",
    vantage=(HOST, DBHOST),
    verb=consistently(for_=0),
)
def from_outside(look: Look) -> Seen:
    """Prove that the nodes can be reached from here, then ask the others."""
    nodes, others = _addresses(look)
    for what, url in nodes.items():
        near = look.curl(url)[0]
        if not near.status:
            raise CannotMeasure(
                f"{what} itself cannot be reached from here ({near}), which proves nothing",
                then="./l4lab status",
            )
    seen = []
    for what, url in others.items():
        answer = look.curl(url)[0]
        address = url.split("/")[2].partition(":")[0]
        route = outside_reason(look, address)
        if answer.fault not in (Fault.TIMEOUT, Fault.UNREACHABLE):
            raise Unmet(
                f"{what}: {answer} from {url}, over {route}",
                fault=answer.fault,
                expected="no way there at all: TIMEOUT or UNREACHABLE",
                causes=("this place has a route into the cluster's own networks",),
                then=as_typed(look.vantage, ["ip", "route", "get", address]),
            )
        seen.append(f"{what} {answer.fault}")
    return Seen(f"{len(nodes)} nodes answer; {joined(seen)}")
