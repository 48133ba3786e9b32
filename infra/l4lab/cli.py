"""The command line: parse, call, print, exit code; nothing else.

Results go to stdout, progress and errors to stderr. Exit codes: 0 fine, 1 a check failed, 2 usage
or settings, 3 machines or bundle, 4 playbook, 5 stack, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from l4lab import __version__, actions, bundle, cluster, doctor, settings, suite
from l4lab.errors import L4labError
from l4lab.lab import find_labs, get_lab
from l4lab.progress import Progress

PROJECT = Path(__file__).parents[2]
_INTERRUPTED = 130
_Function = TypeVar("_Function", bound=Callable[..., Any])


class Context:
    """What every command starts from: its options, and the cluster of the settings."""

    def __init__(self, *, config: Path | None, as_json: bool, verbose: bool, quiet: bool) -> None:
        self.config = config
        self.as_json = as_json
        self.verbose = verbose
        self.progress = Progress(quiet=quiet)

    @functools.cached_property
    def cluster(self) -> cluster.Cluster:
        """The cluster of the settings."""
        return cluster.Cluster(PROJECT, settings.load(self.config, PROJECT), self.progress)

    def result(self, data: Any, text: str) -> None:  # noqa: ANN401  # whatever JSON holds
        """Print a result: for a machine with --json, else for a person."""
        _print(json.dumps(data, indent=2) if self.as_json else text)


def common(function: _Function) -> _Function:
    """Give a command the options all commands have, and a ``Context`` as first argument."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        envvar="L4LAB_CONFIG",
        help="Settings file (default: l4lab.toml, if there).",
    )
    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more: timelines, stack traces.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
    @functools.wraps(function)
    def wrapped(
        *, config: Path | None, as_json: bool, verbose: bool, quiet: bool, **rest: object
    ) -> Any:  # noqa: ANN401  # what the command returns
        context = Context(config=config, as_json=as_json, verbose=verbose, quiet=quiet)
        return run(context, lambda: function(context, **rest))

    return wrapped  # type: ignore[return-value]  # click adds attributes to what it wraps


def run(context: Context, command: Callable[[], int | None]) -> NoReturn:
    """Run a command and end with its exit code; every error is printed here and only here."""
    try:
        sys.exit(command() or 0)
    except L4labError as failed:
        _complain(context, failed)
        sys.exit(failed.exit_code)
    except KeyboardInterrupt:
        _print("\ninterrupted; the same command goes on from here", err=True)
        sys.exit(_INTERRUPTED)
    except OSError as failed:
        _complain(
            context,
            L4labError(
                f"the system refused: {failed.strerror or failed}",
                str(failed.filename) if failed.filename else None,
                "free some disk" if failed.errno == errno.ENOSPC else None,
            ),
        )
        sys.exit(3)


def _print(text: str, *, err: bool = False) -> None:
    try:
        click.echo(text, err=err)
    except BrokenPipeError:
        # Whoever read it has gone (``| head``). The rest goes nowhere, the exit code still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def _complain(context: Context, failed: L4labError) -> None:
    if context.as_json:
        _print(
            json.dumps(
                {
                    "error": failed.brief,
                    "reason": failed.reason,
                    "resolution": failed.resolution,
                    "details": str(failed.details) if failed.details else None,
                    "exit_code": failed.exit_code,
                },
                indent=2,
            )
        )
    _print(click.style("error: ", fg="red", bold=True) + str(failed), err=True)
    if context.verbose:
        traceback.print_exc()


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, message="l4lab %(version)s")
def main() -> None:
    """Real Kubernetes clusters for labs about Services, and proof that each lab works.

    Start with: ./l4lab demo
    """


@main.command()
@common
def demo(context: Context) -> int:
    """Set everything up: cluster, the clusterip lab, its checks; say what to try next."""
    context.cluster.up()
    lab = get_lab(PROJECT, "clusterip")
    actions.deploy(context.cluster, lab)
    report = actions.check(context.cluster, lab, show=_show_check(context))
    context.result(json.loads(report.to_json()), report.render(color=sys.stdout.isatty()))
    if not context.as_json:
        _print(actions.next_steps(context.cluster, lab))
    return 0 if report.passed else 1


@main.command()
@common
def up(context: Context) -> None:
    """Bring the cluster up, or go on from where the last up ended."""
    result = context.cluster.up()
    if context.verbose:
        _print(actions.timeline(context.progress, result), err=True)
    context.result(
        actions.status(context.cluster) if context.as_json else None,
        "The cluster is up.\nnext: ./l4lab deploy clusterip, or ./l4lab kubectl get nodes",
    )


@main.command()
@click.option("--keep-disks", is_flag=True, help="Power off; the next up goes on from the disks.")
@common
def down(context: Context, *, keep_disks: bool) -> None:
    """End the machines. Nothing of them is left, unless --keep-disks says so."""
    was_there = context.cluster.down(keep_disks=keep_disks)
    text = "The machines are off, their disks kept." if keep_disks else "Nothing is left."
    context.result({"was_there": was_there}, text if was_there else "There was nothing to end.")


@main.command()
@common
def reset(context: Context) -> None:
    """Take Kubernetes off the machines, which stay up; the next up builds it anew."""
    context.cluster.reset()
    context.result({"reset": True}, "Kubernetes is off the machines.\nnext: ./l4lab up")


@main.command()
@common
def status(context: Context) -> None:
    """Say how machines, nodes and labs are."""
    data = actions.status(context.cluster)
    context.result(data, actions.render_status(data))


