"""Ways to break lab three-networks."""

import importlib

from tests.cluster.breaks import Break, dropped, ids, patched, scaled, with_proxy_frozen

# A folder's name is a lab's name, which is none of Python's.
facts = importlib.import_module("labs.three-networks.facts")

RANGES = "node-range pod-range service-range node-address"


def pod_address(hands):
    return hands.pod_addresses(facts.LABELS)[0]


def cluster_address(verb):
    """Give one node's dummy interface the cluster address, or take it away."""

    def change(hands, node):
        address = hands.json("service", facts.SERVICE)["spec"]["clusterIP"]
        hands.on(node, "ip", "address", verb, f"{address}/32", "dev", facts.DUMMY)

    return change


def pod_address_on_node(hands):
    hands.kept["pod"] = pod_address(hands)
    hands.on(hands.far, "ip", "address", "add", f"{hands.kept['pod']}/32", "dev", "lo")


def no_pod_address_on_node(hands):
    hands.on(hands.far, "ip", "address", "del", f"{hands.kept['pod']}/32", "dev", "lo")


def behind_nobody(hands):
    """Send what is for the far pods to a machine that is not there; Felix would mend it."""
    hands.on(hands.far, "sh", "-c", f"{FELIX}; kill -STOP $felix")
    lines = hands.on(hands.far, "bridge", "fdb", "show", "dev", facts.TUNNEL).splitlines()
    hands.kept["ends"] = [(line.split()[0], line.split("dst ")[1].split()[0]) for line in lines]
    nobody = str(hands.topology.networks.nodes.broadcast_address - 1)
    for card, _address in hands.kept["ends"]:
        moved(hands, card, nobody)


def behind_their_nodes(hands):
    try:
        for card, address in hands.kept.get("ends", ()):
            moved(hands, card, address)
    finally:
        hands.on(hands.far, "sh", "-c", f"{FELIX}; kill -CONT $felix")


def moved(hands, card, address):
    words = ("bridge", "fdb", "replace", card, "dev", facts.TUNNEL, "dst", address)
    hands.on(hands.far, *words, "self", "permanent")


def route(verb):
    def change(hands):
        near, network = hands.topology.control_plane.address, hands.topology.networks.services
        hands.on(hands.database, "ip", "route", verb, str(network), "via", str(near))

    return change


FELIX = 'felix=$(pgrep -of "^calico-node -felix") || exit 1'

BREAKS = (
    with_proxy_frozen(
        "no cluster address on a node",
        change=cluster_address("del"),
        mend=cluster_address("replace"),
        explains="cluster-address-on-nodes",
        # What a node itself sends, IPVS takes all the same; what arrives at the node, it does not.
        red=ids("ping-proves-nothing"),
        green=ids(f"{RANGES} one-of-each tunnel cluster-address-answers from-nodes"),
    ),
    Break(
        name="a pod's address on a node",
        explains="pod-address-nowhere-else",
        apply=pod_address_on_node,
        undo=no_pod_address_on_node,
        red=ids("route-to-far-pods"),
        green=ids(f"{RANGES} one-of-each tunnel cluster-address-on-nodes pod-address-inside"),
        node_only="far",
    ),
    dropped(
        "a firewall rule on a node",
        where="far",
        match=lambda hands: f"ip daddr {pod_address(hands)}",
        explains="from-nodes",
        red=ids("cluster-address-answers"),
        green=ids(f"{RANGES} pod-address-nowhere-else route-to-far-pods tunnel from-a-pod"),
        node_only="far",
    ),
    Break(
        name="the tunnel leads to nobody",
        explains="route-to-far-pods",
        apply=behind_nobody,
        undo=behind_their_nodes,
        red=ids("from-nodes cluster-address-answers outer-packet"),
        green=ids(f"{RANGES} tunnel pod-address-nowhere-else from-a-pod"),
        node_only="far",
    ),
    Break(
        name="a route into the service network",
        explains="from-outside",
        apply=route("add"),
        undo=route("del"),
        green=ids(f"{RANGES} from-nodes from-a-pod"),
        node_only="database",
    ),
    patched(
        "wrong selector",
        "service",
        facts.SERVICE,
        "/spec/selector",
        wrong={"run": "other"},
        right=facts.LABELS,
        explains="cluster-address-answers",
        red=ids("ping-proves-nothing from-nodes from-a-pod"),
        green=ids(f"{RANGES} one-of-each cluster-address-on-nodes pod-to-pod"),
    ),
    scaled(
        "one replica",
        facts.DEPLOYMENT,
        wrong=1,
        right=facts.REPLICAS,
        explains="one-of-each",
        red=ids("pod-address-nowhere-else from-nodes from-a-pod"),
        green=ids(f"{RANGES} cluster-address-on-nodes pod-address-inside tunnel"),
    ),
)
