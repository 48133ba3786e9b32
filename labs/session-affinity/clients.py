"""What clients get: each is kept at one pod, by each node for itself."""

from __future__ import annotations

from l4lab.checks import (
    DBHOST,
    HOST,
    ONCE,
    Fault,
    Look,
    NotHere,
    Seen,
    Traffic,
    Unmet,
    Vantage,
    Where,
    check,
    eventually,
)
from l4lab.checks.kernel import see
from l4lab.checks.network import spoken, tally

from . import facts
from .scene import WAY, answered, at_node, backends, client_of, connections, on, remembered

REQUESTS = 6
_CAUSES = (
    "sessionAffinity is None, so the row has no flag persistent",
    "a pod was replaced just now",
)


@check(
    id="one-pod",
    title="all connections of one client through one node go to one pod",
    why="A client is known by its address alone, and each new connection is sent where its last "
    "one went.",
    expect=f"{REQUESTS} connections, one backend",
    anchor="one-pod",
    vantage=(HOST, DBHOST),
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY[:2],
)
def one_pod(look: Look) -> Seen:
    """Follow the connections to their backends in the table of the node that is asked."""
    names = {f"{pod.address}:{facts.TARGET_PORT}": pod.name for pod in backends(look)}
    node = look.topology.workers[0]
    address = at_node(node)
    answers = answered(look, address, times=REQUESTS)
    sources = {answer.source for answer in answers}
    table = connections(on(look, node), address)
    counts = tally(entry.destination for entry in table if entry.source in sources)
    if sum(counts.values()) != REQUESTS or len(counts) != 1:
        raise Unmet(
            f"{REQUESTS} requests: {spoken(counts)}",
            expected="all of them at one backend",
            counts=counts,
            causes=_CAUSES,
            then=see(on(look, node), address),
        )
    (backend,) = counts
    # The web server may name its pod: then both must tell the same story.
    told = {answer.served_by for answer in answers if answer.served_by}
    if told - {names.get(backend)}:
        raise Unmet(
            f"the kernel chose {backend}, answers came from {', '.join(sorted(told))}",
            fault=Fault.WRONG_BACKEND,
        )
    return Seen(f"{spoken(counts)} ({names.get(backend, 'unknown')})", counts)


@check(
    id="each-node-remembers",
    title="each node remembers for itself where a client is kept",
    why="The memory lies in the kernel that was asked and is shared with nobody: a client that "
    "comes through another node may get another pod.",
    expect="in the table of each node that was asked an entry for this client",
    anchor="memory",
    vantage=(HOST, DBHOST),
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY[:2],
)
def each_node_remembers(look: Look) -> Seen:
    """Ask each node, and find the entry that keeps this client there."""
    names = {f"{pod.address}:{facts.TARGET_PORT}": pod.name for pod in backends(look)}
    said = []
    for node in look.topology.nodes:
        address = at_node(node)
        (answer,) = answered(look, address, times=1)
        entry = remembered(connections(on(look, node), address), client_of(answer))
        if entry is None:
            raise Unmet(
                f"{node.name} does not remember {client_of(answer)}",
                expected=f"an entry {client_of(answer)}:0 for {address}",
                causes=_CAUSES,
                then=see(on(look, node)),
            )
        pod = names.get(entry.destination)
        if pod is None or (answer.served_by and answer.served_by != pod):
            raise Unmet(
                f"{node.name} keeps {client_of(answer)} at {entry.destination}, the answer came "
                f"from {answer.served_by or 'an unnamed pod'}",
                fault=Fault.WRONG_BACKEND,
            )
        said.append(f"{node.name}: {pod}")
    return Seen(f"{client_of(answer)} is kept at {'; '.join(said)}")


@check(
    id="each-client-apart",
    title="two clients of one node are kept apart, each by its own address",
    why="The node sees who asks before it puts its own address in: only clients behind a router "
    "with address translation look like one, and then all of them burden one pod.",
    expect="an entry for each client",
    anchor="memory",
    vantage=HOST,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY[:2],
)
def each_client_apart(look: Look) -> Seen:
    """Ask one node from two hosts, and find the entries of both."""
    if not look.topology.databases:
        raise NotHere("there is only one host outside the cluster")
    node = look.topology.workers[0]
    address = at_node(node)
    other = look.at(Vantage(Where.DBHOST, look.topology.databases[0].name))
    clients = [client_of(answered(place, address, times=1)[0]) for place in (look, other)]
    table = connections(on(look, node), address)
    kept = {client: remembered(table, client) for client in clients}
    if len(kept) != len(clients) or not all(kept.values()):
        there = ", ".join(entry.source for entry in table if entry.source.endswith(":0"))
        raise Unmet(
            f"{node.name} remembers {there or 'nobody'}",
            expected=f"it remembers {' and '.join(clients)}",
            causes=_CAUSES,
            then=see(on(look, node)),
        )
    told = [f"{client} at {entry.destination}" for client, entry in kept.items() if entry]
    return Seen(f"{node.name} keeps {', '.join(told)}")
