"""What only events tell: why a controller cannot make the pods it is to make."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from .api import Api, ApiError
from .objects import Object, namespace_of

RECENT: Final = timedelta(seconds=60)
"""An older event may be of a quota that was mended since; a controller tries again within seconds
at first, and each time after twice as long a pause."""


def refusal(api: Api, owner: Object, *, now: datetime | None = None) -> str | None:
    """The last reason why a pod of ``owner`` was refused, such as a quota; None if there is none.

    Args:
        api: The cluster.
        owner: The live object that its controller makes pods for.
        now: For tests.
    """
    since = (now or datetime.now(UTC)) - RECENT
    try:
        events = api.find(api.kind("v1", "Event"), namespace=namespace_of(owner), labels="")
    except ApiError:
        return None  # who may not read events waits without the reason
    recent = [
        (at, one.get("message", ""))
        for one in events
        if one.get("reason") == "FailedCreate"
        and one["involvedObject"].get("uid") == owner["metadata"]["uid"]
        and (at := _at(one)) >= since
    ]
    return max(recent)[1] if recent else None


def _at(event: Object) -> datetime:
    """When it was last seen; clients write one field or the other."""
    series = event.get("series") or {}
    text = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)
