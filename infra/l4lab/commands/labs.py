"""Labs: labs, deploy, check, lab, guides, destroy, report, and the path of a packet."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from l4lab import actions, console, guide, page, report, walk
from l4lab import path as packet_path
from l4lab.checks.formats import FORMATS
from l4lab.checks.report import to_junit
from l4lab.commands.completing import lab_names, machine_names
from l4lab.console import Context, common, show
from l4lab.errors import UsageError
from l4lab.lab import find_labs, get_lab


@click.command("labs")
@common
def labs(context: Context) -> None:
    """List the labs."""
    found = find_labs(console.PROJECT)
    context.result(
        {name: lab.title for name, lab in found.items()},
        "\n".join(f"{name:<18} {lab.title}" for name, lab in found.items()),
    )


@click.command("deploy")
@click.argument("lab", shell_complete=lab_names)
@common
def deploy(context: Context, lab: str) -> None:
    """Deploy LAB with Pulumi and wait until its objects are ready."""
    outcome = actions.deploy(context.cluster, get_lab(console.PROJECT, lab))
    context.result(
        actions.outcome_data(outcome),
        actions.render_outcome(outcome) + f"\nnext: ./l4lab check {lab}",
    )


_Function = TypeVar("_Function", bound=Callable[..., Any])


def _formats(function: _Function) -> _Function:
    """Give a command an option for each form its results can also be written in."""
    for name in reversed(list(FORMATS)):
        function = click.option(
            f"--{name}",
            type=console.NEW_FILE,
            metavar="FILE",
            help=f"Also write the results as {FORMATS[name].title}.",
        )(function)
    return function


@click.command("check")
@click.argument("lab", shell_complete=lab_names)
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check (repeatable).")
@click.option(
    "--exercises/--no-exercises",
    default=True,
    help="Also do what changes the lab and puts it back (default), or only look.",
)
@_formats
@click.option("--step", metavar="STEP", help="Only the checks of this step of the guide.")
@click.option("--watch", is_flag=True, help="Look again and again until green; no exercises.")
@click.option("--within", type=click.FloatRange(min=0), metavar="SECONDS", help="End --watch then.")
@common
def check(
    context: Context,
    lab: str,
    only: tuple[str, ...],
    *,
    exercises: bool,
    step: str | None,
    watch: bool,
    within: float | None,
    **files: Path | None,
) -> int:
    """Prove that LAB works: run its checks against the live cluster."""
    found = get_lab(console.PROJECT, lab)
    if step:
        only = (*only, *walk.checks_of(context.cluster, found, step))
    if watch:
        report = actions.watch(context.cluster, found, only=only, within=within)
    elif within is not None:
        raise UsageError("--within is for --watch", "without it, all is looked at once")
    else:
        report = actions.check(
            context.cluster, found, only=only, exercises=exercises, show=show_check(context)
        )
    for name, file in files.items():
        if file:
            file.write_text(FORMATS[name].write(report), encoding="utf-8")
    context.result(json.loads(report.to_json()), report.render(color=sys.stdout.isatty()))
    return 0 if report.passed else 1


def show_check(context: Context) -> Callable[[Any], None] | None:
    """One line a finished check, where somebody watches."""
    if not sys.stderr.isatty():
        return None
    return lambda result: context.progress.say(f"  {result.state} {result.id}")


@click.command("lab")
@click.argument("lab", shell_complete=lab_names)
@click.option("--lang", type=click.Choice(list(guide.LANGUAGES)), help="Default: your locale's.")
@click.option("--from", "start", metavar="STEP", help="Begin at this step of the guide.")
@click.option("--yes", is_flag=True, help="Ask nothing: do all of it.")
@common
def lab_(context: Context, lab: str, *, lang: str | None, start: str | None, yes: bool) -> int:
    """Walk through LAB: each step's commands, its checks, what to see, and why."""
    found = get_lab(console.PROJECT, lab)
    answers = console.somebody_answers() and not yes and not context.as_json
    hands = walk.hands_of(
        context.cluster,
        found,
        write=lambda text: show(text, end="", err=context.as_json),
        ask=console.ask if answers else None,
        config=context.config,
    )
    walked = walk.walk(
        found,
        context.cluster.settings.topology,
        hands,
        language=lang or guide.language_of(os.environ),
        start=start,
        color=sys.stdout.isatty() and not context.as_json,
    )
    if context.as_json:
        context.result({"lab": lab, "red": list(walked.red)}, "")
    return 1 if walked.red and not walked.left_at else 0


