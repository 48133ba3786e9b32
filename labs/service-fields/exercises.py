"""What a dry run does not tell: it asks no allocator, and it cannot know what pods there are."""

from __future__ import annotations

from collections.abc import Mapping

from l4lab.checks import API, Fault, Seen, Stage, Unmet, Vantage, Where, exercise
from l4lab.checks.service import endpoints, ready_pods

from . import facts
from .refusals import copy_of
from .scene import Json, address_of, joined


def _refused_for_real(stage: Stage, manifest: Json, says: str) -> Seen:
    """A dry run lets the object pass; only when it is really made, is it refused."""
    tried = stage.dry_run(manifest)
    if not tried.accepted:
        raise Unmet(f"the dry run: {tried.message}", expected="accepted by the dry run")
    verdict = stage.offer(manifest)
    if verdict.accepted or says not in verdict.message:
        raise Unmet(verdict.message or "accepted", expected=f"refused, with {says!r}")
    return Seen(f"the dry run accepts it; really made: {says}")


@exercise(
    id="taken-cluster-ip",
    title="a taken clusterIP is refused, but not by a dry run",
    why="A dry run takes nothing from the allocator of addresses, so it does not ask it either.",
    expect="accepted by the dry run; refused when really made, as already allocated",
    anchor="cluster-ip",
)
def taken_cluster_ip(stage: Stage) -> Seen:
    """Ask for the address that another Service has."""
    taken = address_of(stage, facts.CHOSEN)
    return _refused_for_real(
        stage,
        copy_of(stage, facts.AUTO, {"clusterIP": taken}),
        f"failed to allocate IP {taken}: provided IP is already allocated",
    )


@exercise(
    id="node-port-out-of-range",
    title="a node port outside the range is refused, but not by a dry run",
    why="The range belongs to the allocator too: a dry run only asks it which ports are taken.",
    expect="accepted by the dry run; refused when really made, with the valid range",
    anchor="type",
)
def node_port_out_of_range(stage: Stage) -> Seen:
    """Ask for a port below the range."""
    low, high = facts.NODE_PORTS
    ports = [{"port": facts.PORT, "nodePort": facts.BELOW_NODE_PORTS}]
    return _refused_for_real(
        stage,
        copy_of(stage, facts.NODE, {"ports": ports}),
        f"provided port is not in the valid range. The range of valid ports is {low}-{high}",
    )


def _taken_but_empty(stage: Stage, change: Mapping[str, object]) -> Seen:
    """Really make a Service that nothing is wrong with, except that no pod is behind it."""
    ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
    verdict = stage.offer(copy_of(stage, facts.AUTO, dict(change)))
    if not verdict.accepted:
        raise Unmet(verdict.message, expected="accepted")
    address = address_of(stage, facts.TRIED)
    node = stage.at(Vantage(Where.NODE, stage.topology.workers[0].name))

    def refused() -> Seen:
        if found := endpoints(stage.at(API), facts.TRIED):
            raise Unmet(f"it has {joined(found)}", expected="no endpoint with a port")
        answer = node.curl(f"http://{address}:{facts.PORT}/")[0]
        if answer.fault is not Fault.REFUSED:
            raise Unmet(f"{node.vantage}: {answer}", fault=answer.fault, expected="REFUSED")
        return Seen(f"accepted, no endpoint with a port, REFUSED at {address}:{facts.PORT}")

    return stage.wait("a Service without endpoints", refused)


@exercise(
    id="unknown-target-port",
    title="a targetPort name that no pod has is accepted, and nobody answers",
    why="The API server knows no pods when it reads a Service: the name is looked up later, in "
    "each pod, and found nowhere.",
    expect="accepted; no endpoint with a port, and REFUSED",
    anchor="port",
)
def unknown_target_port(stage: Stage) -> Seen:
    """Make a Service with a misspelled port name."""
    wrong = facts.CONTAINER_PORT_NAME + "s"
    return _taken_but_empty(stage, {"ports": [{"port": facts.PORT, "targetPort": wrong}]})


@exercise(
    id="unknown-selector",
    title="a selector that no pod matches is accepted, and nobody answers",
    why="The commonest mistake of all gives no error: only the missing endpoints tell.",
    expect="accepted; no endpoint, and REFUSED",
    anchor="selector",
)
def unknown_selector(stage: Stage) -> Seen:
    """Make a Service with a misspelled selector."""
    return _taken_but_empty(stage, {"selector": {"run": "field"}})
