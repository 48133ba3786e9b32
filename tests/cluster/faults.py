"""Ways to break lab clusterip on a real cluster: how, how to mend it, and which checks must tell.

Every break changes one thing. ``explains`` is the check that names the cause; it and all of ``red``
must fail, ``error`` cannot be measured any more, and ``green`` must not be touched by it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from labs.clusterip import facts
from tests.cluster.hands import Hands


@dataclass(frozen=True, kw_only=True)
class Break:
    name: str
    explains: str
    apply: Callable[[Hands], None]
    undo: Callable[[Hands], None]
    red: frozenset = frozenset()
    error: frozenset = frozenset()
    green: frozenset = field(default=frozenset({"deployment", "service-address"}))
    node_only: str = ""
    """Where only one machine is broken: the property of ``Hands`` that names it."""

    def __str__(self):
        return self.name


def ids(text):
    return frozenset(text.split())


def field_of_service(name, path, wrong, right, **rest):
    return Break(
        name=name,
        explains=rest.pop("explains", "service-fields"),
        apply=lambda hands: hands.patch(path, wrong),
        undo=lambda hands: hands.patch(path, right),
        **rest,
    )


def scaled(name, count, **rest):
    def scale(hands, replicas):
        hands.kubectl("scale", f"deployment/{facts.DEPLOYMENT}", f"--replicas={replicas}")

    return Break(
        name=name,
        explains="deployment",
        apply=lambda hands: scale(hands, count),
        undo=lambda hands: scale(hands, facts.REPLICAS),
        green=ids("service-fields service-address full-name"),
        **rest,
    )


def in_kernel(name, *, change, mend, where="worker", **rest):
    """A change in one node's kernel, made while its kube-proxy is frozen."""

    def apply(hands):
        node = getattr(hands, where)
        hands.kept["address"], hands.kept["pod"] = hands.service, hands.pod_address()
        hands.freeze_proxy(node)
        change(hands, node)

    def undo(hands):
        node = getattr(hands, where)
        try:
            mend(hands, node)
        finally:
            hands.thaw_proxy(node)

    rest.setdefault("green", ids("deployment service-fields endpoints pods-answer full-name"))
    return Break(name=name, apply=apply, undo=undo, node_only=where, **rest)


