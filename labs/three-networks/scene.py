"""What the checks of this lab look at: its pods, its Service, and addresses in kernels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from l4lab.checks import API, CannotMeasure, Look, Unmet, Vantage, Where
from l4lab.checks.path import to_service
from l4lab.checks.service import Pod, cluster_address, ready_pods
from l4lab.command import Result
from l4lab.topology import Machine

from . import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)

WAY = to_service(
    service=facts.SERVICE,
    port=facts.PORT,
    target_port=facts.TARGET_PORT,
    labels=facts.LABELS,
    count=facts.REPLICAS,
)
"""The hops of a request, walked when one has failed."""


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def service_at(look: Look) -> str:
    """The cluster address, without a port."""
    return cluster_address(look.at(API), facts.SERVICE)


def client(look: Look) -> Pod:
    """The pod to ask from.

    Raises:
        Unmet: It is not running yet.
    """
    found = look.at(API).get("Pod", facts.CLIENT)
    address, node = found.get("status", {}).get("podIP"), found["spec"].get("nodeName")
    if not address or not node:
        raise Unmet(
            f"pod {facts.CLIENT} has no address yet",
            then=f"./l4lab kubectl describe pod {facts.CLIENT}",
        )
    return Pod(name=facts.CLIENT, address=address, node=node, ready=True)


def machine_of(look: Look) -> Machine:
    """The machine of this look's vantage.

    Raises:
        CannotMeasure: The vantage is none.
    """
    machine = look.topology.machine(look.vantage.name)
    if machine is None:
        raise CannotMeasure(f"{look.vantage} is no machine of the cluster", final=True)
    return machine


@dataclass(frozen=True, kw_only=True)
class Bound:
    """An address of an interface."""

    link: str
    address: IPv4Address
    prefix: int

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix} on {self.link}"


def read_bound(text: str) -> list[Bound]:
    """The addresses in the output of ``ip -j -4 address show``."""
    return [
        Bound(
            link=link["ifname"], address=IPv4Address(info["local"]), prefix=int(info["prefixlen"])
        )
        for link in json.loads(text)
        for info in link.get("addr_info", [])
    ]


def bound(look: Look) -> list[Bound]:
    """The IPv4 addresses this place has, on all its interfaces.

    Raises:
        CannotMeasure: They cannot be read.
    """
    shown = ["ip", "-4", "-br", "address"]
    return read_bound(look.read(["ip", "-j", "-4", "address", "show"], shown=shown).stdout)


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the kernel sends packets for one address."""

    link: str
    via: str = ""
    source: str = ""
    local: bool = False
    """The address is this machine's own."""

    def __str__(self) -> str:
        kind = "local, " if self.local else ""
        return f"{kind}{f'via {self.via} ' if self.via else ''}dev {self.link}"


def read_route(text: str) -> Route:
    """The route in the output of ``ip -j route get``."""
    found = json.loads(text)[0]
    return Route(
        link=found.get("dev", ""),
        via=found.get("gateway", ""),
        source=found.get("prefsrc", ""),
        local=found.get("type") == "local",
    )


def route_to(look: Look, address: str) -> Route:
    """The route this place has to an address.

    Raises:
        Unmet: There is none.
    """
    shown = ["ip", "route", "get", address]
    result = look.run(["ip", "-j", "route", "get", address], shown=shown)
    if not result.succeeded:
        raise Unmet(f"no route to {address}: {result.last_line}")
    return read_route(result.stdout)


def tunnel_address(look: Look, node: str) -> str:
    """The address of the tunnel's interface on a node.

    Raises:
        Unmet: There is no such interface, or it has no address.
    """
    there = look.at(Vantage(Where.NODE, node))
    found = [str(one.address) for one in bound(there) if one.link == facts.TUNNEL]
    if not found:
        raise Unmet(
            f"{facts.TUNNEL} on {node} has no address",
            causes=(f"calico-node does not run on {node}",),
            then="./l4lab kubectl get pods -n kube-system -l k8s-app=calico-node -o wide",
        )
    return found[0]


_RECEIVED = re.compile(r"(\d+) (?:packets )?received")
_FROM = re.compile(r"^From \S+ icmp_seq=\d+ (.+)$", re.MULTILINE)


def ping_argv(address: str, times: int) -> list[str]:
    """The ping command for so many echo requests, five a second.

    It waits for what comes last alone, and longer than a busy machine stands still.
    """
    return ["ping", "-c", str(times), "-i", "0.2", "-W", "3", address]


def ping_outcome(result: Result) -> str:
    """What became of a ping, in words that are equal where the outcomes are."""
    received = _RECEIVED.search(result.stdout)
    if received is None:
        return result.last_line or "ping said nothing"
    turned_down = sorted(set(_FROM.findall(result.stdout)))
    return joined([f"{received[1]} replies", *turned_down])


def joined(words: Iterable[object]) -> str:
    """A list for a sentence; says so where it is empty."""
    return ", ".join(str(word) for word in words) or "nothing"
