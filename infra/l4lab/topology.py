"""What a cluster consists of, as plain data: machines, their roles, and three networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

API_PORT: Final = 6443
"""Where kubeadm has the API server listen."""


class Role(StrEnum):
    """What a machine is for; also the name of its Ansible group."""

    CONTROL_PLANE = "control_plane"
    WORKER = "worker"
    MARIADB = "mariadb"
    OUTSIDE = "outside"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine: its name is its host name, its Ansible name and its node name."""

    name: str
    role: Role
    address: IPv4Address
    memory_mib: int
    user: str = "root"
    port: int = 22

    def as_root(self, argv: Iterable[str]) -> list[str]:
        """The words that run a command there as root, whoever logs in."""
        return [*([] if self.user == "root" else ["sudo", "-n", "--"]), *argv]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The three address ranges the labs are about."""

    nodes: IPv4Network
    pods: IPv4Network
    services: IPv4Network

    @property
    def gateway(self) -> IPv4Address:
        """The host's end of the lab network: the first address of the node network."""
        return self.nodes.network_address + 1

    @property
    def dns(self) -> IPv4Address:
        """Cluster DNS: the tenth address of the service network, as kubeadm chooses it."""
        return self.services.network_address + 10


@dataclass(frozen=True, kw_only=True)
class Given:
    """How hosts that somebody gives us are reached.

    Attributes:
        identity: The private key to log in with; without it ssh's own keys and agent are used.
        jump: A host to go through, as ``[USER@]HOST[:PORT]``; empty for none.
        host_keys: A known_hosts file; without it keys are pinned at first contact.
    """

    identity: Path | None = None
    jump: str = ""
    host_keys: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Topology:
    """One cluster."""

    name: str
    machines: tuple[Machine, ...]
    networks: Networks
    given: Given | None = None

    def with_role(self, role: Role) -> tuple[Machine, ...]:
        """All machines of a role, in the order of the settings."""
        return tuple(machine for machine in self.machines if machine.role is role)

    @property
    def control_plane(self) -> Machine:
        """The one control plane machine."""
        return self.with_role(Role.CONTROL_PLANE)[0]

    @property
    def nodes(self) -> tuple[Machine, ...]:
        """The machines that are Kubernetes nodes: the control plane, then the workers."""
        return self.with_role(Role.CONTROL_PLANE) + self.with_role(Role.WORKER)

    @property
    def outside(self) -> Machine | None:
        """The machine that plays the internet: one of that role, else the database's, else none."""
        candidates = self.with_role(Role.OUTSIDE) + self.with_role(Role.MARIADB)
        return next(iter(candidates), None)

    @property
    def workers(self) -> tuple[Machine, ...]:
        """The machines that pods run on."""
        return self.with_role(Role.WORKER)

    @property
    def databases(self) -> tuple[Machine, ...]:
        """The machines that run MariaDB: none or one."""
        return self.with_role(Role.MARIADB)

    @property
    def memory_mib(self) -> int:
        """What all machines may come to hold."""
        return sum(machine.memory_mib for machine in self.machines)

    def machine(self, name: str) -> Machine | None:
        """The machine of that name, or None."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def as_root(self, name: str, argv: Iterable[str]) -> list[str]:
        """The words that run a command as root on the machine of that name."""
        machine = self.machine(name)
        return machine.as_root(argv) if machine else list(argv)
