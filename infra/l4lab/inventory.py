"""The Ansible inventory: the only thing playbooks know of the machines."""

from __future__ import annotations

import shlex
from typing import Any

import yaml

from l4lab.bundle import Bundle
from l4lab.bundle.catalog import version
from l4lab.settings import Settings
from l4lab.state import Paths, write_private
from l4lab.topology import Machine, Role


def inventory(
    settings: Settings, paths: Paths, bundle: Bundle, *, proxy: str | None = None
) -> dict[str, Any]:
    """The inventory of a cluster, as Ansible reads it from YAML.

    Every machine is in the group of its role; ``nodes`` are the machines that run Kubernetes, and
    ``outside`` has the machine that plays the internet, whatever its role.

    Args:
        settings: The cluster's settings.
        paths: Where its files are.
        bundle: What goes on the machines.
        proxy: kube-proxy's mode, where a running cluster was given another than the settings'.
    """
    topology = settings.topology
    networks = topology.networks
    groups: dict[str, Any] = {
        role.value: {
            "hosts": {machine.name: _host(machine) for machine in topology.with_role(role)}
        }
        for role in Role
    }
    outside = topology.outside
    groups["outside"] = {"hosts": {outside.name: _host(outside)} if outside else {}}
    groups["nodes"] = {"children": {Role.CONTROL_PLANE.value: {}, Role.WORKER.value: {}}}
    return {
        "all": {
            "vars": {
                # The configuration also tells ssh how to get into the lab network.
                "ansible_ssh_common_args": f"-F {shlex.quote(str(paths.ssh_config))}",
                "ansible_python_interpreter": "/usr/bin/python3",
                "l4lab_node_network": str(networks.nodes),
                "l4lab_pod_network": str(networks.pods),
                "l4lab_service_network": str(networks.services),
                "l4lab_kubernetes_version": version("kubernetes"),
                "l4lab_proxy_mode": proxy or settings.proxy,
                "l4lab_bundle": str(bundle.folder),
                "l4lab_secrets": str(paths.root / "secrets"),
                "l4lab_kubeconfig": str(paths.kubeconfig),
                "l4lab_local_machine": settings.driver == "local",
            },
            "children": groups,
        }
    }


def write(settings: Settings, paths: Paths, bundle: Bundle, *, proxy: str | None = None) -> None:
    """Write the inventory file, with kube-proxy's mode."""
    text = "# Written by l4lab up. Use: ansible-playbook -i THIS_FILE playbooks/site.yml\n"
    text += yaml.safe_dump(inventory(settings, paths, bundle, proxy=proxy), sort_keys=False)
    write_private(paths.inventory, text)


def _host(machine: Machine) -> dict[str, Any]:
    return {
        "ansible_host": str(machine.address),
        "ansible_user": machine.user,
        "ansible_port": machine.port,
    }
