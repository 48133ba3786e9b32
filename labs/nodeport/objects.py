"""What the API says: the pods and where they are, the two Services."""

from __future__ import annotations

from typing import Any

from l4lab.checks import API, ONCE, Look, Seen, Unmet, check, eventually
from l4lab.checks.diff import differences
from l4lab.checks.look import Json
from labs.nodeport import facts
from labs.nodeport.scene import backends


@check(
    id="pods",
    title="the pods are ready, and at least one node has none",
    why="Only a node without a pod shows that a node port is not tied to a pod's own node.",
    expect=f"{facts.REPLICAS} ready pods, and a node on which none of them is",
    anchor="pods",
    vantage=API,
)
def pods(look: Look) -> Seen:
    """Find the nodes the pods are on, and those they are not on."""
    taken = sorted({pod.node for pod in backends(look)})
    empty = [node.name for node in look.topology.nodes if node.name not in taken]
    if not empty:
        raise Unmet(
            f"pods are on {', '.join(taken)}: that is every node",
            causes=("the Deployment was scaled, or the control plane was opened for pods",),
            then="./l4lab kubectl get pods -o wide",
        )
    return Seen(f"pods on {', '.join(taken)}; none on {', '.join(empty)}")


def same_service(look: Look, name: str, *, node_port: int, policy: str) -> Seen:
    """Hold the fields that the lab is about against the Service."""
    port = {
        "port": facts.PORT,
        "targetPort": facts.TARGET_PORT,
        "protocol": facts.PROTOCOL,
        "nodePort": node_port,
    }
    wanted: dict[str, Any] = {
        "type": "NodePort",
        "ports": [port],
        "selector": facts.LABELS,
        "externalTrafficPolicy": policy,
    }
    if lines := differences(wanted, look.get("Service", name)["spec"]):
        raise Unmet(
            "\n".join(lines),
            causes=("the Service was changed after it was deployed",),
            then=f"./l4lab kubectl get service {name} -o yaml",
        )
    return Seen(f"NodePort {node_port}, {facts.PORT} to {facts.TARGET_PORT}, {policy}")


@check(
    id="service-fields",
    title="the Service is of type NodePort, with the node port of the lab",
    why="A NodePort Service is a ClusterIP Service with one port more, the same on every node.",
    expect=f"type NodePort, nodePort {facts.NODE_PORT}, externalTrafficPolicy Cluster",
    anchor="service",
    vantage=API,
)
def service_fields(look: Look) -> Seen:
    """Compare the fields of the first Service."""
    return same_service(look, facts.SERVICE, node_port=facts.NODE_PORT, policy="Cluster")


def offered(port: int) -> Json:
    """A Service with that node port, made only to be refused."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": facts.OFFERED, "namespace": facts.NAMESPACE},
        "spec": {"type": "NodePort", "ports": [{"port": facts.PORT, "nodePort": port}]},
    }


@check(
    id="port-taken",
    title="a node port that a Service has is not given to a second one",
    why="A node port is the same on all nodes and for all namespaces, so it can be given only "
    "once: in a classroom with one cluster each student needs a port of their own.",
    expect="the API server refuses both ports of the lab as allocated",
    anchor="refused-ports",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def port_taken(look: Look) -> Seen:
    """Ask for one more Service with each of the lab's two ports, without making it."""
    for port in (facts.NODE_PORT, facts.LOCAL_NODE_PORT):
        verdict = look.dry_run(offered(port))
        if verdict.accepted or "already allocated" not in verdict.message:
            raise Unmet(
                f"nodePort {port}: {verdict.message or 'it would be given away again'}",
                expected=f"nodePort {port} is refused as already allocated",
                causes=("the lab's Service has another nodePort, or none",),
                then="./l4lab kubectl get services -A",
            )
    return Seen(verdict.message)
