"""Objects on their way out: what holds them, and the wait for their end."""

from __future__ import annotations

import threading
import time
from typing import Final

from .api import Api
from .objects import Object, id_of, name_of, namespace_of
from .refusals import remaining

EVERY: Final = 0.25


def is_ending(live: Object) -> bool:
    """Whether an object's end was asked for: it is there still, but nothing makes it stay."""
    return "deletionTimestamp" in live["metadata"]


def held_by(live: Object) -> str:
    """What an object that is being deleted waits for."""
    holds = ", ".join(live["metadata"].get("finalizers") or []) or "its containers still end"
    return f"held by {'; '.join([holds, *remaining(live)])}"


def wait_until_gone(
    api: Api, live: Object, *, within: float, cancelled: threading.Event
) -> str | None:
    """Wait until an object is deleted; return what holds it where it is not gone in time."""
    kind = api.kind(live["apiVersion"], live["kind"])
    uid = live["metadata"]["uid"]
    started = time.monotonic()
    while True:
        seen = api.get(kind, namespace=namespace_of(live), name=name_of(live))
        if seen is None or seen["metadata"]["uid"] != uid:
            return None
        if time.monotonic() - started >= within or cancelled.is_set():
            ended = "cancelled" if cancelled.is_set() else f"not gone within {within:.0f} s"
            return f"{live['kind']} {id_of(live)} {ended}: {held_by(seen)}"
        cancelled.wait(EVERY)
