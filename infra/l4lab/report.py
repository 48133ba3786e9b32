"""Measures a cluster and its labs for the page, the JUnit file and the JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from l4lab import stack
from l4lab.checks import CannotMeasure, CheckResult, LabReport, mode_of_proxy, run_lab
from l4lab.checks.look import Look
from l4lab.checks.model import API
from l4lab.checks.reach import LiveReach, SharedReads
from l4lab.checks.verbs import WallClock
from l4lab.cluster import Cluster
from l4lab.errors import MachineError, UsageError
from l4lab.guide import Section, Step, render, sections
from l4lab.lab import Lab, find_labs
from l4lab.page import LabPart, Page, PodAt, ServiceAt, StepPart
from l4lab.path import PacketPath, trace
from l4lab.path.snapshot import Service, Snapshot, read
from l4lab.state import Access
from l4lab.topology import Topology

OTHER = "Other checks"


def measure(
    cluster: Cluster,
    labs: Sequence[Lab],
    *,
    exercises: bool = False,
    paths: bool = True,
    show: Callable[[CheckResult], None] | None = None,
) -> Page:
    """Check the labs, follow a connection to each of their Services, and say all of it.

    Args:
        cluster: The cluster, which must be up.
        labs: The labs to check; without any, all that are deployed.
        exercises: Whether to run the steps that change something, too.
        paths: Whether to measure paths, which takes some seconds each.
        show: Called with each result as it comes.

    Raises:
        MachineError: The cluster does not answer.
        UsageError: The cluster is not up, or no lab is deployed.
    """
    access = cluster.enter()
    chosen = list(labs) or deployed(cluster, access)
    if not chosen:
        raise UsageError("no lab is deployed", "there is nothing to report", "./l4lab deploy LAB")
    names = {lab.name: _names(lab, access) for lab in chosen}
    parts = []
    for lab in chosen:
        with cluster.progress.step(f"check {lab.name}") as step:
            report = run_lab(lab, access, exercises=exercises, on_result=show)
            good = sum(result.green for result in report.results)
            step.note = f"{good} of {len(report.results)} green"
        measured: tuple[PacketPath, ...] = ()
        if paths:
            with cluster.progress.step(f"paths of {lab.name}"):
                measured = _paths(names[lab.name], access)
        parts.append(lab_part(lab, access.topology, report, paths=measured))
    seen, version = _look(access)
    return Page(
        topology=access.topology,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        # Not that of the settings: it may have been changed since.
        proxy=mode_of_proxy(chosen[0], access),
        version=version,
        labs=tuple(parts),
        pods=_pods(seen, chosen),
        services=_services(seen, set().union(*names.values())),
    )


def deployed(cluster: Cluster, access: Access) -> list[Lab]:
    """The labs of which something is on the cluster."""
    return [lab for lab in find_labs(cluster.project).values() if stack.status(lab, access)]


def lab_part(
    lab: Lab, topology: Topology, report: LabReport, *, paths: tuple[PacketPath, ...] = ()
) -> LabPart:
    """A report in the order of the lab's guide; as it comes where the cluster cannot have that."""
    guide, headings = _guide(lab, topology)
    step_of = {name: step.id for step in guide for name in step.checks}
    # Steps name the checks of mode ipvs; those of another know the section that explains them.
    by_step: dict[str, list[CheckResult]] = {step.id: [] for step in guide}
    rest: list[CheckResult] = []
    for result in report.results:
        anchor = step_of.get(result.id) or result.guide.rpartition("#")[2]
        by_step.get(anchor, rest).append(result)
    steps = [
        StepPart(id=name, heading=headings[name].heading, results=tuple(results))
        for name, results in by_step.items()
        if results
    ]
    if rest:
        steps.append(StepPart(id="other", heading=OTHER, results=tuple(rest)))
    return LabPart(title=lab.title, report=report, steps=tuple(steps), paths=paths)


def _guide(lab: Lab, topology: Topology) -> tuple[tuple[Step, ...], dict[str, Section]]:
    """The lab's steps and their sections; nothing where the cluster lacks what they need."""
    try:
        return lab.steps(topology), sections(render(lab, topology, "en"))
    except UsageError:
        # The results say the same, and those of other labs are not to be lost.
        return (), {}


def to_data(page: Page) -> dict[str, Any]:
    """Everything on the page but the raw traces, as JSON holds it."""
    return {
        "cluster": page.topology.name,
        "made": page.made,
        "kubernetes": page.version,
        "proxy": page.proxy,
        "passed": page.passed,
        "machines": {
            machine.name: {"role": machine.role.value, "address": str(machine.address)}
            for machine in page.topology.machines
        },
        "labs": [
            {
                **json.loads(lab.report.to_json()),
                "steps": [
                    {"id": step.id, "checks": list(dict.fromkeys(one.id for one in step.results))}
                    for step in lab.steps
                ],
                "paths": [path.to_data() for path in lab.paths],
            }
            for lab in page.labs
        ],
    }


def _names(lab: Lab, access: Access) -> set[tuple[str, str]]:
    """Namespace and name of the lab's Services, as its stack has them."""
    ids = [
        resource.partition(" ")[2]
        for resource in stack.status(lab, access).resources
        if resource.startswith("Service ")
    ]
    pairs = [one.rpartition("/") for one in ids]
    return {(namespace or lab.facts.NAMESPACE, name) for namespace, _, name in pairs}


def _paths(names: set[tuple[str, str]], access: Access) -> tuple[PacketPath, ...]:
    """A connection from the last node to each of these Services that has an address."""
    seen, _ = _look(access)
    node = access.topology.nodes[-1].name
    targets = [
        f"{service.namespace}/{service.name}"
        for service in seen.services
        if (service.namespace, service.name) in names
        and service.cluster_address
        and any(port.protocol == "TCP" for port in service.ports)
    ]
    return tuple(trace(access, node, target) for target in targets)


def _look(access: Access) -> tuple[Snapshot, str]:
    """What the API says of Services and pods, and Kubernetes' version."""
    with LiveReach(access, namespace="default") as reach:
        look = Look(
            reach=reach,
            shared=SharedReads(reach, max_age=0),
            vantage=API,
            topology=access.topology,
            namespace="default",
            lab="",
            clock=WallClock(),
        )
        try:
            version = json.loads(look.kubectl("version", "-o", "json").stdout)
            return read(look), version["serverVersion"]["gitVersion"]
        except CannotMeasure as failed:
            raise MachineError(
                "the cluster cannot be read", failed.why, failed.then or "./l4lab status"
            ) from failed


def _pods(seen: Snapshot, labs: Sequence[Lab]) -> tuple[PodAt, ...]:
    spaces = {lab.facts.NAMESPACE for lab in labs}
    return tuple(
        PodAt(name=pod.name, address=pod.address, machine=pod.node, ready=pod.ready)
        for pod in seen.pods
        if pod.namespace in spaces and not pod.host_network
    )


def _services(seen: Snapshot, names: set[tuple[str, str]]) -> tuple[ServiceAt, ...]:
    return tuple(
        ServiceAt(
            name=service.name,
            type=service.type,
            address=service.cluster_address or service.external_name,
            ports=_ports(service),
            backends=tuple(str(one) for one in seen.behind(service) if one.ready),
        )
        for service in seen.services
        if (service.namespace, service.name) in names
    )


def _ports(service: Service) -> tuple[str, ...]:
    return tuple(
        f"{port.port}" + (f":{port.node_port}" if port.node_port else "") + f" {port.protocol}"
        for port in service.ports
    )
