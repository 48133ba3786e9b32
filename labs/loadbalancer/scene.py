"""What the checks of this lab look at: Services, their addresses, the machines' network cards."""

from __future__ import annotations

import json
from typing import Any

from l4lab.checks import API, CannotMeasure, Look, Unmet, Vantage, Where
from l4lab.checks.service import Pod, ready_pods
from labs.loadbalancer import facts
from labs.loadbalancer.pool import pool

OURS = (facts.OPEN, facts.LOCAL)
"""The Services that get an address."""


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def given(look: Look) -> tuple[str, ...]:
    """The addresses the allocator may give on this cluster."""
    return pool(look.topology, facts.POOL_SIZE)


def ingress(look: Look, service: str) -> list[str]:
    """The addresses in the Service's status."""
    status = look.at(API).get("Service", service).get("status") or {}
    entries = (status.get("loadBalancer") or {}).get("ingress") or []
    return [entry.get("ip", entry.get("hostname", "?")) for entry in entries]


def word(look: Look, service: str) -> dict[str, Any]:
    """What the allocator says of the Service in its status; empty where it says nothing."""
    status = look.at(API).get("Service", service).get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == facts.CONDITION:
            return dict(condition)
    return {}


def outer(look: Look, service: str) -> str:
    """The one address that the Service has from the allocator.

    Raises:
        Unmet: It has none, or several.
    """
    found = ingress(look, service)
    if len(found) != 1:
        said = word(look, service).get("message", "the allocator says nothing of it")
        raise Unmet(
            f"Service {service} has {', '.join(found) or 'no address'}: {said}",
            expected="one address in status.loadBalancer.ingress",
            causes=("the allocator does not run", "another Service holds the last address"),
            then=f"./l4lab kubectl logs deployment/{facts.ALLOCATOR}",
        )
    return found[0]


def on_node(look: Look, name: str) -> Look:
    """The same look from a node."""
    return look.at(Vantage(Where.NODE, name))


def cards(look: Look) -> dict[str, str]:
    """The network cards on the node network: each node's name by its MAC.

    Raises:
        CannotMeasure: A node does not tell.
    """
    found = {}
    for node in look.topology.nodes:
        links = json.loads(on_node(look, node.name).read(["ip", "-j", "address", "show"]).stdout)
        for link in links:
            if any(one.get("local") == str(node.address) for one in link.get("addr_info", [])):
                found[link["address"]] = node.name
    if len(found) != len(look.topology.nodes):
        raise CannotMeasure(f"only {len(found)} nodes tell the MAC of their network card")
    return found
