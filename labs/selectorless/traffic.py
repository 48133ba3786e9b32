"""What happens to connections: from nodes and pods, through the kernel, to the database."""

from __future__ import annotations

import contextlib
import secrets

from l4lab.checks import (
    NODES,
    ONCE,
    CannotMeasure,
    Fault,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
    side_by_side,
)
from l4lab.checks import database as client
from l4lab.checks.service import at_rest, kernel_row, node_of, same_backends, stats
from labs.selectorless import facts
from labs.selectorless.scene import (
    CLIENT,
    IDENTITY,
    WAY,
    answered,
    ask,
    database,
    database_host,
    real_backend,
    seen_from,
    service_at,
)

CONNECTIONS = 3
"""Connections of the check that counts."""

NAMES = (
    facts.SERVICE,
    f"{facts.SERVICE}.{facts.NAMESPACE}",
    f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local",
)


@check(
    id="ipvs-row",
    title="the kernel of every node has the database's address behind the cluster address",
    why="To the kernel a machine outside is a backend like any pod: a destination to rewrite to.",
    expect="a row with the cluster address; behind it the database alone, Masq, weight 1",
    anchor="kernel",
    vantage=NODES,
    path=WAY[:3],
    mode="ipvs",
)
def row(look: Look) -> Seen:
    """Hold the kernel's table against where the database is."""
    found = kernel_row(look, f"{service_at(look)}:{facts.PORT}", protocol=facts.PROTOCOL)
    then = f"./l4lab ssh {look.vantage.name} ipvsadm -Ln -t {found.address}"
    live = [backend.address for backend in found.live]
    same_backends("the IPVS row", live, [real_backend(look)], then=then)
    if (found.live[0].forward, found.live[0].weight) != ("Masq", 1):
        raise Unmet(f"{live[0]} {found.live[0].forward} {found.live[0].weight}", then=then)
    return Seen(f"{found.address} -> {live[0]} Masq 1")


@check(
    id="counters",
    title="the kernel's counters move with exactly the connections made",
    why="The database is reached through this row and by no other way: its counter is the proof.",
    expect="as many new connections in the row and behind it as were opened",
    anchor="kernel",
    vantage=NODES,
    verb=eventually(within=10, hold=ONCE),
    traffic=Traffic.COUNTED,
    path=WAY,
    mode="ipvs",
)
def counters(look: Look) -> Seen:
    """Count connections around a known number of log-ins."""
    cluster = service_at(look)
    address = f"{cluster}:{facts.PORT}"
    before = at_rest(look, lambda: stats(look, address))
    for _ in range(CONNECTIONS):
        answered(look, ask(look, "SELECT 1", host=cluster), cluster)
    moved = stats(look, address).since(before)
    # The kernel brings these numbers up to date every two seconds only.
    for _ in range(20):
        if min(moved.total, sum(moved.backends.values())) >= CONNECTIONS:
            break
        look.pause(0.25)
        moved = stats(look, address).since(before)
    shares = {backend: count for backend, count in moved.backends.items() if count}
    if (moved.total, shares) != (CONNECTIONS, {real_backend(look): CONNECTIONS}):
        raise Unmet(
            f"{moved.total} connections in the row, {sum(shares.values())} behind it",
            expected=f"{CONNECTIONS} more, all to {real_backend(look)}",
            counts=shares,
            causes=("somebody else uses the Service from this node",),
            then=f"./l4lab ssh {look.vantage.name} ipvsadm -Ln --stats --exact",
        )
    return Seen(f"{CONNECTIONS} log-ins, {moved.total} connections", shares)


def _written_and_read(look: Look, host: str) -> Seen:
    """Write a row through the Service, read it there, and read it on the database host itself."""
    word = secrets.token_hex(4)
    table = f"l4lab_check_{word}"
    statements = (
        f"CREATE TABLE {table} (word VARCHAR(80))",
        f"INSERT INTO {table} VALUES ('{word}')",  # noqa: S608  a name and a word of our own
        f"SELECT word, @@hostname FROM {table}",  # noqa: S608  likewise
    )
    said = ask(look, "; ".join(statements), host=host)
    there = database_host(look)
    try:
        answered(look, said, host)
        machine = database(look).name
        if said.rows != ((word, machine),):
            raise Unmet(f"read back {said}", expected=f"{word} {machine}")
        again = f"SELECT word FROM {facts.SCHEMA}.{table}"  # noqa: S608  likewise
        kept = client.on_server(there, again)
        if kept != ((word,),):
            raise Unmet(
                f"{machine} itself has {kept} in {table}",
                fault=Fault.WRONG_BACKEND,
                causes=("another database answers at the cluster address",),
            )
    finally:
        with contextlib.suppress(CannotMeasure):
            client.on_server(there, f"DROP TABLE IF EXISTS {facts.SCHEMA}.{table}")
    return Seen(f"wrote {word} through {host}, found it on {machine}")


