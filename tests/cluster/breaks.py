"""How a lab is broken on a real cluster: the form of a break, and the ways most labs share.

Every break changes one thing. ``explains`` is the check that names the cause; it and all of ``red``
must fail, ``error`` cannot be measured any more, and ``green`` must not be touched by it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.cluster.hands import Hands


@dataclass(frozen=True, kw_only=True)
class Break:
    name: str
    explains: str
    apply: Callable[[Hands], None]
    undo: Callable[[Hands], None]
    red: frozenset = frozenset()
    error: frozenset = frozenset()
    green: frozenset = field(default=frozenset())
    node_only: str = ""
    """Where only one machine is broken: the property of ``Hands`` that names it."""

    def __str__(self):
        return self.name


# The check of mode nftables that looks at what one of mode ipvs does; None where there is nothing
# like it.
IN_NFTABLES = {
    "clusterip": {
        "ipvs-row": "nft-entry",
        "ipvs-scheduler": "nft-random",
        "ipvs-masq": None,
        "kube-ipvs0": "no-interface",
        "counters": "tracked",
    },
    "nodeport": {
        "ipvs-rows": "nft-ports",
        "localhost": "nft-localhost",
        "counters": "nft-tracked",
        "local-rows": "nft-local",
        "local-lost": "nft-local-lost",
    },
}


def in_nftables(lab, fault):
    """The same break as seen in mode nftables; None where it is one of a kernel's IPVS table."""
    names = IN_NFTABLES[lab]

    def told(checks):
        return frozenset(filter(None, (names.get(one, one) for one in checks)))

    if fault.node_only or not told({fault.explains}):
        return None
    [explains] = told({fault.explains})
    sets = {which: told(getattr(fault, which)) for which in ("red", "error", "green")}
    return replace(fault, explains=explains, **sets)


def ids(text):
    return frozenset(text.split())


def patched(name, kind, which, path, *, wrong, right, **rest):
    """One field of one object, set to something else and back."""
    return Break(
        name=name,
        apply=lambda hands: hands.patch(kind, which, path, wrong),
        undo=lambda hands: hands.patch(kind, which, path, right),
        **rest,
    )


def scaled(name, deployment, wrong, right, **rest):
    """A Deployment with another number of replicas."""

    def scale(hands, replicas):
        hands.kubectl("scale", f"deployment/{deployment}", f"--replicas={replicas}")

    return Break(
        name=name,
        apply=lambda hands: scale(hands, wrong),
        undo=lambda hands: scale(hands, right),
        **rest,
    )


def with_proxy_frozen(name, *, change, mend, where="worker", **rest):
    """A change in one node's kernel, made while its kube-proxy cannot put it right."""

    def apply(hands):
        node = getattr(hands, where)
        hands.freeze_proxy(node)
        change(hands, node)

    def undo(hands):
        node = getattr(hands, where)
        try:
            mend(hands, node)
        finally:
            hands.thaw_proxy(node)

    return Break(name=name, apply=apply, undo=undo, node_only=where, **rest)


def dropped(name, *, where, match, **rest):
    """A firewall rule on one machine: ``match`` is nft's, the hook the last before the wire."""

    def apply(hands):
        rules = (
            "add table inet l4lab_break; "
            "add chain inet l4lab_break out { type filter hook postrouting priority 0; }; "
            f"add rule inet l4lab_break out {match(hands)} drop"
        )
        hands.on(getattr(hands, where), "nft", rules)

    def undo(hands):
        hands.on(getattr(hands, where), "nft", "delete", "table", "inet", "l4lab_break")

    return Break(name=name, apply=apply, undo=undo, **rest)


def without_dns(**rest):
    """Cluster DNS with no pod behind it."""

    def apply(hands):
        deployment = hands.json("deployment", "coredns", "-n", "kube-system")
        hands.kept["coredns"] = deployment["spec"]["replicas"]
        hands.kubectl("scale", "-n", "kube-system", "deployment/coredns", "--replicas=0")

    def undo(hands):
        count = hands.kept["coredns"]
        hands.kubectl("scale", "-n", "kube-system", "deployment/coredns", f"--replicas={count}")
        hands.kubectl(
            "rollout", "status", "-n", "kube-system", "deployment/coredns", "--timeout=90s"
        )

    return Break(name="CoreDNS at 0", apply=apply, undo=undo, **rest)


def intruder(*, name, image, labels, **rest):
    """A pod that is not the lab's but carries its label."""
    pod = "intruder"
    pairs = ",".join(f"{key}={value}" for key, value in labels.items())

    def apply(hands):
        hands.kubectl("run", pod, f"--image={image}", f"--labels={pairs}")
        hands.kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=90s")

    return Break(
        name=name,
        apply=apply,
        undo=lambda hands: hands.kubectl("delete", "pod", pod, "--wait=true"),
        **rest,
    )


def relabel(hands, deployment, labels):
    """Make a Deployment anew with other labels: its selector cannot be changed."""
    found = hands.json("deployment", deployment)
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
    hands.kubectl("delete", "deployment", deployment, "--cascade=foreground")
    hands.kubectl("create", "-f", "-", stdin=json.dumps(found))
    hands.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=90s")
