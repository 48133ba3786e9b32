"""Kubernetes objects as Pulumi resources: type, name, identity, and what of them is kept."""

from __future__ import annotations

import copy
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

from .values import Path

Object = dict[str, Any]

AUTONAMED: Final = "pulumi.com/autonamed"
SKIP_AWAIT: Final = "pulumi.com/skipAwait"
TIMEOUT: Final = "pulumi.com/timeoutSeconds"

IMPORTED: Final = "__imported"
"""Marks inputs that were read from the cluster, in which fields no program wrote are named too."""

_SERVER_SET: Final = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
    "managedFields", "resourceVersion", "selfLink", "uid",
)  # fmt: skip
NO_ADDRESS: Final = "None"
_SUFFIX_LENGTH: Final = 8
_LONGEST_NAME: Final = 253


class NotAnObjectError(ValueError):
    """A resource type that is no single Kubernetes object."""


@dataclass(frozen=True)
class Type:
    """The Kubernetes type behind a Pulumi type such as ``kubernetes:apps/v1:Deployment``."""

    api_version: str
    kind: str


def type_of(token: str) -> Type:
    """Read a Pulumi type.

    Raises:
        NotAnObjectError: It stands for a list, a patch, a Helm chart or a YAML file.
    """
    package, module, kind = token.split(":", 2)
    group, _, version = module.rpartition("/")
    if kind.endswith("Patch") or (kind.endswith("List") and kind != "List"):
        raise NotAnObjectError(
            f"{kind} resources are not supported: declare the objects one by one"
        )
    if package != "kubernetes" or not version.startswith("v") or group in ("helm.sh", "yaml"):
        raise NotAnObjectError(
            f"{token} is not supported by l4lab's provider: it speaks for single Kubernetes "
            "objects; install the official plugin pulumi-resource-kubernetes for the rest"
        )
    if group == "core":
        return Type(version, kind)
    return Type(f"{group}/{version}" if group else version, kind)


def name_of(wanted: Object) -> str:
    """The object's name; empty where it has none yet."""
    return str((wanted.get("metadata") or {}).get("name") or "")


def namespace_of(wanted: Object) -> str | None:
    """The object's namespace, or None."""
    return (wanted.get("metadata") or {}).get("namespace")


def annotation(wanted: Object, name: str) -> str | None:
    """An annotation of the object, or None."""
    value = ((wanted.get("metadata") or {}).get("annotations") or {}).get(name)
    return None if value is None else str(value)


def id_of(wanted: Object) -> str:
    """The Pulumi ID: ``namespace/name``, or ``name`` where the kind has no namespaces."""
    namespace = namespace_of(wanted)
    return f"{namespace}/{name_of(wanted)}" if namespace else name_of(wanted)


def split_id(identity: str) -> tuple[str | None, str]:
    """Namespace and name of a Pulumi ID."""
    namespace, _, name = identity.rpartition("/")
    return namespace or None, name


def set_name(wanted: Object, *, resource: str, old: Object | None, seed: bytes) -> None:
    """Give an object without a name the one it had, or a new random one after its resource."""
    meta = wanted.setdefault("metadata", {})
    if meta.get("name"):
        return
    if old and annotation(old, AUTONAMED) == "true":
        meta["name"] = name_of(old)
    else:
        digest = hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(_SUFFIX_LENGTH)
        start = str(meta.pop("generateName", None) or f"{resource}-").lower()
        meta["name"] = start[: _LONGEST_NAME - _SUFFIX_LENGTH] + digest[:_SUFFIX_LENGTH]
    meta["annotations"] = {**(meta.get("annotations") or {}), AUTONAMED: "true"}


def without_nulls(value: Any) -> Any:  # noqa: ANN401  JSON is any
    """A copy without null fields: server-side apply would own them."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def outputs_of(live: Object) -> Object:
    """What is kept of a live object: all but the book-keeping of its fields' owners."""
    kept = copy.deepcopy(live)
    kept.get("metadata", {}).pop("managedFields", None)
    return kept


def imported_inputs(live: Object) -> Object:
    """Inputs for an object no program has declared: what it is, without what the server set."""
    kept = copy.deepcopy(live)
    kept.pop("status", None)
    for key in _SERVER_SET:
        kept.get("metadata", {}).pop(key, None)
    return {**kept, IMPORTED: True}


def secret_paths(kind: Type, value: Object) -> frozenset[Path]:
    """What is secret in an object by its kind alone."""
    if kind != Type("v1", "Secret"):
        return frozenset()
    return frozenset((key,) for key in ("data", "stringData") if value.get(key))
