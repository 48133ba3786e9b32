"""The life of a cluster: demo, up, down, reset, status."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from l4lab import actions, console, reset, walk
from l4lab.commands.completing import lab_names
from l4lab.commands.labs import show_check
from l4lab.console import Context, common, show
from l4lab.errors import UsageError
from l4lab.lab import Lab, get_lab

_UNPROVED = "not compared: no fingerprint was taken when this state was made"


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
    """End the machines. Nothing of them is left, unless --keep-disks says so.

    Hosts that were given (driver ssh) run on, as they were found. A class's results are kept.
    """
    was_there = context.cluster.down(keep_disks=keep_disks)
    if context.cluster.driver.owns:
        text = "The machines are off, their disks kept." if keep_disks else "Nothing is left."
    else:
        kept = "programs and images" if keep_disks else "installed packages"
        text = f"The cluster is off the hosts, which run on; {kept} stay there."
    if not was_there:
        text = "There was nothing to end."
    data: dict[str, Any] = {"was_there": was_there}
    results = context.cluster.paths.class_results
    if results.is_dir() and not keep_disks:
        data["results"] = str(results)
        text += f"\nThe class's results are kept: {results}"
    context.result(data, text)


@click.command("reset")
@click.argument("lab", required=False, shell_complete=lab_names)
@click.option("--step", metavar="STEP", help="Only to how LAB is deployed, to do this step again.")
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@common
def reset_(context: Context, lab: str | None, *, step: str | None, dry_run: bool) -> int:
    """Put LAB's place, or without LAB the machines, back to how they were, and prove it.

    Without LAB Kubernetes goes off the machines, which stay up; the next up builds it anew, with
    other pod and service networks if you like. Exit code 1: something is not as it was.

    With --step LAB stays: what was made, changed or deleted by hand in it is put back, and the
    step's checks are the proof.
    """
    cluster = context.cluster
    if step is not None:
        if lab is None:
            raise UsageError("--step is a step of a lab", "no lab is named")
        return _reset_step(context, get_lab(console.PROJECT, lab), step, dry_run=dry_run)
    if lab is not None:  # "" is a variable of a script that was empty, and not the whole cluster
        found = get_lab(console.PROJECT, lab)
        did = reset.plan(cluster, found) if dry_run else reset.reset(cluster, found)
        lines, proved = did.done, did.proof
    else:
        gone = cluster.reset_plan() if dry_run else cluster.reset()
        lines, proved = gone.removed, gone.proof
    text = proved.render() if proved else _UNPROVED
    if dry_run:
        text = "\n".join(lines) or "nothing to remove"
    elif context.verbose:
        text = "\n".join([*lines, text])
    if not dry_run and lab is None:
        text += "\nKubernetes is off the machines.\nnext: ./l4lab up"
    data = {"removed": list(lines), "proof": proved.to_data() if proved else None}
    context.result(data, text)
    return 0 if dry_run or (proved and proved.clean) else 1


def _reset_step(context: Context, lab: Lab, step: str, *, dry_run: bool) -> int:
    cluster = context.cluster
    names = walk.checks_of(cluster, lab, step)
    did = reset.plan_step(cluster, lab) if dry_run else reset.reset_step(cluster, lab, names)
    text = "\n".join(did.done) or "nothing was changed by hand"
    if did.report:
        text += f"\n{did.report.render(color=sys.stdout.isatty())}"
    report = json.loads(did.report.to_json()) if did.report else None
    context.result({"done": list(did.done), "checks": report}, text)
    return 0 if did.report is None or did.report.passed else 1


@click.command("status")
@common
def status(context: Context) -> None:
    """Say how machines, nodes and labs are."""
    data = actions.status(context.cluster)
    context.result(data, actions.render_status(data))
