"""A class on a running cluster: its students' places, locks, plans and stacks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Final

from l4lab import pulumi_cli
from l4lab.classroom.crew import Work, work_for_all
from l4lab.classroom.model import Classroom, Outcome, Student
from l4lab.classroom.objects import of_student
from l4lab.errors import L4labError, UsageError
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.state import Access, Paths, lock, read_json

Json = dict[str, Any]

_TUNNEL: Final = "projectcalico.org/IPv4VXLANTunnelAddr"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A class on a running cluster; this process is in the lab network."""

    classroom: Classroom
    access: Access
    progress: Progress

    @property
    def paths(self) -> Paths:
        """The cluster's state."""
        return self.access.paths

    def for_all(self, students: Sequence[Student], work: Work, title: str) -> list[Outcome]:
        """Do that for each of them, and remember who failed."""
        return work_for_all(
            students,
            work,
            title=title,
            at_once=self.classroom.limits.at_once,
            progress=self.progress,
        )

    def held(self, student: Student) -> AbstractContextManager[None]:
        """The student's lock, while something is done for them.

        Raises:
            LockedError: Somebody else does something for them; the text says who.
        """
        return lock(self.paths.classroom / student.id / "lock", f"student {student.id}")

    @contextlib.contextmanager
    def all_held(self, students: Sequence[Student]) -> Iterator[dict[str, L4labError]]:
        """The locks of many, from the first look at the cluster to the last.

        Whatever is done for a student between a look and the proof would be taken for the student's
        clean state, or for a reset that has failed. No lock is waited for.

        Yields:
            By their ids those whose lock cannot be had, mostly since somebody else does something
            for them, with the reason: their turn has to fail.
        """
        refused: dict[str, L4labError] = {}
        with contextlib.ExitStack() as held:
            for student in students:
                try:
                    held.enter_context(self.held(student))
                except L4labError as failed:
                    refused[student.id] = failed
            yield refused

    def must_be_up(self, student: Student) -> None:
        """Refuse to work for a student who has no place.

        Raises:
            UsageError: ``class up`` was not done for them.
        """
        if not (self.paths.classroom / student.id / "place.json").is_file():
            raise UsageError(
                f"student {student.id} has no place yet",
                None,
                f"./l4lab class up --only {student.id}",
            )

    def fingerprint(self, student: Student) -> Path:
        """The file with the student's clean state."""
        return self.paths.classroom / student.id / "fingerprint.json"

    def made(self, student: Student) -> Path:
        """The file with the objects of the class that belong to that state, and their cluster."""
        return self.paths.classroom / student.id / "made.json"

    def wanted(self, student: Student, tunnels: Sequence[IPv4Address]) -> list[Json]:
        """What the student should have."""
        return of_student(student, self.classroom, self.access.topology, tunnels)


def known_places(paths: Paths) -> dict[str, Place]:
    """The places that students of the class have, by their ids."""
    found = {}
    for file in sorted(paths.classroom.glob("*/place.json")):
        record = read_json(file)
        if record:
            found[file.parent.name] = Place(**record)
    return found


def stacks_of(paths: Paths, student: Student, labs: Sequence[str] | None = None) -> list[str]:
    """The student's stacks of which there is a state."""
    folder = pulumi_cli.checkpoint(paths, "any").parent
    found = sorted(path.stem for path in folder.glob(f"*.{student.id}.json"))
    return [one for one in found if labs is None or one.partition(".")[0] in labs]


def tunnels_of(items: Sequence[Json]) -> list[IPv4Address]:
    """The nodes' own addresses in the pod network."""
    notes = [one["metadata"].get("annotations") or {} for one in items if one["kind"] == "Node"]
    return sorted(IPv4Address(one[_TUNNEL]) for one in notes if _TUNNEL in one)
