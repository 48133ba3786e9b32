"""Machines stand still while their disk is nearly full (``holder.py``): how that is told."""

from __future__ import annotations

import shutil
from pathlib import Path

from l4lab.errors import MachineError
from l4lab.machines import host
from l4lab.machines.holder import FULL, MIB, PAUSED, ROOM

_GO_ON = f"they go on once {ROOM // MIB} MiB are free"
_WHY = f"less than {FULL // MIB} MiB free on the host's disk"


def is_marked(machines: Path) -> bool:
    """Whether a holder said so; it counts for as long as that holder runs."""
    return (machines / PAUSED).exists()


def note(machines: Path) -> str:
    """One line for a machine that stands still."""
    return f"standing still: {_WHY}; free some below {machines}, {_GO_ON}"


def refusal(machines: Path) -> MachineError:
    """The end of a command that waits for them, or would."""
    return MachineError(
        "the machines stand still",
        f"{_WHY} below {machines}: what they write would be lost",
        f"free some space there, {_GO_ON}; then the same command again",
    )


def obstacles(machines: Path) -> list[str]:
    """What keeps a machine from being started beside others that run."""
    where = host.nearest(machines)
    free = shutil.disk_usage(where).free
    if free >= ROOM:
        return []
    return [
        f"{free // MIB} MiB of disk are free below {where}; no machine is started with less than "
        f"{ROOM // MIB}"
    ]
