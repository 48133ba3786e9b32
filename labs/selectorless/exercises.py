"""The steps that break or move the database, and what each failure looks like to a client."""

from __future__ import annotations

import json

from l4lab.checks import API, Fault, Look, Seen, Stage, Unmet, Vantage, Where, exercise
from l4lab.checks import database as client
from l4lab.checks.kernel import connections, title
from l4lab.checks.network import spoken, tally
from l4lab.checks.service import endpoints, kernel_row
from labs.selectorless import facts
from labs.selectorless.scene import (
    CLIENT,
    accounts,
    ask,
    covers,
    database,
    database_host,
    first_difference,
    real_backend,
    service_at,
)

WRONG_PORT = facts.PORT + 1


def _nodes(stage: Stage) -> list[Look]:
    return [stage.at(Vantage(Where.NODE, node.name)) for node in stage.topology.nodes]


def _in_kernels(stage: Stage, host: str, *wanted: str) -> Seen:
    """Every kernel has these backends behind the cluster address, and no other."""
    address = f"{host}:{facts.PORT}"
    for node in _nodes(stage):
        live = [one.address for one in kernel_row(node, address).live]
        if live != list(wanted):
            raise Unmet(
                f"{title(stage)} of {node.vantage.name} has {', '.join(live) or 'no backend'}"
            )
    return Seen(f"{', '.join(wanted) or 'no backend'} in every kernel")


def _all_answer(stage: Stage, host: str) -> Seen:
    """Every node gets an answer from the database."""
    machine = database(stage).name
    for look in _nodes(stage):
        said = ask(look, "SELECT @@hostname", host=host)
        if said.rows != ((machine,),):
            raise Unmet(f"{look.vantage}: {said}", fault=said.fault)
    return Seen(f"{machine} answers everywhere")


def _ready(stage: Stage) -> str:
    """Begin only where all is well, and end only when it is so again; the cluster address."""
    host = service_at(stage)

    def all_is_well() -> Seen:
        return stage.wait("the database answers", lambda: _all_answer(stage, host))

    all_is_well()
    stage.undo("the database answers", all_is_well)
    return host


def _every_node_gets(stage: Stage, host: str, *faults: Fault, number: int = 0) -> str:
    """What each node is told, which must be one of these faults; counted, in one line."""
    told: list[client.Said] = []

    def asked() -> Seen:
        told[:] = [ask(node, "SELECT 1", host=host) for node in _nodes(stage)]
        for node, said in zip(_nodes(stage), told, strict=True):
            if said.fault not in faults or (number and said.number != number):
                raise Unmet(
                    f"{node.vantage}: {said}",
                    fault=said.fault,
                    expected=" or ".join(faults) + (f" {number}" if number else ""),
                )
        return Seen("as expected")

    stage.wait("the failure shows on every node", asked)
    return spoken(tally(f"{said.fault} ({said.number})" for said in told))


def _explained(stage: Stage, cause: str) -> None:
    """The lab itself names this hop as the first that differs."""
    node = _nodes(stage)[0]

    def named() -> Seen:
        # Each hop is asked once, and one that answers late would be taken for the cause.
        if (found := first_difference(node)) != cause:
            raise Unmet(f"the first thing found to differ is {found or 'nothing'}", expected=cause)
        return Seen(cause)

    stage.wait("the cause is found", named)


def _fill(stage: Stage, wanted: list[dict[str, list[str]]]) -> None:
    _patch(stage, {"op": "replace", "path": "/endpoints", "value": wanted})


def _point(stage: Stage, *, address: str, port: int = facts.PORT) -> None:
    _patch(
        stage,
        {"op": "replace", "path": "/endpoints/0/addresses/0", "value": address},
        {"op": "replace", "path": "/ports/0/port", "value": port},
    )


def _patch(stage: Stage, *changes: dict[str, object]) -> None:
    text = json.dumps(changes)
    stage.change("patch", "endpointslice", facts.SLICE, "--type=json", "-p", text)


