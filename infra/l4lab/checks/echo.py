"""One line to an echo server and its answer, over TCP, UDP or SCTP: the socat commands of checks.

One form serves all three protocols, machines and pods alike. UDP has no end that a client could
see, so the servers send an empty datagram behind the answer (``shut-null``), and the client takes
it for the end (``null-eof``): nobody waits longer than for the answer.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from l4lab.checks.model import Fault

SECONDS = 3.0
"""How long an answer may take on a machine of normal speed."""
AT_ONCE = 5
"""How many are asked side by side: a UDP server has a child for each datagram, and of hundreds that
came together from all nodes one was seen to be its last."""

_FAULTS = (
    ("connection refused", Fault.REFUSED),
    ("connection reset", Fault.RESET),
    ("timed out", Fault.TIMEOUT),
    ("now in progress", Fault.TIMEOUT),
    ("no route to host", Fault.UNREACHABLE),
    ("network is unreachable", Fault.UNREACHABLE),
    ("name or service not known", Fault.DNS),
)
_ANSWER = re.compile(r"(?:^|\s)(\S+) (TCP|UDP|SCTP)(?:\s|$)")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one line to an echo server came back with."""

    fault: Fault | None
    server: str = ""
    """The pod's own name."""
    protocol: str = ""
    message: str = ""

    @property
    def fine(self) -> bool:
        """Whether an answer came."""
        return self.fault is None

    def __str__(self) -> str:
        if self.fault is None:
            return self.server
        clear = self.fault in (Fault.REFUSED, Fault.TIMEOUT)
        return str(self.fault) if clear or not self.message else f"{self.fault} ({self.message})"


def echo_argv(
    protocol: str, target: str, *, source_port: int = 0, seconds: float = SECONDS
) -> list[str]:
    """The socat command that sends its standard input to ``target`` (``IP:port``).

    Args:
        protocol: ``TCP``, ``UDP`` or ``SCTP``.
        target: Whom to ask.
        source_port: The port to send from; 0 lets the kernel choose.
        seconds: How long to wait for the connection, and for the answer.
    """
    options = f",sourceport={source_port}" if source_port else ""
    # UDP knows no connecting that could take long.
    options += ",null-eof" if protocol == "UDP" else f",connect-timeout={seconds:g}"
    if protocol == "SCTP":  # which cannot be closed in one direction alone
        options += ",shut-none"
    return ["socat", "-t", f"{seconds:g}", "-", f"{protocol}4:{target}{options}"]


def at_once_argv(requests: Mapping[str, Sequence[str]]) -> list[str]:
    """Several commands of ``echo_argv``, a few side by side, each under a label without blanks.

    Read what it says with ``read_at_once``.
    """
    # What is sent does not matter. The answer is not quoted: the shell joins its lines with blanks.
    asked = [
        f"(echo {label} $({shlex.join(words)} 2>&1 </etc/hostname)) &"
        for label, words in requests.items()
    ]
    turns = [[*asked[at : at + AT_ONCE], "wait"] for at in range(0, len(asked), AT_ONCE)]
    return ["sh", "-c", "\n".join(line for turn in turns for line in turn)]


def longest(requests: int, seconds: float = SECONDS) -> float:
    """Seconds that so many requests take if none of them is answered."""
    return -(-requests // AT_ONCE) * seconds


def read_reply(text: str) -> Reply:
    """What the command of ``echo_argv`` said on stdout and stderr."""
    if found := _ANSWER.search(text):
        server, protocol = found.groups()
        return Reply(fault=None, server=server, protocol=protocol)
    said = [line for line in text.splitlines() if " E " in line]
    # socat's lines begin with date, program, process and severity.
    # Behind that they name the system call, with addresses of memory: only the reason counts.
    message = (said[-1] if said else text).strip().rpartition(": ")[2]
    lowered = message.lower()
    fault = next((fault for words, fault in _FAULTS if words in lowered), None)
    return Reply(fault=fault or (Fault.OTHER if message else Fault.TIMEOUT), message=message)


def read_at_once(text: str) -> dict[str, Reply]:
    """What the command of ``at_once_argv`` said, by label."""
    said = [line.partition(" ") for line in text.splitlines()]
    return {label: read_reply(words) for label, _, words in said if label}
