"""Prepares a person's own shell for ``pulumi`` and ``kubectl``: variables, and programs on PATH.

Machines and API server live in the lab's network. So what comes first on PATH are small scripts
that enter it and then become the real program, in the caller's folder and terminal.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from l4lab import pulumi_cli
from l4lab.cluster import Cluster
from l4lab.plain_program import CLUSTER, CONFIG
from l4lab.state import Access, write_private

SHELLS = ("bash", "zsh", "fish")


def prepare(cluster: Cluster, config: Path | None) -> tuple[Path, dict[str, str]]:
    """Write the programs; return their folder and the variables that go with it.

    Args:
        cluster: The cluster the shell is for.
        config: The settings file, where it is not the project's own.

    Raises:
        UsageError: The cluster is not up.
    """
    access = cluster.enter()
    folder = access.paths.root / "bin"
    variables = pulumi_cli.user_environment(access)
    variables[CLUSTER] = access.topology.name
    if config:
        variables[CONFIG] = str(config.resolve())
    _write_programs(folder, access, cluster.project / "l4lab", config)
    for name, program in pulumi_cli.missing_plugins(access.pulumi).items():
        (folder / name).symlink_to(program)
    return folder, variables


def _write_programs(folder: Path, access: Access, launcher: Path, config: Path | None) -> None:
    if folder.exists():
        for old in folder.iterdir():
            old.unlink()
    enter = [str(launcher), "exec", *(["--config", str(config.resolve())] if config else [])]
    work = access.paths.stack_work
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Settings hold the salt of the cluster's passphrase: another cluster's would be refused. And a
    # passphrase in a variable would win over the file that holds the right one.
    before = {
        access.pulumi: f"{shlex.join(['ln', '-sfn', str(work), str(access.paths.stack_link)])}\n"
        "unset PULUMI_CONFIG_PASSPHRASE\n"
    }
    for program in (access.pulumi, access.kubectl):
        path = folder / program.name
        words = shlex.join([*enter, str(program)])
        write_private(
            path,
            "#!/bin/sh\n"
            f"# Written by l4lab env: {program.name}, inside the lab's network.\n"
            f"{before.get(program, '')}"
            f'exec {words} "$@"\n',
        )
        path.chmod(0o700)


def render(folder: Path, variables: Mapping[str, str], shell: str) -> str:
    """The commands that make a shell know all that, to be given to its ``eval``."""
    if shell == "fish":
        lines = [f"set -gx {name} {_fish(value)};" for name, value in variables.items()]
        place = _fish(str(folder))
        lines.append(f"contains -- {place} $PATH; or set -gx PATH {place} $PATH;")
    else:
        lines = [f"export {name}={shlex.quote(value)};" for name, value in variables.items()]
        place = shlex.quote(str(folder))
        lines.append(f'case ":$PATH:" in *:{place}:*) ;; *) export PATH={place}:"$PATH" ;; esac;')
    return "\n".join(lines)


def _fish(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