def _point_for_now(stage: Stage, host: str, *, address: str, port: int = facts.PORT) -> None:
    """Change the endpoint, after having said how to change it back; kernels have followed."""
    right = str(database(stage).address)
    stage.undo(f"{facts.SLICE} at {right}", lambda: _point(stage, address=right))
    _point(stage, address=address, port=port)
    stage.wait("every kernel follows", lambda: _in_kernels(stage, host, f"{address}:{port}"))


def _free_address(stage: Stage) -> str:
    """An address of the node network that nobody has, from its end."""
    there = database_host(stage)
    networks = stage.topology.networks
    taken = {networks.gateway, *(machine.address for machine in stage.topology.machines)}
    network = networks.nodes
    for step in range(1, network.num_addresses - 1):
        address = network.broadcast_address - step
        tried = address not in taken and there.run(["ping", "-c", "1", "-W", "1", str(address)])
        if tried and not tried.succeeded:
            return str(address)
    raise Unmet(f"every address of {network} is in use")


@exercise(
    id="without-endpoints",
    title="without an endpoint the Service exists and nobody answers",
    why="So every Service without selector begins: the cluster address is there, nobody is behind "
    "it, and the kernel refuses.",
    expect="no endpoint, no backend in any kernel, and REFUSED everywhere",
    anchor="slice",
)
def without_endpoints(stage: Stage) -> Seen:
    """Empty the slice, and fill it again.

    Not by its label: kube-proxy passes over a slice without one, and so keeps what it knows.
    """
    host = _ready(stage)
    right = [{"addresses": [str(database(stage).address)]}]
    stage.undo(f"the endpoint of {facts.SLICE}", lambda: _fill(stage, right))
    _fill(stage, [])
    stage.wait("no kernel has a backend", lambda: _in_kernels(stage, host))
    if found := endpoints(stage.at(API), facts.SERVICE):
        raise Unmet(f"the Service still has {', '.join(found)}")
    told = _every_node_gets(stage, host, Fault.REFUSED)
    _explained(stage, "the EndpointSlice")
    return Seen(f"no endpoint: {told}")


@exercise(
    id="database-stopped",
    title="the database stopped: refused, and Kubernetes does not notice",
    why="Nobody probes an endpoint that was written by hand: slice and kernels keep leading there, "
    "and the host itself refuses.",
    expect="REFUSED, while slice and kernels still name the database",
    anchor="database-stopped",
)
def database_stopped(stage: Stage) -> Seen:
    """Stop MariaDB on its host, and start it again."""
    host = _ready(stage)
    stage.change_machine(
        database_host(stage).vantage,
        ["systemctl", "stop", "mariadb"],
        back=["systemctl", "start", "mariadb"],
    )
    told = _every_node_gets(stage, host, Fault.REFUSED)
    _in_kernels(stage, host, real_backend(stage))
    _explained(stage, "the database server")
    return Seen(f"{told}; every kernel still has {real_backend(stage)}")


@exercise(
    id="wrong-address",
    title="a wrong address in the slice: no answer at all",
    why="Nobody has the address, so nobody can refuse: the client waits until its time is up, or "
    "until the node has asked for the address in vain.",
    expect="TIMEOUT or UNREACHABLE, never REFUSED",
    anchor="wrong-address",
)
def wrong_address(stage: Stage) -> Seen:
    """Point the slice at an address that nobody has."""
    host = _ready(stage)
    address = _free_address(stage)
    _point_for_now(stage, host, address=address)
    told = _every_node_gets(stage, host, Fault.TIMEOUT, Fault.UNREACHABLE)
    _explained(stage, "the EndpointSlice")
    return Seen(f"nobody at {address}: {told}")


