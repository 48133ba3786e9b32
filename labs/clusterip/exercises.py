"""The steps of the lab that change something: endpoints and kernels must follow."""

from __future__ import annotations

from l4lab.checks import API, Look, Seen, Stage, Unmet, Vantage, Where, exercise
from l4lab.checks.kernel import see, title
from l4lab.checks.model import Fault
from l4lab.checks.network import spoken, tally
from l4lab.checks.service import cluster_address, endpoints, kernel_row, pods, ready_pods
from labs.clusterip import facts
from labs.clusterip.scene import service_at


def _nodes(stage: Stage) -> list[Look]:
    return [stage.at(Vantage(Where.NODE, node.name)) for node in stage.topology.nodes]


def _followed(stage: Stage, count: int) -> Seen:
    """All stages agree on ``count`` backends: pods, EndpointSlice, and every node's kernel."""
    api = stage.at(API)
    wanted = sorted(
        f"{pod.address}:{facts.TARGET_PORT}" for pod in ready_pods(api, facts.LABELS, count=count)
    )
    named = sorted(endpoints(api, facts.SERVICE))
    if named != wanted:
        raise Unmet(f"the EndpointSlice has {', '.join(named) or 'no endpoint'}")
    address = service_at(stage)
    for node in _nodes(stage):
        live = sorted(one.address for one in kernel_row(node, address).live)
        if live != wanted:
            raise Unmet(
                f"{title(stage)} of {node.vantage.name} has {', '.join(live) or 'no backend'}"
            )
    return Seen(f"{', '.join(wanted) or 'no backend'} in the EndpointSlice and on every node")


def _all_answer(stage: Stage) -> Seen:
    address = service_at(stage)
    for node in _nodes(stage):
        counts = tally(str(one) for one in node.curl(f"http://{address}/", times=4))
        if list(counts) != ["HTTP 200"]:
            raise Unmet(f"{node.vantage}: {spoken(counts)}")
    return Seen("every node gets HTTP 200")


def _wait_for_answers(stage: Stage) -> None:
    """A new pod is ready, and in every kernel, a moment before its web server listens."""
    stage.wait("answers on every node", lambda: _all_answer(stage))


def _scale(stage: Stage, count: int) -> None:
    stage.change("scale", f"deployment/{facts.DEPLOYMENT}", f"--replicas={count}")


def _as_declared(stage: Stage) -> None:
    stage.wait(f"{facts.REPLICAS} backends again", lambda: _followed(stage, facts.REPLICAS))


def _scale_for_now(stage: Stage, count: int) -> Seen:
    """Scale, after having said how to scale back; returns when everything has followed."""
    ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)

    def back() -> None:
        _scale(stage, facts.REPLICAS)
        _as_declared(stage)

    stage.undo(f"{facts.REPLICAS} replicas", back)
    _scale(stage, count)
    return stage.wait(f"{count} backends everywhere", lambda: _followed(stage, count))


@exercise(
    id="delete-pod",
    title="a deleted pod is replaced, and the Service follows",
    why="The replacement has another address and no client notices: a Service is for that.",
    expect="another pod with another address in EndpointSlice and kernels, and answers as before",
    anchor="delete-a-pod",
)
def delete_pod(stage: Stage) -> Seen:
    """Delete one pod and follow its replacement."""
    victim, *others = ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
    before = {pod.address for pod in (victim, *others)}
    cluster = cluster_address(stage.at(API), facts.SERVICE)
    stage.undo("all pods", lambda: _as_declared(stage))
    stage.change("delete", "pod", victim.name, "--wait=false")

    def replaced() -> Seen:
        now = pods(stage.at(API), facts.LABELS)
        new = [pod for pod in now if pod.address and pod.address not in before]
        if victim.name in {pod.name for pod in now} or not new:
            raise Unmet(f"pods at {', '.join(pod.address for pod in now)}")
        _followed(stage, facts.REPLICAS)
        return Seen(f"{victim.name} at {victim.address} -> {new[0].name} at {new[0].address}")

    seen = stage.wait("a replacement everywhere", replaced)
    _wait_for_answers(stage)
    if cluster_address(stage.at(API), facts.SERVICE) != cluster:
        raise Unmet(f"the cluster address is no longer {cluster}")
    return Seen(f"{seen.text}; still {cluster}")


@exercise(
    id="scale-to-one",
    title="with one pod left, all requests go to it",
    why="Scaling changes the EndpointSlice and every kernel; address and name stay as they are.",
    expect="one endpoint, one backend on every node, and answers",
    anchor="scale",
)
def scale_to_one(stage: Stage) -> Seen:
    """Scale to one and ask from every node."""
    seen = _scale_for_now(stage, 1)
    _wait_for_answers(stage)
    return seen


@exercise(
    id="scale-to-three",
    title="a third pod gets its share at once",
    why="A new backend needs no word to any client: the next connection may already be its.",
    expect="three endpoints, three backends on every node, and answers",
    anchor="scale",
)
def scale_to_three(stage: Stage) -> Seen:
    """Scale to three and ask from every node."""
    seen = _scale_for_now(stage, 3)
    _wait_for_answers(stage)
    return seen


@exercise(
    id="scale-to-zero",
    title="with no pod left, the connection is refused",
    why="The address still exists, but nobody is behind it: a refusal, not a time-out, tells that.",
    expect="no endpoint, no backend on any node, and REFUSED",
    anchor="scale",
)
def scale_to_zero(stage: Stage) -> Seen:
    """Scale to none and ask from every node."""
    _scale_for_now(stage, 0)
    address = service_at(stage)

    def refused() -> Seen:
        for node in _nodes(stage):
            answer = node.curl(f"http://{address}/")[0]
            if answer.fault is not Fault.REFUSED:
                raise Unmet(
                    f"{node.vantage}: {answer}",
                    fault=answer.fault,
                    expected=f"REFUSED from {address}",
                    then=see(node, address),
                )
        return Seen("no backend anywhere; every node is REFUSED")

    return stage.wait("REFUSED on every node", refused)
