"""Ways to break lab selectorless on a real cluster, and which checks must tell."""

import json

from labs.selectorless import facts
from tests.cluster.breaks import Break, dropped, ids, patched

# Whatever logs in through the Service, and what does so from a pod.
LOG_INS = "counters node-writes pod-writes by-name source"
REFUSALS = "wrong-password wrong-schema"
HOST = "database-listens grant direct"
OLD_WAY = "classic mirrored classic-answers"
LABEL = "kubernetes.io/service-name"


def here(hands):
    return str(hands.topology.machine(hands.database).address)


def nobody(hands):
    """An address of the node network that no machine has."""
    return str(hands.topology.networks.nodes.broadcast_address - 2)


def at(kind, name, path, address):
    """Sets the address in an object."""

    def put(hands):
        hands.patch(kind, name, path, address(hands))

    return put


def on_database(*argv):
    return lambda hands: hands.on(hands.database, *argv)


def sql(statement):
    """Runs a statement with the accounts' networks filled in, as the server's administrator."""

    def run(hands):
        networks = hands.topology.networks
        right, wrong = (
            f"'{facts.USER}'@'{network.with_netmask}'"
            for network in (networks.nodes, networks.services)
        )
        hands.on(hands.database, "mariadb", "-e", statement.format(right=right, wrong=wrong))

    return run


def labelled(word):
    return lambda hands: hands.kubectl("label", "endpointslice", facts.SLICE, f"{LABEL}{word}")


def second_answer(hands):
    """The old way beside today's, for one Service: its mirror is a second slice."""
    ports = [{"name": facts.PORT_NAME, "port": facts.PORT, "protocol": facts.PROTOCOL}]
    both = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": facts.SERVICE},
        "subsets": [{"addresses": [{"ip": nobody(hands)}], "ports": ports}],
    }
    hands.kubectl("create", "-f", "-", stdin=json.dumps(both))


BREAKS = (
    Break(
        name="the database stopped",
        explains="database-listens",
        apply=on_database("systemctl", "stop", "mariadb"),
        undo=on_database("systemctl", "start", "mariadb"),
        red=ids(f"direct classic-answers {REFUSALS} {LOG_INS}"),
        error=ids("grant"),
        green=ids("no-selector slice describe ipvs-row classic mirrored"),
    ),
    Break(
        name="a wrong address in the slice",
        explains="slice",
        apply=at("endpointslice", facts.SLICE, "/endpoints/0/addresses/0", nobody),
        undo=at("endpointslice", facts.SLICE, "/endpoints/0/addresses/0", here),
        red=ids(f"describe ipvs-row {REFUSALS} {LOG_INS}"),
        green=ids(f"no-selector on-the-node-network {HOST} {OLD_WAY}"),
    ),
    patched(
        "a wrong port in the slice",
        "endpointslice",
        facts.SLICE,
        "/ports/0/port",
        wrong=facts.PORT + 1,
        right=facts.PORT,
        explains="slice",
        red=ids(f"describe ipvs-row {REFUSALS} {LOG_INS}"),
        green=ids(f"no-selector on-the-node-network {HOST} {OLD_WAY}"),
    ),
    patched(
        "another port name in the slice",
        "endpointslice",
        facts.SLICE,
        "/ports/0/name",
        wrong="other",
        right=facts.PORT_NAME,
        explains="slice",
        red=ids(f"ipvs-row {REFUSALS} {LOG_INS}"),
        green=ids(f"no-selector on-the-node-network {HOST} {OLD_WAY}"),
    ),
    Break(
        name="the slice without its label",
        explains="slice",
        apply=labelled("-"),
        undo=labelled(f"={facts.SERVICE}"),
        red=ids("on-the-node-network describe"),
        # kube-proxy passes the change over, and keeps what it knew.
        green=ids(f"no-selector ipvs-row node-writes {HOST} {OLD_WAY}"),
    ),
    Break(
        name="both ways for one Service",
        explains="classic",
        apply=second_answer,
        undo=lambda hands: hands.kubectl("delete", "endpoints", facts.SERVICE),
        red=ids("slice describe ipvs-row"),
        green=ids(f"no-selector mirrored classic-answers {HOST}"),
    ),
    Break(
        name="a wrong address in the old Endpoints",
        explains="classic",
        apply=at("endpoints", facts.CLASSIC, "/subsets/0/addresses/0/ip", nobody),
        undo=at("endpoints", facts.CLASSIC, "/subsets/0/addresses/0/ip", here),
        red=ids("mirrored classic-answers"),
        green=ids(f"slice ipvs-row node-writes pod-writes {HOST}"),
    ),
    Break(
        name="the grant revoked",
        explains="grant",
        apply=sql(f"REVOKE ALL ON {facts.SCHEMA}.* FROM {{right}}"),
        undo=sql(f"GRANT ALL ON {facts.SCHEMA}.* TO {{right}}"),
        red=ids(f"direct classic-answers {LOG_INS}"),
        green=ids(f"database-listens slice ipvs-row {REFUSALS}"),
    ),
    Break(
        name="a grant for the service network",
        explains="grant",
        apply=sql("RENAME USER {right} TO {wrong}"),
        undo=sql("RENAME USER {wrong} TO {right}"),
        red=ids(f"direct classic-answers {REFUSALS} {LOG_INS}"),
        green=ids("database-listens slice describe ipvs-row"),
    ),
    dropped(
        "a firewall on the database host",
        where="database",
        match=lambda hands: f"tcp sport {facts.PORT}",
        explains="direct",
        red=ids(f"classic-answers {REFUSALS} {LOG_INS}"),
        green=ids("database-listens grant slice describe ipvs-row classic mirrored"),
    ),
)
