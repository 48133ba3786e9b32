"""The field clusterIP: chosen for you, chosen by you, or none."""

from __future__ import annotations

from ipaddress import IPv4Address

from l4lab.checks import (
    API,
    NODES,
    ONCE,
    Look,
    Seen,
    Traffic,
    Unmet,
    check,
    eventually,
)
from l4lab.checks.diff import differences
from l4lab.checks.service import endpoints, same_backends

from . import facts
from .scene import CLIENT, address_of, backends, full_name, joined, said_by_dns, served, way

_KEPT = 256
_LEAST_KEPT = 16


def kept_for_choosing(addresses: int) -> int:
    """How many of a service network's lowest addresses are given only to those who ask for one."""
    return min(max(addresses // _LEAST_KEPT, _LEAST_KEPT), _KEPT)


@check(
    id="as-declared",
    title="each Service is as the lab declares it",
    why="What you leave out is filled in by the API server; what you write stays as you wrote it.",
    expect="every field the lab writes, unchanged, in each of its Services",
    anchor="one-field-at-a-time",
    vantage=API,
)
def as_declared(look: Look) -> Seen:
    """Compare the fields that the lab writes, and no others."""
    chosen = look.topology.networks.services.network_address + facts.CHOSEN_OFFSET
    for name, spec in facts.SERVICES.items():
        wanted = spec | {"clusterIP": str(chosen)} if name == facts.CHOSEN else spec
        if lines := differences(wanted, look.get("Service", name)["spec"]):
            raise Unmet(
                f"{name}: " + "\n".join(lines),
                causes=("the Service was changed after it was deployed",),
                then=f"./l4lab kubectl get service {name} -o yaml",
            )
    return Seen(f"{len(facts.SERVICES)} Services as declared")


@check(
    id="cluster-ip-automatic",
    title="without clusterIP the API server chooses an address",
    why="It takes a free one above the lowest few, which it keeps for those who choose themselves.",
    expect="an address of the service network above the part kept for choosing",
    anchor="cluster-ip",
    vantage=API,
)
def cluster_ip_automatic(look: Look) -> Seen:
    """Hold the address against the range and its two parts."""
    network, address = look.topology.networks.services, address_of(look, facts.AUTO)
    first = network.network_address + kept_for_choosing(network.num_addresses)
    if IPv4Address(address) not in network or IPv4Address(address) < first:
        raise Unmet(
            address,
            expected=f"an address of {network} not below {first}",
            then=f"./l4lab kubectl get service {facts.AUTO}",
        )
    return Seen(f"{address} in {network}, above {first}")


@check(
    id="cluster-ip-chosen",
    title="a clusterIP chosen by hand is the one the Service has",
    why="An address that must be known beforehand (cluster DNS has one) can be asked for.",
    expect="the chosen address, with an answer at it from every node",
    anchor="cluster-ip",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.CHOSEN, facts.CHOSEN_PORT),
)
def cluster_ip_chosen(look: Look) -> Seen:
    """Ask the address that was chosen, whatever the API says."""
    chosen = look.topology.networks.services.network_address + facts.CHOSEN_OFFSET
    if (address := address_of(look, facts.CHOSEN)) != str(chosen):
        raise Unmet(address, expected=str(chosen))
    pods = served(look.curl(f"http://{chosen}:{facts.CHOSEN_PORT}/", times=facts.REPLICAS))
    return Seen(f"{chosen}:{facts.CHOSEN_PORT} answers: {joined(pods)}")


@check(
    id="cluster-ip-none",
    title="with clusterIP: None the name means the pods themselves",
    why="A headless Service has no address, so there is nothing for a proxy to do: DNS hands out "
    "all pods, and the client chooses.",
    expect="by name: the pods' addresses; for the Service with an address: that address",
    anchor="cluster-ip",
    vantage=CLIENT,
    verb=eventually(hold=ONCE),
)
def cluster_ip_none(look: Look) -> Seen:
    """Ask cluster DNS for both names."""
    pods = sorted(pod.address for pod in backends(look))
    alone = said_by_dns(look, full_name(facts.AUTO), "A")
    if alone != [address_of(look, facts.AUTO)]:
        raise Unmet(f"{facts.AUTO} is {joined(alone)}", expected="its cluster address")
    found = said_by_dns(look, full_name(facts.HEADLESS), "A")
    if found != pods:
        raise Unmet(
            f"{facts.HEADLESS} is {joined(found)}",
            expected=f"the addresses of the pods: {joined(pods)}",
            causes=("the Service has a cluster address", "a pod was replaced a moment ago"),
            then=f"./l4lab kubectl get service {facts.HEADLESS}",
        )
    return Seen(f"{facts.HEADLESS} is {joined(found)}; {facts.AUTO} is {alone[0]}")


@check(
    id="selector",
    title="the selector alone decides which pods are behind the Service",
    why="All eight Services have the same selector, so they have the same pods, whatever else "
    "differs between them.",
    expect="exactly the lab's pods in the EndpointSlices of each Service",
    anchor="selector",
    vantage=API,
)
def selector(look: Look) -> Seen:
    """Hold each Service's endpoints against the pods with the label."""
    pods = backends(look)
    port = facts.CONTAINER_PORT
    wanted = [f"{pod.address}:{port}" for pod in pods]
    for name in facts.SERVICES:
        look.get("Service", name)
        same_backends(
            f"the EndpointSlice of {name}",
            endpoints(look, name),
            wanted,
            then=f"./l4lab kubectl describe service {name}",
        )
    return Seen(f"{joined(wanted)} behind {len(facts.SERVICES)} Services")