@click.command("guides")
@click.argument("labs", nargs=-1, shell_complete=lab_names)
@click.option("--check", is_flag=True, help="Only say which differ from what they are made of.")
@common
def guides(context: Context, labs: tuple[str, ...], *, check: bool) -> int:
    """Write the labs' README files from their steps and templates."""
    found = actions.write_guides(console.PROJECT, labs, check=check)
    word = "differs" if check else "written"
    context.result({word: found}, "\n".join(f"{word}: {name}" for name in found) or "all as made")
    return 1 if check and found else 0


@click.command("destroy")
@click.argument("lab", shell_complete=lab_names)
@common
def destroy(context: Context, lab: str) -> None:
    """Take LAB off the cluster, and wait until its objects are gone."""
    outcome = actions.destroy(context.cluster, get_lab(console.PROJECT, lab))
    context.result(actions.outcome_data(outcome), actions.render_outcome(outcome))


@click.command("path")
@click.argument("client", shell_complete=machine_names)
@click.argument("target")
@click.option(
    "--svg",
    type=console.NEW_FILE,
    metavar="FILE",
    help="Also draw it to an SVG file.",
)
@common
def path_(context: Context, client: str, target: str, *, svg: Path | None) -> int:
    """Send one connection from CLIENT to TARGET and draw its way, hop by hop, as measured.

    CLIENT is outside, a machine, or a pod. TARGET is SERVICE, NAMESPACE/SERVICE, ADDRESS:PORT,
    NODE:NODEPORT or nodeport:SERVICE. With -v each hop has the command that shows it.
    """
    with context.progress.step(f"path {client} {target}") as step:
        access = context.cluster.enter()
        found = packet_path.trace(
            access, client, target, doing=lambda text: setattr(step, "doing", text)
        )
        step.note = found.headline
    if svg:
        svg.write_text(packet_path.to_svg(found))
    context.result(found.to_data(), packet_path.for_terminal(found, see=context.verbose))
    return 0 if found.answered else 1


@click.command("report")
@click.argument("labs", nargs=-1, shell_complete=lab_names)
@click.option(
    "--html",
    type=console.NEW_FILE,
    default="l4lab-report.html",
    show_default=True,
    metavar="FILE",
    help="The page: one file that needs nothing else.",
)
@click.option(
    "--junit",
    type=console.NEW_FILE,
    metavar="FILE",
    help="Also write the results as JUnit XML.",
)
@click.option("--exercises", is_flag=True, help="Also do what changes the labs and puts it back.")
@click.option("--paths/--no-paths", default=True, help="Follow a connection to each Service, too.")
@common
def report_(
    context: Context,
    labs: tuple[str, ...],
    *,
    html: Path,
    junit: Path | None,
    exercises: bool,
    paths: bool,
) -> int:
    """Check LABS (default: all that are deployed) and write one page about cluster and labs."""
    found = report.measure(
        context.cluster,
        [get_lab(console.PROJECT, name) for name in labs],
        exercises=exercises,
        paths=paths,
        show=show_check(context),
    )
    html.write_text(page.render(found))
    if junit:
        junit.write_text(to_junit([lab.report for lab in found.labs]))
    lines = [lab.report.summary(color=sys.stdout.isatty()) for lab in found.labs]
    context.result(report.to_data(found), "\n".join([*lines, f"the page: {html.resolve()}"]))
    return 0 if found.passed else 1
