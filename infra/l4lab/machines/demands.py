"""What a host must be to become part of a cluster, and how each lack is told."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any

from l4lab.topology import API_PORT, Machine, Role, Topology

DISTRIBUTIONS = ("debian 12", "debian 13", "ubuntu 22.04", "ubuntu 24.04")
_NODES = (Role.CONTROL_PLANE, Role.WORKER)
_PORTS = {
    Role.CONTROL_PLANE: {
        ("tcp", API_PORT): "the API server",
        ("tcp", 2379): "etcd",
        ("tcp", 2380): "etcd",
        ("tcp", 10257): "kube-controller-manager",
        ("tcp", 10259): "kube-scheduler",
    },
    Role.WORKER: {},
    Role.MARIADB: {("tcp", 3306): "MariaDB"},
    Role.OUTSIDE: {("udp", 53): "dnsmasq", ("tcp", 80): "nginx", ("tcp", 443): "nginx"},
}
_NODE_PORTS = {
    ("tcp", 10248): "kubelet",
    ("tcp", 10249): "kube-proxy",
    ("tcp", 10250): "kubelet",
    ("tcp", 10256): "kube-proxy",
    ("udp", 4789): "the pods' network",
}
# These are what the roles want there; they may have stayed from an earlier cluster.
_WELCOME = {"mariadbd", "dnsmasq", "nginx"}
_LINKS = ("cali", "vxlan.calico", "kube-ipvs0", "tunl0")
_KERNEL_KEEPS = 0.85  # of the memory a machine has, what its kernel calls memory
_KUBEADM_MIB = 1700  # what kubeadm asks of a control plane
_KUBEADM_PROCESSORS = 2
_DISK_MIB = 4096  # programs, image archive, and the images unpacked
_SKEW = 10.0  # seconds; certificates and tokens are dated


def faults(
    facts: Mapping[str, Any],
    machine: Machine,
    topology: Topology,
    *,
    asked: tuple[float, float],
    known: bool,
) -> list[str]:
    """Everything that keeps a host out of the cluster; empty when it can be part of it.

    Args:
        facts: What ``given.py`` said of it.
        machine: What it is to be.
        topology: The cluster.
        asked: When it was asked and when it had answered, by this machine's clock.
        known: Whether this cluster was made on it before.
    """
    return [
        *_system(facts, machine, asked),
        *_addresses(facts, machine, topology),
        *(_node(facts, machine) if machine.role in _NODES else []),
        *(_database(facts, topology) if machine.role is Role.MARIADB else []),
        *_earlier(facts, known=known),
        *_ports(facts, machine),
    ]


def _system(facts: Mapping[str, Any], machine: Machine, asked: tuple[float, float]) -> list[str]:
    found = []
    if facts["uid"] != 0:
        found.append(f"{machine.user} may not use sudo without a password")
    if facts["distribution"] not in DISTRIBUTIONS:
        found.append(
            f"it runs {facts['distribution'] or 'an unknown system'}; "
            f"known are {', '.join(DISTRIBUTIONS)}"
        )
    if facts["architecture"] != "x86_64":
        found.append(f"its processor is {facts['architecture']}; the programs are for x86_64")
    if not facts["systemd"]:
        found.append("systemd does not run it")
    least = int(machine.memory_mib * _KERNEL_KEEPS)
    if machine.role is Role.CONTROL_PLANE and not facts["uml"]:
        least = max(least, _KUBEADM_MIB)
        if facts["processors"] < _KUBEADM_PROCESSORS:
            found.append("it has one processor; kubeadm asks two of a control plane")
    if facts["memory_mib"] < least:
        found.append(f"it has {facts['memory_mib']} MiB of memory, {least} are needed")
    begun, ended = asked
    skew = max(begun - facts["time"], facts["time"] - ended, 0.0)
    if skew > _SKEW:
        found.append(f"its clock is {skew:.0f} s off ours: start time synchronisation")
    if facts["firewalls"]:
        found.append(
            f"a firewall is on ({', '.join(facts['firewalls'])}): it would drop the pods' packets"
        )
    return found


def _addresses(facts: Mapping[str, Any], machine: Machine, topology: Topology) -> list[str]:
    found = []
    if not facts["address_is_local"]:
        found.append(f"{machine.address} is not an address of the host")
    ours = {"network.pods": topology.networks.pods, "network.services": topology.networks.services}
    for text, link in facts["routes"]:
        # Calico also has each node drop what is for nobody in its own part of the pod network.
        dropped = link == "*" and facts["kubernetes"] == "ours"
        if not dropped and not link.startswith(_LINKS):
            found += [
                f"its route to {text} by {link} overlaps {key} {network}"
                for key, network in ours.items()
                if IPv4Network(text).overlaps(network)
            ]
    return found


def _node(facts: Mapping[str, Any], _machine: Machine) -> list[str]:
    found = []
    if not facts["cgroup2"]:
        found.append("kubelet needs cgroup v2: boot with systemd.unified_cgroup_hierarchy=1")
    if facts["swap"]:
        found.append(f"kubelet refuses swap ({', '.join(facts['swap'])}): swapoff -a, and fstab")
    if facts["missing_modules"]:
        found.append(f"the kernel lacks {', '.join(facts['missing_modules'])}")
    if facts["disk_mib"] < _DISK_MIB and facts["kubernetes"] == "absent":
        found.append(f"{facts['disk_mib']} MiB of disk are free in /var, {_DISK_MIB} are needed")
    if facts["runtimes"]:
        found.append(f"there are services that l4lab did not make: {', '.join(facts['runtimes'])}")
    if facts["theirs"] and facts["kubernetes"] == "absent":
        found.append(f"not of l4lab, and in its way: {', '.join(facts['theirs'])}; move them away")
    return found


def _database(facts: Mapping[str, Any], topology: Topology) -> list[str]:
    # Users that come from elsewhere are not touched.
    names = ("schema lab", f"user lab@{topology.networks.nodes.with_netmask}")
    return [
        f"its MariaDB has a {name} that l4lab did not make: rename or drop it"
        for name in names
        if name in facts["database"]
    ]


def _earlier(facts: Mapping[str, Any], *, known: bool) -> list[str]:
    if facts["kubernetes"] == "foreign":
        return ["it is part of a Kubernetes cluster that l4lab did not make: kubeadm reset first"]
    if facts["kubernetes"] == "ours" and not known:
        return ["it is part of another cluster of l4lab: ./l4lab down there first"]
    if facts["kubernetes"] == "absent" and facts["remains"] and not known:
        return [f"an older cluster left {', '.join(facts['remains'])}"]
    return []


def _ports(facts: Mapping[str, Any], machine: Machine) -> list[str]:
    if facts["kubernetes"] == "ours":
        return []  # they are our own
    wanted = dict(_PORTS[machine.role])
    if machine.role in _NODES:
        wanted.update(_NODE_PORTS)
    found: dict[tuple[str, int], str] = {}
    for one in facts["listening"]:
        key = (one["protocol"], one["port"])
        in_the_way = one["address"] in ("*", "127.0.0.1", str(machine.address))
        if key in wanted and in_the_way and one["program"] not in _WELCOME:
            by = f" by {one['program']}" if one["program"] else ""
            found[key] = f"port {key[1]}/{key[0]} is in use{by}; {wanted[key]} needs it"
    return list(found.values())
