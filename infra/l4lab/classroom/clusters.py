"""A class with a cluster for each student: which cluster is whose, and whether all have room.

Entering a cluster moves the whole process into that cluster's network. So what is done for a
student is done in a process of the student's own (``crew``), and the one that asks enters none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Final

from l4lab import settings as settings_files
from l4lab.classroom.crew import Tell, work_for_all
from l4lab.classroom.model import Classroom, Outcome, Student
from l4lab.classroom.own import name_of
from l4lab.cluster import Cluster
from l4lab.errors import L4labError, MachineError, UsageError
from l4lab.machines import host
from l4lab.progress import Progress, Told
from l4lab.settings import Settings
from l4lab.state import Paths, lock, paths_of, read_json, write_json, write_private

Work = Callable[[Student, Cluster, Tell], Outcome]

_COMMAND: Final = re.compile(r"\./l4lab ([a-z]+)")
_OF_THE_CLASS: Final = ("up", "down")


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """A class and its students' clusters, whether these are up or not.

    Attributes:
        classroom: The class.
        base: The cluster that the class is called after; it need not be there.
        progress: Where the students' lines go.
    """

    classroom: Classroom
    base: Cluster
    progress: Progress

    @property
    def paths(self) -> Paths:
        """Where results are kept, and who failed."""
        return self.base.paths

    def state(self, student: Student) -> Paths:
        """The state of a student's cluster."""
        name = name_of(self.base.settings.topology, student.id)
        return paths_of(self.base.project, name)

    def wanted(self, student: Student, progress: Progress | None = None) -> Cluster:
        """The student's cluster as the files say it should be."""
        cluster = Cluster(self.base.project, _own(student), progress or Progress(quiet=True))
        cluster.driver.neighbours = self.classroom.students.index(student)
        return cluster

    def made(self, student: Student, progress: Progress | None = None) -> Cluster:
        """The student's cluster as it was made, or was begun to be.

        Raises:
            UsageError: The class has made none.
            SettingsError: Somebody has changed the file that says what it is.
        """
        if not self.is_made(student):
            raise UsageError(f"student {student.id} has no cluster yet", None, "./l4lab up")
        settings = settings_files.load(self.state(student).own_settings, self.base.project)
        return Cluster(self.base.project, settings, progress or Progress(quiet=True))

    def is_made(self, student: Student) -> bool:
        """Whether the class has made the student's cluster, or has begun to.

        Raises:
            UsageError: A cluster of that name is there, and is not the class's.
        """
        state = self.state(student)
        if read_json(state.owner) == self._mark(student):
            return state.own_settings.is_file()
        if state.record.exists():
            raise UsageError(
                f"cluster {state.root.name} is not the class's",
                "it was there before, and is left alone",
                "give the student another id",
            )
        return False

    def mark(self, student: Student) -> None:
        """Note that the cluster is the class's, before anything of it is made.

        What is there keeps the settings it was made with, until ``up`` has ended well.
        """
        if not self.is_made(student):
            write_json(self.state(student).owner, self._mark(student))
            self.keep_settings(student)

    def keep_settings(self, student: Student) -> None:
        """Write the settings of the student's cluster, for all other verbs and ``--config``."""
        text = (
            f"# The cluster of student {student.id}, written by l4lab class up.\n"
            "# Use: ./l4lab VERB --config THIS_FILE, or export L4LAB_CONFIG=THIS_FILE\n"
        )
        own = settings_files.to_toml(_own(student))
        write_private(self.state(student).own_settings, text + own)

    def _mark(self, student: Student) -> dict[str, str]:
        return {"class_of": self.base.settings.topology.name, "student": student.id}

    def as_typed(self, text: str, student: Student) -> str:
        """Commands of l4lab in a text, as they must be typed for the student's cluster."""
        file = self.state(student).own_settings
        place = file.relative_to(self.base.project)

        def typed(found: re.Match[str]) -> str:
            verb = found[1]
            if verb == "class":
                return found[0]
            if verb in _OF_THE_CLASS:
                return f"./l4lab class {verb} --only {student.id}"
            return f"./l4lab {verb} --config {place}"

        return _COMMAND.sub(typed, text)

    def for_all(
        self,
        students: Sequence[Student],
        work: Work,
        title: str,
        *,
        whole: Callable[[Student, Progress], Cluster] | None = None,
        alone: bool = True,
    ) -> list[Outcome]:
        """Do that for each of them in a process of its own.

        Args:
            students: For whom.
            work: Gets the student and the cluster; how long it took is noted here.
            title: What is done, in the live lines.
            whole: Which cluster it gets; without it the one that was made.
            alone: Whether nobody else may do anything for the student meanwhile.
        """
        cluster_of = whole or self.made

        def one(student: Student, tell: Tell) -> Outcome:
            began = time.monotonic()
            held = lock(self.paths.classroom / student.id / "lock", f"student {student.id}")
            try:
                with held if alone else nullcontext():
                    done = work(student, cluster_of(student, Told(tell)), tell)
            except L4labError as failed:
                if failed.resolution:
                    failed.resolution = self.as_typed(failed.resolution, student)
                raise
            return replace(done, seconds=time.monotonic() - began)

        return work_for_all(
            students,
            one,
            title=title,
            at_once=self.classroom.limits.at_once,
            progress=self.progress,
        )

    # --- room on this host ----------------------------------------------------------------------

    def refuse_too_many(self, students: Sequence[Student]) -> None:
        """Refuse to begin what this host's memory and disk cannot hold to the end.

        Clusters of the class that are up have their part already; what their machines have not
        taken yet of it is theirs, too.

        Raises:
            MachineError: It does not fit; the text says how many would.
        """
        promised, new = 0, []
        for student in self.classroom.students:
            # What cannot be looked at fails in that student's own turn, and for that one only.
            with suppress(L4labError):
                up = self._running(student)
                promised += sum(up)
                if not up and student in students and self.wanted(student).driver.owns:
                    new.append(_own(student).topology.memory_mib)
        free = host.free(self.paths.root)
        for left, unit, where, wants in (
            (free.memory_mib - promised, "MiB of memory", "", new),
            (free.shared_mib - promised, "MiB of memory", f" in {free.shared}", new),
            (int(free.disk_gib), "GiB of disk", f" below {free.disk}", [host.DISK_GIB] * len(new)),
        ):
            if sum(wants) > left:
                fit = fitting(wants, left)
                raise MachineError(
                    "this host cannot hold a cluster for each student",
                    f"{len(new)} clusters want {sum(wants)} {unit}, and {max(left, 0)} are free"
                    f"{where}: {fit} of them fit",
                    (f"./l4lab class up --only for {fit} of them; or " if fit else "")
                    + "set less memory in l4lab.toml, or give hosts (docs/classroom.md)",
                )

    def _running(self, student: Student) -> list[int]:
        """For each running machine the MiB it may still take; nothing where none runs here."""
        if not self.is_made(student):
            return []
        cluster = self.made(student)
        if not cluster.driver.owns:
            return []
        sizes = {one.name: one.memory_mib for one in cluster.settings.topology.machines}
        return [
            max(sizes[one.name] - (one.memory_mib or 0), 0)
            for one in cluster.status()
            if one.running
        ]


def fitting(wants: Sequence[int], left: int) -> int:
    """How many of them, in their order, fit into what is left."""
    fit = 0
    for want in wants:
        left -= want
        if left < 0:
            break
        fit += 1
    return fit


def _own(student: Student) -> Settings:
    if student.settings is None:
        raise ValueError(f"student {student.id} shares a cluster")
    return student.settings
