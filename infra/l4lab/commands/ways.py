"""Ways into a running cluster: ssh, kubectl, exec."""

from __future__ import annotations

import click

from l4lab import entry
from l4lab.commands.completing import machine_names
from l4lab.console import REST, Context, common


@click.command("ssh", context_settings=REST)
@click.argument("machine", shell_complete=machine_names)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@common
def ssh(context: Context, machine: str, command: tuple[str, ...]) -> None:
    """Log in to MACHINE, or run COMMAND there."""
    entry.ssh(context.cluster, machine, command)


@click.command("kubectl", context_settings=REST)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@common
def kubectl(context: Context, words: tuple[str, ...]) -> None:
    """Run the cluster's own kubectl as its administrator."""
    entry.kubectl(context.cluster, words)


@click.command("exec", context_settings=REST)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
@common
def exec_(context: Context, command: tuple[str, ...]) -> None:
    """Run COMMAND on this host inside the lab network: outside the cluster, beside its nodes."""
    entry.execute(context.cluster, command)
