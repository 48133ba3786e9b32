"""Ways to break lab udp-sctp on a real cluster, and which checks must tell."""

import importlib
import json

from tests.cluster.breaks import Break, dropped, ids, patched, scaled, with_proxy_frozen

facts = importlib.import_module("labs.udp-sctp.facts")

# Whatever sends datagrams through the Service.
DATAGRAMS = "mixed-answers own-counters udp-entry udp-balance"
UDP = list(facts.MIXED_PORTS.values()).index("UDP")
UDP_PORT = {
    "name": list(facts.MIXED_PORTS)[UDP],
    "protocol": "UDP",
    "port": facts.PORT,
    "targetPort": facts.TARGET_PORT,
}
SLICE = f"{facts.NOBODY}-somebody"


def udp_port(operation, **rest):
    change = [{"op": operation, "path": f"/spec/ports/{UDP}", **rest}]
    return lambda hands: hands.kubectl(
        "patch", "service", facts.MIXED, "--type=json", "-p", json.dumps(change)
    )


def somebody(hands):
    """An endpoint for the Service that should have none."""
    ports = [
        {"name": name, "protocol": protocol, "port": facts.TARGET_PORT}
        for name, protocol in facts.NOBODY_PORTS.items()
    ]
    address = hands.pod_addresses(facts.LABELS)[0]
    made = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SLICE, "labels": {"kubernetes.io/service-name": facts.NOBODY}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": ports,
    }
    hands.kubectl("create", "-f", "-", stdin=json.dumps(made))


def udp_row_gone(hands, node):
    address = hands.json("service", facts.MIXED)["spec"]["clusterIP"]
    hands.kept["row"] = f"{address}:{facts.PORT}"
    hands.kept["pods"] = hands.pod_addresses(facts.LABELS)
    hands.on(node, "ipvsadm", "-D", "-u", hands.kept["row"])


def udp_row_back(hands, node):
    row = hands.kept["row"]
    hands.on(node, "ipvsadm", "-A", "-u", row, "-s", "rr")
    for address in hands.kept["pods"]:
        real = f"{address}:{facts.TARGET_PORT}"
        hands.on(node, "ipvsadm", "-a", "-u", row, "-r", real, "-m", "-w", "1")


def udp_seconds(seconds):
    return lambda hands: hands.on(hands.worker, "ipvsadm", "--set", "0", "0", str(seconds))


BREAKS = (
    Break(
        name="the Service without its UDP port",
        apply=udp_port("remove"),
        undo=udp_port("add", value=UDP_PORT),
        explains="service-fields",
        red=ids(f"endpoints srv-names ipvs-rows {DATAGRAMS}"),
        green=ids("pods-answer other-protocol nobody"),
    ),
    patched(
        "UDP to another port of the pods",
        "service",
        facts.MIXED,
        f"/spec/ports/{UDP}/targetPort",
        wrong=facts.TARGET_PORT + 1,
        right=facts.TARGET_PORT,
        explains="service-fields",
        red=ids(f"endpoints ipvs-rows {DATAGRAMS}"),
        green=ids("pods-answer srv-names other-protocol nobody"),
    ),
    patched(
        "SCTP not kept on the node",
        "service",
        facts.SCTP,
        "/spec/internalTrafficPolicy",
        wrong="Cluster",
        right="Local",
        explains="service-fields",
        red=ids("ipvs-rows"),
        green=ids("endpoints pods-answer mixed-answers other-protocol"),
    ),
    scaled(
        "one pod too few",
        facts.DEPLOYMENT,
        facts.REPLICAS - 1,
        facts.REPLICAS,
        explains="endpoints",
        red=ids("ipvs-rows pods-answer sctp-answers udp-balance"),
        green=ids("service-fields same-port-twice srv-names mixed-answers nobody"),
    ),
    Break(
        name="somebody behind the empty Service",
        apply=somebody,
        undo=lambda hands: hands.kubectl("delete", "endpointslice", SLICE),
        explains="endpoints",
        red=ids("ipvs-rows nobody"),
        green=ids("service-fields mixed-answers sctp-answers other-protocol"),
    ),
    with_proxy_frozen(
        "the UDP row gone from one kernel",
        change=udp_row_gone,
        mend=udp_row_back,
        explains="ipvs-rows",
        red=ids(DATAGRAMS),
        green=ids("service-fields endpoints srv-names pods-answer sctp-answers"),
    ),
    Break(
        name="UDP clients soon forgotten",
        apply=udp_seconds(10),
        undo=udp_seconds(facts.IDLE_SECONDS["UDP"]),
        explains="udp-entry",
        green=ids("ipvs-rows own-counters mixed-answers"),
        node_only="worker",
    ),
    dropped(
        "UDP dropped by a firewall",
        where="far",
        match=lambda _hands: f"udp dport {facts.TARGET_PORT}",
        explains="pods-answer",
        red=ids(f"other-protocol {DATAGRAMS}"),
        green=ids("service-fields endpoints ipvs-rows srv-names sctp-answers"),
    ),
    dropped(
        "SCTP dropped by a firewall",
        where="far",
        match=lambda _hands: f"meta l4proto sctp th dport {facts.TARGET_PORT}",
        explains="pods-answer",
        green=ids("ipvs-rows mixed-answers own-counters nobody"),
    ),
)
