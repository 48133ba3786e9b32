"""What a live object shows that its program does not declare, and what of it is taken back.

Server-side apply changes the fields that a program declares and leaves all others alone. Some of
those make it another object than the declared one all the same: one label more in a Service's
selector, one rule more in a policy. They are read as inputs, so that a difference is seen.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from .api import FIELD_MANAGER
from .objects import NO_ADDRESS, Object, Type
from .values import UNKNOWN, Path

_SERVICE: Final = Type("v1", "Service")
_SECRET: Final = Type("v1", "Secret")

_OF_A_SERVICE: Final = (
    "type", "selector", "ports", "externalName", "externalIPs", "sessionAffinity",
    "sessionAffinityConfig", "externalTrafficPolicy", "internalTrafficPolicy",
    "trafficDistribution", "loadBalancerClass", "loadBalancerIP", "loadBalancerSourceRanges",
    "publishNotReadyAddresses",
)  # fmt: skip

# Where only a person changes what is there: all below these paths is as the program says, or as
# the server made it by default.
_A_PERSONS: Final[dict[Type, tuple[Path, ...]]] = {
    _SERVICE: tuple(("spec", key) for key in _OF_A_SERVICE),
    Type("v1", "Endpoints"): (("subsets",),),
    Type("discovery.k8s.io/v1", "EndpointSlice"): (("endpoints",), ("ports",)),
    Type("networking.k8s.io/v1", "NetworkPolicy"): (("spec",),),
    Type("networking.k8s.io/v1", "Ingress"): (("spec",),),
    Type("apps/v1", "Deployment"): (("spec",),),
}
# And what controllers set among it: by allocation, by scaling, by a restart.
_NOT_A_PERSONS: Final[dict[Type, tuple[Path, ...]]] = {
    Type("apps/v1", "Deployment"): (("spec", "replicas"), ("spec", "template", "metadata")),
}
_ALLOCATED: Final = "nodePort"


def is_a_persons(kind: Type, path: Path) -> bool:
    """Whether nothing but a person sets a field that its program does not declare."""

    def below(heads: tuple[Path, ...]) -> bool:
        return any(path[: len(head)] == head for head in heads)

    return (
        below(_A_PERSONS.get(kind, ()))
        and not below(_NOT_A_PERSONS.get(kind, ()))
        and path[-1] != _ALLOCATED
    )


def seen(kind: Type, inputs: Object, before: Object, live: Object) -> Object:
    """The inputs as the live object now shows them.

    A field that is as it was after the last update is taken as declared, however the API server
    writes it (``1000m`` is kept as ``1``). Of what the program does not declare there is what a
    person has set since, and what an update of ours has that was cut off before the engine noted
    it.

    Args:
        kind: The object's type.
        inputs: What the program declared last.
        before: The object as the state has it; without a UID if it was never seen.
        live: The object as it is.
    """
    look = _Look(kind, known=bool((before.get("metadata") or {}).get("uid")))
    found: Object = _with_ours(look.at(inputs, before, live, ()), before, live, _ours(live))
    if kind == _SECRET:
        found = _with_texts(inputs, found, live)
    if kind == _SERVICE and look.known:
        was, now = ((one.get("spec") or {}).get("clusterIP") for one in (before, live))
        # Made anew by hand it has another address; to have none at all is another kind of Service.
        if now == NO_ADDRESS and was not in (None, NO_ADDRESS) and found.get("spec"):
            found = {**found, "spec": {**found["spec"], "clusterIP": NO_ADDRESS}}
    return found


@dataclass(frozen=True)
class _Look:
    """A look at an object of which ``known`` says whether it was seen before."""

    kind: Type
    known: bool

    def at(self, inputs: Any, before: Any, now: Any, path: Path) -> Any:  # noqa: ANN401  JSON is any
        if inputs == UNKNOWN or before == now:
            return inputs
        if isinstance(inputs, dict) and isinstance(now, dict):
            earlier = before if isinstance(before, dict) else {}
            found = {}
            for key, item in inputs.items():
                if key in now:
                    found[key] = self.at(item, earlier.get(key), now[key], (*path, key))
                elif key not in earlier:  # never shown by the server
                    found[key] = item
            # What was never seen by us may well be the server's own default.
            added = [key for key in now if key not in inputs and now[key] != earlier.get(key)]
            found |= {
                key: now[key]
                for key in added
                if self.known and is_a_persons(self.kind, (*path, key))
            }
            return found
        if isinstance(inputs, list) and isinstance(now, list):
            declared = [
                self.at(item, _item(before, at), one, (*path, at))
                for at, (item, one) in enumerate(zip(inputs, now, strict=False))
            ]
            return declared + (now[len(inputs) :] if self.known else [])
        return now


def _item(value: Any, at: int) -> Any:  # noqa: ANN401  JSON is any
    return value[at] if isinstance(value, list) and at < len(value) else None


def _ours(live: Object) -> Object:
    """The fields that our last update has applied, as the server keeps them."""
    for entry in live["metadata"].get("managedFields") or []:
        whose = (entry.get("manager"), entry.get("operation"), entry.get("subresource"))
        if whose == (FIELD_MANAGER, "Apply", None) and (
            entry.get("apiVersion") == live["apiVersion"]
        ):
            return dict(entry.get("fieldsV1") or {})
    return {}


def _with_ours(inputs: Any, before: Any, now: Any, fields: Object) -> Any:  # noqa: ANN401  JSON is any
    """The inputs, and what of ``now`` we have applied though they do not have it."""
    if before == now:
        return inputs
    if isinstance(inputs, dict) and isinstance(now, dict):
        earlier = before if isinstance(before, dict) else {}
        found = dict(inputs)
        for name, below in fields.items():
            key = name.removeprefix("f:")
            if key == name or key not in now:
                continue
            if key in inputs:
                found[key] = _with_ours(inputs[key], earlier.get(key), now[key], below)
            else:
                found[key] = _only_ours(now[key], below)
        return found
    if isinstance(inputs, list) and isinstance(now, list) and len(inputs) == len(now):
        return [
            _with_ours(item, _item(before, at), now[at], _of_item(fields, now[at]))
            for at, item in enumerate(inputs)
        ]
    return inputs


def _of_item(fields: Object, item: Any) -> Object:  # noqa: ANN401  JSON is any
    """The fields of a list's item, which is known by some of its values."""
    for name, below in fields.items():
        if name.startswith("k:") and isinstance(item, dict):
            keys = json.loads(name[2:])
            if all(item.get(key) == value for key, value in keys.items()):
                return dict(below)
    return {}


def _only_ours(now: Any, fields: Object) -> Any:  # noqa: ANN401  JSON is any
    below = {name[2:]: inner for name, inner in fields.items() if name.startswith("f:")}
    if not below or not isinstance(now, dict):
        return now
    return {key: _only_ours(now[key], inner) for key, inner in below.items() if key in now}


def _with_texts(inputs: Object, found: Object, live: Object) -> Object:
    """A Secret's inputs with its ``stringData`` as the server has it: below ``data``, encoded."""
    texts = inputs.get("stringData")
    if not isinstance(texts, dict):
        return found
    data = live.get("data") or {}
    fields = _ours(live)
    ours = {**fields.get("f:stringData", {}), **fields.get("f:data", {})}
    declared = inputs.get("data") or {}
    names = [*texts, *(key for one in ours if (key := one[2:]) not in texts | declared)]
    shown = {
        key: texts[key] if texts.get(key) == UNKNOWN else _text(data[key])
        for key in names
        if key in data
    }
    rest = {key: item for key, item in found.items() if key != "data" or key in inputs}
    return {**rest, "stringData": shown}


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return encoded  # no text: at any rate another one than a program can declare
