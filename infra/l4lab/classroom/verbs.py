"""What is done for a class beside its reset: up, deploy, check, status, down."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from l4lab import stack
from l4lab.checks import run_lab
from l4lab.classroom import clean, results
from l4lab.classroom.crew import Tell
from l4lab.classroom.kubectl import Kubectl, obstacle
from l4lab.classroom.model import Outcome, Student
from l4lab.classroom.objects import STUDENT, of_class
from l4lab.classroom.reset import GONE_WITHIN, forget, give_login, plan_for
from l4lab.classroom.room import Room, known_places, stacks_of, tunnels_of
from l4lab.errors import L4labError, MachineError, UsageError
from l4lab.lab import Lab
from l4lab.proof import api
from l4lab.proof.kept import deployed_words, missing
from l4lab.state import write_json

Json = dict[str, Any]


# --- up -----------------------------------------------------------------------------------------


def up(room: Room, students: Sequence[Student]) -> list[Outcome]:
    """Give each student a namespace with bounds, a login, and a fingerprint of that clean state.

    Raises:
        MachineError: The cluster does not answer.
    """
    with room.all_held(students) as refused:
        return _up(room, students, refused)


def _up(
    room: Room, students: Sequence[Student], refused: Mapping[str, L4labError]
) -> list[Outcome]:
    kubectl = Kubectl(room.access)
    items = api.read(room.paths.kubeconfig)
    cluster, tunnels = clean.cluster_of(items), tunnels_of(items)
    made: dict[str, Json] = {
        one.id: {"cluster": cluster, "objects": room.wanted(one, tunnels)} for one in students
    }
    spaces = {one["metadata"]["name"]: one for one in items if one["kind"] == "Namespace"}
    running = bool(known_places(room.paths))
    if moved := results.begin(room.paths, room.classroom, running=running):
        room.progress.say(f"the results of an earlier class are now in {moved}")
    kubectl.apply(of_class())

    def prepare(student: Student, tell: Tell) -> Outcome:
        began = time.monotonic()
        if student.id in refused:
            raise refused[student.id]
        there = spaces.get(student.place.namespace)
        _refuse(student, there)
        wanted = made[student.id]["objects"]
        place = room.paths.classroom / student.id / "place.json"
        if there is None or not clean.is_known(room, student, cluster):
            todo = plan_for(room, student, items, wanted)
            if there is not None and todo.delete:
                raise UsageError(
                    "there is work in the namespace, and its clean state was not seen yet",
                    "; ".join(todo.lines[:3]),
                    f"./l4lab class {'reset' if place.is_file() else 'down'} "
                    f"--only {student.id}, then class up",
                )
            clean.forget(room, student)
        write_json(place, asdict(student.place))
        tell("namespace, bounds, role")
        kubectl.apply(wanted)
        tell("login")
        give_login(room, student)
        return Outcome(
            student=student.id,
            ok=True,
            seconds=time.monotonic() - began,
            note=f"namespace {student.place.namespace}, login for "
            f"{room.classroom.limits.days} days",
        )

    outcomes = room.for_all(students, prepare, "up")
    ready = [one for one in students if _outcome(outcomes, one).ok]
    clean.note(room, ready, made)
    results.remember(room.paths, "up", outcomes)
    return outcomes


def _refuse(student: Student, namespace: Json | None) -> None:
    """Refuse a namespace that is somebody else's, or on its way out."""
    if namespace is None:
        return
    name = namespace["metadata"]["name"]
    labels = namespace["metadata"].get("labels") or {}
    if labels.get(STUDENT) != student.id:
        raise UsageError(
            f"namespace {name} is not the class's", "it was there before", "give another id"
        )
    if why := obstacle(namespace):
        raise MachineError(
            f"namespace {name} cannot be used", why, "remove what is named, then class up"
        )


# --- deploy, check ------------------------------------------------------------------------------


def deploy(room: Room, students: Sequence[Student], lab: Lab) -> list[Outcome]:
    """Deploy a lab for each student, each with a stack of their own."""

    def one(student: Student, tell: Tell) -> Outcome:
        with room.held(student):
            room.must_be_up(student)
            done = stack.deploy(lab.at(student.place), room.access, on_event=tell)
        return Outcome(
            student=student.id,
            ok=True,
            seconds=done.seconds,
            note=done.summary,
            data={"changes": dict(done.changes), "outputs": dict(done.outputs)},
        )

    outcomes = room.for_all(students, one, f"deploy {lab.name}")
    results.remember(room.paths, f"deploy-{lab.name}", outcomes)
    return outcomes


