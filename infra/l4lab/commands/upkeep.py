"""Upkeep: bundle, doctor, env, completion, test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from l4lab import actions, bundle, console, doctor, settings, suite, user_shell
from l4lab.console import REST, Context, common, show
from l4lab.origin import MAKERS


@click.command("bundle")
@click.option(
    "--from",
    "maker",
    type=click.Choice(MAKERS),
    help="Programs built here from Go modules, or official releases (default: as in the settings).",
)
@click.option("--verify", is_flag=True, help="Read every file of it anew.")
@click.option("--repair", is_flag=True, help="Make again what is damaged.")
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
    maker: str | None,
    verify: bool,
    repair: bool,
    pack: Path | None,
    load: Path | None,
    prune: bool,
) -> None:
    """Make what goes on the machines, unless it is there: programs, images, kernel, disk.

    Hosts that are given (driver ssh) have kernel and disk: for them it makes the rest.
    """
    wanted = settings.load(context.config, console.PROJECT).origin
    origin = replace(wanted, maker=maker) if maker else wanted
    if load:
        made = bundle.load(load)
    elif repair:
        made = bundle.repair(context.progress, origin=origin)
    else:
        made = bundle.ensure(context.progress, origin=origin, again=verify)
    if pack:
        with context.progress.step(f"pack {pack}"):
            bundle.pack(made, pack)
    gone = [str(folder) for folder in actions.prune(console.PROJECT)] if prune else []
    parts = bundle.makers(made)
    said = [f"The bundle is whole: {made.folder}", *_releases(parts)]
    if bundle.find(wanted) != made:
        said.append(
            "The settings want another: in l4lab.toml [bundle] from chooses, and driver ssh has one"
            " without kernel and disk."
        )
    said += [f"deleted: {folder}" for folder in gone]
    context.result({"folder": str(made.folder), "deleted": gone, "parts": parts}, "\n".join(said))


def _releases(parts: dict[str, Any]) -> list[str]:
    """A line for each file of a release: its digest, who proved it, where it came from."""
    return [
        f"  {one['file']} from {one['mirror']}\n    SHA-256 {one['sha256']}, by {one['proved_by']}"
        for part in parts.values()
        for one in part.get("releases", ())
    ]


@click.command("doctor")
@common
def doctor_(context: Context) -> int:
    """Say what this machine can and cannot do, and why."""
    findings = doctor.examine(context.cluster)
    context.result([finding.to_json() for finding in findings], doctor.render(findings))
    return 0 if all(finding.fine for finding in findings) else 3


@click.command("env")
@click.option("--shell", type=click.Choice(user_shell.SHELLS), default="bash", show_default=True)
@common
def env(context: Context, shell: str) -> None:
    """Print what lets your shell use pulumi and kubectl: eval "$(./l4lab env)"."""
    folder, variables = user_shell.prepare(context.cluster, context.config)
    text = user_shell.render(folder, variables, shell)
    context.result({"PATH": str(folder), **variables}, text)


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def completion(_context: Context, shell: str) -> None:
    """Print shell completion: eval "$(l4lab completion bash)"."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415  # rare

    kind = get_completion_class(shell)
    if kind:
        main = click.get_current_context().find_root().command
        show(kind(main, {}, "l4lab", "_L4LAB_COMPLETE").source())


@click.command("test", context_settings=REST)
@click.option("--quick", is_flag=True, help="Only the tests that need no machines.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@common
def test(context: Context, words: tuple[str, ...], *, quick: bool) -> int:
    """Run l4lab's own tests: quick ones, then those on real local machines."""
    done = suite.run(console.PROJECT, context.progress, words, quick=quick)
    if done.closing:
        show(done.closing)
    return 0 if done.passed else 1
