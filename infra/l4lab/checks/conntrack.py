"""The kernel's table of connections: what became of addresses on the way, packet by packet."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIDE = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """One connection, as its opener sent it and as its other end answers it.

    Each address is ``IP:port``. Without translation the answer is the request turned round.
    """

    source: str
    destination: str
    answered_by: str
    """Where answers come from: not ``destination`` where the destination was rewritten."""
    answered_to: str
    """Where answers go to: not ``source`` where the source was rewritten."""


def read_conntrack(text: str) -> list[Connection]:
    """The TCP, UDP and SCTP connections in the output of ``conntrack -L``, in order."""
    found = []
    for line in text.splitlines():
        sides = _SIDE.findall(line)
        if len(sides) == 2:  # noqa: PLR2004 (there and back)
            (source, destination, sport, dport), (back, to, back_port, to_port) = sides
            found.append(
                Connection(
                    source=f"{source}:{sport}",
                    destination=f"{destination}:{dport}",
                    answered_by=f"{back}:{back_port}",
                    answered_to=f"{to}:{to_port}",
                )
            )
    return found
