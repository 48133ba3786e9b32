"""The steps of the lab that change something: DNS must follow the pods."""

from __future__ import annotations

from l4lab.checks import API, Seen, Stage, Unmet, exercise
from l4lab.checks.service import pods
from labs.headless import facts
from labs.headless.scene import addresses, backends, full_name, name_of

_SET = f"statefulset/{facts.SERVICE}"


def _followed(stage: Stage, count: int) -> Seen:
    """DNS has exactly so many pods, for the Service's name and for the pods' own."""
    found = backends(stage, count=count)
    answer = addresses(stage, full_name(stage))
    if sorted(answer) != sorted(pod.address for pod in found):
        raise Unmet(f"{full_name(stage)} is {', '.join(answer) or 'unknown'}")
    for pod in found:
        if (own := addresses(stage, name_of(stage, pod.name))) != [pod.address]:
            raise Unmet(f"{pod.name} is {', '.join(own) or 'unknown'}, not {pod.address}")
    return Seen(f"{count} records: {', '.join(answer)}")


def _scale(stage: Stage, count: int) -> None:
    stage.change("scale", _SET, f"--replicas={count}")


def _scale_for_now(stage: Stage, count: int) -> Seen:
    """Scale, after having said how to scale back; returns when DNS has followed."""
    backends(stage)

    def back() -> None:
        _scale(stage, facts.REPLICAS)
        stage.wait("the lab's pods again", lambda: _followed(stage, facts.REPLICAS))

    stage.undo(f"{facts.REPLICAS} replicas", back)
    _scale(stage, count)
    return stage.wait(f"{count} pods in DNS", lambda: _followed(stage, count))


@exercise(
    id="scale-to-three",
    title="a third pod gets a third record, and a name",
    why="DNS follows the EndpointSlice; whoever asks next knows of the new pod.",
    expect="three addresses, and a name for the new pod",
    anchor="scale",
)
def scale_to_three(stage: Stage) -> Seen:
    """Scale to three, and ask."""
    return _scale_for_now(stage, 3)


@exercise(
    id="scale-to-one",
    title="a pod that is gone is gone from DNS",
    why="Whoever has kept its address still asks it, until the answer's time to live is over.",
    expect="one address, and no name for the pod that went",
    anchor="scale",
)
def scale_to_one(stage: Stage) -> Seen:
    """Scale to one, and ask for the name of the last pod."""
    seen = _scale_for_now(stage, 1)
    last = name_of(stage, f"{facts.SERVICE}-{facts.REPLICAS - 1}")

    def unknown() -> Seen:
        if found := addresses(stage, last):
            raise Unmet(f"{last} is still {', '.join(found)}", expected="no address")
        return Seen(f"{last} is unknown")

    # Cluster DNS has several pods, and each hears of a change by itself.
    stage.wait("no name for the pod that went", unknown)
    return seen


@exercise(
    id="same-name",
    title="a replaced pod has its old name and another address",
    why="The name outlives the pod: that is what a StatefulSet adds to a headless Service.",
    expect="the same name with another address, and DNS knows it",
    anchor="same-name",
)
def same_name(stage: Stage) -> Seen:
    """Delete the first pod, and ask for its name."""
    first = backends(stage)[0]
    stage.undo(
        "all pods",
        lambda: stage.wait("the lab's pods again", lambda: _followed(stage, facts.REPLICAS)),
    )
    stage.change("delete", "pod", first.name, "--wait=false")

    def back() -> Seen:
        now = {pod.name: pod for pod in pods(stage.at(API), facts.LABELS)}
        if first.name not in now or now[first.name].address in ("", first.address):
            raise Unmet(f"{first.name} is not back yet")
        _followed(stage, facts.REPLICAS)
        return Seen(f"{name_of(stage, first.name)}: {first.address} -> {now[first.name].address}")

    return stage.wait("the pod with its name", back)
