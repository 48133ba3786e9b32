"""What all commands of the command line share: options, output, and how errors are told.

Nothing else of l4lab prints.
"""

from __future__ import annotations

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

from l4lab import bundle, cluster, settings
from l4lab.errors import L4labError
from l4lab.machines import host
from l4lab.progress import Progress
from l4lab.state import FOLDER

PROJECT = Path(__file__).parents[2]
_INTERRUPTED = 130
REST = {"ignore_unknown_options": True, "allow_interspersed_args": False}
"""Settings of a command that hands all words after its own on."""
_Function = TypeVar("_Function", bound=Callable[..., Any])


class _NewFile(click.Path):
    """A file that can be written, told before the work whose result it is to hold."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False, writable=True)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}: make it first", param, ctx)
        return path


NEW_FILE = _NewFile()
"""The type of an option that names a file to be written."""


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
        show(json.dumps(data, indent=2) if self.as_json else text)


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
        show("\ninterrupted; the same command goes on from here", err=True)
        sys.exit(_INTERRUPTED)
    except OSError as failed:
        # Where the full file system is one of ours, it is named with what to do.
        elsewhere = failed.errno == errno.ENOSPC and not _full_disks()
        _complain(
            context,
            L4labError(
                f"the system refused: {failed.strerror or failed}",
                str(failed.filename) if failed.filename else None,
                "free some disk" if elsewhere else None,
            ),
        )
        sys.exit(3)


def show(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print a text, to stdout or to stderr."""
    try:
        click.echo(text + end, err=err, nl=False)
    except BrokenPipeError:
        # Whoever read it has gone (``| head``). The rest goes nowhere, the exit code still counts.
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())


def _full_disks() -> list[str]:
    return [
        f"{folder} has {free} MiB left: free some, then the same command again"
        for folder, free in host.full_disks(PROJECT / FOLDER, bundle.cache_folder())
    ]


def _complain(context: Context, failed: L4labError) -> None:
    full = _full_disks()
    if context.as_json:
        show(
            json.dumps(
                {
                    "error": failed.brief,
                    "reason": failed.reason,
                    "resolution": failed.resolution,
                    "details": str(failed.details) if failed.details else None,
                    "exit_code": failed.exit_code,
                    "full_disks": full,
                },
                indent=2,
            )
        )
    show(click.style("error: ", fg="red", bold=True) + str(failed), err=True)
    for line in full:  # what failed may only be what came of it
        show(f"  disk: {line}", err=True)
    if context.verbose:
        traceback.print_exc()


def ask(question: str) -> str:
    """Ask a person; the end of the input is the wish to quit."""
    try:
        return input(f"\n{question}\n> ")
    except EOFError:
        return "q"


def somebody_answers() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
