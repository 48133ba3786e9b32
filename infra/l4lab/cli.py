"""The command line: parse, call, print, exit code; nothing else.

Results go to stdout, progress and errors to stderr. Exit codes: 0 fine, 1 a check failed, 2 usage
or settings, 3 machines or bundle, 4 playbook, 5 stack, 130 interrupted.
"""

from __future__ import annotations

import importlib

import click

from l4lab import __version__

# Reading all modules takes longer than most of what kubectl and ssh are typed for.
COMMANDS = {
    "life": ("demo", "up", "down", "reset", "status"),
    "labs": ("labs", "deploy", "check", "lab", "guides", "destroy", "path", "report"),
    "proxy": ("proxy",),
    "classroom": ("class",),
    "ways": ("ssh", "kubectl", "exec"),
    "smoke": ("smoke",),
    "upkeep": ("bundle", "doctor", "env", "completion", "test"),
}


class _Group(click.Group):
    """A group whose commands are looked up in their modules when they are asked for."""

    def list_commands(self, _context: click.Context | None) -> list[str]:
        return sorted(name for names in COMMANDS.values() for name in names)

    def get_command(self, _context: click.Context | None, name: str) -> click.Command | None:
        for module, names in COMMANDS.items():
            if name in names:
                values = vars(importlib.import_module(f"l4lab.commands.{module}")).values()
                commands = [value for value in values if isinstance(value, click.Command)]
                return next(command for command in commands if command.name == name)
        return None


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True
)
@click.version_option(__version__, message="l4lab %(version)s")
def main() -> None:
    """Real Kubernetes clusters for labs about Services, and proof that each lab works.

    Start with: ./l4lab demo
    """
