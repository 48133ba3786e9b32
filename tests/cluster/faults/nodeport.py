"""Ways to break lab nodeport."""

import json

from labs.nodeport import facts
from tests.cluster.breaks import Break, ids, patched, scaled, with_proxy_frozen

IN = "from-outside ipvs-rows counters source-is-a-node localhost"
LOCAL = "local-fields local-rows local-answers source-is-kept"
PORT = {"name": facts.PORT_NAME, "port": facts.PORT, "targetPort": facts.TARGET_PORT}


def in_service(name, path, *, service=facts.SERVICE, **rest):
    return patched(name, "service", service, path, **rest)


def service_type(kind, **fields):
    """The Service's type, with what belongs to it: a field of another type is refused."""
    spec = {"type": kind, **fields}
    return lambda hands: hands.kubectl(
        "patch", "service", facts.SERVICE, "-p", json.dumps({"spec": spec})
    )


def node_at(hands, node):
    return f"{hands.topology.machine(node).address}:{facts.NODE_PORT}"


def row_gone(hands, node):
    hands.on(node, "ipvsadm", "-D", "-t", node_at(hands, node))


def row_back(hands, node):
    hands.on(node, "ipvsadm", "-A", "-t", node_at(hands, node), "-s", "rr")
    for address in hands.pod_addresses(facts.LABELS):
        real = f"{address}:{facts.TARGET_PORT}"
        hands.on(node, "ipvsadm", "-a", "-t", node_at(hands, node), "-r", real, "-m")


def closed(hands):
    """A firewall on one node, before anything of Kubernetes sees the packet."""
    rules = (
        "add table ip l4lab_break; "
        "add chain ip l4lab_break in { type filter hook prerouting priority -400; }; "
        f"add rule ip l4lab_break in ip saddr != 127.0.0.1 tcp dport {facts.NODE_PORT} drop"
    )
    hands.on(hands.worker, "nft", rules)


def opened(hands):
    hands.on(hands.worker, "nft", "delete", "table", "ip", "l4lab_break")


def listening(hands):
    """A process of the node itself on the port, on the loopback address alone."""
    server = ["python3", "-m", "http.server", "-b", "127.0.0.1", str(facts.NODE_PORT)]
    hands.on(hands.worker, "systemd-run", "--unit=l4lab-break", *server)


def silent(hands):
    hands.on(hands.worker, "systemctl", "stop", "l4lab-break")


BREAKS = (
    in_service(
        "another nodePort",
        "/spec/ports/0/nodePort",
        wrong=facts.OTHER_NODE_PORT,
        right=facts.NODE_PORT,
        explains="service-fields",
        red=ids(f"{IN} port-taken"),
        green=ids(f"pods cluster-address {LOCAL}"),
    ),
    Break(
        name="type ClusterIP",
        apply=service_type("ClusterIP", externalTrafficPolicy=None, ports=[PORT]),
        undo=service_type(
            "NodePort",
            externalTrafficPolicy="Cluster",
            ports=[{**PORT, "nodePort": facts.NODE_PORT}],
        ),
        explains="service-fields",
        red=ids(f"{IN} port-taken"),
        green=ids(f"pods cluster-address {LOCAL}"),
    ),
    in_service(
        "policy Local where it should be Cluster",
        "/spec/externalTrafficPolicy",
        wrong="Local",
        right="Cluster",
        explains="service-fields",
        red=ids("from-outside source-is-a-node ipvs-rows"),
        green=ids(f"pods cluster-address {LOCAL}"),
    ),
    in_service(
        "policy Cluster where it should be Local",
        "/spec/externalTrafficPolicy",
        wrong="Cluster",
        right="Local",
        service=facts.LOCAL_SERVICE,
        explains="local-fields",
        red=ids("local-rows local-answers source-is-kept local-lost"),
        green=ids(f"pods service-fields cluster-address {IN}"),
    ),
    in_service(
        "wrong selector",
        "/spec/selector",
        wrong={"run": "other"},
        right=facts.LABELS,
        explains="service-fields",
        red=ids(f"{IN} cluster-address"),
        green=ids(f"pods port-taken {LOCAL}"),
    ),
    scaled(
        "one replica",
        facts.DEPLOYMENT,
        1,
        facts.REPLICAS,
        explains="pods",
        red=ids("ipvs-rows local-rows local-answers"),
        green=ids("service-fields local-fields cluster-address from-outside port-taken"),
    ),
    with_proxy_frozen(
        "the node port's row gone on a node",
        change=row_gone,
        mend=row_back,
        explains="ipvs-rows",
        red=ids("counters localhost from-outside source-is-a-node"),
        green=ids("service-fields cluster-address local-answers source-is-kept port-taken"),
    ),
    Break(
        name="a firewall on one node",
        apply=closed,
        undo=opened,
        explains="from-outside",
        red=ids("counters source-is-a-node"),
        green=ids("service-fields ipvs-rows cluster-address local-answers"),
    ),
    Break(
        name="a process on the loopback address",
        apply=listening,
        undo=silent,
        explains="localhost",
        green=ids("ipvs-rows from-outside counters"),
        node_only="worker",
    ),
)
