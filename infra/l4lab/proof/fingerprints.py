"""Takes a fingerprint: the cluster's objects and every machine, side by side, one trip each."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from l4lab.command import CommandError, run
from l4lab.errors import MachineError
from l4lab.proof import api, machine
from l4lab.proof.differences import compare
from l4lab.proof.mends import sweep
from l4lab.proof.model import API, Fingerprint, Proof, Scope
from l4lab.proof.objects import Fact, Objects
from l4lab.proof.objects import facts as facts_of_objects
from l4lab.state import Access

_PROBE = Path(__file__).with_name("probe.py")
# Reset keeps what is installed, and that it runs; the folders are the packages' own.
_INSTALLED = re.compile(r"socket .* mariadbd$|file /etc/cni/net\.d/ ")
_PROXYS = re.compile(r"IPVS |nft .*\bkube-proxy\b")
_EVERY = 0.5  # seconds
# Made on a node by its first pod, whosever that is, and kept for all that follow.
_FIRST_POD = re.compile(r"file (/var/lib/cni/results/|/run/calico/ipam\.lock|/var/log/calico/.*)$")
# Felix's sets for policies of pods on the node: they do not tell whose, and a class has many.
_SELECTED = re.compile(r"ipset cali40s:")
_DEADLINE = 60.0  # seconds for one machine; measured: below 2


def snapshot(access: Access, *, scope: Scope) -> Fingerprint:
    """Take the fingerprint of a scope.

    Args:
        access: The cluster; this process must be in the lab network (``cluster.enter()``).
        scope: What it is about. For ``Scope.machines()`` no API server is asked.

    Raises:
        MachineError: The API server or a machine does not answer.
    """
    return snapshots(access, [scope])[0]


def settled(access: Access, *, scope: Scope, within: float = 90.0) -> Fingerprint:
    """Take the fingerprint of a cluster at rest, to be compared with later.

    At rest: what runs in kube-system is ready, kube-proxy has written its rules on every node, and
    two looks find the same. On a busy machine a node is Ready long before that. When the time is
    up, the last look counts.

    Raises:
        MachineError: The API server or a machine does not answer.
    """
    deadline = time.monotonic() + within
    [last], _ = _look(access, [scope])
    while time.monotonic() < deadline:
        time.sleep(_EVERY)
        [found], objects = _look(access, [scope])
        if compare(last, found).clean and _served(access, found, objects):
            return found
        last = found
    return last


def _served(access: Access, found: Fingerprint, objects: Objects) -> bool:
    """Whether what runs in kube-system is ready, and every node's kernel leads to it."""
    items = objects.of_namespace("kube-system")
    addresses = {one["spec"].get("clusterIP") for one in items if one["kind"] == "Service"}
    return all(map(_ready, items)) and all(
        _written(found.facts.get(node.name, {}), addresses) for node in access.topology.nodes
    )


def _ready(item: dict[str, Any]) -> bool:
    """Whether a workload has the pods it wants; what is none is ready."""
    status = item.get("status", {})
    if item["kind"] == "Deployment":
        return bool(status.get("readyReplicas", 0) >= item["spec"].get("replicas", 1))
    if item["kind"] == "DaemonSet":
        return bool(status.get("numberReady", 0) >= status.get("desiredNumberScheduled", 1))
    return True


def _written(facts: Mapping[str, str], addresses: Collection[str]) -> bool:
    """Whether kube-proxy has written its rules on a node, with backends for these addresses."""
    rules = [what for what in facts if _PROXYS.match(what)]
    # A row is the service's line, and one for each backend.
    empty = [
        what
        for what, value in facts.items()
        if what.startswith("IPVS ")
        and what.split()[2].rpartition(":")[0] in addresses
        and "\n" not in value
    ]
    return bool(rules) and not empty


def snapshots(access: Access, scopes: Sequence[Scope]) -> list[Fingerprint]:
    """The fingerprints of several scopes at one moment, from one look at everything.

    Raises:
        MachineError: The API server or a machine does not answer.
    """
    return _look(access, scopes)[0]


def _look(access: Access, scopes: Sequence[Scope]) -> tuple[list[Fingerprint], Objects]:
    """The fingerprints, and the objects they were made of."""
    with_api = any(scope.kind != "machines" for scope in scopes)
    with ThreadPoolExecutor(len(access.topology.machines) + 1) as workers:
        reading = workers.submit(api.read, access.paths.kubeconfig) if with_api else None
        probes = {
            one.name: workers.submit(_probe, access, one.name) for one in access.topology.machines
        }
        objects = Objects(reading.result() if reading else [])
        seen = {name: probe.result() for name, probe in probes.items()}
    return [_of_scope(scope, objects, seen, with_api=with_api) for scope in scopes], objects


