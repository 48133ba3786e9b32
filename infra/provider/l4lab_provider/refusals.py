"""Refusals of the API server, with what it says elsewhere about their reason."""

from __future__ import annotations

from typing import Any, Final

from .api import Api, ApiError, UnreachableError
from .objects import Object, namespace_of

_GOING: Final = "because it is being terminated"


def told(api: Api, refused: ApiError, wanted: Object) -> str:
    """The server's words, and what holds a namespace on its way out, which they leave out."""
    text, namespace = str(refused), namespace_of(wanted)
    if _GOING not in text or not namespace:
        return text
    try:
        found = api.get(api.kind("v1", "Namespace"), namespace=None, name=namespace)
    except (ApiError, UnreachableError):
        return text
    held = remaining(found or {})
    return f"{text}: {'; '.join(held)}" if held else text


def remaining(live: dict[str, Any]) -> list[str]:
    """What an object that is being deleted still waits for, as its conditions tell."""
    return [
        condition.get("message", "")
        for condition in (live.get("status") or {}).get("conditions") or []
        if condition.get("status") == "True" and "Remaining" in condition.get("type", "")
    ]
