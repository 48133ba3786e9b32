"""The database itself: where it listens, whom it lets in, and that the nodes reach it."""

from __future__ import annotations

from l4lab.checks import DBHOST, NODES, ONCE, Look, Seen, Traffic, Unmet, check, eventually
from l4lab.checks import database as client
from labs.selectorless import facts
from labs.selectorless.scene import IDENTITY, accounts, answered, ask, covers, database


@check(
    id="database-listens",
    title="MariaDB listens on the database host, which is no pod and no part of the Service",
    why="What answers for a Service may be anything with an address: Kubernetes does not run it, "
    "does not watch it and does not mend it.",
    expect=f"a listening socket on port {facts.PORT} for connections from other machines",
    anchor="database",
    vantage=DBHOST,
)
def database_listens(look: Look) -> Seen:
    """Ask the host's kernel for the socket."""
    where = client.listeners(look, facts.PORT)
    far = [one for one in where if not one.startswith(("127.", "[::1]"))]
    if not far:
        raise Unmet(
            f"port {facts.PORT} is open on {', '.join(where) or 'no address'}",
            causes=("MariaDB is stopped", "it listens on loopback or on another port only"),
            then=f"./l4lab ssh {look.vantage.name} systemctl status mariadb",
        )
    return Seen(f"{look.vantage.name} listens on {', '.join(far)}, port {facts.PORT}")


@check(
    id="grant",
    title="the lab's account is for the node network and for one schema, and for no more",
    why="The server knows a user together with where it comes from; pods and nodes all come with a "
    "node's address, so the node network is the one to name.",
    expect=f"{facts.USER} may use {facts.SCHEMA} from every node's address, and nothing else",
    anchor="database",
    vantage=DBHOST,
)
def grant(look: Look) -> Seen:
    """Read the server's own tables; passwords are not among what is read."""
    table = "'\"SELECT User, Host, Db FROM mysql.db\"'"
    then = f"./l4lab ssh {look.vantage.name} mariadb -e {table}"
    hosts = accounts(look)
    shut_out = [
        f"{node.name} at {node.address}"
        for node in look.topology.nodes
        if not any(covers(host, node.address) for host in hosts)
    ]
    if shut_out:
        raise Unmet(
            f"{facts.USER} may use {facts.SCHEMA} from {', '.join(hosts) or 'nowhere'}: "
            f"not from {', '.join(shut_out)}",
            causes=("the grant is missing, or for another network",),
            then=then,
        )
    access = "JSON_VALUE(Priv, '$.access')"
    rights = client.on_server(
        look,
        # Names of our own, nobody's input.
        f"SELECT Host, {access} FROM mysql.global_priv WHERE User = '{facts.USER}'",  # noqa: S608
    )
    wide = [host for host, given in rights if host == "%" or given != "0"]
    if wide:
        raise Unmet(
            f"{facts.USER} at {', '.join(wide)} may do more than the lab needs",
            causes=("the account was made for every address (%), or with rights to all schemas",),
            then=then,
        )
    return Seen(f"{facts.USER} from {', '.join(hosts)} on {facts.SCHEMA} alone")


@check(
    id="direct",
    title="every node reaches the database by the host's own address",
    why="A Service only leads to an address; if that cannot be reached, no Service helps.",
    expect="the database's host name, asked without any Service",
    anchor="database",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
)
def direct(look: Look) -> Seen:
    """Log in without a Service between."""
    machine = database(look)
    address = str(machine.address)
    said = answered(look, ask(look, IDENTITY, host=address), address)
    if said.rows[0][0] != machine.name:
        raise Unmet(f"{address} is the database of {said.rows[0][0]}, not of {machine.name}")
    return Seen(f"{address}: {said}")
