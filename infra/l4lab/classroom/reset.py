"""Takes students back to the clean state that ``class up`` saw, and proves it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from l4lab import proof, pulumi_cli
from l4lab.classroom import clean, plan, results
from l4lab.classroom.crew import Tell
from l4lab.classroom.kubectl import Kubectl
from l4lab.classroom.model import Outcome, Student
from l4lab.classroom.objects import LOGIN
from l4lab.classroom.room import Room, stacks_of, tunnels_of
from l4lab.errors import L4labError, MachineError, StackError
from l4lab.lab import Lab
from l4lab.proof import api
from l4lab.proof.kept import made_by
from l4lab.proof.mends import sweep
from l4lab.proof.objects import Objects
from l4lab.state import Paths, lock, write_private

Json = dict[str, Any]

GONE_WITHIN: Final = 180.0  # one reset among thirty students was seen to need 81 s


def reset(
    room: Room, students: Sequence[Student], *, lab: Lab | None = None, dry_run: bool = False
) -> list[Outcome]:
    """Take each student back to the clean state that ``up`` saw, and prove it.

    Args:
        room: The class.
        students: For whom.
        lab: Only what this lab's stack made; what else the student has stays, so that there is no
            proof over all.
        dry_run: Only say what would be done.

    Raises:
        MachineError: The cluster does not answer.
    """
    # What is only told changes nothing, and keeps nobody waiting.
    with room.all_held(() if dry_run else students) as refused:
        return _reset(room, students, refused, lab=lab, dry_run=dry_run)


def _reset(
    room: Room,
    students: Sequence[Student],
    refused: Mapping[str, L4labError],
    *,
    lab: Lab | None,
    dry_run: bool,
) -> list[Outcome]:
    items = api.read(room.paths.kubeconfig)
    tunnels, objects, cluster = tunnels_of(items), Objects(items), clean.cluster_of(items)
    plans: dict[str, plan.Plan] = {}
    unplanned = dict(refused)
    scopes: dict[str, proof.Scope] = {}
    for student in students:
        if student.id in refused:
            continue
        wanted = room.wanted(student, tunnels)
        try:
            clean.refuse_other_cluster(room, student, cluster)
            if lab is None:
                clean.refuse_other_bounds(room, student, wanted)
            plans[student.id] = plan_for(room, student, items, wanted, lab=lab)
        except L4labError as failed:
            unplanned[student.id] = failed  # told in this student's turn: the others get theirs
        own = objects.marks_of(objects.of_namespace(student.place.namespace))
        scope = clean.scope_of(student)
        scopes[student.id] = replace(scope, marks=scope.marks | own)

    def one(student: Student, tell: Tell) -> Outcome:
        began = time.monotonic()
        if student.id in unplanned:
            raise unplanned[student.id]
        todo = plans[student.id]
        if not dry_run:
            room.must_be_up(student)
            _carry_out(room, student, todo, tell)
        return Outcome(
            student=student.id,
            ok=True,
            seconds=time.monotonic() - began,
            note=f"{len(todo.lines)} things" + (" to do" if dry_run else " done"),
            lines=todo.lines,
            data={"dry_run": dry_run, "list": list(todo.lines)},
        )

    outcomes = room.for_all(students, one, "reset")
    if not dry_run and lab is None:
        outcomes = _prove(room, students, outcomes, scopes)
        results.remember(room.paths, "reset", outcomes)
    return outcomes


def plan_for(
    room: Room,
    student: Student,
    items: Sequence[Json],
    wanted: Sequence[Json],
    *,
    lab: Lab | None = None,
) -> plan.Plan:
    """What a reset of one student would do, seen from all objects of the cluster.

    Raises:
        StackError: Nobody can say what is the lab's: its stack's state cannot be read. A reset of
            the whole namespace does not ask for it.
    """
    names = [lab.name] if lab else None
    stacks = stacks_of(room.paths, student, names)
    only = None
    if lab:
        try:
            only = {label for one in stacks for label in _labels_of(room.paths, one)}
        except StackError as failed:
            failed.resolution = f"./l4lab class reset --only {student.id}: it needs no stack"
            raise
    return plan.make(
        items, namespace=student.place.namespace, wanted=wanted, stacks=stacks, only=only
    )


def _labels_of(paths: Paths, name: str) -> set[str]:
    """Kind and name of what a stack has made or begun to make: one that was cut off has both.

    Raises:
        StackError: Its state cannot be read.
    """
    made = (one.partition(" ") for one in made_by(paths, name))
    return {f"{kind} {full.rpartition('/')[2]}" for kind, _, full in made}


def _carry_out(room: Room, student: Student, todo: plan.Plan, tell: Tell) -> None:
    """Delete, restore, forget; in this order, so that one that is cut off can be done again."""
    kubectl = Kubectl(room.access)
    space = student.place.namespace
    if why := kubectl.obstacle(space):
        raise MachineError(f"namespace {space} cannot be reset", why, "remove what is named")
    if todo.delete:
        tell(f"delete {len(todo.delete)} objects")
        why = kubectl.delete([*todo.delete, *todo.pods], namespace=space, within=GONE_WITHIN)
        if why:
            raise MachineError(
                f"not all of namespace {space} is gone after {GONE_WITHIN:.0f} s",
                why,
                "look for finalizers: ./l4lab kubectl get all,configmaps,secrets "
                f"-n {space} -o yaml",
            )
    if todo.restore:
        tell(f"restore {len(todo.restore)} objects")
        kubectl.apply(todo.restore)
    if todo.new_login:
        tell("login")
        give_login(room, student)
    for name in todo.forget:
        tell(f"forget stack {name}")
        forget(room, name)


def give_login(room: Room, student: Student) -> None:
    """Write a kubeconfig with a new token: it ends with its account, and needs one request."""
    kubectl, space = Kubectl(room.access), student.place.namespace
    token = kubectl.token(LOGIN, space, days=room.classroom.limits.days)
    text = kubectl.kubeconfig(token, namespace=space, cluster=room.access.topology.name)
    write_private(room.paths.classroom / student.id / f"{student.id}.kubeconfig", text)


def forget(room: Room, name: str) -> None:
    """Drop the state of a stack whose objects are gone."""
    with lock(room.paths.pulumi / f"{name}.lock", f"the stack of lab {name}"):
        pulumi_cli.free_stale_lock(room.access, name)
        pulumi_cli.checkpoint(room.paths, name).unlink(missing_ok=True)
        (room.paths.stack_work / f"Pulumi.{name}.yaml").unlink(missing_ok=True)


def _prove(
    room: Room,
    students: Sequence[Student],
    outcomes: Sequence[Outcome],
    scopes: Mapping[str, proof.Scope],
) -> list[Outcome]:
    """Hold the state against the fingerprint of ``up``, until it is equal or nothing moves."""
    told = {one.student: one for one in outcomes}
    before = {}
    for student in students:
        taken = clean.kept(room, student)
        if not told[student.id].ok:
            continue
        if taken is None:
            told[student.id] = replace(
                told[student.id],
                ok=False,
                note="there is no fingerprint to compare with",
                next=f"./l4lab class up --only {student.id}",
            )
            continue
        before[student.id] = taken
    open_ = list(before)
    waiting = proof.Patience(clean.SETTLED_WITHIN)
    last: list[proof.Difference] = []
    with room.progress.step("prove it") as step:
        while open_:
            now = proof.snapshots(room.access, [scopes[one] for one in open_])
            found = {
                one: proof.compare(before[one], seen) for one, seen in zip(open_, now, strict=True)
            }
            late = waiting.over(sum(len(verdict.differences) for verdict in found.values()))
            for id_, verdict in found.items():
                if verdict.clean or late:
                    told[id_] = _with_proof(told[id_], verdict)
            open_ = [id_ for id_, verdict in found.items() if not verdict.clean and not late]
            if open_:
                left = [one for id_ in open_ for one in found[id_].differences]
                sweep(room.access, last, left)
                last = left
                first = found[open_[0]].differences[0]
                step.doing = f"{open_[0]}: {first}"
                time.sleep(clean.EVERY)
    return [told[student.id] for student in students]


def _with_proof(outcome: Outcome, verdict: proof.Proof) -> Outcome:
    lines = verdict.render().splitlines()
    return replace(
        outcome,
        ok=verdict.clean,
        note=lines[0],
        lines=(*outcome.lines, *lines[1:]),
        data={**outcome.data, "proof": verdict.to_data()},
    )
