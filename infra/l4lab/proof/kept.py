"""The fingerprints that are kept with a cluster's state, to compare with when it is put back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from l4lab import engine_words, pulumi_cli
from l4lab.errors import StackError
from l4lab.proof.api import LEFT_OUT
from l4lab.proof.fingerprints import settled, snapshot
from l4lab.proof.model import API, Fingerprint, Scope, read_json, write_json
from l4lab.proof.objects import label
from l4lab.state import Access, Paths

Json = dict[str, Any]

_BUILT = "file /etc/kubernetes/l4lab/"
"""A machine with this has been part of a cluster."""


def machines_file(paths: Paths) -> Path:
    """Where the machines' fingerprint from before the cluster is kept."""
    return paths.root / "proof" / "machines.json"


def stack_file(paths: Paths, stack: str) -> Path:
    """Where the cluster's fingerprint from before a stack's first deployment is kept."""
    return paths.root / "proof" / f"stack-{stack}.json"


def remember_machines(access: Access) -> bool:
    """Keep the fingerprint of machines that no cluster was built on yet.

    Those that are known stay as they were first seen.

    Returns:
        Whether a machine was new.

    Raises:
        MachineError: A machine does not answer.
    """
    file = machines_file(access.paths)
    kept = read_json(file)
    known = dict(kept.facts) if kept else {}
    if all(machine.name in known for machine in access.topology.machines):
        return False
    found = snapshot(access, scope=Scope.machines())
    new = {
        name: facts
        for name, facts in found.facts.items()
        if name not in known and _BUILT not in facts
    }
    if new:
        write_json(file, replace(found, facts={**known, **new}))
    return bool(new)


def before_stack(access: Access, stack: str) -> Fingerprint | None:
    """The fingerprint of the cluster without this stack, if it was taken."""
    return read_json(stack_file(access.paths, stack))


def remember_before(access: Access, stack: str) -> bool:
    """Keep the cluster's fingerprint before the first deployment of a stack.

    Once a part of it is there, it is too late; then, and where one is kept, nothing is done.

    Raises:
        MachineError: The API server or a machine does not answer.
    """
    file = stack_file(access.paths, stack)
    if file.exists():
        return False
    found = settled(access, scope=scope_of(access.paths, stack))
    if any(label in found.facts[API] for label in objects_of(access.paths, stack)):
        return False
    write_json(file, found)
    return True


def forget_stacks(paths: Paths) -> None:
    """Forget the fingerprints of a cluster that is no more; its machines' stays."""
    for file in (paths.root / "proof").glob("stack-*.json"):
        file.unlink()


def scope_of(paths: Paths, stack: str) -> Scope:
    """The cluster without all that other stacks have put there."""
    return Scope.cluster(without=others(paths, stack))


def others(paths: Paths, stack: str) -> frozenset[str]:
    """The objects of all stacks but one, as ``Deployment default/my-nginx``."""
    folder = pulumi_cli.checkpoint(paths, stack).parent
    names = [file.stem for file in folder.glob("*.json") if file.stem != stack]
    return frozenset(label for name in names for label in objects_of(paths, name))


def missing(paths: Paths, stack: str, items: Iterable[Json]) -> list[str]:
    """What a stack has made or begun to make, and is not among the cluster's objects."""
    there = {label(item) for item in items}
    # Kinds that are not read cannot be missed.
    known = (one for one in objects_of(paths, stack) if one.partition(" ")[0] not in LEFT_OUT)
    return [one for one in known if one not in there]


def deployed_words(gone: Sequence[str]) -> str:
    """How a stack that the state knows is told to a person, by what of it is ``missing``."""
    return f"deployed, but missing: {', '.join(gone)}" if gone else "deployed"


def objects_of(paths: Paths, stack: str) -> list[str]:
    """The objects that a stack has made or begun to make; none where nobody can say which."""
    try:
        return made_by(paths, stack)
    except StackError:
        return []  # cut off while it was written: Pulumi says so itself


def made_by(paths: Paths, stack: str) -> list[str]:
    """The objects that a stack has made or begun to make, in its own order.

    Raises:
        StackError: Its state cannot be read.
    """
    latest = pulumi_cli.kept_state(paths, stack) or {}
    try:
        begun = [one["resource"] for one in latest.get("pending_operations") or []]
        resources = [*(latest.get("resources") or []), *begun]
        objects = [_label(one) for one in resources if engine_words.is_object(one["urn"])]
    except (AttributeError, KeyError, TypeError) as failed:
        raise StackError(f"cannot read the state of stack {stack}", repr(failed)) from failed
    return list(dict.fromkeys(objects))


def _label(resource: Json) -> str:
    metadata = (resource.get("inputs") or {}).get("metadata") or {}
    space = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    name = resource.get("id") or f"{space}{metadata.get('name', '')}"
    return f"{engine_words.kind(resource['type'])} {name}"