@main.command()
@common
def labs(context: Context) -> None:
    """List the labs."""
    found = find_labs(PROJECT)
    context.result(
        {name: lab.title for name, lab in found.items()},
        "\n".join(f"{name:<18} {lab.title}" for name, lab in found.items()),
    )


def _lab_names(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    return [name for name in find_labs(PROJECT) if name.startswith(start)]


@main.command()
@click.argument("lab", shell_complete=_lab_names)
@common
def deploy(context: Context, lab: str) -> None:
    """Deploy LAB with Pulumi and wait until its objects are ready."""
    outcome = actions.deploy(context.cluster, get_lab(PROJECT, lab))
    context.result(
        actions.outcome_data(outcome),
        actions.render_outcome(outcome) + f"\nnext: ./l4lab check {lab}",
    )


@main.command()
@click.argument("lab", shell_complete=_lab_names)
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check (repeatable).")
@click.option(
    "--exercises/--no-exercises",
    default=True,
    help="Also do what changes the lab and puts it back (default), or only look.",
)
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the results as JUnit XML.",
)
@common
def check(
    context: Context, lab: str, only: tuple[str, ...], *, exercises: bool, junit: Path | None
) -> int:
    """Prove that LAB works: run its checks against the live cluster."""
    report = actions.check(
        context.cluster,
        get_lab(PROJECT, lab),
        only=only,
        exercises=exercises,
        show=_show_check(context),
    )
    if junit:
        junit.write_text(report.to_junit())
    context.result(json.loads(report.to_json()), report.render(color=sys.stdout.isatty()))
    return 0 if report.passed else 1


def _show_check(context: Context) -> Callable[[Any], None] | None:
    """One line a finished check, where somebody watches."""
    if not sys.stderr.isatty():
        return None
    return lambda result: context.progress.say(f"  {result.state} {result.id}")


@main.command()
@click.argument("lab", shell_complete=_lab_names)
@common
def destroy(context: Context, lab: str) -> None:
    """Take LAB off the cluster, and wait until its objects are gone."""
    outcome = actions.destroy(context.cluster, get_lab(PROJECT, lab))
    context.result(actions.outcome_data(outcome), actions.render_outcome(outcome))


_REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def _machine_names(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    with contextlib.suppress(L4labError):  # the Tab key is no place for an error's text
        topology = settings.load(None, PROJECT).topology
        return [machine.name for machine in topology.machines if machine.name.startswith(start)]
    return []


@main.command(context_settings=_REST)
@click.argument("machine", shell_complete=_machine_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@common
def ssh(context: Context, machine: str, command: tuple[str, ...]) -> None:
    """Log in to MACHINE, or run COMMAND there."""
    actions.ssh(context.cluster, machine, command)


@main.command(context_settings=_REST)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@common
def kubectl(context: Context, words: tuple[str, ...]) -> None:
    """Run the cluster's own kubectl as its administrator."""
    actions.kubectl(context.cluster, words)


@main.command("exec", context_settings=_REST)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@common
def exec_(context: Context, command: tuple[str, ...]) -> None:
    """Run COMMAND on this host inside the lab network: outside the cluster, beside its nodes."""
    actions.execute(context.cluster, command)


@main.command("bundle")
@click.option("--verify", is_flag=True, help="Read every file of it anew.")
@click.option("--repair", is_flag=True, help="Throw away what is damaged and make it again.")
@click.option(
    "--pack",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write it to one file, to carry to machines without a network.",
)
@click.option(
    "--load",
    type=click.Path(path_type=Path, exists=True),
    metavar="FILE",
    help="Take it from a file that --pack wrote.",
)
@click.option("--prune", is_flag=True, help="Also delete what older bundles left in the cache.")
@common
def bundle_(
    context: Context,
    *,
    verify: bool,
    repair: bool,
    pack: Path | None,
    load: Path | None,
    prune: bool,
) -> None:
    """Make what goes on the machines, unless it is there: programs, images, kernel, disk."""
    if load:
        made = bundle.load(load)
    elif repair:
        made = bundle.repair(context.progress)
    else:
        made = bundle.ensure(context.progress, again=verify)
    if pack:
        with context.progress.step(f"pack {pack}"):
            bundle.pack(made, pack)
    gone = [str(folder) for folder in actions.prune(PROJECT)] if prune else []
    said = [f"The bundle is whole: {made.folder}", *(f"deleted: {folder}" for folder in gone)]
    context.result({"folder": str(made.folder), "deleted": gone}, "\n".join(said))


@main.command("doctor")
@common
def doctor_(context: Context) -> int:
    """Say what this machine can and cannot do, and why."""
    findings = doctor.examine(context.cluster)
    context.result([finding.to_json() for finding in findings], doctor.render(findings))
    return 0 if all(finding.fine for finding in findings) else 3


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def completion(_context: Context, shell: str) -> None:
    """Print shell completion: eval "$(l4lab completion bash)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # rare

    kind = get_completion_class(shell)
    if kind:
        _print(kind(main, {}, "l4lab", "_L4LAB_COMPLETE").source())


@main.command(context_settings=_REST)
@click.option("--quick", is_flag=True, help="Only the tests that need no machines.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@common
def test(context: Context, words: tuple[str, ...], *, quick: bool) -> int:
    """Run l4lab's own tests: quick ones, then those on real local machines."""
    return suite.run(PROJECT, context.progress, words, quick=quick)