def relabel(hands, labels):
    """Make the Deployment anew with other labels: its selector cannot be changed."""
    found = hands.json("deployment", facts.DEPLOYMENT)
    kept = ("name", "namespace", "annotations")
    found["metadata"] = {
        **{key: value for key, value in found["metadata"].items() if key in kept},
        "labels": labels,
    }
    del found["status"]
    found["spec"]["selector"] = {"matchLabels": labels}
    found["spec"]["template"]["metadata"]["labels"] = labels
    # The rule that spreads the pods over the nodes goes by label, too.
    for rule in found["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        rule["labelSelector"] = {"matchLabels": labels}
    hands.kubectl("delete", "deployment", facts.DEPLOYMENT, "--cascade=foreground")
    hands.kubectl("create", "-f", "-", stdin=json.dumps(found))
    hands.kubectl("rollout", "status", f"deployment/{facts.DEPLOYMENT}", "--timeout=90s")


def ipvs_row_gone(hands, node):
    hands.on(node, "ipvsadm", "-D", "-t", hands.kept["address"])


def ipvs_row_back(hands, node):
    address = hands.kept["address"]
    hands.on(node, "ipvsadm", "-A", "-t", address, "-s", "rr")
    listed = hands.json("endpointslices", "-l", f"kubernetes.io/service-name={facts.SERVICE}")
    for item in listed["items"]:
        for endpoint in item["endpoints"]:
            real = f"{endpoint['addresses'][0]}:{facts.TARGET_PORT}"
            hands.on(node, "ipvsadm", "-a", "-t", address, "-r", real, "-m", "-w", "1")


def backend(hands):
    return ["-t", hands.kept["address"], "-r", f"{hands.kept['pod']}:{facts.TARGET_PORT}"]


def scheduler(name):
    return lambda hands, node: hands.on(
        node, "ipvsadm", "-E", "-t", hands.kept["address"], "-s", name
    )


def weight(number):
    return lambda hands, node: hands.on(
        node, "ipvsadm", "-e", *backend(hands), "-m", "-w", str(number)
    )


def interface_address(verb):
    def change(hands, node):
        address = hands.kept["address"].partition(":")[0]
        hands.on(node, "ip", "address", verb, f"{address}/32", "dev", "kube-ipvs0")

    return change


def firewall(hands):
    # After IPVS has chosen, packets leave with the pod's address: that is where they are dropped.
    rules = (
        "add table inet l4lab_break; "
        "add chain inet l4lab_break out { type filter hook postrouting priority 0; }; "
        f"add rule inet l4lab_break out ip daddr {hands.pod_address()} drop"
    )
    hands.on(hands.far, "nft", rules)


def no_firewall(hands):
    hands.on(hands.far, "nft", "delete", "table", "inet", "l4lab_break")


def coredns_gone(hands):
    deployment = hands.json("deployment", "coredns", "-n", "kube-system")
    hands.kept["coredns"] = deployment["spec"]["replicas"]
    hands.kubectl("scale", "-n", "kube-system", "deployment/coredns", "--replicas=0")


def coredns_back(hands):
    count = hands.kept["coredns"]
    hands.kubectl("scale", "-n", "kube-system", "deployment/coredns", f"--replicas={count}")
    hands.kubectl("rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=90s")


def offload(state, signal):
    """Felix turns the offload off again within ten seconds, so it is frozen meanwhile."""
    felix = 'felix=$(pgrep -of "^calico-node -felix") || exit 1'
    switch = f"ethtool -K vxlan.calico tx-checksum-ip-generic {state}"
    return lambda hands: hands.on(
        hands.far, "sh", "-c", f'{felix}; kill -{signal} "$felix" && {switch}'
    )


def name_on_node(hands):
    name = f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local"
    address = hands.service.partition(":")[0]
    hands.on(hands.worker, "sh", "-c", f"echo '{address} {name} # break' >> /etc/hosts")


def no_name_on_node(hands):
    hands.on(hands.worker, "sed", "-i", "/# break$/d", "/etc/hosts")


def route(verb):
    def change(hands):
        near = str(hands.topology.control_plane.address)
        network = str(hands.topology.networks.services)
        hands.on(hands.database, "ip", "route", verb, network, "via", near)

    return change


def intruder(hands):
    labels = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
    hands.kubectl("run", "intruder", f"--image={facts.IMAGE}", f"--labels={labels}")
    hands.kubectl("wait", "pod/intruder", "--for=condition=Ready", "--timeout=90s")


def no_intruder(hands):
    hands.kubectl("delete", "pod", "intruder", "--wait=true")


REQUESTS = "service-answers counters balance"
PROXY = ids("proxy-mode")

BREAKS = (
    field_of_service(
        "wrong selector",
        "/spec/selector",
        {"run": "other"},
        facts.LABELS,
        explains="selector",
        red=ids(f"service-fields endpoints describe ipvs-row ipvs-masq short-names {REQUESTS}"),
        green=ids("deployment service-address pods-answer full-name"),
    ),
    field_of_service(
        "wrong service port",
        "/spec/ports/0/port",
        facts.PORT + 1,
        facts.PORT,
        red=ids(f"ipvs-row ipvs-scheduler short-names {REQUESTS}"),
        green=ids("deployment endpoints describe selector pods-answer full-name"),
    ),
    field_of_service(
        "wrong targetPort",
        "/spec/ports/0/targetPort",
        facts.TARGET_PORT + 8000,
        facts.TARGET_PORT,
        red=ids(f"endpoints describe ipvs-row short-names {REQUESTS}"),
        green=ids("deployment selector pods-answer full-name"),
    ),
    field_of_service(
        "wrong protocol",
        "/spec/ports/0/protocol",
        "UDP",
        facts.PROTOCOL,
        red=ids(f"ipvs-row short-names {REQUESTS}"),
        green=ids("deployment selector pods-answer full-name"),
    ),
    field_of_service(
        "another port name",
        "/spec/ports/0/name",
        "web",
        facts.PORT_NAME,
        green=ids("deployment endpoints ipvs-row service-answers short-names"),
    ),
    field_of_service(
        "type NodePort",
        "/spec/type",
        "NodePort",
        "ClusterIP",
        green=ids("deployment endpoints ipvs-row service-answers short-names"),
    ),
    field_of_service(
        "session affinity",
        "/spec/sessionAffinity",
        "ClientIP",
        "None",
        explains="ipvs-scheduler",
        red=ids("balance"),
        green=ids("deployment endpoints ipvs-row service-answers"),
    ),
    scaled(
        "no replicas",
        0,
        red=ids(f"pod-addresses selector endpoints ipvs-masq short-names {REQUESTS}"),
    ),
    scaled("one replica", 1, red=ids("pod-addresses selector endpoints ipvs-row balance")),
    Break(
        name="wrong pod label",
        explains="selector",
        apply=lambda hands: relabel(hands, {"run": "other"}),
        undo=lambda hands: relabel(hands, facts.LABELS),
        red=ids("deployment pod-addresses endpoints ipvs-row short-names service-answers"),
        green=ids("service-fields service-address full-name"),
    ),
    Break(
        name="a stranger with the label",
        explains="selector",
        apply=intruder,
        undo=no_intruder,
        red=ids("endpoints pod-addresses"),
        green=ids("deployment service-fields service-answers full-name"),
    ),
    in_kernel(
        "kube-proxy stopped on a node, its row gone",
        change=ipvs_row_gone,
        mend=ipvs_row_back,
        explains="proxy-mode",
        red=ids(f"ipvs-row ipvs-scheduler {REQUESTS}"),
    ),
    in_kernel(
        "another scheduler",
        change=scheduler("wrr"),
        mend=scheduler("rr"),
        explains="ipvs-scheduler",
        red=PROXY,
    ),
    in_kernel(
        "another weight",
        change=weight(3),
        mend=weight(1),
        explains="ipvs-masq",
        red=PROXY,
    ),
    in_kernel(
        "a backend missing in one kernel",
        change=lambda hands, node: hands.on(node, "ipvsadm", "-d", *backend(hands)),
        mend=lambda hands, node: hands.on(node, "ipvsadm", "-a", *backend(hands), "-m", "-w", "1"),
        explains="ipvs-row",
        red=PROXY | ids("balance"),
    ),
    in_kernel(
        "no cluster address on kube-ipvs0",
        change=interface_address("del"),
        mend=interface_address("add"),
        explains="kube-ipvs0",
        red=PROXY,
    ),
    Break(
        name="a firewall rule on a node",
        explains="pods-answer",
        apply=firewall,
        undo=no_firewall,
        red=ids(REQUESTS),
        green=ids("deployment service-fields endpoints ipvs-row full-name"),
        node_only="far",
    ),
    Break(
        name="CoreDNS at 0",
        explains="full-name",
        apply=coredns_gone,
        undo=coredns_back,
        red=ids("short-names"),
        error=ids("no-name-on-nodes"),
        green=ids(f"deployment endpoints ipvs-row pod-resolver {REQUESTS}"),
    ),
    Break(
        name="checksum offload on at a node",
        explains="first-packet",
        apply=offload("on", "STOP"),
        undo=offload("off", "CONT"),
        green=ids(f"deployment endpoints ipvs-row {REQUESTS}"),
        node_only="far",
    ),
    Break(
        name="the name in a node's hosts file",
        explains="no-name-on-nodes",
        apply=name_on_node,
        undo=no_name_on_node,
        green=ids("full-name short-names"),
        node_only="worker",
    ),
    Break(
        name="a route into the service network",
        explains="not-from-outside",
        apply=route("add"),
        undo=route("del"),
        green=ids("endpoints service-answers"),
        node_only="database",
    ),
)
