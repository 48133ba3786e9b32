"""The one connection that is followed: made by curl for HTTP, else by a few lines of Python.

Both send from a source port that is known before, by which every kernel on the way can be asked
for this connection and no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from l4lab.checks import network
from l4lab.checks.look import Look
from l4lab.checks.model import CannotMeasure, Fault
from l4lab.command import Result
from l4lab.path.ends import Target

_TLS_PORTS = frozenset({443, 6443, 8443, 10250})
_WEB_PORTS = frozenset({80, 8000, 8080, 8081})
_PORT_TAKEN = 45  # curl's exit code where --local-port cannot be had
_TRIES = 5
_SERVER_ERROR = 500
SECONDS = 3.0

# Says in one line how it went. A datagram needs an answer to count: to port 53 it is a question
# for cluster.local (any name server answers something), elsewhere a line of text.
_PLAIN = """
import socket, sys, time
kind, source, address, port, limit = sys.argv[1:]
number = {"TCP": 6, "UDP": 17, "SCTP": 132}[kind]
stream = socket.SOCK_DGRAM if kind == "UDP" else socket.SOCK_STREAM
made = socket.socket(socket.AF_INET, stream, number)
made.settimeout(float(limit))
began = time.monotonic()
try:
    made.bind(("", int(source)))
except OSError:
    print("TAKEN 0 -")
    sys.exit()
try:
    made.connect((address, int(port)))
    said = ""
    if kind == "UDP":
        asked = b"L4\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\7cluster\\5local\\0\\0\\1\\0\\1"
        made.send(asked if port == "53" else b"l4lab-path\\n")
        said = "%d bytes came back" % len(made.recv(2048))
    print("OPEN", time.monotonic() - began, "%s:%d" % made.getsockname()[:2], said)
except socket.timeout:
    print("TIMEOUT", 0, "-", "no answer within %s s" % limit)
except ConnectionRefusedError:
    print("REFUSED", 0, "-", "connection refused")
except ConnectionResetError:
    print("RESET", 0, "-", "connection reset")
except OSError as failed:
    print("UNREACHABLE", 0, "-", failed.strerror)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the connection went."""

    fault: Fault | None
    connected: bool
    """The handshake came to its end (a datagram: it was answered)."""
    said: str
    """The answer, or how it failed, in a few words."""
    port: int
    """The source port."""
    source: str = ""
    """Source address and port, where it connected."""
    served_by: str = ""
    seconds: float = 0.0


def scheme(target: Target) -> str:
    """``http`` or ``https`` where the port is known to speak it, else empty."""
    if target.protocol != "TCP":
        return ""
    port = target.service_port
    words = f"{port.app} {port.name}".lower() if port else ""
    numbers = {target.port} | ({int(port.target)} if port and port.target.isdecimal() else set())
    if "https" in words or numbers & _TLS_PORTS:
        return "https"
    return "http" if "http" in words or numbers & _WEB_PORTS else ""


def send(
    look: Look, within: list[str], *, target: Target, address: str, ports: Iterator[int]
) -> Outcome:
    """Connect once.

    Args:
        look: The machine to send from.
        within: What is put before the command, to run it in a pod's network.
        target: Who is asked; its name goes into the request.
        address: The address its name gave.
        ports: Source ports to try, of which one must be free.

    Raises:
        CannotMeasure: The probe did not run, or no port was free.
    """
    for _ in range(_TRIES):
        port = next(ports)
        how = _curl if scheme(target) else _plain
        outcome = how(look, within, target=target, address=address, port=port)
        if outcome:
            return outcome
    raise CannotMeasure("no source port was free for the probe")


def _curl(
    look: Look, within: list[str], *, target: Target, address: str, port: int
) -> Outcome | None:
    url = f"{scheme(target)}://{target.asked}/"
    resolve = ["--resolve", f"{target.asked}:{address}"] if target.name else []
    known = ["--local-port", str(port), *resolve]
    program, *rest = network.curl_argv(url)
    shown = [*within, program, "-sSi", *known, url]
    result = look.run([*within, program, *known, *rest], shown=shown)
    answers = network.read_curl(result)
    if result.rc == _PORT_TAKEN:
        return None
    if not answers:
        raise CannotMeasure(f"curl did not run on {look.vantage}: {result.last_line}")
    answer = answers[0]
    fault, said = answer.fault, str(answer)
    connected = answer.connect_seconds > 0
    if answer.status:
        fault = Fault.HTTP if answer.status >= _SERVER_ERROR else None
    elif connected and "HTTP/0.9" in answer.message:
        fault, said = None, "the connection opened; what answers does not speak HTTP"
    elif not connected and fault:
        said = answer.message or said
    return Outcome(
        fault=fault,
        connected=connected,
        said=said,
        port=port,
        source=answer.source if connected else "",
        served_by=answer.served_by,
        seconds=answer.connect_seconds,
    )


def _plain(
    look: Look, within: list[str], *, target: Target, address: str, port: int
) -> Outcome | None:
    ends = [str(port), address, str(target.port)]
    words = ["python3", "-c", _PLAIN, target.protocol, *ends, f"{SECONDS:g}"]
    shown = ["socat", "-T3", "-", f"{target.protocol}4:{address}:{target.port},sourceport={port}"]
    result = look.run([*within, *words], shown=[*within, *shown])
    return _read_plain(result, target.protocol, port)


def _read_plain(result: Result, protocol: str, port: int) -> Outcome | None:
    words = result.stdout.strip().split(" ", 3)
    if words[0] == "TAKEN":
        return None
    if words[0] == "OPEN":
        said = "".join(words[3:4]) or f"the {protocol} connection opened"
        return Outcome(
            fault=None,
            connected=True,
            said=said,
            port=port,
            source=words[2],
            seconds=float(words[1]),
        )
    if words[0] not in Fault.__members__:
        raise CannotMeasure(f"the probe did not run: {result.last_line}")
    return Outcome(fault=Fault[words[0]], connected=False, said=words[-1], port=port)
