"""What the command line does beyond a cluster's life: labs, status, and ways into the machines."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from l4lab import bundle, guide, settings, stack
from l4lab.checks import (
    PATIENCE,
    CheckResult,
    Exercise,
    LabReport,
    declared,
    fitting_checks,
    mode_of_proxy,
    render_line,
    run_lab,
)
from l4lab.checks import watch as watch_checks
from l4lab.cluster import Cluster
from l4lab.command import CommandError, run
from l4lab.errors import L4labError, MachineError, UsageError
from l4lab.lab import Lab, find_labs, get_lab
from l4lab.machines.disks import bases
from l4lab.playbook import PlaybookResult
from l4lab.progress import Progress
from l4lab.proof import read_objects
from l4lab.proof.kept import deployed_words, missing, remember_before
from l4lab.state import FOLDER, Access, Paths, read_json


def deploy(cluster: Cluster, lab: Lab) -> stack.Outcome:
    """Deploy a lab with Pulumi and wait until its objects are ready.

    Raises:
        StackError: Pulumi or the cluster refused, or an object did not become ready.
        UsageError: The cluster is not up.
    """
    access = cluster.enter()
    _remember_before(cluster, access, lab)
    with cluster.progress.step(f"deploy {lab.name}") as step:
        outcome = stack.deploy(lab, access, on_event=lambda text: setattr(step, "doing", text))
        step.note = outcome.summary
    return outcome


def _remember_before(cluster: Cluster, access: Access, lab: Lab) -> None:
    """Take the fingerprint to which ``reset LAB`` comes back; a class has its own for each student.

    The lab itself does not need it: without one, reset says that it could not compare.
    """
    if lab.place.student:
        return
    try:
        remember_before(access, lab.stack)
    except MachineError as failed:
        cluster.progress.say(f"reset will not be able to compare: {failed.one_line}")


def destroy(cluster: Cluster, lab: Lab) -> stack.Outcome:
    """Take a lab off the cluster.

    Raises:
        StackError: Pulumi or the cluster refused.
        UsageError: The cluster is not up.
    """
    access = cluster.enter()
    with cluster.progress.step(f"destroy {lab.name}") as step:
        outcome = stack.destroy(lab, access, on_event=lambda text: setattr(step, "doing", text))
        step.note = outcome.summary
    return outcome


def check(
    cluster: Cluster,
    lab: Lab,
    *,
    only: Sequence[str] = (),
    exercises: bool = True,
    show: Callable[[CheckResult], None] | None = None,
) -> LabReport:
    """Run a lab's checks against the live cluster.

    Raises:
        UsageError: The cluster is not up, or ``only`` names a check that is not there.
    """
    access = cluster.enter()
    with cluster.progress.step(f"check {lab.name}") as step:

        def one(result: CheckResult) -> None:
            step.doing = result.id
            if show:
                show(result)

        report = run_lab(lab, access, only=only or None, exercises=exercises, on_result=one)
        good = sum(result.green for result in report.results)
        step.note = f"{good} of {len(report.results)} green"
    return report


def watch(
    cluster: Cluster, lab: Lab, *, only: Sequence[str] = (), within: float | None = None
) -> LabReport:
    """Run a lab's checks again and again until they are green; exercises are left out.

    Args:
        cluster: The cluster.
        lab: The lab.
        only: Ids of the checks to watch; all that fit kube-proxy's mode without it.
        within: Seconds after which no further round begins.

    Raises:
        UsageError: The cluster is not up, or ``only`` names no check.
    """
    access = cluster.enter()
    exercises = {exercise.id for exercise in declared(lab.checks, Exercise)}
    names = only or [one.id for one in fitting_checks(lab, access)]
    ids = [name for name in names if name not in exercises]
    if not ids:
        raise UsageError("there is nothing to watch", "these are exercises, which change the lab")

    def look(asked: Sequence[str]) -> LabReport:
        return run_lab(lab, access, only=asked, exercises=False, patience=PATIENCE, evidence=False)

    def told(report: LabReport) -> None:
        red = [render_line(result) for result in report.results if not result.green]
        cluster.progress.board([*red, report.summary()])

    return watch_checks(look, ids, within=within, told=told)


def mode_of(cluster: Cluster, lab: Lab) -> str:
    """Which mode kube-proxy runs in: ``ipvs`` or ``nftables``.

    Raises:
        UsageError: The cluster is not up.
    """
    return mode_of_proxy(lab, cluster.enter())


def write_guides(project: Path, names: Sequence[str] = (), *, check: bool = False) -> list[str]:
    """Render the guides of labs, for the course's cluster, to the files people read.

    Args:
        project: The project's folder.
        names: The labs; all without it.
        check: Only compare.

    Returns:
        The files that were not as rendered, from the project's folder.

    Raises:
        UsageError: There is no such lab, or one has no guide; the others' are written all the same.
    """
    topology = settings.parse({}, settings.FILE).topology
    chosen = [get_lab(project, name) for name in names] or list(find_labs(project).values())
    other: list[str] = []
    troubles: list[UsageError] = []
    for lab in chosen:
        for language, (_template, file) in guide.LANGUAGES.items():
            try:
                text = guide.render(lab, topology, language)
            except UsageError as failed:
                troubles.append(failed)
                continue
            path = lab.folder / file
            if not path.is_file() or path.read_text() != text:
                other.append(str(path.relative_to(project)))
                if not check:
                    path.write_text(text)
    if troubles:
        raise troubles[0]
    return other


def status(cluster: Cluster) -> dict[str, Any]:
    """How machines, nodes and labs are, as plain data."""
    topology = cluster.settings.topology
    machines = {}
    for found in cluster.status():
        machine = topology.machine(found.name)
        machines[found.name] = {
            "role": machine.role.value if machine else None,
            "address": str(machine.address) if machine else None,
            "running": found.running,
            "memory_mib": found.memory_mib,
            "note": found.note,
        }
    data: dict[str, Any] = {
        "cluster": topology.name,
        "machines": machines,
        "nodes": {},
        "labs": {},
        "api": None,
    }
    if not cluster.paths.kubeconfig.exists() or not any(m["running"] for m in machines.values()):
        return data
    try:
        access = cluster.enter()
        said = run(
            [
                access.kubectl,
                "--kubeconfig",
                access.paths.kubeconfig,
                "--request-timeout=5s",
                "get",
                "nodes",
                "-o",
                "json",
            ],
            timeout=15,
        ).stdout
    except CommandError as failed:
        data["api"] = str(failed.reason or failed.brief)
        return data
    except L4labError as failed:
        data["api"] = ": ".join(filter(None, (failed.brief, failed.reason)))
        return data
    data["api"] = "answers"
    for node in json.loads(said)["items"]:
        ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
        data["nodes"][node["metadata"]["name"]] = {
            "ready": ready["status"] == "True",
            "version": node["status"]["nodeInfo"]["kubeletVersion"],
        }
    data["labs"] = labs_of(cluster, access)
    return data


def labs_of(cluster: Cluster, access: Access) -> dict[str, str]:
    """What the state knows of each lab, and what of it is not on the cluster any more."""
    stacks = {name: stack.status(lab, access) for name, lab in find_labs(cluster.project).items()}
    said = {name: "deployed" if known else "not deployed" for name, known in stacks.items()}
    if not any(stacks.values()):
        return said
    try:
        items = read_objects(access.paths.kubeconfig)
    except MachineError as failed:
        cluster.progress.say(f"labs are as they were deployed: {failed.one_line}")
        return said
    for name in filter(stacks.get, stacks):
        gone = missing(access.paths, name, items)
        said[name] = deployed_words(gone) + (f"; mend: ./l4lab deploy {name}" if gone else "")
    return said


def render_status(data: dict[str, Any]) -> str:
    """The status as a table for a person."""
    lines = [f"cluster {data['cluster']}"]
    for name, machine in data["machines"].items():
        node = data["nodes"].get(name)
        what = "runs" if machine["running"] else "off"
        if node:
            what = f"{'Ready' if node['ready'] else 'NotReady'} {node['version']}"
        memory = f"{machine['memory_mib']} MiB" if machine["memory_mib"] else ""
        lines.append(
            f"  {name:<14} {machine['role']:<14} {machine['address']:<16} {what:<18} "
            f"{memory:<9} {machine['note']}".rstrip()
        )
    if data["api"] and data["api"] != "answers":
        lines.append(f"  the API server does not answer: {data['api']}")
    lines += [f"  lab {name}: {what}" for name, what in data["labs"].items()]
    return "\n".join(lines)


def outcome_data(outcome: stack.Outcome) -> dict[str, Any]:
    """What a stack operation did, as plain data."""
    return {"stack": outcome.stack, "changes": dict(outcome.changes), "outputs": outcome.outputs}


def render_outcome(outcome: stack.Outcome) -> str:
    """What a stack operation did, for a person."""
    lines = [f"{outcome.stack}: {outcome.summary}"]
    lines += [f"  {name}: {value}" for name, value in outcome.outputs.items()]
    return "\n".join(lines)


def prune(project: Path) -> list[Path]:
    """Delete older bundles, but none that a cluster of this project was made with.

    Its kubectl and Pulumi are needed until ``down``, and local machines have disks over it.
    """
    clusters = [Paths(folder) for folder in (project / FOLDER).glob("*") if folder.is_dir()]
    records = filter(None, (read_json(paths.record) for paths in clusters))
    made_with = [Path(record["bundle"]) for record in records]
    return bundle.prune([*made_with, *(base for paths in clusters for base in bases(paths))])


def timeline(progress: Progress, playbook: PlaybookResult) -> str:
    """Where the seconds of ``up`` went: steps, then the slowest tasks."""
    lines = ["where the time went:"]
    lines += [f"  {seconds:6.1f} s  {title}" for title, seconds in progress.timeline]
    lines.append("  in the playbook:")
    lines += [
        f"  {task.seconds:6.1f} s  {task.host:<14} {task.task}"
        for task in sorted(playbook.tasks, key=lambda task: -task.seconds)[:20]
    ]
    return "\n".join(lines)


def next_steps(cluster: Cluster, lab: Lab) -> str:
    """What a newcomer may try after the demo."""
    node = cluster.settings.topology.nodes[-1].name
    return "\n".join(
        [
            "",
            "The cluster is yours. Try:",
            "  ./l4lab kubectl get pods -o wide",
            f"  ./l4lab ssh {node} ipvsadm -Ln",
            f"  less labs/{lab.name}/README.md     the lab's guide",
            "  ./l4lab status",
            "  ./l4lab down                       nothing is left",
        ]
    )
