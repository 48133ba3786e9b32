"""What a class is, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from l4lab.place import Place
from l4lab.settings import Settings

SHARED: Final = "shared"
EACH: Final = "each"
SHAPES: Final = (SHARED, EACH)
"""One cluster with a namespace for each student; or a cluster for each."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a student may have, and how many are worked for at once.

    Attributes:
        at_once: Students at once.
        pods: Pods of a student.
        cpu: Thousandths of a processor that a student's pods have for certain.
        memory: MiB that a student's pods have for certain; twice that is the most.
        days: How long a login is good.
    """

    at_once: int = 2
    pods: int = 6
    cpu: int = 30
    memory: int = 80
    days: int = 14


@dataclass(frozen=True, kw_only=True)
class Student:
    """One student.

    Attributes:
        id: Names the namespace and the stacks, or the cluster.
        name: For people.
        place: Where labs are: a namespace of the shared cluster, or the usual place of one's own.
        settings: Of the cluster of their own, as the files say it should be; None where one is
            shared.
    """

    id: str
    name: str
    place: Place
    settings: Settings | None = None


@dataclass(frozen=True, kw_only=True)
class Classroom:
    """One class."""

    name: str
    students: tuple[Student, ...]
    labs: tuple[str, ...]
    limits: Limits
    shape: str = SHARED

    @property
    def has_clusters(self) -> bool:
        """Whether each student has a cluster of their own."""
        return self.shape == EACH


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one student's turn.

    Attributes:
        student: The student's id.
        ok: Whether all went well.
        seconds: How long it took.
        note: One line: what was done, or what went wrong.
        next: What to do next, where something went wrong.
        lines: What else a person should read.
        data: The same for a machine.
    """

    student: str
    ok: bool
    seconds: float
    note: str
    next: str | None = None
    lines: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "student": self.student,
            "ok": self.ok,
            "seconds": round(self.seconds, 2),
            "note": self.note,
            "next": self.next,
            **self.data,
        }
