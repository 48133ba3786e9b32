"""The life of a cluster: demo, up, down, reset, status."""

from __future__ import annotations

import json
import sys

import click

from l4lab import actions, console
from l4lab.commands.labs import show_check
from l4lab.console import Context, common, show
from l4lab.lab import get_lab


@click.command("demo")
@common
def demo(context: Context) -> int:
    """Set everything up: cluster, the clusterip lab, its checks; say what to try next."""
    context.cluster.up()
    lab = get_lab(console.PROJECT, "clusterip")
    actions.deploy(context.cluster, lab)
    report = actions.check(context.cluster, lab, show=show_check(context))
    context.result(json.loads(report.to_json()), report.render(color=sys.stdout.isatty()))
    if not context.as_json:
        show(actions.next_steps(context.cluster, lab))
    return 0 if report.passed else 1


@click.command("up")
@common
def up(context: Context) -> None:
    """Bring the cluster up, or go on from where the last up ended."""
    result = context.cluster.up()
    if context.verbose:
        show(actions.timeline(context.progress, result), err=True)
    context.result(
        actions.status(context.cluster) if context.as_json else None,
        "The cluster is up.\nnext: ./l4lab deploy clusterip, or ./l4lab kubectl get nodes",
    )


@click.command("down")
@click.option("--keep-disks", is_flag=True, help="Power off; the next up goes on from the disks.")
@common
def down(context: Context, *, keep_disks: bool) -> None:
    """End the machines. Nothing of them is left, unless --keep-disks says so."""
    was_there = context.cluster.down(keep_disks=keep_disks)
    text = "The machines are off, their disks kept." if keep_disks else "Nothing is left."
    context.result({"was_there": was_there}, text if was_there else "There was nothing to end.")


@click.command("reset")
@common
def reset(context: Context) -> None:
    """Take Kubernetes off the machines, which stay up; the next up builds it anew."""
    context.cluster.reset()
    context.result({"reset": True}, "Kubernetes is off the machines.\nnext: ./l4lab up")


@click.command("status")
@common
def status(context: Context) -> None:
    """Say how machines, nodes and labs are."""
    data = actions.status(context.cluster)
    context.result(data, actions.render_status(data))
