"""Puts a lab's place on the cluster back to how it was before its first deployment, and proves it.

A reset is a list of actions, made before the first of them is done: ``--dry-run`` shows the very
list that the real run works off. Nothing else is touched; what differs all the same is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from l4lab import pulumi_cli, stack
from l4lab.checks import LabReport, run_lab
from l4lab.cluster import Cluster
from l4lab.command import CommandError, run
from l4lab.errors import MachineError, UsageError
from l4lab.lab import Lab
from l4lab.proof import API, Fingerprint, Mend, Objects, Proof, prove, read_objects
from l4lab.proof.kept import before_stack, objects_of, others, scope_of, stack_file
from l4lab.state import Access

_SETTLE_SECONDS = 40.0  # kube-proxy was seen to need 23 s on a busy machine
_DEADLINE = 120.0  # seconds for one command
_AGAIN = "mend it, then the same reset again"


@dataclass(frozen=True)
class LabReset:
    """What the reset of a lab did, or would do.

    Attributes:
        done: One line an action.
        proof: The comparison with the cluster before the lab's first deployment; None if it was
            not made: for a dry run, or where no fingerprint was taken.
    """

    done: tuple[str, ...]
    proof: Proof | None


@dataclass(frozen=True)
class StepReset:
    """What the reset of a lab's step did, or would do.

    Attributes:
        done: One line an action.
        report: The step's checks, seen after it; None for a dry run.
    """

    done: tuple[str, ...]
    report: LabReport | None


@dataclass(frozen=True)
class _Plan:
    """What is to be done: objects of the stack, objects made by hand, commands on machines."""

    stack: tuple[str, ...]
    by_hand: tuple[Mend, ...]
    machines: tuple[Mend, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return (
            *(f"delete {one}, of the stack" for one in self.stack),
            *map(str, (*self.by_hand, *self.machines)),
        )


def plan(cluster: Cluster, lab: Lab) -> LabReset:
    """What ``reset`` would do, without doing it.

    Raises:
        UsageError: The cluster is not up.
        MachineError: The API server or a machine does not answer.
    """
    return LabReset(_plan(cluster.enter(), lab).lines, None)


def reset(cluster: Cluster, lab: Lab) -> LabReset:
    """Destroy a lab's stack, however far it came, remove what was made by hand, and compare.

    Made by hand is an object in the lab's namespace that no other lab has, of a kind and name that
    the lab makes, or with its labels. One that was cut off is gone on with by the next.

    Raises:
        StackError: Pulumi could not destroy the stack.
        MachineError: The API server or a machine does not answer.
        UsageError: The cluster is not up.
    """
    access = cluster.enter()
    before = before_stack(access, lab.stack)
    with cluster.progress.step(f"reset {lab.name}") as step:
        wanted = _plan(access, lab)
        if pulumi_cli.checkpoint(access.paths, lab.stack).is_file():
            stack.destroy(lab, access, on_event=lambda text: setattr(step, "doing", text))
        for one in (*wanted.by_hand, *wanted.machines):
            step.doing = str(one)
            _carry_out(access, one)
        step.note = f"{len(wanted.lines)} done"
    if before is None:
        return LabReset(wanted.lines, None)
    with cluster.progress.step("compare with the cluster before the lab") as step:
        scope = scope_of(access.paths, lab.stack)
        proved = prove(access, before, scope=scope, within=_SETTLE_SECONDS, sweeping=True)
        step.note = f"{len(proved.differences)} differences"
    if proved.clean:
        # The cluster goes on changing: the next first deployment takes a new one.
        stack_file(access.paths, lab.stack).unlink(missing_ok=True)
    return LabReset(wanted.lines, proved)


def plan_step(cluster: Cluster, lab: Lab) -> StepReset:
    """What ``reset_step`` would do, without doing it.

    Raises:
        UsageError: The cluster is not up, or the lab is not deployed.
        StackError: The program or an object would be refused.
        MachineError: The API server does not answer.
    """
    access = _with_lab(cluster, lab)
    hand = _plan(access, lab).by_hand
    with cluster.progress.step(f"preview {lab.name}"):
        steps = stack.preview(lab, access).steps
    return StepReset((*map(str, hand), *steps), None)


def reset_step(cluster: Cluster, lab: Lab, checks: Sequence[str]) -> StepReset:
    """Put a lab back to how its deployment left it, so that a step can be done again.

    What was made by hand is removed (see ``reset``), and what was changed or deleted by hand is
    deployed again; the proof are the step's checks. What a step did to a machine is not put back:
    its checks tell.

    Args:
        cluster: The cluster.
        lab: The lab.
        checks: Ids of the step's checks; its exercises are not run.

    Raises:
        UsageError: The cluster is not up, or the lab is not deployed.
        StackError: An object was refused or did not become ready.
        MachineError: The API server does not answer.
    """
    access = _with_lab(cluster, lab)
    with cluster.progress.step(f"reset {lab.name}") as step:
        hand = _plan(access, lab).by_hand
        for one in hand:
            step.doing = str(one)
            _carry_out(access, one)
        outcome = stack.deploy(lab, access, on_event=lambda text: setattr(step, "doing", text))
        done = (*map(str, hand), *outcome.steps)
        step.note = f"{len(done)} done"
    with cluster.progress.step("check the step") as step:
        report = run_lab(lab, access, only=checks, exercises=False)
        step.note = report.summary()
    return StepReset(done, report)


def _with_lab(cluster: Cluster, lab: Lab) -> Access:
    """The way to a cluster that this lab is on."""
    access = cluster.enter()
    if not stack.status(lab, access):
        raise UsageError(
            f"lab {lab.name} is not deployed",
            "no step of it was done",
            f"./l4lab deploy {lab.name}",
        )
    return access


def _plan(access: Access, lab: Lab) -> _Plan:
    objects = Objects(read_objects(access.paths.kubeconfig))
    own = objects_of(access.paths, lab.stack)
    there = {objects.label(item) for item in objects.items}
    hand = list(_by_hand(objects, access, lab, before_stack(access, lab.stack)))
    return _Plan(
        stack=tuple(one for one in own if one in there),
        by_hand=tuple(
            Mend(where=API, argv=("kubectl", "delete", kind, name, "-n", lab.namespace))
            for kind, name in hand
        ),
        machines=tuple(_forgotten(objects, access, lab, own, hand)),
    )


def _by_hand(
    objects: Objects, access: Access, lab: Lab, before: Fingerprint | None
) -> Iterator[tuple[str, str]]:
    """Kind and name of each object that a learner made in the lab's place."""
    known = before.facts[API] if before else {}
    own = frozenset(objects_of(access.paths, lab.stack))
    passed = {id(one) for one in objects.below(others(access.paths, lab.stack) | own)}
    labels = getattr(lab.facts, "LABELS", {})
    for item in objects.of_namespace(lab.namespace):
        made = objects.label(item)
        if id(item) in passed or made in known or not objects.is_made(item):
            continue
        tags = item["metadata"].get("labels") or {}
        named = (item["kind"], item["metadata"]["name"]) in lab.objects
        labelled = bool(labels) and dict(labels).items() <= tags.items()
        if named or labelled:
            yield item["kind"].lower(), item["metadata"]["name"]


