"""The steps of the lab that change something: whom the host sends to, and who has an address."""

from __future__ import annotations

import json
from typing import Any

from l4lab.checks import API, HOST, CannotMeasure, Fault, Look, Seen, Stage, Unmet, exercise
from l4lab.checks.network import worst
from labs.loadbalancer import facts
from labs.loadbalancer.scene import backends, cards, ingress, outer, word
from labs.loadbalancer.traffic import sources


def _carried_out(look: Look, *argv: str) -> str:
    result = look.run(argv)
    if not result.succeeded:
        raise CannotMeasure(f"{' '.join(argv)}: {result.last_line}", final=True)
    return result.stdout


@exercise(
    id="local-by-node",
    title="with policy Local it matters to which node the host sends",
    why="Every node answers ARP, also one without a pod: the host may well choose that one, and "
    "then nobody answers. With policy Local the address must be announced by the right nodes.",
    expect="through a node with a pod an answer of that pod, which sees the client's own address; "
    "through the others TIMEOUT",
    anchor="local",
    mode="ipvs",
)
def local_by_node(stage: Stage) -> Seen:
    """Write each node in turn into the host's neighbour table, and ask."""
    host, address = stage.at(HOST), outer(stage, facts.LOCAL)
    way = json.loads(_carried_out(host, "ip", "-j", "route", "get", address))[0]
    device, client = way["dev"], way["prefsrc"]
    pods = backends(stage)
    entry = ("ip", "neigh", "replace", address, "dev", device, "nud", "permanent", "lladdr")
    stage.undo(
        f"no entry for {address}",
        lambda: _carried_out(host, "ip", "neigh", "del", address, "dev", device),
    )
    said = []
    for mac, node in cards(stage).items():
        _carried_out(host, *entry, mac)
        here = {pod.name for pod in pods if pod.node == node}
        answer = host.curl(f"http://{address}:{facts.PORT}/")[0]
        if not here:
            if answer.fault is not Fault.TIMEOUT:
                raise Unmet(
                    f"through {node}, which has no pod: {answer}",
                    fault=answer.fault,
                    expected="TIMEOUT",
                )
            said.append(f"{node} TIMEOUT")
            continue
        if bad := worst([answer]):
            raise Unmet(f"through {node}, which has a pod: {bad}", fault=bad.fault)
        if answer.served_by and answer.served_by not in here:
            raise Unmet(f"through {node}: {answer.served_by} answered", fault=Fault.WRONG_BACKEND)
        if (seen := set(sources(host, address))) != {client}:
            raise Unmet(f"through {node}: the pods saw {', '.join(seen)}", expected=client)
        said.append(f"{node} HTTP 200, the pod saw {client}")
    return Seen("; ".join(said))


def _patch(stage: Stage, service: str, spec: dict[str, Any]) -> None:
    stage.change("patch", "service", service, "--type=merge", "-p", json.dumps({"spec": spec}))


_NOT_OUTER = {"type": "ClusterIP"}
_OUTER = {"type": "LoadBalancer", "loadBalancerClass": facts.LB_CLASS}
_LOCAL = _OUTER | {"externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": False}


@exercise(
    id="give-back",
    title="an address that is given back goes to the Service that waits for one",
    why="The allocator keeps no list of its own: an address is free when no Service has it. So "
    "it may die at any time and forgets nothing.",
    expect="the third Service gets the second's address, and answers at it",
    anchor="give-back",
    budget=90,
    mode="ipvs",
)
def give_back(stage: Stage) -> Seen:
    """Take the wish away from one Service; afterwards both are as they were."""
    host, address = stage.at(HOST), outer(stage, facts.LOCAL)

    def has(service: str, wanted: list[str], reason: str) -> Seen:
        found = ingress(stage.at(API), service)
        said = word(stage, service).get("reason", "")
        if (found, said) != (wanted, reason):
            raise Unmet(f"{service} has {', '.join(found) or 'no address'}, reason {said}")
        return Seen(f"{service}: {', '.join(found)}")

    def back() -> None:
        _patch(stage, facts.THIRD, _NOT_OUTER)
        _patch(stage, facts.LOCAL, _LOCAL)
        stage.wait("its address", lambda: has(facts.LOCAL, [address], facts.GIVEN))
        _patch(stage, facts.THIRD, _OUTER)
        stage.wait("none left", lambda: has(facts.THIRD, [], facts.NONE_LEFT))

    def answers() -> Seen:
        if bad := worst(host.curl(f"http://{address}:{facts.PORT}/")):
            raise Unmet(f"http://{address}/: {bad}", fault=bad.fault)
        return Seen("HTTP 200")

    stage.undo("both Services as before", back)
    _patch(stage, facts.LOCAL, _NOT_OUTER)
    stage.wait("the free address", lambda: has(facts.THIRD, [address], facts.GIVEN))
    stage.wait("an answer at it", answers)
    return Seen(f"{facts.LOCAL} gave {address} back, {facts.THIRD} has it and answers")
