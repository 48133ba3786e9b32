"""A class: up, deploy, check, status, reset, down, report, cards."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from l4lab import console
from l4lab.classroom import (
    FILE,
    Classroom,
    Outcome,
    Student,
    each,
    load,
    pages,
    reset,
    results,
    verbs,
)
from l4lab.classroom.clusters import Clusters
from l4lab.classroom.room import Room, known_places
from l4lab.commands.completing import lab_names
from l4lab.console import Context, common
from l4lab.errors import UsageError
from l4lab.lab import Lab, get_lab
from l4lab.place import Place
from l4lab.state import write_private

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Chosen:
    """The class, and those of its students that the command line asks for.

    Attributes:
        context: What all commands have.
        classroom: The file.
        students: Those who are asked for.
        by_id: Whether they are by ``--only``.
    """

    context: Context
    classroom: Classroom
    students: tuple[Student, ...]
    by_id: bool = False

    @functools.cached_property
    def room(self) -> Room:
        """The class on its cluster, which must be up."""
        access = self.context.cluster.enter()
        return Room(classroom=self.classroom, access=access, progress=self.context.progress)

    @property
    def clusters(self) -> Clusters | None:
        """The students' own clusters; None where they share one."""
        if not self.classroom.has_clusters:
            return None
        context = self.context
        return Clusters(classroom=self.classroom, base=context.cluster, progress=context.progress)

    def again(self, turn: str) -> Chosen:
        """Only those who failed when that was done last."""
        failed = results.failed_last(self.context.cluster.paths, turn)
        if failed is None:
            raise UsageError(f"there was no class {turn} yet", "so nobody failed")
        chosen = tuple(one for one in self.students if one.id in failed)
        return Chosen(self.context, self.classroom, chosen)

    def lab(self, name: str) -> Lab:
        """A lab of the class."""
        lab = get_lab(console.PROJECT, name)
        if name not in self.classroom.labs:
            known = ", ".join(self.classroom.labs)
            raise UsageError(f"lab {name} is not among the class's", f"they are: {known}")
        return lab


def _class_with(*, left: bool) -> Callable[[_Function], _Function]:
    """Give a command the options of a class, and the chosen students as first argument.

    Args:
        left: Whether those are meant, too, who have a place and are not in the file any more.
    """

    def given(function: _Function) -> _Function:
        @click.option(
            "--file",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help=f"Who is in the class (default: {FILE}).",
        )
        @click.option(
            "--only", multiple=True, metavar="GLOB", help="Only these students (repeatable)."
        )
        @common
        @functools.wraps(function)
        def wrapped(
            context: Context, *, file: Path | None, only: tuple[str, ...], **rest: object
        ) -> Any:  # noqa: ANN401  # what the command returns
            cluster = context.cluster
            known = known_places(cluster.paths)
            classroom = load(
                file or console.PROJECT / FILE, console.PROJECT, cluster.settings, known
            )
            students = classroom.students
            if left and not classroom.has_clusters:
                students += _left(students, known)
            chosen = Chosen(context, classroom, _matching(students, only), by_id=bool(only))
            return function(chosen, **rest)

        return wrapped  # type: ignore[return-value]  # click adds attributes to what it wraps

    return given


_classroom = _class_with(left=False)
_classroom_and_left = _class_with(left=True)


def _left(students: Sequence[Student], known: Mapping[str, Place]) -> tuple[Student, ...]:
    """Those who have a place on the shared cluster, and are not in the file any more."""
    ids = {one.id for one in students}
    return tuple(
        Student(id=one, name=one, place=place) for one, place in known.items() if one not in ids
    )


def _matching(students: Sequence[Student], patterns: Sequence[str]) -> tuple[Student, ...]:
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(one.id, pattern) for one in students):
            known = ", ".join(one.id for one in students[:8])
            raise UsageError(f"no student matches {pattern!r}", f"the class has: {known}")
    return tuple(
        one
        for one in students
        if not patterns or any(fnmatch.fnmatchcase(one.id, each) for each in patterns)
    )


_failed = click.option("--failed", is_flag=True, help="Only those who failed the last time.")


def _told(
    context: Context, outcomes: Sequence[Outcome], what: str, *, stay: Sequence[str] = ()
) -> int:
    """Print what became of each, and say by the exit code whether anybody failed.

    Args:
        context: Where it is printed.
        outcomes: One a student.
        what: What was done.
        stay: Ids of those who keep their place, since they are not in the file.
    """
    bad = [one for one in outcomes if not one.ok]
    lines = []
    for one in outcomes:
        lines.append(f"{'ok  ' if one.ok else 'FAIL'} {one.student:<16} {one.note}")
        lines += [f"     {line}" for line in one.lines]
        if one.next:
            lines.append(f"     next: {one.next}")
    for student in stay:
        lines.append(f"stays {student:<14} not in the file, and may be in another")
        lines.append(f"     next: ./l4lab class down --only {student}")
    lines.append(f"{what}: {len(outcomes) - len(bad)} well, {len(bad)} failed")
    data = {"students": [one.to_data() for one in outcomes], "failed": len(bad)}
    if stay:
        data["stay"] = list(stay)
    context.result(data, "\n".join(lines))
    return 1 if bad else 0


@click.group("class")
def class_() -> None:
    """A class of students, who share a cluster or have one each.

    Every command takes --only, --file and --json.
    """


