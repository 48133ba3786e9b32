"""Ways to break lab headless."""

import json

from labs.headless import facts
from tests.cluster.breaks import Break, ids, intruder, patched, without_dns

OBJECTS = "pods no-address endpoints no-row"
NAMES = "all-addresses order own-names port-by-name ttl"
TRAFFIC = "direct no-translation"


def in_service(name, path, **rest):
    return patched(name, "service", facts.SERVICE, path, **rest)


def made_anew(address):
    """The Service with or without an address: that field cannot be changed."""

    def make(hands):
        found = hands.json("service", facts.SERVICE)
        kept = ("name", "namespace", "labels", "annotations")
        found["metadata"] = {
            key: found["metadata"][key] for key in kept if key in found["metadata"]
        }
        del found["status"]
        fields = ("ports", "selector")
        found["spec"] = {**{key: found["spec"][key] for key in fields}, **address}
        hands.kubectl("delete", "service", facts.SERVICE)
        hands.kubectl("create", "-f", "-", stdin=json.dumps(found))

    return make


def scale(count):
    def change(hands):
        hands.kubectl("scale", f"statefulset/{facts.SERVICE}", f"--replicas={count}")

    return change


def closed(hands):
    """A firewall on every worker, before the packet reaches the pod."""
    rules = (
        "add table ip l4lab_break; "
        "add chain ip l4lab_break through { type filter hook forward priority -400; }; "
        f"add rule ip l4lab_break through ip daddr {hands.kept['pod']} "
        f"tcp dport {facts.TARGET_PORT} drop"
    )
    for worker in hands.topology.workers:
        hands.on(worker.name, "nft", rules)


def closed_to_one(hands):
    hands.kept["pod"] = hands.pod_addresses(facts.LABELS)[0]
    closed(hands)


def opened(hands):
    for worker in hands.topology.workers:
        hands.on(worker.name, "nft", "delete", "table", "ip", "l4lab_break")


BREAKS = (
    Break(
        name="a cluster address",
        apply=made_anew({}),
        undo=made_anew({"clusterIP": "None"}),
        explains="no-address",
        red=ids("no-row all-addresses no-translation"),
        green=ids("pods endpoints own-names"),
    ),
    in_service(
        "wrong selector",
        "/spec/selector",
        wrong={"run": "other"},
        right=facts.LABELS,
        explains="endpoints",
        red=ids(f"{NAMES} {TRAFFIC}"),
        green=ids("pods no-address no-row"),
    ),
    in_service(
        "wrong targetPort",
        "/spec/ports/0/targetPort",
        wrong=facts.TARGET_PORT + 1,
        right=facts.TARGET_PORT,
        explains="endpoints",
        red=ids("port-by-name"),
        # Nobody translates it, so requests do not care.
        green=ids(f"pods no-address no-row all-addresses own-names {TRAFFIC}"),
    ),
    in_service(
        "another port name",
        "/spec/ports/0/name",
        wrong="other",
        right=facts.PORT_NAME,
        explains="port-by-name",
        green=ids(f"{OBJECTS} all-addresses own-names {TRAFFIC}"),
    ),
    Break(
        name="one replica",
        apply=scale(1),
        undo=scale(facts.REPLICAS),
        explains="pods",
        red=ids("endpoints all-addresses own-names port-by-name direct"),
        green=ids("no-address ttl no-translation"),
    ),
    intruder(
        name="a stranger with the label",
        image=facts.IMAGE,
        labels=facts.LABELS,
        explains="pods",
        red=ids("endpoints all-addresses port-by-name"),
        green=ids("no-address ttl no-translation"),
    ),
    without_dns(
        explains="all-addresses",
        red=ids(f"order own-names port-by-name ttl {TRAFFIC}"),
        green=ids(OBJECTS),
    ),
    Break(
        name="a firewall before one pod",
        apply=closed_to_one,
        undo=opened,
        explains="direct",
        green=ids(f"{OBJECTS} {NAMES}"),
    ),
)
