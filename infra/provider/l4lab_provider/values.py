"""Values as they travel to and from the engine: plain data, unknown values, and secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]  # ships no types
from google.protobuf.struct_pb2 import Struct  # type: ignore[import-untyped]  # as above

UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""The engine's stand-in for a value that is not known before the update."""

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  the engine's mark, not a secret
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Path = tuple[str | int, ...]
"""Where a value lies in an object: keys and indexes from the top."""


class UnsupportedError(ValueError):
    """An asset, an archive or another value that no Kubernetes field can hold."""


def decode(struct: Struct) -> tuple[dict[str, Any], frozenset[Path]]:
    """Return the plain data of a message, and the paths of what is secret in it.

    Raises:
        UnsupportedError: It holds a value that Kubernetes cannot.
    """
    secrets: set[Path] = set()
    plain = _decode(MessageToDict(struct), (), secrets)
    return plain, frozenset(secrets)


def _decode(value: Any, path: Path, secrets: set[Path]) -> Any:  # noqa: ANN401  JSON is any
    match value:
        case {"4dabf18193072939515e22adb298388d": mark, **rest}:
            if mark != _SECRET:
                raise UnsupportedError(
                    f"{text_of(path)}: assets and archives are not Kubernetes values"
                )
            secrets.add(path)
            return _decode(rest.get("value"), path, secrets)
        case dict():
            return {key: _decode(item, (*path, key), secrets) for key, item in value.items()}
        case list():
            return [_decode(item, (*path, at), secrets) for at, item in enumerate(value)]
        case float() if value.is_integer():
            return int(value)  # the wire knows only doubles, the API server wants integers
    return value


def encode(value: Mapping[str, Any], secrets: Iterable[Path] = ()) -> Struct:
    """Return ``value`` as a message in which the values at ``secrets`` are marked secret."""
    struct = Struct()
    struct.update(_encode(value, (), frozenset(secrets)))
    return struct


def _encode(value: Any, path: Path, secrets: frozenset[Path]) -> Any:  # noqa: ANN401  JSON is any
    inner: Any = value
    if isinstance(value, Mapping):
        inner = {key: _encode(item, (*path, key), secrets) for key, item in value.items()}
    elif isinstance(value, list):
        inner = [_encode(item, (*path, at), secrets) for at, item in enumerate(value)]
    if path in secrets:
        return {_SIGNATURE: _SECRET, "value": inner}
    return inner


def has_unknown(value: Any) -> bool:  # noqa: ANN401  JSON is any
    """Whether any part of ``value`` is not known yet."""
    return any(leaf == UNKNOWN for _, leaf in leaves(value))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401  JSON is any
    """All scalars of ``value`` with their paths; an empty object or list counts as one."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            yield from leaves(item, (*path, at))
    else:
        yield path, value


def text_of(path: Path) -> str:
    """The path as the engine writes it: ``spec.ports[0].port``, ``data["a.b"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            escaped = step.replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def redact(text: str, *, value: Mapping[str, Any], secrets: Iterable[Path]) -> str:
    """Take what is secret in ``value`` out of a message of the API server."""
    hidden = {
        str(leaf)
        for path, leaf in leaves(value)
        if any(path[: len(secret)] == secret for secret in secrets)
    }
    for word in sorted(hidden, key=len, reverse=True):
        if word and len(word) > 2:  # noqa: PLR2004  a shorter text would blacken the whole message
            text = text.replace(word, "[secret]")
    return text
