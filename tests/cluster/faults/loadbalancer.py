"""Ways to break lab loadbalancer on a real cluster, and which checks must tell."""

import json

from labs.loadbalancer import facts
from labs.loadbalancer.pool import pool
from tests.cluster.breaks import Break, ids, patched, scaled, with_proxy_frozen

# Whatever reads or uses the first Service's address.
OUTER = "addresses on-kube-ipvs0 ipvs-rows source-ranges outside-answers who-answers-arp neighbour"
OUTER += " refused-client source-hidden"
UNTOUCHED = ids("pending pending-works allocator-rights")


def status(service, value):
    """Writes a Service's status as a controller does."""

    def put(hands):
        change = json.dumps({"status": {"loadBalancer": {"ingress": value(hands)}}})
        words = ("--subresource=status", "--type=merge", "-p", change)
        hands.kubectl("patch", "service", service, *words)

    return put


def address_of(hands, service):
    return hands.json("service", service)["status"]["loadBalancer"]["ingress"][0]["ip"]


def foreign(hands):
    """An address of the node network that the allocator does not give."""
    last = pool(hands.topology, facts.POOL_SIZE + 1)[-1]
    return [{"ip": last}]


def allocator(count):
    def scale(hands):
        name = f"deployment/{facts.ALLOCATOR}"
        hands.kubectl("scale", name, f"--replicas={count}")
        hands.kubectl("rollout", "status", name, "--timeout=90s")

    return scale


def taken_away(hands):
    """The first Service's address, while nobody is there to give it another one."""
    hands.kept["address"] = address_of(hands, facts.OPEN)
    allocator(0)(hands)
    status(facts.OPEN, lambda _hands: [])(hands)


def given_again(hands):
    status(facts.OPEN, lambda hands: [{"ip": hands.kept["address"]}])(hands)
    allocator(1)(hands)


def unbound(hands, node):
    hands.kept["address"] = address_of(hands, facts.OPEN)
    hands.on(node, "ip", "address", "del", f"{hands.kept['address']}/32", "dev", "kube-ipvs0")


def bound(hands, node):
    hands.on(node, "ip", "address", "add", f"{hands.kept['address']}/32", "dev", "kube-ipvs0")


def row_gone(hands, node):
    hands.kept["row"] = f"{address_of(hands, facts.OPEN)}:{facts.PORT}"
    hands.kept["pods"] = hands.pod_addresses(facts.LABELS)
    hands.on(node, "ipvsadm", "-D", "-t", hands.kept["row"])


def row_back(hands, node):
    row = hands.kept["row"]
    hands.on(node, "ipvsadm", "-A", "-t", row, "-s", "rr")
    for address in hands.kept["pods"]:
        real = f"{address}:{facts.TARGET_PORT}"
        hands.on(node, "ipvsadm", "-a", "-t", row, "-r", real, "-m", "-w", "1")


def may(verbs):
    return {"apiGroups": [""], "resources": ["services"], "verbs": verbs}


def silent(value):
    """Whether one worker answers ARP only for the addresses of the card that was asked."""
    return lambda hands: hands.on(
        hands.worker, "sysctl", "-w", f"net.ipv4.conf.all.arp_ignore={value}"
    )


def allowed(whom):
    def put(hands):
        hands.patch(
            "service", facts.OPEN, "/spec/loadBalancerSourceRanges", [f"{whom(hands.topology)}/32"]
        )

    return put


BREAKS = (
    scaled(
        "no allocator",
        facts.ALLOCATOR,
        0,
        1,
        explains="allocator",
        # What was given stays given: nothing else depends on it.
        green=UNTOUCHED | ids(f"addresses beyond-the-range {OUTER}"),
    ),
    Break(
        name="an address taken away",
        apply=taken_away,
        undo=given_again,
        explains="addresses",
        red=ids(f"allocator {OUTER}"),
        green=UNTOUCHED | ids("service-fields health-check"),
    ),
    Break(
        name="an address by hand where nobody should give one",
        apply=status(facts.PENDING, foreign),
        undo=status(facts.PENDING, lambda _hands: []),
        explains="pending",
        green=ids(f"service-fields pending-works {OUTER}"),
    ),
    patched(
        "an allocator that may delete Services",
        "role",
        facts.ALLOCATOR,
        "/rules/0",
        wrong=may(["get", "list", "watch", "delete"]),
        right=may(["get", "list", "watch"]),
        explains="allocator-rights",
        green=ids("allocator addresses beyond-the-range outside-answers"),
    ),
    Break(
        name="another client allowed",
        apply=allowed(lambda topology: topology.databases[0].address),
        undo=allowed(lambda topology: topology.networks.gateway),
        explains="service-fields",
        red=ids("source-ranges outside-answers neighbour source-hidden refused-client"),
        green=UNTOUCHED | ids("addresses on-kube-ipvs0 ipvs-rows who-answers-arp health-check"),
    ),
    patched(
        "the second Service no longer local",
        "service",
        facts.LOCAL,
        "/spec/externalTrafficPolicy",
        wrong="Cluster",
        right="Local",
        explains="service-fields",
        red=ids("health-check ipvs-rows"),
        green=UNTOUCHED | ids("addresses on-kube-ipvs0 outside-answers source-ranges"),
    ),
    with_proxy_frozen(
        "the address gone from one node",
        change=unbound,
        mend=bound,
        explains="on-kube-ipvs0",
        red=ids("who-answers-arp"),
        green=UNTOUCHED | ids("service-fields addresses ipvs-rows source-ranges"),
    ),
    with_proxy_frozen(
        "the row gone from one kernel",
        change=row_gone,
        mend=row_back,
        explains="ipvs-rows",
        green=UNTOUCHED | ids("service-fields addresses on-kube-ipvs0 who-answers-arp"),
    ),
    Break(
        name="one node silent to ARP",
        apply=silent(1),
        undo=silent(0),
        explains="who-answers-arp",
        green=UNTOUCHED | ids(f"{OUTER}") - ids("who-answers-arp"),
    ),
)
