"""One line to an echo server and its answer, over TCP, UDP or SCTP: the socat commands of checks.

One form serves all three protocols, machines and pods alike: a small shell talks to the server,
says on stderr what came back, and its end is the end of the request. So nobody waits for the end of
a conversation that UDP does not have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from l4lab.checks.model import Fault
from l4lab.checks.network import AGENT, CONNECT_SECONDS

SECONDS = 3.0
"""How long an answer may take on a machine of normal speed."""

_FAULTS = (
    ("connection refused", Fault.REFUSED),
    ("connection reset", Fault.RESET),
    ("timed out", Fault.TIMEOUT),
    ("now in progress", Fault.TIMEOUT),
    ("no route to host", Fault.UNREACHABLE),
    ("network is unreachable", Fault.UNREACHABLE),
    ("name or service not known", Fault.DNS),
)
_TALK = f"echo {AGENT}; read -r line; echo $line >&2"
_ANSWER = re.compile(rf"^(\S+) (TCP|UDP|SCTP) ([\d.]+) (\d+) {re.escape(AGENT)}\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one line to an echo server came back with."""

    fault: Fault | None
    server: str = ""
    """The pod's own name."""
    protocol: str = ""
    client: str = ""
    """Address and port of the client as the pod saw it."""
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


def echo_argv(protocol: str, target: str, *, source_port: int = 0) -> list[str]:
    """The socat command that sends one line to ``target`` (``IP:port``).

    Args:
        protocol: ``TCP``, ``UDP`` or ``SCTP``.
        target: Whom to ask.
        source_port: The port to send from; 0 lets the kernel choose.
    """
    options = f",sourceport={source_port}" if source_port else ""
    if protocol != "UDP":  # which knows no connecting that could take long
        options += f",connect-timeout={CONNECT_SECONDS:g}"
    place = f"{protocol}4:{target}{options}"
    return ["socat", "-t", "0.1", "-T", f"{SECONDS:g}", place, f"SYSTEM:{_TALK}"]


def shown_echo(protocol: str, target: str) -> list[str]:
    """The same request as a learner would type it, behind ``echo hello |``."""
    return ["socat", "-", f"{protocol}4:{target}"]


def many_argv(protocol: str, target: str, ports: Sequence[int]) -> list[str]:
    """One request from each of these source ports, all at once; read it with ``read_many``."""
    words = " ".join(_quoted(word) for word in echo_argv(protocol, target, source_port=1))
    one = words.replace("sourceport=1'", "sourceport='$p").replace("sourceport=1,", "sourceport='$p',")
    return [
        "sh",
        "-c",
        f'for p in {" ".join(map(str, ports))}; do '
        f'(echo "$p $({one} 2>&1 | tr "\\n" " ")") & done; wait',
    ]


def _quoted(word: str) -> str:
    return f"'{word}'"


def read_reply(text: str) -> Reply:
    """What the command of ``echo_argv`` said on stdout and stderr."""
    if found := _ANSWER.search(text):
        server, protocol, address, port = found.groups()
        return Reply(fault=None, server=server, protocol=protocol, client=f"{address}:{port}")
    said = [line for line in text.splitlines() if " E " in line]
    # socat's lines begin with date, program, process and severity.
    message = said[-1].partition(" E ")[2].strip() if said else text.strip()
    lowered = message.lower()
    fault = next((fault for words, fault in _FAULTS if words in lowered), None)
    return Reply(fault=fault or (Fault.OTHER if message else Fault.TIMEOUT), message=message)


def read_many(text: str) -> dict[int, Reply]:
    """What the command of ``many_argv`` said: the reply to each source port."""
    replies = {}
    for line in text.splitlines():
        port, _, said = line.partition(" ")
        if port.isdecimal():
            replies[int(port)] = read_reply(said)
    return replies
