"""HTTP requests as checks make them: the curl and wget commands, and how to read their answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from l4lab.checks.model import Fault
from l4lab.command import Result

AGENT = "l4lab-check"
"""Every probe says who it is, so that it is told from a learner's requests in any log."""
CONNECT_SECONDS = 3.0
ATTEMPT_SECONDS = 5.0

_FIELDS = (
    "%{exitcode}",
    "%{http_code}",
    "%{time_connect}",
    "%{local_ip}:%{local_port}",
    "%header{x-served-by}",
    "%{errormsg}",
)
_FORMAT = "\\n" + "|".join(_FIELDS) + "\\n"

# curl's exit codes, from its manual.
_FAULTS = {
    6: Fault.DNS,
    7: Fault.REFUSED,
    28: Fault.TIMEOUT,
    52: Fault.RESET,
    55: Fault.RESET,
    56: Fault.RESET,
    60: Fault.CERTIFICATE,
}
_COULD_NOT_CONNECT = 7
_OK = 200
_CONNECT_FAILED = re.compile(r"connect to \S+ port \d+ (?:from \S+ port \d+ )?failed: (.+)")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request came back with."""

    fault: Fault | None
    status: int = 0
    connect_seconds: float = 0.0
    source: str = ""
    """Address and port the request left from."""
    served_by: str = ""
    """The pod's own name, where its answer carries it."""
    message: str = ""

    @property
    def fine(self) -> bool:
        """Whether it was answered with HTTP 200."""
        return self.fault is None

    def __str__(self) -> str:
        if self.fault is Fault.HTTP or self.fault is None:
            return f"HTTP {self.status}"
        # A class says it all where it is a clear one, and equal answers can then be counted.
        clear = self.fault in (Fault.REFUSED, Fault.TIMEOUT)
        return str(self.fault) if clear or not self.message else f"{self.fault} ({self.message})"


def curl_argv(url: str, *, times: int = 1) -> list[str]:
    """The curl command for ``times`` requests, each on a connection of its own."""
    many = f"{url}?[1-{times}]" if times > 1 else url
    return [
        "curl",
        "-sSvk",
        "--noproxy",
        "*",
        "-A",
        AGENT,
        "-H",
        "Connection: close",
        "--connect-timeout",
        f"{CONNECT_SECONDS:g}",
        "--max-time",
        f"{ATTEMPT_SECONDS:g}",
        "-o",
        "/dev/null",
        "-w",
        _FORMAT,
        many,
    ]


def read_curl(result: Result) -> list[Answer]:
    """The answers in the output of ``curl_argv``'s command, in order."""
    # curl says only "couldn't connect" in its message; why is in the -v lines, in the same order.
    reasons = iter(_CONNECT_FAILED.findall(result.stderr))
    answers = []
    for line in result.stdout.splitlines():
        words = line.split("|", len(_FIELDS) - 1)
        if len(words) != len(_FIELDS) or not words[0].isdecimal():
            continue
        code, status, connect, source, served_by, message = words
        rc = int(code)
        fault = _FAULTS.get(rc, Fault.OTHER) if rc else None
        if rc == _COULD_NOT_CONNECT:
            message = next(reasons, message)
            if "refused" not in message.lower():
                fault = Fault.UNREACHABLE
        elif rc == 0 and int(status) != _OK:
            fault = Fault.HTTP
        answers.append(
            Answer(
                fault=fault,
                status=int(status),
                connect_seconds=float(connect),
                source=source,
                served_by=served_by.strip(),
                message=message.strip(),
            )
        )
    return answers


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What busybox's wget said: the address the name gave, and the answer."""

    fault: Fault | None
    address: str = ""
    message: str = ""

    def __str__(self) -> str:
        return f"{self.fault} ({self.message})" if self.fault else f"answered from {self.address}"


_WGET_FAULTS = (
    ("bad address", Fault.DNS),
    ("can't connect to remote host", Fault.REFUSED),
    ("timed out", Fault.TIMEOUT),
    ("server returned error", Fault.HTTP),
    ("connection reset", Fault.RESET),
    ("error getting response", Fault.RESET),
)
_TERMINATED = 143  # what busybox's timeout leaves: ended by signal 15
_CONNECTING = re.compile(r"Connecting to \S+ \((?:\[?)([0-9a-fA-F.:]+?)\]?:\d+\)")


def wget_argv(url: str) -> list[str]:
    """The wget command that busybox understands; it says which address it connects to.

    Its own ``-T`` is left alone: Debian 12's busybox (1.35) dies of it with a segmentation fault.
    """
    limit = ["timeout", f"{CONNECT_SECONDS:g}"]
    return [*limit, "wget", "-U", AGENT, "-O", "/dev/null", url]


def read_wget(result: Result) -> Fetched:
    """What the command of ``wget_argv`` said."""
    text = result.stderr + result.stdout
    found = _CONNECTING.search(text)
    address = found.group(1) if found else ""
    if result.succeeded:
        return Fetched(fault=None, address=address)
    said = [line for line in text.splitlines() if line.startswith("wget:")]
    message = said[-1].removeprefix("wget:").strip() if said else result.last_line
    lowered = message.lower()
    if result.rc == _TERMINATED:
        return Fetched(fault=Fault.TIMEOUT, address=address, message="no answer in time")
    fault = next((fault for words, fault in _WGET_FAULTS if words in lowered), Fault.OTHER)
    if fault is Fault.REFUSED and ("no route" in lowered or "unreachable" in lowered):
        fault = Fault.UNREACHABLE
    return Fetched(fault=fault, address=address, message=message)


_ADDRESS = re.compile(r"^Address(?: \d+)?:\s*([0-9a-fA-F.:]+)", re.MULTILINE)


def read_nslookup(text: str) -> list[str]:
    """The addresses in nslookup's answer, without the server's own in its first paragraph."""
    _, _, answer = text.partition("\n\n")
    return sorted(set(_ADDRESS.findall(answer)))


def tally(words: Iterable[str]) -> dict[str, int]:
    """Distinct answers and how often each came, the most frequent first."""
    return dict(Counter(words).most_common())


def spoken(counts: dict[str, int]) -> str:
    """Counts in one line: ``10.244.1.5 x 4, 10.244.2.6 x 4``."""
    return ", ".join(f"{what} x {times}" for what, times in counts.items()) or "nothing"


def worst(answers: Sequence[Answer]) -> Answer | None:
    """The first answer that was not fine, or None."""
    return next((answer for answer in answers if not answer.fine), None)
