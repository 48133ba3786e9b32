"""IPVS tables as ``ipvsadm`` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_UNITS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A real server behind a virtual one."""

    address: str
    """IP:port."""
    forward: str
    weight: int


@dataclass(frozen=True, kw_only=True)
class Service:
    """A virtual server of the kernel."""

    protocol: str
    address: str
    """IP:port."""
    scheduler: str
    flags: str
    backends: tuple[Backend, ...]

    @property
    def live(self) -> tuple[Backend, ...]:
        """Backends that get new connections: a removed one stays with weight 0 for a while."""
        return tuple(backend for backend in self.backends if backend.weight > 0)


_Key = tuple[str, str]


def parse_table(text: str) -> dict[_Key, Service]:
    """The output of ``ipvsadm -Ln`` by (protocol, IP:port)."""
    services: dict[_Key, Service] = {}
    for (protocol, address, rest), lines in _blocks(text):
        backends = tuple(
            Backend(address=words[1], forward=words[2], weight=int(words[3])) for words in lines
        )
        services[protocol, address] = Service(
            protocol=protocol,
            address=address,
            scheduler=rest[0] if rest else "",
            flags=" ".join(rest[1:]),
            backends=backends,
        )
    return services


@dataclass(frozen=True)
class Counters:
    """Connections a virtual server has taken since it was made, whole and for each backend."""

    total: int = 0
    backends: dict[str, int] = field(default_factory=dict)

    def since(self, before: Counters) -> Counters:
        """What was added since ``before``."""
        moved = {
            address: count - before.backends.get(address, 0)
            for address, count in self.backends.items()
        }
        return Counters(self.total - before.total, moved)


def parse_stats(text: str) -> dict[_Key, Counters]:
    """The output of ``ipvsadm -Ln --stats`` (with ``--exact`` or without): connections."""
    return {
        (protocol, address): Counters(
            _number(rest[0]) if rest else 0, {words[1]: _number(words[2]) for words in lines}
        )
        for (protocol, address, rest), lines in _blocks(text)
    }


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One entry of the kernel's connection table."""

    state: str
    source: str
    virtual: str
    destination: str
    protocol: str = "TCP"
    expires: int = 0
    """Seconds until it is forgotten, where no packet comes."""


def parse_connections(text: str) -> list[Connection]:
    """The output of ``ipvsadm -Lnc``."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 6 and words[0] in {"TCP", "UDP", "SCTP"}:  # noqa: PLR2004 (its columns)
            # UDP entries have no state of their own in some versions: count from the right.
            source, virtual, destination = words[-3:]
            minutes, _, seconds = words[1].partition(":")
            found.append(
                Connection(
                    state=words[2],
                    source=source,
                    virtual=virtual,
                    destination=destination,
                    protocol=words[0],
                    expires=60 * int(minutes) + int(seconds),
                )
            )
    return found


_Head = tuple[str, str, Sequence[str]]


def _blocks(text: str) -> list[tuple[_Head, list[list[str]]]]:
    blocks: list[tuple[_Head, list[list[str]]]] = []
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "->":
            # The heading has an arrow too ("-> RemoteAddress:Port"), before any virtual server.
            if blocks:
                blocks[-1][1].append(words)
        elif words[0] in {"TCP", "UDP", "SCTP", "FWM"}:
            blocks.append(((words[0], words[1], words[2:]), []))
    return blocks


def _number(word: str) -> int:
    unit = _UNITS.get(word[-1:].upper(), 0)
    return int(word[:-1]) * unit if unit else int(word)
