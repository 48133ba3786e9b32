"""Which source address a pod sees: its web server's log tells, for requests with a mark."""

from __future__ import annotations

import re
import uuid

from l4lab.checks import (
    API,
    HOST,
    ONCE,
    CannotMeasure,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.network import Answer, spoken, tally, worst
from l4lab.topology import Machine
from labs.nodeport import facts
from labs.nodeport.kernel import own_addresses
from labs.nodeport.scene import WAY_IN, at_node, on

_SELECTOR = ",".join(f"{key}={value}" for key, value in facts.LABELS.items())
_LOGS = ("logs", "-l", _SELECTOR, "-n", facts.NAMESPACE)
_LOOKS = 10


def sources(log: str, mark: str) -> list[str]:
    """The client addresses in a web server's log, of the requests that carry the mark."""
    return re.findall(rf"^(\d+(?:\.\d+){{3}}) .*\?{mark}\b", log, re.MULTILINE)


def asked(look: Look, node: Machine, port: int) -> tuple[list[Answer], list[str]]:
    """Ask a node's port from here; the answers, and the client addresses the pods have seen.

    Raises:
        Unmet: A request failed.
        CannotMeasure: The logs do not have the requests.
    """
    mark = f"l4lab-{uuid.uuid4().hex[:12]}"
    address = at_node(node, port)
    answers = look.curl(f"http://{address}/?{mark}&", times=facts.REPLICAS)
    if bad := worst(answers):
        raise Unmet(f"{address}: {bad}", fault=bad.fault)
    # Read afresh each time: what other checks have read just now may be older than our request.
    for _ in range(_LOOKS):
        logs = look.at(API).run(["kubectl", *_LOGS, "--tail=100"], shown=["kubectl", *_LOGS])
        found = sources(logs.stdout, mark)
        if len(found) >= len(answers):
            return answers, found
        look.pause(0.3)
    raise CannotMeasure(
        f"the pods' logs have {len(found)} of {len(answers)} requests",
        then=f"./l4lab kubectl logs -l {_SELECTOR}",
    )


@check(
    id="source-is-a-node",
    title="with policy Cluster a pod sees an address of the node, not the client's",
    why="The answer must come back through the node that was asked, so the node puts an address "
    "of its own in the client's place: the pod cannot tell who asked.",
    expect="in the pods' logs, for each node that is asked, an address of that node",
    anchor="source",
    vantage=HOST,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=WAY_IN,
)
def source_is_a_node(look: Look) -> Seen:
    """Ask each node, and look up what the pods have logged."""
    look.get("Service", facts.SERVICE)
    said = []
    for node in look.topology.nodes:
        own = own_addresses(on(look, node))
        _, found = asked(look, node, facts.NODE_PORT)
        if strange := [source for source in found if source not in own]:
            raise Unmet(
                f"asked through {node.name}, the pods saw {spoken(tally(strange))}",
                expected=f"one of {', '.join(sorted(own))}",
                causes=("externalTrafficPolicy is Local: the client's address is kept",),
                then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
            )
        said.append(f"{node.name}: {', '.join(sorted(set(found)))}")
    return Seen("; ".join(said))
