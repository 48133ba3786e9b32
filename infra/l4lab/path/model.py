"""A measured packet path as plain data: made by ``trace``, drawn by ``text`` and ``svg``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from l4lab.checks.model import Fault


class Mark(StrEnum):
    """What became of the packet at a hop."""

    OK = "ok"
    NOTE = "note"
    """It went on, but not by the help of this hop (a name that a node does not know)."""
    DIED = "died"
    UNREACHED = "unreached"
    """It never came here."""
    UNKNOWN = "unknown"
    """It could not be measured."""


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One stage of the way, with everything that was measured there."""

    id: str
    title: str
    place: str
    """The machine or pod where it happens."""
    mark: Mark
    rows: tuple[tuple[str, str], ...] = ()
    """What was measured: a label of one or two words, and the value."""
    see: str = ""
    """The command a learner types to see the same."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where the way ended, and what to make of it."""

    hop: str
    """The id of the hop."""
    fault: Fault
    seen: str
    causes: tuple[str, ...]
    """The likeliest first."""
    then: str
    """The next command to type."""


@dataclass(frozen=True, kw_only=True)
class PacketPath:
    """The way of one probe connection from its client to whatever answered it."""

    client: str
    target: str
    protocol: str
    hops: tuple[Hop, ...]
    death: Death | None = None
    source: str = ""
    """Address and port the client sent from."""
    destination: str = ""
    """Address and port it sent to."""
    node: str = ""
    """The node whose kernel chose the backend."""
    backend: str = ""
    """Address and port of the backend that was chosen."""
    pod: str = ""
    pod_node: str = ""
    masqueraded: bool | None = None
    """Whether the backend saw another source than the client's; None where it is not known."""
    answer: str = ""
    seconds: float = 0.0
    """How long the client waited for the connection to open."""

    @property
    def answered(self) -> bool:
        """Whether the target answered."""
        return self.death is None

    @property
    def headline(self) -> str:
        """The outcome in one line."""
        if self.death is None:
            by = f" from {self.pod_node}" if self.pod_node else ""
            if self.pod:
                by = f" from pod {self.pod} on {self.pod_node}"
            return f"answered: {self.answer}{by}"
        title = next((hop.title for hop in self.hops if hop.id == self.death.hop), self.death.hop)
        return f"died at {title}: {self.death.fault}"

    def to_data(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        data = asdict(self)
        data["hops"] = [
            {**asdict(hop), "rows": [{"label": row[0], "value": row[1]} for row in hop.rows]}
            for hop in self.hops
        ]
        return {"answered": self.answered, "headline": self.headline, **data}
