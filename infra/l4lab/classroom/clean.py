"""The clean state of each student, which a reset is held against: where and of what it was seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from l4lab import proof
from l4lab.classroom.model import Student
from l4lab.classroom.room import Room
from l4lab.errors import MachineError, UsageError
from l4lab.proof.objects import label
from l4lab.state import read_json, write_json

Json = dict[str, Any]

SETTLED_WITHIN: Final = 40.0  # kube-proxy was seen to need 23 s on a busy machine
EVERY: Final = 1.0


def cluster_of(items: Sequence[Json]) -> str:
    """What tells this cluster from another one on the same machines: no two have this in common."""
    spaces = {one["metadata"]["name"]: one for one in items if one["kind"] == "Namespace"}
    uid: str = spaces.get("kube-system", {"metadata": {}})["metadata"].get("uid", "")
    return uid


def scope_of(student: Student) -> proof.Scope:
    """What of the cluster is a student's."""
    return proof.Scope.namespace(student.place.namespace, node_ports=student.place.node_ports)


def kept(room: Room, student: Student) -> proof.Fingerprint | None:
    """The student's fingerprint; None where there is none that can be read."""
    try:
        return proof.read_json(room.fingerprint(student))
    except (MachineError, KeyError):
        return None


def is_known(room: Room, student: Student, cluster: str) -> bool:
    """Whether the student's clean state was seen on this cluster, to the end."""
    made = _made(room, student)
    # Those of before do not say on which.
    here = made is not None and made.get("cluster", cluster) == cluster
    return here and kept(room, student) is not None


def forget(room: Room, student: Student) -> None:
    """Forget what is known of the clean state: a new one is about to be made."""
    for file in (room.made(student), room.fingerprint(student)):
        file.unlink(missing_ok=True)


def refuse_other_cluster(room: Room, student: Student, cluster: str) -> None:
    """Refuse to hold a student's namespace against that of another cluster.

    Raises:
        UsageError: The class was up on a cluster that is no more.
    """
    made = _made(room, student)
    if made is not None and made.get("cluster", cluster) != cluster:
        raise UsageError(
            f"the place of student {student.id} was on another cluster",
            "this one was made after it, and its clean state was not seen yet",
            f"./l4lab class up --only {student.id}",
        )


def refuse_other_bounds(room: Room, student: Student, wanted: Sequence[Json]) -> None:
    """Refuse to hold a namespace against bounds that are not the class's any more.

    Raises:
        UsageError: Limits or rights of the class have changed since the clean state was seen.
    """
    made = _made(room, student)
    if made is not None and kept(room, student) and made["objects"] != list(wanted):
        raise UsageError(
            f"student {student.id} has other limits or rights than the class gives now",
            "they have changed since the clean state was seen",
            f"./l4lab class up --only {student.id}; work is left as it is",
        )


def note(room: Room, students: Sequence[Student], wanted: Mapping[str, Json]) -> None:
    """Keep the clean state of those who have none yet, when two looks were the same.

    Of those who have one only what the class gives is seen anew: they may have work in there.

    Args:
        room: The class.
        students: For whom.
        wanted: By student's id: ``cluster``, and ``objects`` that the class has made there.

    Raises:
        MachineError: The cluster does not answer.
    """
    open_ = [one for one in students if _made(room, one) != wanted[one.id]]
    if not open_:
        return
    scopes = [scope_of(one) for one in open_]
    with room.progress.step("fingerprints") as step:
        deadline = time.monotonic() + SETTLED_WITHIN
        last = proof.snapshots(room.access, scopes)
        while time.monotonic() < deadline:
            time.sleep(EVERY)
            now = proof.snapshots(room.access, scopes)
            moving = [
                student.id
                for student, old, new in zip(open_, last, now, strict=True)
                if kept(room, student) is None and not proof.compare(old, new).clean
            ]
            last = now
            if not moving:
                break
            step.doing = f"still changing: {', '.join(moving)}"
        for student, taken in zip(open_, last, strict=True):
            before, made = kept(room, student), wanted[student.id]
            old = _made(room, student) or {"objects": []}
            seen = amended(before, taken, old["objects"], made["objects"]) if before else taken
            proof.write_json(room.fingerprint(student), seen)
            # Last: without it the next `up` does all this again.
            write_json(room.made(student), made)
        step.note = f"{len(open_)} taken"


def amended(
    before: proof.Fingerprint, now: proof.Fingerprint, old: Sequence[Json], new: Sequence[Json]
) -> proof.Fingerprint:
    """The earlier fingerprint with the class's new objects, as they are now, for its old ones."""
    given = set(map(label, new))
    gone = given | set(map(label, old))
    facts = {what: value for what, value in before.facts[proof.API].items() if what not in gone}
    facts |= {what: value for what, value in now.facts[proof.API].items() if what in given}
    return replace(before, facts={**before.facts, proof.API: facts})


def _made(room: Room, student: Student) -> Json | None:
    """What the class had made, and on which cluster, when the fingerprint was taken."""
    try:
        return read_json(room.made(student))
    except MachineError:
        return None
