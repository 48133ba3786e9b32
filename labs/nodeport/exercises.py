"""The steps of the lab that change something: pods, the port, and a port that cannot be had."""

from __future__ import annotations

import json

from l4lab.checks import API, HOST, Fault, Look, Seen, Stage, Unmet, Vantage, Where, exercise
from l4lab.checks.kernel import NFTABLES, rows, see
from l4lab.checks.service import kernel_row, ready_pods
from labs.nodeport import facts
from labs.nodeport.objects import offered
from labs.nodeport.scene import at_node, on


def _live(stage: Stage, port: int) -> dict[str, list[str]]:
    """The backends of every node's row for a node port, by the node's name."""
    found = {}
    for node in stage.topology.nodes:
        row = kernel_row(on(stage, node), at_node(node, port))
        found[node.name] = sorted(backend.address for backend in row.live)
    return found


def _followed(stage: Stage, count: int) -> Seen:
    """Every node's kernel has so many pods behind both ports; its own alone, where it has any."""
    pods = ready_pods(stage.at(API), facts.LABELS, count=count)
    everywhere = sorted(f"{pod.address}:{facts.TARGET_PORT}" for pod in pods)
    of_node = {
        node.name: sorted(
            f"{pod.address}:{facts.TARGET_PORT}" for pod in pods if pod.node == node.name
        )
        for node in stage.topology.nodes
    }
    for name, live in _live(stage, facts.NODE_PORT).items():
        if live != everywhere:
            raise Unmet(f"{name} has {', '.join(live) or 'no backend'} at {facts.NODE_PORT}")
    for name, live in _live(stage, facts.LOCAL_NODE_PORT).items():
        # With no pod of its own a node of mode ipvs keeps all, for the sake of its own clients;
        # mode nftables sends those elsewhere, and has nothing for others.
        spare = [] if stage.mode == NFTABLES else everywhere
        if live != (of_node[name] or spare):
            raise Unmet(f"{name} has {', '.join(live) or 'no backend'} at {facts.LOCAL_NODE_PORT}")
    return Seen(f"{count} pods in every kernel")


def _scale(stage: Stage, count: int) -> None:
    stage.change("scale", f"deployment/{facts.DEPLOYMENT}", f"--replicas={count}")


def _faults(look: Look, port: int) -> dict[str, Fault | None]:
    """What each node says on that port to a host outside; None where it answers."""
    return {
        node.name: look.curl(f"http://{at_node(node, port)}/")[0].fault
        for node in look.topology.nodes
    }


def _says(stage: Stage, port: int, wanted: dict[str, Fault | None]) -> None:
    """Hold what each node says from outside against what it should say.

    kube-proxy of mode ipvs writes the rows before the ipsets whose members are masqueraded, so a
    node may have the port and not yet bring an answer back.

    Raises:
        Unmet: One goes on saying something else.
    """

    def as_wanted() -> Seen:
        for name, fault in _faults(stage.at(HOST), port).items():
            if fault is not wanted[name]:
                raise Unmet(
                    f"{name} on port {port}: {fault or 'it answers'}",
                    expected=str(wanted[name] or "it answers"),
                    then=see(stage.at(Vantage(Where.NODE, name))),
                )
        return Seen(f"every node on port {port} as expected")

    stage.wait(f"what all say on port {port}", as_wanted)


@exercise(
    id="scale-to-one",
    title="with one pod left all nodes still answer, but with policy Local only the pod's own",
    why="Where pods are is no client's business with policy Cluster; with Local it is.",
    expect="HTTP 200 from every node on the first port, from one node alone on the second",
    anchor="scale",
)
def scale_to_one(stage: Stage) -> Seen:
    """Scale to one, and ask every node on both ports."""
    ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)

    def back() -> None:
        _scale(stage, facts.REPLICAS)
        stage.wait("all pods again", lambda: _followed(stage, facts.REPLICAS))

    stage.undo(f"{facts.REPLICAS} replicas", back)
    _scale(stage, 1)
    stage.wait("one pod everywhere", lambda: _followed(stage, 1))
    (pod,) = ready_pods(stage.at(API), facts.LABELS, count=1)
    names = [node.name for node in stage.topology.nodes]
    _says(stage, facts.NODE_PORT, dict.fromkeys(names))
    local = {name: None if name == pod.node else Fault.TIMEOUT for name in names}
    _says(stage, facts.LOCAL_NODE_PORT, local)
    return Seen(f"all answer on {facts.NODE_PORT}, {pod.node} alone on {facts.LOCAL_NODE_PORT}")


def _move(stage: Stage, port: int) -> None:
    change = [{"op": "replace", "path": "/spec/ports/0/nodePort", "value": port}]
    stage.change("patch", "service", facts.SERVICE, "--type=json", "-p", json.dumps(change))


def _moved(stage: Stage, *, to: int, gone: int) -> Seen:
    for node in stage.topology.nodes:
        table = rows(on(stage, node))
        if (facts.PROTOCOL, at_node(node, gone)) in table:
            raise Unmet(f"{node.name} still has port {gone}")
        kernel_row(on(stage, node), at_node(node, to))
    return Seen(f"port {to} on every node")


@exercise(
    id="move-port",
    title="with another nodePort the old one is refused and the new one answers on every node",
    why="The port belongs to the Service, not to the nodes: one field changes all of them.",
    expect=f"REFUSED on {facts.NODE_PORT}, HTTP 200 on {facts.OTHER_NODE_PORT}",
    anchor="move-port",
)
def move_port(stage: Stage) -> Seen:
    """Give the Service another port, and ask every node on both."""

    def back() -> None:
        _move(stage, facts.NODE_PORT)
        stage.wait(
            "the lab's port again",
            lambda: _moved(stage, to=facts.NODE_PORT, gone=facts.OTHER_NODE_PORT),
        )

    stage.undo(f"nodePort {facts.NODE_PORT}", back)
    _move(stage, facts.OTHER_NODE_PORT)
    seen = stage.wait(
        "another port", lambda: _moved(stage, to=facts.OTHER_NODE_PORT, gone=facts.NODE_PORT)
    )
    names = [node.name for node in stage.topology.nodes]
    _says(stage, facts.OTHER_NODE_PORT, dict.fromkeys(names))
    _says(stage, facts.NODE_PORT, dict.fromkeys(names, Fault.REFUSED))
    return Seen(f"{seen.text}; {facts.NODE_PORT} is refused")


@exercise(
    id="port-out-of-range",
    title="a node port outside the range is refused",
    why="The range keeps node ports away from what listens on a node itself. A dry run would not "
    "tell: the range is asked only when a Service is really made.",
    expect=f"refused, and the range named: {facts.NODE_PORTS[0]}-{facts.NODE_PORTS[1]}",
    anchor="refused-ports",
)
def port_out_of_range(stage: Stage) -> Seen:
    """Ask for a port below the range and for one above it."""
    said = ""
    for port in facts.OUT_OF_RANGE:
        verdict = stage.offer(offered(port))
        said = verdict.message
        if verdict.accepted or f"{facts.NODE_PORTS[0]}-{facts.NODE_PORTS[1]}" not in said:
            raise Unmet(
                f"nodePort {port}: {said or 'it was given'}",
                causes=("the API server was started with another --service-node-port-range",),
                then="./l4lab kubectl get services",
            )
    return Seen(said)
