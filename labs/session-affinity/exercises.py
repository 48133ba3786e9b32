"""The steps of the lab that change something: the field, and the pod a client is kept at."""

from __future__ import annotations

import json

from l4lab.checks import API, HOST, Seen, Stage, Unmet, exercise
from l4lab.checks.kernel import sample, scheduler
from l4lab.checks.network import spoken, tally
from l4lab.checks.service import endpoints, kernel_row, ready_pods

from . import facts
from .kernel import flags_of
from .scene import answered, at_node, client_of, connections, on, remembered, service_at

REQUESTS = 6


def _flagged(stage: Stage, flags: str) -> Seen:
    address = service_at(stage)
    for node in stage.topology.nodes:
        for row in (address, at_node(node)):
            if (found := flags_of(on(stage, node), row)) != flags:
                raise Unmet(f"{node.name}: {row} {found}")
    return Seen(f"{flags} on every node")


def _set(stage: Stage, affinity: str, config: object) -> None:
    spec = {"sessionAffinity": affinity, "sessionAffinityConfig": config}
    stage.change("patch", "service", facts.SERVICE, "-p", json.dumps({"spec": spec}))


@exercise(
    id="switch-off",
    title="with affinity None the same client is spread at once",
    why="The field is read for each new connection: what a node remembers no longer counts.",
    expect="no flag on any node, and both pods answer one client; then all as before",
    anchor="switch-off",
)
def switch_off(stage: Stage) -> Seen:
    """Take the affinity away, and ask again from the same place."""
    kept = f"{scheduler(stage)} persistent {facts.TIMEOUT_SECONDS}"

    def back() -> None:
        _set(stage, "ClientIP", {"clientIP": {"timeoutSeconds": facts.TIMEOUT_SECONDS}})
        stage.wait("the flag again", lambda: _flagged(stage, kept))

    stage.undo("affinity ClientIP", back)
    _set(stage, "None", None)
    stage.wait("no flag", lambda: _flagged(stage, scheduler(stage)))
    node = stage.topology.workers[0]
    address = at_node(node)

    def spread() -> Seen:
        requests = sample(stage, REQUESTS)
        sources = {one.source for one in answered(stage.at(HOST), address, times=requests)}
        table = connections(on(stage, node), address)
        counts = tally(entry.destination for entry in table if entry.source in sources)
        if len(counts) != facts.REPLICAS:
            raise Unmet(
                f"{sum(counts.values())} requests: {spoken(counts)}",
                expected=f"{facts.REPLICAS} pods take part",
                counts=counts,
            )
        return Seen(f"{sum(counts.values())} requests: {spoken(counts)}", counts)

    return stage.wait("one client at both pods", spread)


@exercise(
    id="lose-the-pod",
    title="a client whose pod goes away is kept at another",
    why="Affinity is a preference, no promise: what the pod kept for its client is gone.",
    expect="the client is answered by another pod, and remembered there",
    anchor="lose-the-pod",
)
def lose_the_pod(stage: Stage) -> Seen:
    """Delete the pod the client is kept at, and ask again."""
    node = stage.topology.workers[0]
    address = at_node(node)
    client = client_of(answered(stage.at(HOST), address, times=1)[0])
    entry = remembered(connections(on(stage, node), address), client)
    if entry is None:
        raise Unmet(f"{node.name} does not remember {client}")
    old = entry.destination

    def all_again() -> Seen:
        ready_pods(stage.at(API), facts.LABELS, count=facts.REPLICAS)
        wanted = sorted(endpoints(stage.at(API), facts.SERVICE))
        for one in stage.topology.nodes:
            row = kernel_row(on(stage, one), at_node(one))
            live = sorted(backend.address for backend in row.live)
            if live != wanted or old in live:
                raise Unmet(f"{one.name} has {', '.join(live) or 'no backend'}")
        return Seen(f"{len(wanted)} pods everywhere")

    pod = endpoints(stage.at(API), facts.SERVICE)[old]
    stage.undo("all pods", lambda: stage.wait("all pods again", all_again))
    stage.change("delete", "pod", pod, "--wait=false")

    def moved() -> Seen:
        live = [one.address for one in kernel_row(on(stage, node), address).live]
        if old in live:
            raise Unmet(f"{node.name} still has {old}")
        answered(stage.at(HOST), address, times=2)
        now = remembered(connections(on(stage, node), address), client)
        if now is None or now.destination == old:
            raise Unmet(f"{client} is kept at {now.destination if now else 'no pod'}")
        return Seen(f"{client}: {old} -> {now.destination}")

    return stage.wait("another pod for the client", moved)
