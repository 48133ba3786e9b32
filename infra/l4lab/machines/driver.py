"""The contract between a cluster and whatever makes its machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from l4lab.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class MachineStatus:
    """One machine as its driver sees it.

    Attributes:
        name: The machine's name.
        running: Whether it runs.
        note: What a person should know, such as why it ended.
        memory_mib: Host memory it holds now, where the driver can tell.
    """

    name: str
    running: bool
    note: str = ""
    memory_mib: int | None = None


class Driver(Protocol):
    """Makes machines from a topology, and ends exactly what it made."""

    name: str
    owns: bool
    """Whether ``down`` ends the machines; hosts that are only given run on."""
    neighbours: int
    """How many clusters lie before it on this host: its machines keep out of their way."""

    def obstacles(self) -> list[str]:
        """Why this host cannot have these machines; empty when it can."""

    def up(self, bundle: Bundle, doing: Callable[[str], None]) -> None:
        """Make and start the machines that do not run, until SSH answers on all.

        Raises:
            MachineError: One could not be made, died, or did not answer in time.
        """

    def enter(self) -> None:
        """Let this process, and what it starts from now on, reach the machines.

        Raises:
            MachineError: There is nothing to reach.
        """

    def refuse_paused(self) -> None:
        """Say so where the driver has stopped its machines for a while: no wait would end then.

        Raises:
            MachineError: They stand still; it says why, and what lets them go on.
        """

    def status(self) -> list[MachineStatus]:
        """How each machine is."""

    def down(self, *, keep_disks: bool = False) -> None:
        """End the machines; without ``keep_disks`` nothing of them is left."""