def check(
    room: Room, students: Sequence[Student], lab: Lab, *, exercises: bool = False
) -> list[Outcome]:
    """Check a lab of each student, and keep what came out.

    Args:
        room: The class.
        students: For whom.
        lab: The lab.
        exercises: Whether to do what changes the lab and puts it back, too.
    """

    def one(student: Student, tell: Tell) -> Outcome:
        with room.held(student):
            room.must_be_up(student)
            report = run_lab(
                lab.at(student.place),
                room.access,
                exercises=exercises,
                on_result=lambda result: tell(f"{result.state} {result.id}"),
            )
            results.keep(room.paths, student.id, report)
        return results.outcome(student.id, report)

    outcomes = room.for_all(students, one, f"check {lab.name}")
    results.remember(room.paths, f"check-{lab.name}", outcomes)
    return outcomes


# --- status, down -------------------------------------------------------------------------------


def status(room: Room, students: Sequence[Student]) -> list[Outcome]:
    """How each student's namespace and labs are; nothing is changed, nobody is kept waiting.

    Who is not in the class any more and has a namespace all the same is told so.

    Raises:
        MachineError: The cluster does not answer.
    """
    items = api.read(room.paths.kubeconfig)
    in_class = {one.id for one in room.classroom.students}
    outcomes = []
    for student in students:
        space = student.place.namespace
        here = [one for one in items if one["metadata"].get("namespace") == space]
        there = [one for one in items if one["kind"] == "Namespace" and _name(one) == space]
        pods = [one for one in here if one["kind"] == "Pod"]
        ready = sum(one.get("status", {}).get("phase") == "Running" for one in pods)
        labs = {}
        for name in stacks_of(room.paths, student):
            gone = missing(room.paths, name, here)
            labs[name.partition(".")[0]] = deployed_words(gone)
        for lab in room.classroom.labs:
            kept = results.kept(room.paths, student.id, lab)
            if kept:
                verdict = "green" if kept["passed"] else "red"
                labs[lab] = f"{labs.get(lab, 'not deployed')}, {verdict} at {kept['measured']}"
        why = obstacle(there[0]) if there else "not up"
        said = "; ".join(f"{lab} {text}" for lab, text in labs.items()) or "no lab"
        left = student.id not in in_class
        note = why or f"{ready} of {len(pods)} pods run; {said}"
        outcomes.append(
            Outcome(
                student=student.id,
                ok=why is None,
                seconds=0.0,
                note=f"not in the file any more; {note}" if left else note,
                next=f"./l4lab class down --only {student.id}" if left else None,
                data={"pods": len(pods), "running": ready, "labs": labs, "in_file": not left},
            )
        )
    return outcomes


def _name(item: Json) -> str:
    name: str = item["metadata"]["name"]
    return name


def down(room: Room, students: Sequence[Student]) -> list[Outcome]:
    """Take the students' namespaces, logins and stacks away; what was measured is kept.

    Raises:
        MachineError: The cluster does not answer.
    """
    kubectl = Kubectl(room.access)

    def one(student: Student, tell: Tell) -> Outcome:
        began = time.monotonic()
        space = student.place.namespace
        with room.held(student):
            found = kubectl.namespace(space)
            labels = (found or {"metadata": {}})["metadata"].get("labels") or {}
            if found and labels.get(STUDENT) != student.id:
                raise UsageError(f"namespace {space} is not the class's", "it is left alone")
            tell(f"delete namespace {space}")
            why = kubectl.delete_namespace(space, within=GONE_WITHIN)
            if why:
                raise MachineError(
                    f"namespace {space} is not gone after {GONE_WITHIN:.0f} s",
                    why,
                    "remove what is named, then class down again",
                )
            for name in stacks_of(room.paths, student):
                forget(room, name)
            shutil.rmtree(room.paths.classroom / student.id)
        seconds = time.monotonic() - began
        return Outcome(student=student.id, ok=True, seconds=seconds, note="gone")

    outcomes = room.for_all(students, one, "down")
    if not known_places(room.paths) and all(one.ok for one in outcomes):
        rules = [f"{one['kind']}/{one['metadata']['name']}" for one in reversed(of_class())]
        kubectl.delete_cluster_wide(rules)
        results.end(room.paths)
    return outcomes


def _outcome(outcomes: Sequence[Outcome], student: Student) -> Outcome:
    return next(one for one in outcomes if one.student == student.id)
