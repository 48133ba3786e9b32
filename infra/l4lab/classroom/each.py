"""What is done for a class with a cluster for each student.

The same verbs as for a class that shares one, over what exists for a cluster: its life, the labs'
deployment, checks and reset. Nothing here knows a machine or an object of Kubernetes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from l4lab import actions
from l4lab import bundle as bundles
from l4lab import reset as lab_reset
from l4lab.checks import LabReport
from l4lab.classroom import results
from l4lab.classroom.clusters import Clusters
from l4lab.classroom.crew import Tell
from l4lab.classroom.model import Outcome, Student
from l4lab.classroom.room import known_places
from l4lab.cluster import Cluster
from l4lab.errors import MachineError, UsageError
from l4lab.lab import Lab, find_labs
from l4lab.progress import Progress
from l4lab.proof import Proof, prove
from l4lab.proof.kept import before_stack, remember_before, scope_of, stack_file
from l4lab.pulumi_cli import checkpoint
from l4lab.state import Paths

# No lab is called so: the fingerprint of the cluster without any lab is kept under this name.
CLEAN: Final = "class"
_SETTLE_SECONDS: Final = 40.0  # kube-proxy was seen to need 23 s on a busy machine


def up(clusters: Clusters, students: Sequence[Student]) -> list[Outcome]:
    """Bring each student's cluster up, and take a fingerprint of it before any lab is there.

    Raises:
        MachineError: The host cannot hold so many; nothing was changed.
        UsageError: The class has places on a shared cluster.
        BundleError: What goes on the machines cannot be made.
    """
    if shared := known_places(clusters.paths):
        raise UsageError(
            "students of the class have a place on a shared cluster",
            f"they are: {', '.join(shared)}",
            "./l4lab class down with shape: shared, then with shape: each again",
        )
    clusters.refuse_too_many(students)
    everybody = clusters.classroom.students
    running = any(clusters.state(one).own_settings.is_file() for one in everybody)
    if moved := results.begin(clusters.paths, clusters.classroom, running=running):
        clusters.progress.say(f"the results of an earlier class are now in {moved}")
    # Once, before all of them ask for it.
    for origin in dict.fromkeys(clusters.wanted(one).settings.origin for one in students):
        bundles.ensure(clusters.progress, origin=origin)

    def begin(student: Student, progress: Progress) -> Cluster:
        clusters.mark(student)
        return clusters.wanted(student, progress)

    def one(student: Student, cluster: Cluster, tell: Tell) -> Outcome:
        played = cluster.up()
        clusters.keep_settings(student)
        tell("fingerprint")
        unlike = ""
        try:
            remember_before(cluster.enter(), CLEAN)
        except MachineError as failed:
            unlike = f"; reset will not be able to compare: {failed.one_line}"
        name = cluster.settings.topology.name
        return Outcome(
            student=student.id,
            ok=True,
            seconds=0.0,
            note=f"cluster {name}, {played.changed} changed{unlike}",
            data={"cluster": name, "settings": str(cluster.paths.own_settings)},
        )

    outcomes = clusters.for_all(students, one, "up", whole=begin)
    results.remember(clusters.paths, "up", outcomes)
    return outcomes


def deploy(clusters: Clusters, students: Sequence[Student], lab: Lab) -> list[Outcome]:
    """Deploy a lab on each student's cluster."""

    def one(student: Student, cluster: Cluster, _tell: Tell) -> Outcome:
        done = actions.deploy(cluster, lab)
        return Outcome(
            student=student.id,
            ok=True,
            seconds=0.0,
            note=done.summary,
            data={"changes": dict(done.changes), "outputs": dict(done.outputs)},
        )

    outcomes = clusters.for_all(students, one, f"deploy {lab.name}")
    results.remember(clusters.paths, f"deploy-{lab.name}", outcomes)
    return outcomes


def check(
    clusters: Clusters, students: Sequence[Student], lab: Lab, *, exercises: bool = False
) -> list[Outcome]:
    """Check a lab on each student's cluster, and keep what came out.

    Args:
        clusters: The class.
        students: For whom.
        lab: The lab.
        exercises: Whether to do what changes the lab and puts it back, too.
    """

    def one(student: Student, cluster: Cluster, _tell: Tell) -> Outcome:
        found = actions.check(cluster, lab, exercises=exercises)
        results.keep(clusters.paths, student.id, _typed(clusters, student, found))
        return results.outcome(student.id, found)

    outcomes = clusters.for_all(students, one, f"check {lab.name}")
    results.remember(clusters.paths, f"check-{lab.name}", outcomes)
    return outcomes


def _typed(clusters: Clusters, student: Student, found: LabReport) -> LabReport:
    """The report with its commands as they must be typed for the student's cluster."""
    typed = [
        replace(
            one,
            command=clusters.as_typed(one.command, student),
            then=clusters.as_typed(one.then, student) if one.then else None,
        )
        for one in found.results
    ]
    return replace(found, results=tuple(typed))


