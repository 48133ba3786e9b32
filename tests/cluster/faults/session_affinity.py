"""Ways to break lab session-affinity."""

import importlib
import json

from tests.cluster.breaks import Break, ids, patched, scaled, with_proxy_frozen

facts = importlib.import_module("labs.session-affinity.facts")
CLIENTS = "one-pod each-node-remembers each-client-apart"


def affinity(service, kind, seconds=None):
    """The Service's affinity, with the time-out that belongs to it."""
    config = {"clientIP": {"timeoutSeconds": seconds}} if seconds else None
    spec = {"sessionAffinity": kind, "sessionAffinityConfig": config}
    return lambda hands: hands.kubectl(
        "patch", "service", service, "-p", json.dumps({"spec": spec})
    )


def node_at(hands, node):
    return f"{hands.topology.machine(node).address}:{facts.NODE_PORT}"


def persistence(*flags):
    return lambda hands, node: hands.on(
        node, "ipvsadm", "-E", "-t", node_at(hands, node), "-s", "rr", *flags
    )


def backend_gone(hands, node):
    hands.kept["pod"] = hands.pod_addresses(facts.LABELS)[0]
    hands.kept["plain"] = hands.json("service", facts.PLAIN_SERVICE)["spec"]["clusterIP"]
    hands.on(node, "ipvsadm", "-d", *backend(hands))


def backend(hands):
    real = f"{hands.kept['pod']}:{facts.TARGET_PORT}"
    return ["-t", f"{hands.kept['plain']}:{facts.PORT}", "-r", real]


BREAKS = (
    Break(
        name="affinity None",
        apply=affinity(facts.SERVICE, "None"),
        undo=affinity(facts.SERVICE, "ClientIP", facts.TIMEOUT_SECONDS),
        explains="affinity-fields",
        red=ids("persistent-flag one-pod"),
        green=ids("pods default-timeout no-affinity none-spreads"),
    ),
    Break(
        name="a longer time-out",
        apply=affinity(facts.SERVICE, "ClientIP", facts.TIMEOUT_SECONDS * 4),
        undo=affinity(facts.SERVICE, "ClientIP", facts.TIMEOUT_SECONDS),
        explains="affinity-fields",
        red=ids("persistent-flag forgotten"),
        green=ids(f"pods default-timeout {CLIENTS} none-spreads"),
    ),
    Break(
        name="another default time-out",
        apply=affinity(facts.DEFAULT_SERVICE, "ClientIP", facts.TIMEOUT_SECONDS),
        undo=affinity(facts.DEFAULT_SERVICE, "ClientIP", facts.DEFAULT_TIMEOUT_SECONDS),
        explains="default-timeout",
        red=ids("persistent-flag"),
        green=ids(f"pods affinity-fields {CLIENTS} none-spreads"),
    ),
    Break(
        name="affinity where there should be none",
        apply=affinity(facts.PLAIN_SERVICE, "ClientIP", facts.TIMEOUT_SECONDS),
        undo=affinity(facts.PLAIN_SERVICE, "None"),
        explains="no-affinity",
        red=ids("persistent-flag none-spreads"),
        green=ids(f"pods affinity-fields default-timeout {CLIENTS}"),
    ),
    patched(
        "wrong nodePort",
        "service",
        facts.SERVICE,
        "/spec/ports/0/nodePort",
        wrong=facts.NODE_PORT + 1,
        right=facts.NODE_PORT,
        explains="persistent-flag",
        red=ids(CLIENTS),
        green=ids("pods affinity-fields default-timeout none-spreads"),
    ),
    scaled(
        "one replica",
        facts.DEPLOYMENT,
        1,
        facts.REPLICAS,
        explains="pods",
        red=ids("none-spreads"),
        green=ids("affinity-fields default-timeout no-affinity persistent-flag"),
    ),
    with_proxy_frozen(
        "the flag taken off in one kernel",
        change=persistence(),
        mend=persistence("-p", str(facts.TIMEOUT_SECONDS)),
        explains="persistent-flag",
        red=ids("one-pod"),
        green=ids("pods affinity-fields default-timeout no-affinity none-spreads"),
    ),
    with_proxy_frozen(
        "a backend missing in one kernel",
        change=backend_gone,
        mend=lambda hands, node: hands.on(node, "ipvsadm", "-a", *backend(hands), "-m", "-w", "1"),
        explains="none-spreads",
        green=ids(f"pods affinity-fields persistent-flag {CLIENTS}"),
    ),
)
