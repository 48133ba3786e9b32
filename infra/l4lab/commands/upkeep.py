"""Upkeep: bundle, doctor, env, completion, test."""

from __future__ import annotations

from pathlib import Path

import click

from l4lab import actions, bundle, console, doctor, suite, user_shell
from l4lab.console import REST, Context, common, show


@click.command("bundle")
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
    gone = [str(folder) for folder in actions.prune(console.PROJECT)] if prune else []
    said = [f"The bundle is whole: {made.folder}", *(f"deleted: {folder}" for folder in gone)]
    context.result({"folder": str(made.folder), "deleted": gone}, "\n".join(said))


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
    return suite.run(console.PROJECT, context.progress, words, quick=quick)
