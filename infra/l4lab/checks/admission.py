"""What the API server says to an object that somebody wants it to have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from l4lab.checks.model import CannotMeasure
from l4lab.command import Result

_WARNING = "Warning: "
# How kubectl begins when a verdict came back, and not merely an error on the way to one.
_VERDICT = re.compile(r'The \S+ "|Error from server \(')
_NO_VERDICT = ("Timeout", "InternalError", "ServiceUnavailable", "TooManyRequests", "Unauthorized")


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The API server's verdict on one object."""

    accepted: bool
    message: str
    """Why it was refused, in one line; empty where it was accepted."""
    warnings: tuple[str, ...] = ()
    object: Mapping[str, Any] = field(default_factory=dict)
    """The object with all defaults filled in; empty where it was refused."""


def read_admission(result: Result) -> Admission:
    """The verdict in what ``kubectl create -o json`` left.

    Raises:
        CannotMeasure: There is no verdict: the API server was not reached, or could not say.
    """
    lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
    warnings = tuple(line.removeprefix(_WARNING) for line in lines if line.startswith(_WARNING))
    if result.succeeded:
        return Admission(
            accepted=True, message="", warnings=warnings, object=json.loads(result.stdout)
        )
    message = " ".join(line for line in lines if not line.startswith(_WARNING))
    unsaid = any(message.startswith(f"Error from server ({why})") for why in _NO_VERDICT)
    if unsaid or not _VERDICT.match(message):
        raise CannotMeasure(f"no verdict from the API server: {message or 'it said nothing'}")
    return Admission(accepted=False, message=message, warnings=warnings)