@check(
    id="node-writes",
    title="a node writes and reads through the cluster address",
    why="The row is in the real database: read there directly, without Kubernetes, it is the same.",
    expect="the row written through the Service is found on the database host itself",
    anchor="ask-from-a-node",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def node_writes(look: Look) -> Seen:
    """Use the cluster address: nodes do not know the name."""
    return _written_and_read(look, service_at(look))


@check(
    id="pod-writes",
    title="a pod writes and reads through the cluster address",
    why="The pod asks a Service like any other; that a machine outside answers, it cannot tell.",
    expect="the row written through the Service is found on the database host itself",
    anchor="ask-from-a-pod",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def pod_writes(look: Look) -> Seen:
    """Use the cluster address; the password is in the option file that the Secret brings."""
    return _written_and_read(look, service_at(look))


@check(
    id="by-name",
    title="the database has a name inside the cluster",
    why="Cluster DNS knows every Service, whoever answers for it: clients keep the name when the "
    "database moves.",
    expect="each form of the name reaches the database",
    anchor="ask-from-a-pod",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def by_name(look: Look) -> Seen:
    """Log in by each name."""
    service_at(look)
    machine = database(look).name

    def log_in(look: Look, name: str) -> None:
        said = ask(look, "SELECT @@hostname", host=name)
        if said.fault is Fault.DNS:
            raise Unmet(
                f"{name}: {said}",
                fault=said.fault,
                causes=("CoreDNS has no ready pod", "the pod does not ask cluster DNS"),
                then="./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns",
            )
        if answered(look, said, name).rows != ((machine,),):
            raise Unmet(f"{name} is {said}", fault=Fault.WRONG_BACKEND, expected=machine)

    side_by_side(look, log_in, NAMES)
    return Seen(f"{', '.join(NAMES)}: all {machine}")


@check(
    id="source",
    title="the database sees a node's address, from nodes and from pods alike",
    why="On a node kube-proxy's rule, for a pod Calico's natOutgoing rewrites the source on the "
    "way out: the database could not answer to a pod address or a cluster address.",
    expect="the address of the node the connection left from, and the account for its network",
    anchor="source",
    vantage=(NODES, CLIENT),
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def source(look: Look) -> Seen:
    """Let the server tell where it sees us come from."""
    host = service_at(look)
    said = answered(look, ask(look, IDENTITY, host=host), host)
    _, user, account = said.rows[0]
    seen, wanted = user.rpartition("@")[2], seen_from(look)
    node = node_of(look)
    if node and node.name == database(look).name:
        # Nothing is rewritten on the way to the machine one is already on.
        return Seen(f"{seen}, on the database's own machine, as {account}")
    if seen != wanted:
        raise Unmet(
            f"the database sees {seen}",
            expected=f"{wanted}, the node's",
            causes=(
                "natOutgoing is off in Calico's IP pool",
                "kube-proxy does not masquerade what nodes send",
            ),
            then=f"./l4lab ssh {node.name if node else 'NODE'} iptables -t nat -S",
        )
    return Seen(f"{seen}, as {account}")


@check(
    id="classic-answers",
    title="the Service with the old Endpoints object answers, too",
    why="Once mirrored, the old way is the new one: the same kind of row, the same database.",
    expect="the database's host name through the second cluster address",
    anchor="classic",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def classic_answers(look: Look) -> Seen:
    """Ask the second Service."""
    host, machine = service_at(look, facts.CLASSIC), database(look).name
    said = answered(look, ask(look, "SELECT @@hostname", host=host), host)
    if said.rows != ((machine,),):
        raise Unmet(f"{host} is {said}", fault=Fault.WRONG_BACKEND, expected=machine)
    return Seen(f"{facts.CLASSIC} at {host}: {machine}")


def _refusal(look: Look, number: int, said: client.Said) -> Seen:
    if said.fine:
        raise Unmet(f"the server let us in: {said}", expected=f"error {number}")
    if said.number != number:
        raise Unmet(str(said), fault=said.fault, expected=f"error {number} from the server")
    return Seen(f"{said.message}: {client.MEANINGS[number]}")


@check(
    id="wrong-password",
    title="a wrong password gets the server's own refusal, 1045",
    why="An error with a number from 1000 up comes from the server: the whole way there works, and "
    "only the account is to be looked at.",
    expect="error 1045",
    anchor="wrong-grant",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY[:5],
)
def wrong_password(look: Look) -> Seen:
    """Log in with a word that is not the password."""
    host = service_at(look)
    said = ask(look, "SELECT 1", host=host, password="not-it")  # noqa: S106  a wrong one
    return _refusal(look, 1045, said)


@check(
    id="wrong-schema",
    title="a schema that was not granted gets the server's refusal, 1044",
    why="The account is known and the password right: what lacks is the right to this schema.",
    expect="error 1044",
    anchor="wrong-grant",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY,
)
def wrong_schema(look: Look) -> Seen:
    """Ask for the server's own tables."""
    host = service_at(look)
    return _refusal(look, 1044, ask(look, "SELECT 1", host=host, schema="mysql"))
