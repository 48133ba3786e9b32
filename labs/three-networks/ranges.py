"""The three ranges: what the cluster itself says of them, held against the settings."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network

from l4lab.checks import API, NODES, ONCE, Look, Seen, Unmet, check, eventually
from l4lab.checks.service import cluster_address

from . import facts
from .scene import backends, bound, client, joined, machine_of

_ALONE = 32
"""The prefix of an address without neighbours."""
_KUBEADM = "./l4lab kubectl get configmap kubeadm-config -n kube-system -o yaml"


def _kubeadm(look: Look, key: str) -> str:
    """One range as kubeadm was told it."""
    words = ("get", "configmap", "kubeadm-config", "-n", "kube-system", "-o", "json")
    settings = json.loads(look.kubectl(*words).stdout)["data"]["ClusterConfiguration"]
    found = re.search(rf"^\s+{key}: (\S+)$", settings, re.MULTILINE)
    if found is None:
        raise Unmet(f"kubeadm-config does not say {key}", then=_KUBEADM)
    return found[1]


def _same(told: dict[str, str], wanted: IPv4Network, then: str) -> None:
    """Hold what several parts of the cluster say of one range against the settings."""
    if odd := {who: what for who, what in told.items() if what != str(wanted)}:
        raise Unmet(
            joined(f"{who} says {what}" for who, what in odd.items()),
            expected=f"{joined(told)} say {wanted}",
            causes=("the range was changed after the cluster was made",),
            then=then,
        )


@check(
    id="node-range",
    title="every node's address is from the node network",
    why="Node addresses are those of the machines: they exist before Kubernetes and without it.",
    expect="the InternalIP of each node is its machine's address, inside the node network",
    anchor="three-ranges",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def node_range(look: Look) -> Seen:
    """Compare the nodes of the API with the machines of the settings."""
    nodes = json.loads(look.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    told = {
        node["metadata"]["name"]: entry["address"]
        for node in nodes
        for entry in node["status"]["addresses"]
        if entry["type"] == "InternalIP"
    }
    wanted = {machine.name: str(machine.address) for machine in look.topology.nodes}
    if told != wanted:
        raise Unmet(
            joined(f"{name} {address}" for name, address in told.items()),
            expected=joined(f"{name} {address}" for name, address in wanted.items()),
            then="./l4lab kubectl get nodes -o wide",
        )
    network = look.topology.networks.nodes
    if foreign := [one for one in told.values() if IPv4Address(one) not in network]:
        raise Unmet(f"{joined(foreign)} not in {network}")
    return Seen(f"{joined(told.values())} in {network}")


@check(
    id="pod-range",
    title="kubeadm, the controllers and Calico agree on the pod network",
    why="Several parts are told the pod network; where they differ, some pods cannot be reached. "
    "Each node is given a podCIDR of it, which Calico leaves unused: it hands out blocks.",
    expect="one and the same range in kubeadm-config and in Calico's IPPool, each podCIDR in it",
    anchor="three-ranges",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def pod_range(look: Look) -> Seen:
    """Ask kubeadm's settings, Calico's pool and every node."""
    network = look.topology.networks.pods
    resource = "ippools.crd.projectcalico.org"
    pools = json.loads(look.kubectl("get", resource, "-o", "json").stdout)["items"]
    told = {"kubeadm-config": _kubeadm(look, "podSubnet")}
    told |= {f"IPPool {pool['metadata']['name']}": pool["spec"]["cidr"] for pool in pools}
    _same(told, network, f"./l4lab kubectl get {resource} -o yaml")
    if not pools:
        raise Unmet("Calico has no IPPool", then=f"./l4lab kubectl get {resource}")
    nodes = json.loads(look.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    shares = {node["metadata"]["name"]: node["spec"].get("podCIDR", "") for node in nodes}
    for name, share in shares.items():
        if not share or not IPv4Network(share).subnet_of(network):
            raise Unmet(f"podCIDR of {name} is {share or 'empty'}", expected=f"a part of {network}")
    return Seen(f"{network} in {joined(told)}; podCIDRs {joined(shares.values())}")


@check(
    id="service-range",
    title="kubeadm and the API server agree on the service network",
    why="The API server hands out cluster addresses; the ServiceCIDR object says from where.",
    expect="one and the same range in kubeadm-config and in the ServiceCIDR object",
    anchor="three-ranges",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def service_range(look: Look) -> Seen:
    """Ask kubeadm's settings and the ServiceCIDR objects; no two of the three may overlap."""
    networks = look.topology.networks
    found = json.loads(look.kubectl("get", "servicecidrs", "-o", "json").stdout)["items"]
    told = {"kubeadm-config": _kubeadm(look, "serviceSubnet")}
    told |= {
        f"ServiceCIDR {item['metadata']['name']}": cidr
        for item in found
        for cidr in item["spec"]["cidrs"]
    }
    _same(told, networks.services, "./l4lab kubectl get servicecidrs")
    others = (networks.nodes, networks.pods)
    if any(networks.services.overlaps(other) for other in others) or others[0].overlaps(others[1]):
        raise Unmet(f"{networks.nodes}, {networks.pods}, {networks.services} overlap")
    return Seen(f"{networks.services} in {joined(told)}; no two of the three ranges overlap")


@check(
    id="one-of-each",
    title="the lab's addresses are one of each kind",
    why="By its range alone you can tell what an address belongs to, and who can reach it.",
    expect="pod addresses from the pod network, the Service's from the service network",
    anchor="three-ranges",
    vantage=API,
)
def one_of_each(look: Look) -> Seen:
    """Hold the lab's own addresses against the ranges."""
    networks = look.topology.networks
    pods = [pod.address for pod in (*backends(look), client(look))]
    service = cluster_address(look, facts.SERVICE)
    if foreign := [one for one in pods if IPv4Address(one) not in networks.pods]:
        raise Unmet(f"pod address {joined(foreign)} not in {networks.pods}")
    if IPv4Address(service) not in networks.services:
        raise Unmet(f"cluster address {service} not in {networks.services}")
    return Seen(f"pods {joined(pods)}; Service {service}")


@check(
    id="node-address",
    title="the node's address is on the network card of the machine",
    why="A node address is real: a card has it, and its neighbours find that card by ARP.",
    expect="the machine's address on one interface, with room for neighbours beside it",
    anchor="node-address",
    vantage=NODES,
    verb=eventually(hold=ONCE),
)
def node_address(look: Look) -> Seen:
    """Find the interface that carries the machine's address."""
    machine = machine_of(look)
    holders = [one for one in bound(look) if one.address == machine.address]
    made = ("lo", facts.DUMMY, facts.TUNNEL)
    cards = [one for one in holders if one.link not in made and one.prefix < _ALONE]
    if len(holders) != 1 or not cards:
        raise Unmet(
            f"{machine.address}: {joined(holders)}",
            expected=f"{machine.address} on one card and nowhere else",
            then=f"./l4lab ssh {look.vantage.name} ip -4 -br address",
        )
    return Seen(f"{cards[0]}")
