"""The whole way in one go, for CI: smoke."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from l4lab import console
from l4lab import smoke as runs
from l4lab.commands.completing import lab_names
from l4lab.commands.labs import show_check
from l4lab.console import Context, common
from l4lab.lab import find_labs, get_lab

_NOT_WRITTEN = 3  # as for all that the system refuses


@click.command("smoke")
@click.argument("labs", nargs=-1, shell_complete=lab_names)
@click.option(
    "--junit",
    type=console.NEW_FILE,
    metavar="FILE",
    help="Write the results as JUnit XML.",
)
@click.option(
    "--html",
    type=console.NEW_FILE,
    metavar="FILE",
    help="Write a page about cluster and labs.",
)
@click.option(
    "--diagnostics",
    type=console.NEW_FILE,
    default="l4lab-diagnostics.tar.gz",
    show_default=True,
    metavar="FILE",
    help="What is written on a failure only: logs and evidence, without secrets.",
)
@click.option("--keep-on-failure", is_flag=True, help="Leave the cluster up when something is red.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=1),
    metavar="MINUTES",
    help="Until all is over; the last two minutes are for the end.",
)
@common
def smoke(
    context: Context,
    labs: tuple[str, ...],
    *,
    junit: Path | None,
    html: Path | None,
    diagnostics: Path,
    keep_on_failure: bool,
    deadline: float | None,
) -> int:
    """From nothing to nothing: up, LABS (default: all) deployed and checked, reset, down."""
    chosen = [get_lab(console.PROJECT, name) for name in labs]
    for lab in chosen:
        lab.steps(context.cluster.settings.topology)  # what it lacks is told before all is built
    done = runs.smoke(
        context.cluster,
        chosen or list(find_labs(console.PROJECT).values()),
        archive=diagnostics,
        minutes=deadline,
        keep_on_failure=keep_on_failure,
        show=show_check(context),
    )
    lost = []
    if junit:
        lost += _write(junit, done.to_junit())
    if html:
        lost += _write(html, done.to_html(context.cluster))
    data = {
        "exit_code": done.exit_code,
        "interrupted": done.interrupted,
        "stages": [asdict(stage) for stage in done.stages],
        "labs": {lab.name: one.passed for lab, one in done.labs},
        "diagnostics": str(done.archive) if done.archive else None,
        "kept": done.kept,
        "not_written": lost,
    }
    told = [f"not written: {one}" for one in lost]
    context.result(data, "\n".join([done.render(), *told]))
    return done.exit_code or (_NOT_WRITTEN if lost else 0)


def _write(file: Path, text: str) -> list[str]:
    """Write a result; where that fails, the others and the run's own end are still to be told."""
    try:
        file.write_text(text)
    except OSError as failed:
        return [f"{file}: {failed.strerror or failed}"]
    return []
