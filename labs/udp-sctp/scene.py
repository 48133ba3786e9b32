"""What the checks of this lab look at and how they ask: all of it from ``facts``."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from l4lab.checks import API, CannotMeasure, Look, Vantage, Where, ipvs, kernel
from l4lab.checks.echo import SECONDS, Reply, at_once_argv, echo_argv, longest, read_at_once
from l4lab.checks.service import Pod, cluster_address, ready_pods

from . import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)

_FIRST_PORT = 20000
_PORTS = 12000
"""Source ports of our own: below those a kernel gives to clients by itself."""


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def at(look: Look, service: str) -> str:
    """``IP:port`` of one of the lab's Services."""
    return f"{cluster_address(look.at(API), service)}:{facts.PORT}"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request: over what, whom, and from which port (0: any)."""

    protocol: str
    target: str
    source_port: int = 0


def ask(look: Look, requests: Mapping[str, Asked]) -> dict[str, Reply]:
    """Send one line by each of these requests, a few at once; the replies by the same labels.

    Raises:
        CannotMeasure: socat did not run there.
    """
    commands = {
        label: echo_argv(
            one.protocol,
            one.target,
            source_port=one.source_port,
            seconds=SECONDS * look.factor,
        )
        for label, one in requests.items()
    }
    shown = next(iter(commands.values()))
    limit = longest(len(commands)) + 20
    result = look.run(at_once_argv(commands), shown=shown, timeout=limit)
    replies = read_at_once(result.stdout)
    if set(replies) != set(requests) or "socat: not found" in result.stdout:
        raise CannotMeasure(f"socat did not run on {look.vantage}: {result.last_line}")
    return replies


def table(look: Look, protocol: str, address: str) -> dict[int, ipvs.Connection]:
    """The node's connections to ``address``, by the client's port.

    Raises:
        CannotMeasure: They cannot be read.
    """
    return {
        int(entry.source.rpartition(":")[2]): entry
        for entry in kernel.connections(look)
        if (entry.protocol, entry.virtual) == (protocol, address)
    }


def unused_ports(look: Look, protocol: str, address: str, count: int) -> Sequence[int]:
    """Source ports for which this node's kernel has made no choice yet."""
    taken = table(look, protocol, address)
    start = _FIRST_PORT + random.randrange(_PORTS)  # noqa: S311  # so that two runs do not meet
    return [port for port in range(start, start + _PORTS) if port not in taken][:count]
