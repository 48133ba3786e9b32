"""Jinja filters of the roles: what ansible.builtin has no filter for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network
from typing import Any


def l4lab_with_netmask(network: str) -> str:
    """10.1.0.0/16 as 10.1.0.0/255.255.0.0, the way MariaDB writes a network in a user's host."""
    return IPv4Network(network).with_netmask


def l4lab_first_address(network: str) -> str:
    """The first address of a network that a machine can have: 10.1.0.1 of 10.1.0.0/16."""
    return str(IPv4Network(network).network_address + 1)


def l4lab_outdated(
    manifest: Mapping[str, Any], installed: Mapping[str, str], prefixes: list[str]
) -> list[str]:
    """The bundle's files below any of ``prefixes`` that a machine lacks or has in another version.

    Args:
        manifest: The bundle's ``manifest.json``.
        installed: Digests of what the machine has, by path in the bundle.
        prefixes: Beginnings of paths in the bundle, such as ``cni/`` or ``bin/kubelet``.
    """
    return [
        path
        for path, facts in manifest["files"].items()
        if path.startswith(tuple(prefixes)) and installed.get(path) != facts["sha256"]
    ]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {
            "l4lab_with_netmask": l4lab_with_netmask,
            "l4lab_first_address": l4lab_first_address,
            "l4lab_outdated": l4lab_outdated,
        }
