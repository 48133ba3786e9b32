"""The things every check of this lab looks at, and the way a connection takes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from l4lab.checks import API, Hop, Look, Unmet, Vantage, Where
from l4lab.checks import database as client
from l4lab.checks.path import to_service
from l4lab.checks.service import cluster_address, endpoints, node_of, same_backends
from l4lab.topology import Machine, Role
from labs.selectorless import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)
LABEL = "kubernetes.io/service-name"

IDENTITY = "SELECT @@hostname, USER(), CURRENT_USER()"
"""Who answers, where the server sees us come from, and which account it let us in by."""


def database(look: Look) -> Machine:
    """The machine the database runs on.

    Raises:
        Unmet: The cluster has none.
    """
    machines = look.topology.with_role(Role.MARIADB)
    if not machines:
        raise Unmet(
            f"cluster {look.topology.name} has no machine with role {Role.MARIADB}",
            then="give a machine of l4lab.toml that role, then: ./l4lab up",
        )
    return machines[0]


def database_host(look: Look) -> Look:
    """The look from the database host."""
    return look.at(Vantage(Where.DBHOST, database(look).name))


def real_backend(look: Look) -> str:
    """``IP:port`` where the database really is."""
    return f"{database(look).address}:{facts.PORT}"


def service_at(look: Look, service: str = facts.SERVICE) -> str:
    """The cluster address of one of the lab's Services."""
    return cluster_address(look.at(API), service)


def ask(
    look: Look,
    sql: str,
    *,
    host: str,
    schema: str = facts.SCHEMA,
    password: str | None = None,
) -> client.Said:
    """Run statements from this node or pod as the lab's user."""
    if look.vantage.where is Where.POD:
        return client.ask(look, sql, host=host, port=facts.PORT, schema=schema)
    return client.ask(
        look,
        sql,
        host=host,
        port=facts.PORT,
        schema=schema,
        user=facts.USER,
        password=look.secret(facts.PASSWORD_FILE) if password is None else password,
    )


def answered(look: Look, said: client.Said, host: str) -> client.Said:
    """Pass on an answer.

    Raises:
        Unmet: It is none; the text says what its error means.
    """
    if not said.fine:
        meaning = client.MEANINGS.get(said.number)
        raise Unmet(
            f"{host}:{facts.PORT} asked from {look.vantage}: {said}",
            fault=said.fault,
            causes=(meaning,) if meaning else (),
        )
    return said


def seen_from(look: Look) -> str:
    """The address the database sees when it is asked from here."""
    node = node_of(look)
    machine = look.topology.machine(node.name) if node else None
    if machine is None:
        raise Unmet(f"{look.vantage} is on no machine of the cluster")
    return str(machine.address)


def accounts(look: Look) -> list[str]:
    """The host parts of the accounts by which the lab's user has rights to the lab's schema."""
    wanted = f"User = '{facts.USER}' AND Db = '{facts.SCHEMA}'"
    rights = "Select_priv = 'Y' AND Insert_priv = 'Y'"
    rows = client.on_server(
        database_host(look),
        f"SELECT Host FROM mysql.db WHERE {wanted} AND {rights}",  # noqa: S608  our own names
    )
    return sorted(row[0] for row in rows)


def covers(host: str, address: IPv4Address | str) -> bool:
    """Whether an account for ``host`` (an address, ``network/netmask`` or a pattern) is for it."""
    if host == "%":
        return True
    try:
        return IPv4Address(address) in IPv4Network(host)
    except ValueError:
        return False


def _slice_names_it(look: Look) -> str | None:
    same_backends("the EndpointSlice", endpoints(look.at(API), facts.SERVICE), [real_backend(look)])
    return None


def _server_listens(look: Look) -> str | None:
    there = client.listeners(database_host(look), facts.PORT)
    return None if there else f"nobody listens on port {facts.PORT} of {database(look).name}"


def _server_reached(look: Look) -> str | None:
    node = node_of(look)
    if node is None:
        return None
    said = ask(look.at(node), "SELECT 1", host=str(database(look).address))
    return None if said.fine or said.number in client.MEANINGS else f"asked directly: {said}"


def _granted(look: Look) -> str | None:
    address, hosts = seen_from(look), accounts(look)
    if any(covers(host, address) for host in hosts):
        return None
    return f"{facts.USER} may come from {', '.join(hosts) or 'nowhere'}, not from {address}"


_USUAL = {
    hop.name: hop
    for hop in to_service(
        service=facts.SERVICE, port=facts.PORT, target_port=facts.PORT, labels={}, count=0
    )
}

WAY = (
    Hop(
        name="the EndpointSlice",
        probe=_slice_names_it,
        causes=(
            "its address or port is not the database's",
            f"it lacks the label {LABEL}={facts.SERVICE}",
        ),
        then=f"./l4lab kubectl get endpointslice {facts.SLICE} -o yaml",
    ),
    _USUAL["kube-proxy"],
    Hop(
        name="the kernel",
        probe=_USUAL["the kernel"].probe,
        causes=(
            "the names of the Service's port and of the slice's port differ",
            "kube-proxy has not brought this node's kernel up to date",
        ),
        then=f"./l4lab kubectl get service/{facts.SERVICE} endpointslice/{facts.SLICE} -o yaml",
    ),
    Hop(
        name="the database server",
        probe=_server_listens,
        causes=("MariaDB is stopped", "it listens on another port"),
        then="systemctl status mariadb, on the database host",
    ),
    Hop(
        name="the way to the database",
        probe=_server_reached,
        causes=("a firewall on the database host, or on the way, drops the packets",),
        then="nft list ruleset, on the database host",
    ),
    Hop(
        name="the grant",
        probe=_granted,
        causes=("the account is for another network than the one the connections come from",),
        then="SELECT User, Host FROM mysql.db, on the database host",
    ),
)
"""The hops of a connection, walked when one has failed."""


def first_difference(look: Look) -> str:
    """The name of the first hop that is not as it must be; empty where all are."""
    for hop in WAY:
        try:
            differs = hop.probe(look)
        except Unmet as unmet:
            differs = str(unmet)
        if differs:
            return hop.name
    return ""
