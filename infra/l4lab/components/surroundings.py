"""What a lab's program knows of the cluster it is deployed to: machines, networks, secrets.

The command line hands them over (``given``). Under a plain ``pulumi up`` nobody does: there they
come from the settings file, the project's own or the one that ``L4LAB_CONFIG`` names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import pulumi

from l4lab import settings
from l4lab.errors import UsageError
from l4lab.place import COURSE, Place
from l4lab.state import Paths, paths_of
from l4lab.topology import Role, Topology

_PROJECT = Path(__file__).resolve().parents[3]
_CONFIG = "L4LAB_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The cluster around a lab."""

    topology: Topology
    paths: Paths
    place: Place = COURSE

    def address_of(self, role: Role) -> str:
        """The address of the machine with that role.

        Raises:
            UsageError: The cluster has none.
        """
        machines = self.topology.with_role(role)
        if not machines:
            raise UsageError(
                f"cluster {self.topology.name} has no machine with role {role}",
                "this lab needs one",
                f"give a machine of {settings.FILE} the role {role}, then: ./l4lab up",
            )
        return str(machines[0].address)

    def secret(self, name: str) -> pulumi.Output[str]:
        """A secret that the playbooks made, as one that Pulumi keeps and shows encrypted only.

        Raises:
            UsageError: It was not made yet.
        """
        return pulumi.Output.secret(self.paths.kept_secret(name))


_given: ContextVar[Surroundings | None] = ContextVar("surroundings", default=None)


@contextlib.contextmanager
def given(topology: Topology, paths: Paths, place: Place = COURSE) -> Iterator[None]:
    """While the block runs, programs are for this cluster, and that place on it."""
    token = _given.set(Surroundings(topology=topology, paths=paths, place=place))
    try:
        yield
    finally:
        _given.reset(token)


def surroundings() -> Surroundings:
    """The cluster the running program is for.

    Raises:
        SettingsError: The settings file is wrong.
    """
    known = _given.get()
    if known:
        return known
    named = os.environ.get(_CONFIG)
    # The language host runs programs in another folder: what is relative is so to the project's.
    topology = settings.load(_PROJECT / named if named else None, _PROJECT).topology
    return Surroundings(topology=topology, paths=paths_of(_PROJECT, topology.name))
