"""Ways to break lab service-fields."""

import importlib
import json

from tests.cluster.breaks import Break, ids, patched, with_proxy_frozen

# A folder's name is a lab's name, which is none of Python's.
facts = importlib.import_module("labs.service-fields.facts")


def in_service(name, service, path, wrong, right, **rest):
    return patched(name, "service", service, path, wrong=wrong, right=right, **rest)


def sticky_row(*flags):
    """The kernel's row of the Service with affinity, set anew with these flags."""

    def change(hands, node):
        address = hands.json("service", facts.STICKY)["spec"]["clusterIP"]
        hands.on(node, "ipvsadm", "-E", "-t", f"{address}:{facts.PORT}", "-s", "rr", *flags)

    return change


def balanced(ingress):
    """What a controller would write that has an address for the Service."""

    def change(hands):
        status = json.dumps({"status": {"loadBalancer": {"ingress": ingress}}})
        options = ("--subresource=status", "--type=merge")
        hands.kubectl("patch", "service", facts.BALANCER, *options, "-p", status)

    return change


BREAKS = (
    in_service(
        "wrong selector",
        facts.AUTO,
        "/spec/selector",
        {"run": "other"},
        facts.LABELS,
        explains="selector",
        red=ids("as-declared affinity-none"),
        green=ids("cluster-ip-automatic port protocol affinity-client-ip wrong-port"),
    ),
    in_service(
        "a targetPort name that no pod has",
        facts.CHOSEN,
        "/spec/ports/0/targetPort",
        facts.CONTAINER_PORT_NAME + "s",
        facts.CONTAINER_PORT_NAME,
        explains="target-port-name",
        red=ids("as-declared selector port cluster-ip-chosen"),
        green=ids("cluster-ip-automatic protocol affinity-none type-node-port"),
    ),
    in_service(
        "another port name",
        facts.PORTS,
        "/spec/ports/0/name",
        "web",
        facts.PORT_NAME,
        explains="port-name",
        red=ids("as-declared app-protocol"),
        green=ids("selector protocol port cluster-ip-none"),
    ),
    in_service(
        "another UDP port",
        facts.PORTS,
        "/spec/ports/2/port",
        facts.SHARED_PORT + 1,
        facts.SHARED_PORT,
        explains="protocol",
        red=ids("as-declared"),
        green=ids("selector port-name app-protocol port"),
    ),
    in_service(
        "another node port",
        facts.NODE,
        "/spec/ports/0/nodePort",
        facts.NODE_PORT + 1,
        facts.NODE_PORT,
        explains="type-node-port",
        # The port that the lab tries as a taken one is free now.
        red=ids("as-declared wrong-node-port"),
        green=ids("selector type-load-balancer type-cluster-ip"),
    ),
    in_service(
        "another time-out",
        facts.SHORT,
        "/spec/sessionAffinityConfig/clientIP/timeoutSeconds",
        facts.SHORT_SECONDS * 2,
        facts.SHORT_SECONDS,
        explains="affinity-timeout",
        red=ids("as-declared"),
        green=ids("selector affinity-none affinity-client-ip wrong-affinity"),
    ),
    with_proxy_frozen(
        "no affinity in one kernel",
        change=sticky_row(),
        mend=sticky_row("-p", str(facts.DEFAULT_SECONDS)),
        explains="affinity-timeout",
        red=ids("affinity-client-ip"),
        green=ids("as-declared selector affinity-none port"),
    ),
    Break(
        name="an address from a balancer",
        explains="type-load-balancer",
        apply=balanced([{"ip": facts.FOREIGN_ADDRESS}]),
        undo=balanced(None),
        green=ids("as-declared selector type-node-port type-cluster-ip"),
    ),
)
