"""What can only be seen while it changes: a cluster address with no pod behind it."""

from __future__ import annotations

from l4lab.checks import API, Fault, Look, Seen, Stage, Unmet, Vantage, Where, exercise
from l4lab.checks.service import kernel_row, ready_pods

from . import facts
from .scene import joined, ping_argv, ping_outcome, service_at


def _nodes(stage: Stage) -> list[Look]:
    return [stage.at(Vantage(Where.NODE, node.name)) for node in stage.topology.nodes]


def _scaled(stage: Stage, count: int) -> Seen:
    """Every node's kernel has so many backends."""
    ready_pods(stage.at(API), facts.LABELS, count=count)
    address = f"{service_at(stage)}:{facts.PORT}"
    for node in _nodes(stage):
        live = kernel_row(node, address).live
        if len(live) != count:
            raise Unmet(f"{node.vantage.name}: {joined(one.address for one in live)}")
    return Seen(f"{count} backends on every node")


@exercise(
    id="ping-without-pods",
    title="with no pod left, a ping says the same as before",
    why="A proof must come out differently when the thing is broken. This one does not.",
    expect="on every node: the ping as before, while HTTP 200 has become REFUSED",
    anchor="ping",
)
def ping_without_pods(stage: Stage) -> Seen:
    """Ping and connect from every node, once with all pods and once with none."""
    ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
    deployment = f"deployment/{facts.DEPLOYMENT}"
    before = _outcomes(stage, None)

    def back() -> None:
        stage.change("scale", deployment, f"--replicas={facts.REPLICAS}")
        stage.wait(f"{facts.REPLICAS} backends again", lambda: _scaled(stage, facts.REPLICAS))

    stage.undo(f"{facts.REPLICAS} replicas", back)
    stage.change("scale", deployment, "--replicas=0")
    stage.wait("no backend anywhere", lambda: _scaled(stage, 0))

    def the_same() -> Seen:
        after = _outcomes(stage, Fault.REFUSED)
        if after != before:
            raise Unmet(f"{joined(before)}; without pods {joined(after)}", expected="no difference")
        return Seen(f"with and without pods: {joined(sorted(set(after)))}; HTTP 200, then REFUSED")

    return stage.wait("the ping as before", the_same)


def _outcomes(stage: Stage, fault: Fault | None) -> list[str]:
    """What a ping says on each node; a connection to the port must end with that fault."""
    address = service_at(stage)
    said = []
    for node in _nodes(stage):
        said.append(ping_outcome(node.run(ping_argv(address, 1))))
        answer = node.curl(f"http://{address}:{facts.PORT}/")[0]
        if answer.fault is not fault:
            raise Unmet(
                f"{node.vantage}: {answer}", fault=answer.fault, expected=fault or "HTTP 200"
            )
    return said
