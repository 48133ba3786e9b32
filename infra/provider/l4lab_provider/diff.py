"""What changes between two sets of inputs, and which changes need a new object."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from . import drift
from .api import CONFLICT, INVALID, NOT_FOUND, Api, ApiError, Kind
from .objects import IMPORTED, NO_ADDRESS, Object, Type, name_of, namespace_of
from .values import Path

Change = Enum("Change", "ADD UPDATE DELETE")

_IDENTITY: Final = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))

# What the API server never changes in place. It is asked too (see `refuses_change`): this table is
# for changes whose new value is not known yet, and to name the field that matters.
_IMMUTABLE: Final[dict[Type, tuple[Path, ...]]] = {
    Type("apps/v1", "Deployment"): (("spec", "selector"),),
    Type("apps/v1", "ReplicaSet"): (("spec", "selector"),),
    Type("apps/v1", "DaemonSet"): (("spec", "selector"),),
    Type("apps/v1", "StatefulSet"): (
        ("spec", "selector"),
        ("spec", "serviceName"),
        ("spec", "volumeClaimTemplates"),
        ("spec", "podManagementPolicy"),
    ),
    Type("batch/v1", "Job"): (("spec", "selector"), ("spec", "template")),
    Type("discovery.k8s.io/v1", "EndpointSlice"): (("addressType",),),
    Type("rbac.authorization.k8s.io/v1", "RoleBinding"): (("roleRef",),),
    Type("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): (("roleRef",),),
    Type("v1", "Secret"): (("type",),),
}

_SERVICE: Final = Type("v1", "Service")
_ADDRESS: Final = ("spec", "clusterIP")

# Taken by the old object until it goes: a new one may well ask for the same.
_UNIQUE: Final = ("clusterIP", "clusterIPs", "healthCheckNodePort")


def asked(old: Object, new: Object) -> dict[Path, Change]:
    """What a program asks to change, seen from the inputs of before.

    Of an object that was imported nobody has written a program yet: a field that is not in the new
    one is left alone, not taken away.
    """
    found = changes({key: item for key, item in old.items() if key != IMPORTED}, new)
    if old.get(IMPORTED):
        return {path: how for path, how in found.items() if how is not Change.DELETE}
    return found


def changes(old: Any, new: Any, path: Path = ()) -> dict[Path, Change]:  # noqa: ANN401  JSON is any
    """All fields that differ, with the way they do."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[Path, Change] = {}
        for key in [*old, *(key for key in new if key not in old)]:
            here = (*path, key)
            if key not in new:
                found[here] = Change.DELETE
            elif key not in old:
                found[here] = Change.ADD
            else:
                found |= changes(old[key], new[key], here)
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = {}
        for at in range(max(len(old), len(new))):
            here = (*path, at)
            if at >= len(new):
                found[here] = Change.DELETE
            elif at >= len(old):
                found[here] = Change.ADD
            else:
                found |= changes(old[at], new[at], here)
        return found
    return {} if old == new else {path: Change.UPDATE}


def replacing(kind: Type, changed: dict[Path, Change], old: Object) -> set[Path]:
    """Those of the changes that always need a new object."""
    fixed = _IDENTITY + _IMMUTABLE.get(kind, ())
    found = {path for path in changed if any(path[: len(head)] == head for head in fixed)}
    # The server takes no address for "leave it as it is", and says nothing.
    if taken_back(kind, old, changed).get(_ADDRESS) == NO_ADDRESS:
        found.add(_ADDRESS)
    return found


def taken_back(kind: Type, old: Object, changed: dict[Path, Change]) -> dict[Path, Any]:
    """What is not declared any more and nothing but a person sets, with its values so far."""
    return {
        path: _at(old, path)
        for path, how in changed.items()
        if how is Change.DELETE
        and (drift.is_a_persons(kind, path) or (kind == _SERVICE and path[:-1] == ("spec",)))
    }


def check_new(api: Api, kind: Kind, wanted: Object) -> None:
    """Have the API server judge an object that is to be created.

    Raises:
        ApiError: It would be refused.
    """
    try:
        api.try_create(kind, wanted)
    except ApiError as refused:
        if refused.status == NOT_FOUND:
            return  # its namespace comes with the same update
        live = None
        if refused.status in (CONFLICT, INVALID):
            live = api.get(kind, namespace=namespace_of(wanted), name=name_of(wanted))
        if live is None and refused.status == CONFLICT:
            api.try_create(kind, wanted)  # it was on its way out, and has gone meanwhile
            return
        if live is None:
            raise
        # There is one of that name. Whether it may be replaced is not asked here: judge the rest.
        api.try_create(kind, _beside(wanted, live))


def change_in_place(
    api: Api,
    kind: Kind,
    wanted: Object,
    changed: Iterable[Path],
    *,
    gone: Mapping[Path, Any],
    dry_run: bool = False,
) -> Object:
    """Bring a live object to what is wanted, and return it as it is then.

    Server-side apply merges lists such as a Service's ports by key, and so leaves what others have
    put there. Where that is in the way, the lists that changed are set as a whole. It also leaves
    fields that others have set: those of ``gone`` are taken away if they still have that value.

    Raises:
        ApiError: The change is refused.
    """
    live = _applied(api, kind, wanted, changed, dry_run=dry_run)
    left = {found for path, value in gone.items() if (found := _left(live, wanted, path, value))}
    if left:
        live = api.overwrite(kind, wanted, _only(wanted, left), dry_run=dry_run)
    return live