@class_.command("up")
@_failed
@_classroom
def up(chosen: Chosen, *, failed: bool) -> int:
    """Give each student a namespace with bounds and a login, or a cluster; note the clean state."""
    chosen = chosen.again("up") if failed else chosen
    if own := chosen.clusters:
        return _told(chosen.context, each.up(own, chosen.students), "up")
    return _told(chosen.context, verbs.up(chosen.room, chosen.students), "up")


@class_.command("deploy")
@click.argument("lab", shell_complete=lab_names)
@_failed
@_classroom
def deploy(chosen: Chosen, lab: str, *, failed: bool) -> int:
    """Deploy LAB for each student."""
    found = chosen.lab(lab)
    chosen = chosen.again(f"deploy-{lab}") if failed else chosen
    if own := chosen.clusters:
        outcomes = each.deploy(own, chosen.students, found)
    else:
        outcomes = verbs.deploy(chosen.room, chosen.students, found)
    return _told(chosen.context, outcomes, f"deploy {lab}")


@class_.command("check")
@click.argument("lab", shell_complete=lab_names)
@click.option("--exercises", is_flag=True, help="Also do what changes the lab and puts it back.")
@_failed
@_classroom
def check(chosen: Chosen, lab: str, *, exercises: bool, failed: bool) -> int:
    """Check LAB of each student, and keep the results."""
    found = chosen.lab(lab)
    chosen = chosen.again(f"check-{lab}") if failed else chosen
    if own := chosen.clusters:
        outcomes = each.check(own, chosen.students, found, exercises=exercises)
    else:
        outcomes = verbs.check(chosen.room, chosen.students, found, exercises=exercises)
    return _told(chosen.context, outcomes, f"check {lab}")


@class_.command("status")
@_classroom_and_left
def status(chosen: Chosen) -> int:
    """Say how each student's namespace or cluster, and labs are."""
    if own := chosen.clusters:
        return _told(chosen.context, each.status(own, chosen.students), "status")
    return _told(chosen.context, verbs.status(chosen.room, chosen.students), "status")


@class_.command("reset")
@click.option("--lab", shell_complete=lab_names, help="Only what this lab's stack made.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@_failed
@_classroom
def reset_(chosen: Chosen, *, lab: str | None, dry_run: bool, failed: bool) -> int:
    """Take each student back to the clean state that class up saw, and prove it."""
    found = chosen.lab(lab) if lab else None
    chosen = chosen.again("reset") if failed else chosen
    if own := chosen.clusters:
        outcomes = each.reset(own, chosen.students, lab=found, dry_run=dry_run)
    else:
        outcomes = reset.reset(chosen.room, chosen.students, lab=found, dry_run=dry_run)
    return _told(chosen.context, outcomes, "reset")


@class_.command("down")
@_classroom_and_left
def down(chosen: Chosen) -> int:
    """Take the students' namespaces and logins, or their clusters away; results are kept.

    Who is not in the file, and may be in that of another class, is taken away by --only.
    """
    if own := chosen.clusters:
        return _told(chosen.context, each.down(own, chosen.students), "down")
    here = chosen.students if chosen.by_id else chosen.classroom.students
    outcomes = verbs.down(chosen.room, here)
    stay = [one.id for one in chosen.students if one not in here]
    return _told(chosen.context, outcomes, "down", stay=stay)


def _page(default: str) -> Callable[[_Function], _Function]:
    return click.option(
        "--html",
        type=click.Path(path_type=Path, dir_okay=False),
        default=default,
        show_default=True,
        metavar="FILE",
        help="The page: one file that needs nothing else.",
    )


@class_.command("report")
@_page("class-report.html")
@click.option("--csv", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@_classroom
def report(chosen: Chosen, *, html: Path, csv: Path | None, junit: Path | None) -> int:
    """Write what the last checks of each student found, as a page, CSV and JUnit XML."""
    rows = results.rows(chosen.context.cluster.paths, chosen.classroom, chosen.students)
    html.write_text(pages.report(chosen.classroom, chosen.students, rows), encoding="utf-8")
    if csv:
        csv.write_text(results.to_csv(rows), encoding="utf-8")
    if junit:
        junit.write_text(results.to_junit(rows), encoding="utf-8")
    red = sorted({row.student for row in rows if row.state not in ("pass", "skip")})
    chosen.context.result(
        {"rows": [vars(row) for row in rows], "not_green": red},
        f"{len(chosen.students) - len(red)} of {len(chosen.students)} students are green\n"
        f"the page: {html.resolve()}",
    )
    return 1 if red else 0


@class_.command("cards")
@_page("class-cards.html")
@_classroom
def cards(chosen: Chosen, *, html: Path) -> None:
    """Write cards to print: name, namespace and login or settings file, first commands."""
    own = chosen.clusters
    files = {one.id: own.state(one).own_settings for one in chosen.students} if own else {}
    write_private(html, pages.cards(chosen.classroom, chosen.students, files))
    paths = chosen.context.cluster.paths
    if own:
        logins, what = paths.root.with_name(f"{paths.root.name}-STUDENT"), "the students' clusters"
    else:
        logins = paths.classroom / "STUDENT" / "STUDENT.kubeconfig"
        what = "the logins to hand out"
    chosen.context.result(
        {"page": str(html.resolve()), "logins": str(logins)},
        f"the cards: {html.resolve()}\n{what}: {logins}",
    )