def _forgotten(
    objects: Objects, access: Access, lab: Lab, own: list[str], hand: list[tuple[str, str]]
) -> Iterable[Mend]:
    """Connections to the lab's Services: they outlive these by minutes in the nodes' kernels."""
    names = {one.partition(" ")[2] for one in own if one.startswith("Service ")}
    names |= {f"{lab.namespace}/{name}" for kind, name in hand if kind == "service"}
    addresses = sorted(
        item["spec"]["clusterIP"]
        for item in objects.items
        if item["kind"] == "Service"
        and objects.label(item).partition(" ")[2] in names
        and item["spec"].get("clusterIP", "None") != "None"
    )
    for node in access.topology.nodes:
        for address in addresses:
            yield Mend(where=node.name, argv=("conntrack", "-D", "--orig-dst", address))


def _carry_out(access: Access, mend: Mend) -> None:
    """Run a command of the plan; that there was nothing (left) to remove is fine.

    Raises:
        MachineError: The API server or the machine does not answer.
    """
    command = shlex.join(access.topology.as_root(mend.where, mend.argv))
    argv: list[str | Path] = ["ssh", "-F", access.paths.ssh_config, mend.where, command]
    if mend.where == API:
        words = (f"--kubeconfig={access.paths.kubeconfig}", *mend.argv[1:])
        argv = [access.kubectl, *words, "--ignore-not-found", "--timeout=60s"]
    try:
        done = run(argv, timeout=_DEADLINE, check=False)
    except CommandError as failed:
        raise MachineError(failed.brief, failed.reason, _AGAIN) from failed
    if not done.succeeded and "0 flow entries" not in done.stderr:
        why = done.last_line or f"exit code {done.rc}"
        raise MachineError(f"{mend} failed", why, _AGAIN)