def _left(live: Object, wanted: Object, path: Path, value: Any) -> Path | None:  # noqa: ANN401
    """Where ``value`` must be taken away: at its own path, or with the list that it lies in."""
    head, inner = _outermost_list(path)
    if head is None:
        return path if _at(live, path) == value else None
    items = _at(live, head)
    if inner and isinstance(items, list) and isinstance(_at(wanted, head), list):
        return head if any(_at(item, inner) == value for item in items) else None
    return None


def _applied(
    api: Api, kind: Kind, wanted: Object, changed: Iterable[Path], *, dry_run: bool
) -> Object:
    lists = _lists(wanted, changed)
    try:
        live = api.apply(kind, wanted, dry_run=dry_run)
    except ApiError as refused:
        if refused.status != INVALID or not lists:
            raise
        try:
            live = api.overwrite(kind, wanted, _only(wanted, lists), dry_run=dry_run)
        except ApiError:
            raise refused from None
        return live if dry_run else api.apply(kind, wanted)
    surplus = {path for path in lists if len(_at(live, path) or ()) > len(_at(wanted, path))}
    if surplus:
        live = api.overwrite(kind, wanted, _only(wanted, surplus), dry_run=dry_run)
    return live


def _lists(wanted: Object, changed: Iterable[Path]) -> set[Path]:
    """The outermost lists in which something changes and which are still wanted."""
    heads = {head for path in changed if (head := _outermost_list(path)[0]) is not None}
    return {head for head in heads if isinstance(_at(wanted, head), list)}


def _outermost_list(path: Path) -> tuple[Path | None, Path]:
    """The path of the first list on the way, and the rest of the way in an item of it."""
    at = next((at for at, step in enumerate(path) if isinstance(step, int)), None)
    return (None, path) if at is None else (path[:at], path[at + 1 :])


def _at(value: Any, path: Path) -> Any:  # noqa: ANN401  JSON is any
    for step in path:
        if isinstance(value, list):
            value = value[step] if isinstance(step, int) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _only(wanted: Object, paths: Iterable[Path]) -> Object:
    """The object with nothing in it but what lies at ``paths``."""
    kept: Object = {}
    for path in paths:
        place: dict[str | int, Any] = kept  # type: ignore[assignment]  # no lists on the way
        for step in path[:-1]:
            place = place.setdefault(step, {})
        place[path[-1]] = _at(wanted, path)
    return kept


def refuses_change(
    api: Api,
    kind: Kind,
    wanted: Object,
    changed: Iterable[Path],
    *,
    gone: Mapping[Path, Any],
) -> ApiError | None:
    """Have the API server judge a change: None if it can be made in place.

    Returns:
        The refusal, if the object is fine in itself and only cannot be changed this way: it must be
        replaced.

    Raises:
        ApiError: The object would be refused in any case.
    """
    try:
        change_in_place(api, kind, wanted, changed, gone=gone, dry_run=True)
    except ApiError as refused:
        if refused.status == NOT_FOUND:
            return None
        live = api.get(kind, namespace=namespace_of(wanted), name=name_of(wanted))
        if refused.status != INVALID or live is None:
            raise
        try:
            api.try_create(kind, _beside(wanted, live))
        except ApiError:
            raise refused from None
        return refused
    return None


def named_by(refused: ApiError, changed: dict[Path, Change]) -> set[Path]:
    """The changes a refusal names; all of them where it names none."""
    fields = [cause.get("field", "").replace("]", "").replace("[", ".") for cause in refused.causes]
    named = set()
    for path in changed:
        text = ".".join(str(step) for step in path)
        # The server says clusterIPs[0] for clusterIP, and spec for any field of a Pod's.
        if any(_same_field(text, field) for field in fields if field):
            named.add(path)
    return named or set(changed)


def _same_field(one: str, other: str) -> bool:
    one, other = (
        one.replace("clusterIPs.0", "clusterIP"),
        other.replace("clusterIPs.0", "clusterIP"),
    )
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _beside(wanted: Object, live: Object) -> Object:
    """The object under another name, so that it can be judged beside the one that is there."""
    twin = copy.deepcopy(wanted)
    name = name_of(wanted)
    twin["metadata"]["name"] = f"{name[:50].rstrip('-.')}-twin"
    spec, taken = twin.get("spec"), live.get("spec")
    if not isinstance(spec, dict) or not isinstance(taken, dict):
        return twin
    for key in _UNIQUE:
        if key in spec and spec[key] == taken.get(key) and spec[key] not in ("None", ["None"]):
            del spec[key]
    ports = {port.get("nodePort") for port in taken.get("ports") or [] if isinstance(port, dict)}
    for port in spec.get("ports") or []:
        if isinstance(port, dict) and port.get("nodePort") in ports:
            port.pop("nodePort", None)
    return twin
