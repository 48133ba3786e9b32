"""The lab's steps: what a learner types, and which checks prove what it shows."""

from __future__ import annotations

from l4lab.errors import UsageError
from l4lab.guide import Command, Step
from l4lab.topology import Role, Topology
from labs.selectorless import facts

_IN_POD = f"./l4lab kubectl exec {facts.CLIENT} -- mariadb"
_OPTIONS = (
    f"./l4lab kubectl get secret {facts.CLIENT} "
    rf"-o jsonpath='{{.data.{facts.OPTIONS_FILE.replace('.', chr(92) + '.')}}}' | base64 -d"
)
_LABEL = "kubernetes.io/service-name"
_WRITE = 'CREATE TABLE note (text VARCHAR(40)); INSERT INTO note VALUES ("hello")'
_READ = "SELECT text FROM note"
_ACCOUNTS = "SELECT User, Host, Db FROM mysql.db"
_NOBODY = r"ERROR 2002|ERROR 2003"
# A cluster needs a moment until every kernel has followed.
_SOON = 30.0
_EMPTY = r"^Endpoints:\s*(<none>)?$"


def _sql(statement: str) -> str:
    return f"-e '{statement}'"


def _patched(path: str, value: str) -> str:
    change = f'[{{"op":"replace","path":"{path}","value":{value}}}]'
    return f"./l4lab kubectl patch endpointslice {facts.SLICE} --type=json -p '{change}'"


