"""The things every check of this lab looks at, all of them from ``facts`` and the topology."""

from __future__ import annotations

from l4lab.checks import API, Hop, Look, Vantage, Where
from l4lab.checks.path import to_service
from l4lab.checks.service import (
    Pod,
    cluster_address,
    endpoints,
    kernel_row,
    ready_pods,
    same_backends,
)
from l4lab.topology import Machine
from labs.nodeport import facts


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def service_at(look: Look) -> str:
    """``IP:port`` of the Service inside the cluster."""
    return f"{cluster_address(look.at(API), facts.SERVICE)}:{facts.PORT}"


def at_node(node: Machine, port: int = facts.NODE_PORT) -> str:
    """``IP:port`` that a node opens to the outside."""
    return f"{node.address}:{port}"


def on(look: Look, node: Machine) -> Look:
    """The same look from that node."""
    return look.at(Vantage(Where.NODE, node.name))


def own_machine(look: Look) -> Machine:
    """The node that is looked from."""
    return next(node for node in look.topology.nodes if node.name == look.vantage.name)


def _nodes_have_it(look: Look) -> str | None:
    for node in look.topology.nodes:
        row = kernel_row(on(look, node), at_node(node))
        live = [backend.address for backend in row.live]
        same_backends(f"the row of {node.name}", live, endpoints(look.at(API), facts.SERVICE))
    return None


WAY = to_service(
    service=facts.SERVICE,
    port=facts.PORT,
    target_port=facts.TARGET_PORT,
    labels=facts.LABELS,
    count=facts.REPLICAS,
)
"""The hops of a request to the cluster address."""

WAY_IN = (
    *WAY[:2],
    Hop(
        name="the kernels of the nodes",
        probe=_nodes_have_it,
        causes=(
            "the Service has another nodePort, or is not of type NodePort",
            "externalTrafficPolicy is Local, and the node has no pod",
            "kube-proxy has not brought that node's kernel up to date",
        ),
        then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
    ),
)
"""The hops of a request from outside."""
