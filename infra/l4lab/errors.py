"""Every error l4lab raises on purpose: what happened, why, and what to do next.

Only ``console.py`` prints them. The exit code belongs to the class, so that a script can tell a
failed check (1) from bad usage (2), machines (3), playbook (4) and stack (5).
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a write for which there is no room."""


@dataclass
class L4labError(Exception):
    """The root of l4lab's errors.

    Attributes:
        brief: One line: what went wrong.
        reason: One line: why, in the words of whoever refused.
        resolution: One line: what to do next, a command where there is one.
        details: A file that holds the rest, such as a log.
    """

    brief: str
    reason: str | None = None
    resolution: str | None = None
    details: Path | None = None

    exit_code: ClassVar[int] = 2

    @property
    def one_line(self) -> str:
        """What went wrong and why, for a place that has one line."""
        return f"{self.brief}: {self.reason}" if self.reason else self.brief

    def __str__(self) -> str:
        lines = [self.brief]
        if self.reason:
            lines.append(f"  why:  {self.reason}")
        if self.resolution:
            lines.append(f"  next: {self.resolution}")
        if self.details:
            lines.append(f"  log:  {self.details}")
        return "\n".join(lines)


class CheckError(L4labError):
    """A check of a lab failed."""

    exit_code = 1


class UsageError(L4labError):
    """The command line asks for something that does not exist or cannot be now."""


class SettingsError(L4labError):
    """``l4lab.toml`` is wrong."""


class LockedError(L4labError):
    """Another l4lab works on the same cluster or bundle part."""


class BundleError(L4labError):
    """A part of the bundle cannot be made, or is damaged."""

    exit_code = 3


class MachineError(L4labError):
    """A machine cannot be made or reached, or has died."""

    exit_code = 3


class PlaybookError(L4labError):
    """An Ansible task failed."""

    exit_code = 4


class StackError(L4labError):
    """Pulumi could not deploy or destroy a lab."""

    exit_code = 5