@exercise(
    id="wrong-port",
    title="a wrong port in the slice: refused by the host, though the database runs",
    why="The same refusal as from a stopped database; what tells them apart is who listens where.",
    expect="REFUSED, while the database listens on its own port",
    anchor="wrong-port",
)
def wrong_port(stage: Stage) -> Seen:
    """Point the slice at the port beside."""
    host = _ready(stage)
    _point_for_now(stage, host, address=str(database(stage).address), port=WRONG_PORT)
    told = _every_node_gets(stage, host, Fault.REFUSED)
    if not client.listeners(database_host(stage), facts.PORT):
        raise Unmet("the database does not listen at all")
    _explained(stage, "the EndpointSlice")
    return Seen(f"port {WRONG_PORT}: {told}; the database listens on {facts.PORT}")


@exercise(
    id="wrong-grant",
    title="a grant for the wrong network: the server refuses the host, 1130",
    why="An account for the service network looks right, as clients ask for a service address; but "
    "the server sees nodes, and has no account for those.",
    expect="error 1130 on every node",
    anchor="wrong-grant",
)
def wrong_grant(stage: Stage) -> Seen:
    """Give the account to the service network, and back to the node network."""
    host = _ready(stage)
    node = stage.topology.control_plane.address
    right = next((host for host in accounts(stage) if covers(host, node)), None)
    if right is None:
        raise Unmet(f"no account of {facts.USER} is for {node}")
    wrong = stage.topology.networks.services.with_netmask

    def renamed(old: str, new: str) -> list[str]:
        sql = f"RENAME USER '{facts.USER}'@'{old}' TO '{facts.USER}'@'{new}'"
        return ["mariadb", "-e", sql]

    stage.change_machine(
        database_host(stage).vantage, renamed(right, wrong), back=renamed(wrong, right)
    )
    told = _every_node_gets(stage, host, Fault.MYSQL, number=1130)
    _explained(stage, "the grant")
    return Seen(f"{facts.USER} only from {wrong}: {told}")


@exercise(
    id="moved",
    title="the database moves to another address, and no client is told",
    why="Clients keep the name and the cluster address; only the slice is changed. That is what a "
    "Service in front of a database is good for.",
    expect="the same cluster address, another backend in every kernel, and answers through it",
    anchor="moved",
)
def moved(stage: Stage) -> Seen:
    """Give the database host a second address, and point the slice there."""
    host = _ready(stage)
    new = _free_address(stage)
    there = database_host(stage)
    device, length = _device(there, str(database(stage).address))
    words = ["dev", device]
    stage.change_machine(
        there.vantage,
        ["ip", "address", "add", f"{new}/{length}", *words],
        back=["ip", "address", "del", f"{new}/{length}", *words],
    )
    _point_for_now(stage, host, address=new)
    node, backend = _nodes(stage)[0], f"{new}:{facts.PORT}"
    stage.wait("the database answers at its new address", lambda: _all_answer(stage, host))

    def through_it() -> Seen:
        # No connection had this backend before.
        if backend not in {one.destination for one in connections(node)}:
            raise Unmet(f"no connection to {backend} on {node.vantage.name}")
        return Seen(backend)

    stage.wait("a connection to the new backend", through_it)

    def by_name() -> Seen:
        named = ask(stage.at(CLIENT), "SELECT @@hostname", host=facts.SERVICE)
        if named.rows != ((database(stage).name,),):
            raise Unmet(f"by name, from the pod: {named}", fault=named.fault)
        return Seen(str(named))

    stage.wait("an answer by name", by_name)
    if service_at(stage) != host:
        raise Unmet(f"the cluster address is no longer {host}")
    return Seen(f"{real_backend(stage)} -> {backend}; clients still ask {facts.SERVICE} at {host}")


def _device(look: Look, address: str) -> tuple[str, int]:
    """The interface that has an address, and the length of its network's prefix."""
    for link in json.loads(look.run(["ip", "-j", "-4", "address", "show"]).stdout):
        for entry in link.get("addr_info", []):
            if entry.get("local") == address:
                return link["ifname"], entry["prefixlen"]
    raise Unmet(f"no interface of {look.vantage.name} has {address}")