def _of_scope(
    scope: Scope, objects: Objects, seen: Mapping[str, dict[str, Any]], *, with_api: bool
) -> Fingerprint:
    # A class comes, works and goes beside whoever resets a lab of the cluster's own.
    classes = objects.of_classes() if scope.kind == "cluster" else frozenset()
    passed = objects.below(scope.without | classes)
    living = objects.living(without=passed)
    facts: dict[str, dict[str, str]] = {}
    if with_api:
        facts[API] = _kept(facts_of_objects(objects, living, without=passed), scope, objects)
    for name, found in seen.items():
        facts[name] = _kept(machine.facts(found, living, node=name), scope, objects)
    return Fingerprint(scope=str(scope), taken=time.time(), facts=facts)


def prove(
    access: Access, before: Fingerprint, *, scope: Scope, within: float, sweeping: bool = False
) -> Proof:
    """Compare the scope with its fingerprint, again until it is equal or nothing moves any more.

    What was removed a moment ago is still on its way out: kube-proxy and Felix follow the API.

    Args:
        access: The cluster.
        before: The fingerprint.
        scope: What it is about.
        within: Seconds in which at least one difference must go, each time anew: a busy machine
            is slow, but gets on.
        sweeping: Whether the nodes drop at once what they would drop by themselves (``sweep``).

    Raises:
        MachineError: The API server or a machine does not answer.
    """
    waiting = Patience(within)
    last: Proof | None = None
    while True:
        found = compare(before, snapshot(access, scope=scope))
        if found.clean or waiting.over(len(found.differences)):
            return found
        if sweeping and last:
            sweep(access, last.differences, found.differences)
        last = found
        time.sleep(_EVERY)


class Patience:
    """How long differences are waited for: anew each time that there are fewer than ever."""

    def __init__(self, within: float) -> None:
        """Begin to wait; at least one must go within so many seconds."""
        self._within = within
        self._fewest: int | None = None
        self._deadline = time.monotonic() + within

    def over(self, count: int) -> bool:
        """Whether to wait no more, seeing that there are so many now."""
        now = time.monotonic()
        if self._fewest is not None and count < self._fewest:
            self._deadline = now + self._within
        self._fewest = count if self._fewest is None else min(count, self._fewest)
        return now > self._deadline


def owned(access: Access, scope: Scope) -> Scope:
    """The scope, knowing the addresses, ports and pods it has now, for when they should be gone.

    A namespace's Services and pods name the rows of a kernel's tables only while they are there:
    ask before they are removed.

    Raises:
        MachineError: The API server does not answer.
    """
    if scope.kind != "namespace":
        return scope
    objects = Objects(api.read(access.paths.kubeconfig))
    return replace(scope, marks=scope.marks | objects.marks_of(objects.of_namespace(scope.name)))


def _kept(found: Iterable[Fact], scope: Scope, objects: Objects) -> dict[str, str]:
    """The facts of the scope, by what they are about."""
    if scope.kind == "namespace":
        marks = scope.all_marks | objects.marks_of(objects.of_namespace(scope.name))
        found = (fact for fact in found if not marks.isdisjoint(fact.marks))
    if scope.kind == "cluster":
        spaces = objects.class_spaces()
        found = (
            fact
            for fact in found
            if not _FIRST_POD.match(fact.what) and not _of_class(fact, spaces)
        )
    if scope.kind == "machines":
        found = (fact for fact in found if not _INSTALLED.match(f"{fact.what} {fact.value}"))
    kept: dict[str, str] = {}
    for fact in found:
        # Two of a name (routes, rules) are one fact of two lines.
        kept[fact.what] = f"{kept[fact.what]}\n{fact.value}" if fact.what in kept else fact.value
    return kept


def _of_class(fact: Fact, spaces: Collection[str]) -> bool:
    """Whether a fact is what a student's pods, or those that are gone, have left on a machine."""
    if spaces and _SELECTED.match(fact.what):
        return True
    named = (mark for mark in fact.marks if mark.startswith(("ns:", "pod:")))
    return any(mark.partition(":")[2].partition("/")[0] in spaces for mark in named)


def _probe(access: Access, name: str) -> dict[str, Any]:
    """What one machine holds."""
    arguments = json.dumps({"services": str(access.topology.networks.services)})
    words = access.topology.as_root(name, ["python3", "-I", "-", arguments])
    argv: list[str | Path] = ["ssh", "-F", access.paths.ssh_config, name, shlex.join(words)]
    try:
        said = run(argv, timeout=_DEADLINE, input=_PROBE.read_text())
        seen: dict[str, Any] = json.loads(said.stdout)
    except (CommandError, ValueError) as failed:
        reason = failed.reason if isinstance(failed, CommandError) else str(failed)
        raise MachineError(f"{name} cannot be read", reason, "./l4lab status") from failed
    return seen