def steps(topology: Topology) -> tuple[Step, ...]:
    """The steps for that cluster.

    Raises:
        UsageError: It has no database.
    """
    if not topology.databases:
        raise UsageError(
            f"lab selectorless needs a machine with role {Role.MARIADB}",
            f"cluster {topology.name} has none",
            f"give a machine of l4lab.toml the role {Role.MARIADB}, then: ./l4lab up",
        )
    database = topology.databases[0]
    node = topology.with_role(Role.WORKER)[0]
    networks = topology.networks
    here = str(database.address)
    # At the end of the node network, where no machine of the course is.
    free = str(networks.nodes.broadcast_address - 1)
    length = networks.nodes.prefixlen
    row = f"{here}:{facts.PORT}"
    on_host = f"./l4lab ssh {database.name}"
    on_node = f"./l4lab ssh {node.name}"
    # In mode nftables nothing waits for the kernel before these.
    asked = Command(
        text=f"{_IN_POD} -h {facts.SERVICE} {_sql('SELECT @@hostname')}",
        shows=(f"^{database.name}$",),
        within=_SOON,
    )
    failed = Command(text=asked.text, shows=(_NOBODY,), rc=None, within=_SOON)
    # The kernel that counts is that of the node the pod is on.
    kernel = f"./l4lab ssh $NODE ipvsadm -Ln -t $CIP:{facts.PORT}"

    def followed(backend: str) -> Command:
        """Wait for the kernel, and show the row."""
        live = f"{backend} +Masq +1"
        return Command(
            text=f"until {kernel} | grep -E '{live}'; do sleep 1; done", shows=(f"-> {live}",)
        )

    device = f"DEV=$({on_host} ip -o -4 address show to {here} | awk '{{print $2; exit}}')"
    rename = "RENAME USER {user}@{quote}{old}{quote} TO {user}@{quote}{new}{quote}"

    def renamed(old: str, new: str) -> str:
        words = rename.format(user=facts.USER, quote="'", old=old, new=new)
        return f'{on_host} "mariadb -e \\"{words}\\""'

    right, wrong = networks.nodes.with_netmask, networks.services.with_netmask
    return (
        Step(
            id="database",
            do=(
                Command(text=f"{on_host} ss -Htln sport = :{facts.PORT}", shows=(":3306",)),
                Command(
                    text=f"{on_host} mariadb -e '\"{_ACCOUNTS}\"'",
                    shows=(rf"{facts.USER}\s+{right}\s+{facts.SCHEMA}",),
                ),
            ),
            checks=("database-listens", "grant", "direct"),
        ),
        Step(
            id="service",
            do=(
                Command(
                    text=f"./l4lab kubectl describe service {facts.SERVICE}",
                    shows=(r"^Selector:\s+<none>", rf"^Port:\s+{facts.PORT_NAME}\s+{facts.PORT}"),
                ),
                Command(
                    text=f"CIP=$(./l4lab kubectl get service {facts.SERVICE} "
                    "-o jsonpath='{.spec.clusterIP}')"
                ),
                Command(
                    text=f"NODE=$(./l4lab kubectl get pod {facts.CLIENT} "
                    "-o jsonpath='{.spec.nodeName}')"
                ),
            ),
            checks=("no-selector",),
        ),
        Step(
            id="slice",
            do=(
                Command(text=_patched("/endpoints", "[]"), shows=("patched",)),
                Command(
                    text=f"./l4lab kubectl describe service {facts.SERVICE} | grep Endpoints",
                    shows=(_EMPTY,),
                ),
                Command(text=f"while {kernel} | grep -E '{row} +Masq +1'; do sleep 1; done"),
                failed,
                Command(
                    text=_patched("/endpoints", f'[{{"addresses":["{here}"]}}]'),
                    shows=("patched",),
                ),
                followed(row),
                Command(
                    text=f"./l4lab kubectl get endpointslices -l {_LABEL}={facts.SERVICE} -o yaml",
                    shows=(rf"- {here}$", rf"port: {facts.PORT}$"),
                ),
            ),
            checks=("slice", "on-the-node-network", "describe", "without-endpoints"),
        ),
        Step(
            id="kernel",
            do=(
                Command(text=kernel, shows=(rf"-> {row}\s+Masq\s+1",)),
                Command(text=f"{kernel} --stats --exact", shows=(rf"-> {row}",)),
            ),
            checks=("ipvs-row", "counters"),
        ),
        Step(
            id="ask-from-a-node",
            do=(
                Command(
                    text=f"{_OPTIONS} | {on_node} mariadb --defaults-extra-file=/dev/stdin "
                    "-h $CIP -e '\"SELECT @@hostname, USER()\"'",
                    shows=(rf"^{database.name}\s+{facts.USER}@",),
                ),
            ),
            checks=("node-writes",),
        ),
        Step(
            id="ask-from-a-pod",
            do=(
                Command(text=f"{_IN_POD} -h $CIP {_sql(_WRITE)}"),
                Command(
                    text=f"{_IN_POD} -h {facts.SERVICE} {_sql(_READ)}",
                    shows=("^hello$",),
                ),
                Command(
                    text=f"{on_host} mariadb {facts.SCHEMA} -e '\"{_READ}\"'",
                    shows=("^hello$",),
                ),
                Command(text=f"{_IN_POD} -h {facts.SERVICE} {_sql('DROP TABLE note')}"),
            ),
            checks=("pod-writes", "by-name"),
        ),
        Step(
            id="source",
            do=(
                Command(
                    text=f"./l4lab kubectl get pod {facts.CLIENT} -o wide", shows=(facts.CLIENT,)
                ),
                Command(
                    text=f"{_IN_POD} -h {facts.SERVICE} {_sql('SELECT USER(), CURRENT_USER()')}",
                    shows=(rf"^{facts.USER}@\S+\s+{facts.USER}@{right}$",),
                ),
                Command(
                    text=f"{_IN_POD} -h {facts.SERVICE} {_sql('SHOW PROCESSLIST')}",
                    shows=(rf"\s{facts.USER}\s+\S+:\d+\s+{facts.SCHEMA}\s",),
                ),
            ),
            checks=("source",),
        ),
        Step(
            id="classic",
            do=(
                Command(
                    text=f"./l4lab kubectl get endpoints {facts.CLASSIC}",
                    shows=("deprecated", row),
                ),
                Command(
                    text=f"./l4lab kubectl get endpointslices -l {_LABEL}={facts.CLASSIC} "
                    "--show-labels",
                    shows=("endpointslicemirroring-controller", here),
                ),
                Command(
                    text=f"{_IN_POD} -h {facts.CLASSIC} {_sql('SELECT @@hostname')}",
                    shows=(f"^{database.name}$",),
                ),
            ),
            checks=("classic", "mirrored", "deprecated", "classic-answers"),
        ),
        Step(
            id="database-stopped",
            do=(
                Command(text=f"{on_host} systemctl stop mariadb"),
                failed,
                Command(text=kernel, shows=(f"-> {row}",)),
                Command(text=f"{on_host} ss -Htln sport = :{facts.PORT}"),
                Command(text=f"{on_host} systemctl start mariadb"),
            ),
            checks=("database-stopped",),
        ),
        Step(
            id="wrong-port",
            do=(
                Command(text=_patched("/ports/0/port", str(facts.PORT + 1)), shows=("patched",)),
                followed(f"{here}:{facts.PORT + 1}"),
                failed,
                Command(
                    text=f"{on_host} ss -Htln sport = :{facts.PORT}", shows=(f":{facts.PORT}",)
                ),
                Command(text=_patched("/ports/0/port", str(facts.PORT)), shows=("patched",)),
                followed(row),
            ),
            checks=("wrong-port",),
        ),
        Step(
            id="wrong-address",
            do=(
                Command(text=_patched("/endpoints/0/addresses/0", f'"{free}"'), shows=("patched",)),
                followed(f"{free}:{facts.PORT}"),
                Command(text=f"time {failed.text}", shows=failed.shows, rc=None, within=_SOON),
                Command(text=_patched("/endpoints/0/addresses/0", f'"{here}"'), shows=("patched",)),
                followed(row),
            ),
            checks=("wrong-address",),
        ),
        Step(
            id="wrong-grant",
            do=(
                Command(
                    text=f"{_IN_POD} -h {facts.SERVICE} --password=wrong -e 'SELECT 1'",
                    shows=("ERROR 1045",),
                    rc=None,
                ),
                Command(
                    text=f"{_IN_POD} -h {facts.SERVICE} mysql -e 'SELECT 1'",
                    shows=("ERROR 1044",),
                    rc=None,
                ),
                Command(text=renamed(right, wrong)),
                Command(text=asked.text, shows=("1130",), rc=None),
                Command(text=renamed(wrong, right)),
                asked,
            ),
            checks=("wrong-password", "wrong-schema", "wrong-grant"),
        ),
        Step(
            id="moved",
            do=(
                Command(text=device),
                Command(text=f"{on_host} ip address add {free}/{length} dev $DEV"),
                Command(text=_patched("/endpoints/0/addresses/0", f'"{free}"'), shows=("patched",)),
                followed(f"{free}:{facts.PORT}"),
                asked,
                Command(text=_patched("/endpoints/0/addresses/0", f'"{here}"'), shows=("patched",)),
                followed(row),
                Command(text=f"{on_host} ip address del {free}/{length} dev $DEV"),
            ),
            checks=("moved",),
        ),
    )
