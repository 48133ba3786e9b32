"""What a reset takes away and puts back: told first, then done, from one and the same list."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

from l4lab.checks.diff import differences

Json = dict[str, Any]

# What the cluster itself puts into every namespace.
_GIVEN: Final = frozenset({"ConfigMap kube-root-ca.crt", "ServiceAccount default"})
_MIRROR: Final = "endpointslicemirroring-controller.k8s.io"
_MANAGED: Final = "endpointslice.kubernetes.io/managed-by"
# An object as an owner reference has it: the garbage collector looks for all of this.
_who: Final = itemgetter("apiVersion", "kind", "name", "uid")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a reset of one student does.

    Attributes:
        delete: Objects that are not the class's and that nothing else made, as kubectl's words.
        pods: All pods: those that a deletion of their makers would let take their time.
        restore: Objects of the class that are gone or changed.
        forget: Stacks that have nothing any more.
        lines: The same for a person.
    """

    delete: tuple[str, ...] = ()
    pods: tuple[str, ...] = ()
    restore: tuple[Json, ...] = ()
    forget: tuple[str, ...] = ()
    lines: tuple[str, ...] = field(default=())

    @property
    def new_login(self) -> bool:
        """Whether the service account is made anew: a login ends with the one it was for."""
        return _accounts(self.restore)


def make(
    objects: Sequence[Json],
    *,
    namespace: str,
    wanted: Sequence[Json],
    stacks: Sequence[str],
    only: Collection[str] | None = None,
) -> Plan:
    """What takes a namespace back to what the class made.

    Args:
        objects: All objects of the cluster.
        namespace: The student's.
        wanted: What the class makes for the student.
        stacks: The student's stacks that the state knows.
        only: Labels such as ``Deployment my-nginx``: nothing else is deleted, nothing is restored.
    """
    ours = {_label(one) for one in wanted if one["kind"] != "Namespace"}
    here = [one for one in objects if one["metadata"].get("namespace") == namespace]
    roots = {}
    # What has no UID is no object but an answer made at each question, such as PodMetrics.
    mine = [one for one in here if _label(one) not in ours | _GIVEN and "uid" in one["metadata"]]
    # What is being deleted already is among them: a finalizer may hold it for ever.
    for item in mine if only is not None else _rootless(mine):
        labels = item["metadata"].get("labels") or {}
        mirrors = item["kind"] == "EndpointSlice" and labels.get(_MANAGED) == _MIRROR
        owner = next(iter(item["metadata"].get("ownerReferences") or []), None)
        if mirrors and owner:  # the Endpoints it mirrors, which are not among what is read
            roots[f"Endpoints {owner['name']}"] = f"Endpoints.v1./{owner['name']}"
        else:
            roots[_label(item)] = _word(item)
    if only is not None:
        roots = {label: word for label, word in roots.items() if label in only}
    restore = () if only is not None else tuple(_lost(objects, wanted))
    return Plan(
        delete=tuple(roots[label] for label in sorted(roots)),
        pods=tuple(_word(one) for one in here if one["kind"] == "Pod") if only is None else (),
        restore=restore,
        forget=tuple(stacks),
        lines=(
            *(f"delete {label}" for label in sorted(roots)),
            *(f"restore {_label(one)}" for one in restore),
            *(("give a new login",) if _accounts(restore) else ()),
            *(f"forget stack {stack}" for stack in stacks),
        ),
    )


def _rootless(items: Sequence[Json]) -> list[Json]:
    """What does not go by itself when the rest of these goes.

    The garbage collector takes an object when all its owners are gone. A student writes owners,
    too: one that stays, such as the class's own service account, or two objects that own each
    other, would keep an object for ever.
    """
    ids = [_who({**one["metadata"], **one}) for one in items]
    owners = {
        who: set(map(_who, one["metadata"].get("ownerReferences") or ()))
        for who, one in zip(ids, items, strict=True)
    }
    named = {one for one, above in owners.items() if not above or not above <= owners.keys()}
    going = set(named)
    while more := {one for one, above in owners.items() if above <= going} - going:
        going |= more
    named |= owners.keys() - going
    return [one for one, who in zip(items, ids, strict=True) if who in named]


def _lost(objects: Sequence[Json], wanted: Sequence[Json]) -> list[Json]:
    """What of the class is gone, or not as it was made."""
    found = {(one["metadata"].get("namespace"), _label(one)): one for one in objects}
    lost = []
    for one in wanted:
        there = found.get((one["metadata"].get("namespace"), _label(one)))
        fields = {key: value for key, value in one.items() if key not in ("apiVersion", "kind")}
        if there is None or differences(fields, there):
            lost.append(one)
    return lost


def _accounts(objects: Sequence[Json]) -> bool:
    return any(one["kind"] == "ServiceAccount" for one in objects)


def _label(item: Json) -> str:
    return f"{item['kind']} {item['metadata']['name']}"


def _word(item: Json) -> str:
    """The object for kubectl, whose kind cannot be taken for another group's."""
    group, _, version = item["apiVersion"].rpartition("/")
    return f"{item['kind']}.{version}.{group}/{item['metadata']['name']}"
