"""Ways to break lab clusterip."""

from labs.clusterip import facts
from tests.cluster.breaks import (
    Break,
    dropped,
    ids,
    intruder,
    patched,
    relabel,
    scaled,
    with_proxy_frozen,
    without_dns,
)

REQUESTS = "service-answers counters balance"
PROXY = ids("proxy-mode")


def in_service(name, path, wrong, right, explains="service-fields", **rest):
    return patched(
        name, "service", facts.SERVICE, path, wrong=wrong, right=right, explains=explains, **rest
    )


def in_kernel(name, *, change, mend, **rest):
    """A change of the Service's row; its address is kept while it can still be asked for."""

    def changed(hands, node):
        hands.kept["address"] = service_at(hands)
        hands.kept["pod"] = pod_address(hands)
        change(hands, node)

    return with_proxy_frozen(
        name,
        change=changed,
        mend=mend,
        green=ids("deployment service-fields endpoints pods-answer full-name"),
        **rest,
    )


def service_at(hands):
    return f"{hands.json('service', facts.SERVICE)['spec']['clusterIP']}:{facts.PORT}"


def pod_address(hands):
    return hands.pod_addresses(facts.LABELS)[0]


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


def offload(state, signal, otherwise):
    """Felix turns the offload off again within ten seconds, so it is frozen meanwhile.

    A Felix that was frozen for long is started anew by kubelet: then there is none to wake.
    """
    felix = f'felix=$(pgrep -of "^calico-node -felix") && kill -{signal} "$felix" || {otherwise}'
    switch = f"ethtool -K vxlan.calico tx-checksum-ip-generic {state}"
    return lambda hands: hands.on(hands.far, "sh", "-c", f"{felix}; {switch}")


def name_on_node(hands):
    name = f"{facts.SERVICE}.{facts.NAMESPACE}.svc.cluster.local"
    address = service_at(hands).partition(":")[0]
    hands.on(hands.worker, "sh", "-c", f"echo '{address} {name} # break' >> /etc/hosts")


def no_name_on_node(hands):
    hands.on(hands.worker, "sed", "-i", "/# break$/d", "/etc/hosts")


def route(verb):
    def change(hands):
        near = str(hands.topology.control_plane.address)
        network = str(hands.topology.networks.services)
        hands.on(hands.database, "ip", "route", verb, network, "via", near)

    return change


BREAKS = (
    in_service(
        "wrong selector",
        "/spec/selector",
        {"run": "other"},
        facts.LABELS,
        explains="selector",
        red=ids(f"service-fields endpoints describe ipvs-row ipvs-masq short-names {REQUESTS}"),
        green=ids("deployment service-address pods-answer full-name"),
    ),
    in_service(
        "wrong service port",
        "/spec/ports/0/port",
        facts.PORT + 1,
        facts.PORT,
        red=ids(f"ipvs-row ipvs-scheduler short-names {REQUESTS}"),
        green=ids("deployment endpoints describe selector pods-answer full-name"),
    ),
    in_service(
        "wrong targetPort",
        "/spec/ports/0/targetPort",
        facts.TARGET_PORT + 8000,
        facts.TARGET_PORT,
        red=ids(f"endpoints describe ipvs-row short-names {REQUESTS}"),
        green=ids("deployment selector pods-answer full-name"),
    ),
    in_service(
        "wrong protocol",
        "/spec/ports/0/protocol",
        "UDP",
        facts.PROTOCOL,
        red=ids(f"ipvs-row short-names {REQUESTS}"),
        green=ids("deployment selector pods-answer full-name"),
    ),
    in_service(
        "another port name",
        "/spec/ports/0/name",
        "web",
        facts.PORT_NAME,
        green=ids("deployment endpoints ipvs-row service-answers short-names"),
    ),
    in_service(
        "type NodePort",
        "/spec/type",
        "NodePort",
        "ClusterIP",
        green=ids("deployment endpoints ipvs-row service-answers short-names"),
    ),
    in_service(
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
        facts.DEPLOYMENT,
        0,
        facts.REPLICAS,
        explains="deployment",
        green=ids("service-fields service-address full-name"),
        red=ids(f"pod-addresses selector endpoints ipvs-masq short-names {REQUESTS}"),
    ),
    scaled(
        "one replica",
        facts.DEPLOYMENT,
        1,
        facts.REPLICAS,
        explains="deployment",
        red=ids("pod-addresses selector endpoints ipvs-row balance"),
        green=ids("service-fields service-address full-name"),
    ),
    Break(
        name="wrong pod label",
        explains="selector",
        apply=lambda hands: relabel(hands, facts.DEPLOYMENT, {"run": "other"}),
        undo=lambda hands: relabel(hands, facts.DEPLOYMENT, facts.LABELS),
        red=ids("deployment pod-addresses endpoints ipvs-row short-names service-answers"),
        green=ids("service-fields service-address full-name"),
    ),
    intruder(
        name="a stranger with the label",
        image=facts.IMAGE,
        labels=facts.LABELS,
        explains="selector",
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
    # After IPVS has chosen, packets leave with the pod's address: that is where they are dropped.
    dropped(
        "a firewall rule on a node",
        where="far",
        match=lambda hands: f"ip daddr {pod_address(hands)}",
        explains="pods-answer",
        red=ids(REQUESTS),
        green=ids("deployment service-fields endpoints ipvs-row full-name"),
        node_only="far",
    ),
    without_dns(
        explains="full-name",
        red=ids("short-names"),
        error=ids("no-name-on-nodes"),
        green=ids(f"deployment endpoints ipvs-row pod-resolver {REQUESTS}"),
    ),
    Break(
        name="checksum offload on at a node",
        explains="first-packet",
        apply=offload("on", "STOP", "exit 1"),
        undo=offload("off", "CONT", "true"),
        green=ids("deployment endpoints ipvs-row counters"),
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