def status(clusters: Clusters, students: Sequence[Student]) -> list[Outcome]:
    """How each student's cluster and labs are; nothing is changed, nobody is kept waiting."""

    def one(student: Student, cluster: Cluster, _tell: Tell) -> Outcome:
        data = actions.status(cluster)
        machines, nodes = data["machines"].values(), data["nodes"].values()
        running, ready = (sum(one["running"] for one in machines), sum(n["ready"] for n in nodes))
        labs = {name: what for name, what in data["labs"].items() if what != "not deployed"}
        for lab in clusters.classroom.labs:
            if kept := results.kept(clusters.paths, student.id, lab):
                verdict = "green" if kept["passed"] else "red"
                labs[lab] = f"{labs.get(lab, 'not deployed')}, {verdict} at {kept['measured']}"
        well = running == len(machines) and bool(nodes) and ready == len(nodes)
        told = "; ".join(f"{lab} {text}" for lab, text in labs.items()) or "no lab"
        api = "" if data["api"] in ("answers", None) else f"; the API server: {data['api']}"
        return Outcome(
            student=student.id,
            ok=well,
            seconds=0.0,
            note=f"{running} of {len(machines)} machines run, {ready} of {len(nodes)} nodes are "
            f"ready{api}; {told}",
            next=None if well else f"./l4lab class up --only {student.id}",
            data={"cluster": data["cluster"], "labs": labs, "nodes": data["nodes"]},
        )

    return clusters.for_all(students, one, "status", alone=False)


def reset(
    clusters: Clusters,
    students: Sequence[Student],
    *,
    lab: Lab | None = None,
    dry_run: bool = False,
) -> list[Outcome]:
    """Take the labs off each student's cluster, and compare it with how ``up`` left it.

    The cluster stays: what was made beside the labs is told as a difference, and not deleted.

    Args:
        clusters: The class.
        students: For whom.
        lab: Only this lab; then the cluster is compared with how it was before it.
        dry_run: Only say what would be done.
    """

    def one(student: Student, cluster: Cluster, _tell: Tell) -> Outcome:
        labs = [lab] if lab else there(cluster.paths, find_labs(cluster.project).values())
        asked = lab_reset.plan if dry_run else lab_reset.reset
        cluster.enter()
        told = [(found, asked(cluster, found)) for found in labs]
        lines = [f"{found.name}: {line}" for found, did in told for line in did.done]
        data = {"dry_run": dry_run, "list": list(lines)}
        if dry_run:
            note = f"{len(lines)} things to do"
            return _outcome(clusters, student, ok=True, note=note, lines=lines, data=data)
        proved = told[0][1].proof if lab else _proved(cluster)
        if proved is None:
            note = f"{len(lines)} things done; there is no fingerprint to compare with"
            return _outcome(clusters, student, ok=False, note=note, lines=lines, data=data)
        first, *rest = proved.render().splitlines()
        data["proof"] = proved.to_data()
        return _outcome(
            clusters, student, ok=proved.clean, note=first, lines=[*lines, *rest], data=data
        )

    outcomes = clusters.for_all(students, one, "reset", alone=not dry_run)
    if not dry_run and lab is None:
        results.remember(clusters.paths, "reset", outcomes)
    return outcomes


def there(paths: Paths, labs: Iterable[Lab]) -> list[Lab]:
    """The labs that a cluster has, or has something of."""
    return [
        lab
        for lab in labs
        if checkpoint(paths, lab.stack).is_file() or stack_file(paths, lab.stack).is_file()
    ]


def _proved(cluster: Cluster) -> Proof | None:
    """The comparison of the whole cluster with how ``up`` left it."""
    access = cluster.enter()
    before = before_stack(access, CLEAN)
    if before is None:
        return None
    with cluster.progress.step("compare with the cluster as up left it"):
        scope = scope_of(access.paths, CLEAN)
        return prove(access, before, scope=scope, within=_SETTLE_SECONDS, sweeping=True)


def _outcome(
    clusters: Clusters,
    student: Student,
    *,
    ok: bool,
    note: str,
    lines: Sequence[str],
    data: dict[str, object],
) -> Outcome:
    typed = tuple(clusters.as_typed(line, student) for line in lines)
    return Outcome(student=student.id, ok=ok, seconds=0.0, note=note, lines=typed, data=data)


def down(clusters: Clusters, students: Sequence[Student]) -> list[Outcome]:
    """End the students' clusters and forget them; what was measured is kept."""

    def made(student: Student, progress: Progress) -> Cluster:
        known = clusters.is_made(student)
        return (clusters.made if known else clusters.wanted)(student, progress)

    def one(student: Student, cluster: Cluster, _tell: Tell) -> Outcome:
        gone = cluster.down()
        note = "gone" if gone else "there was none"
        return Outcome(student=student.id, ok=True, seconds=0.0, note=note)

    outcomes = clusters.for_all(students, one, "down", whole=made)
    for outcome in outcomes:
        if outcome.ok:
            shutil.rmtree(clusters.paths.classroom / outcome.student, ignore_errors=True)
    everybody = clusters.classroom.students
    if not any(clusters.state(one).root.exists() for one in everybody):
        results.end(clusters.paths)
    root = clusters.paths.root
    for folder in (clusters.paths.classroom, root, root.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()  # only where nothing is kept
    return outcomes
