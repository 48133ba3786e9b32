"""What a check is, what it can find, and what is kept of it: plain data, nothing runs here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l4lab.checks.look import Look
    from l4lab.checks.stage import Stage
    from l4lab.checks.verbs import Verb


class State(StrEnum):
    """How a check ended. Only pass, fail and flaky are measurements."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    ERROR = "error"
    """It could not be measured."""
    SKIP = "skip"
    FLAKY = "flaky"
    """It passed, but after a failure later than the time a cluster needs to settle."""


class Fault(StrEnum):
    """In which way a request over the network failed."""

    REFUSED = "REFUSED"
    TIMEOUT = "TIMEOUT"
    UNREACHABLE = "UNREACHABLE"
    RESET = "RESET"
    DNS = "DNS"
    HTTP = "HTTP"
    CERTIFICATE = "CERTIFICATE"
    """The server's certificate is not for the name asked for, or from nobody trusted."""
    MYSQL = "MYSQL"
    """The database server itself said no; its error number is in the text."""
    WRONG_BACKEND = "WRONG_BACKEND"
    SLOW_CONNECT = "SLOW_CONNECT"
    """The handshake needed a retransmission: a packet was lost."""
    OTHER = "OTHER"


class Where(StrEnum):
    """From which kind of place a check looks."""

    HOST = "host"
    """This process: on the node network, but not a node of the cluster."""
    NODE = "node"
    POD = "pod"
    DBHOST = "dbhost"
    API = "api"
    """The API server's answers, read with kubectl."""


@dataclass(frozen=True)
class Vantage:
    """One place to look from. An empty name stands for every machine of that kind."""

    where: Where
    name: str = ""

    def __str__(self) -> str:
        return f"{self.where} {self.name}".rstrip()


HOST = Vantage(Where.HOST)
API = Vantage(Where.API)
NODES = Vantage(Where.NODE)
"""Every node of the cluster, one line each."""
DBHOST = Vantage(Where.DBHOST)


class Traffic(StrEnum):
    """Whether a check sends requests through the Service: decides what may run beside it."""

    NONE = "none"
    SOME = "some"
    COUNTED = "counted"
    """It counts what it sends: nothing else may send meanwhile."""


@dataclass(eq=False)
class Unmet(Exception):  # noqa: N818 (an outcome, not an error of ours)
    """What was seen is not what was expected.

    Attributes:
        seen: What was seen, in one line.
        fault: The class of the network failure, where it is one.
        expected: What was expected, where the check's own text is not exact enough.
        causes: Likely causes, the likeliest first.
        then: The next command to try, as a learner would type it.
        counts: Distinct answers and how often each came.
    """

    seen: str
    fault: Fault | None = None
    expected: str | None = None
    causes: Sequence[str] = ()
    then: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        known = self.fault is None or self.fault in self.seen
        return self.seen if known else f"{self.fault}: {self.seen}"


class Hopeless(Unmet):
    """Not as expected, and waiting will not mend it (ImagePullBackOff, no such Service...)."""


@dataclass(eq=False)
class CannotMeasure(Exception):  # noqa: N818 (an outcome, not an error of ours)
    """The probe itself did not work, so nothing is known about what it should measure."""

    why: str
    then: str | None = None
    final: bool = False
    """Trying again is useless."""

    def __str__(self) -> str:
        return self.why


class NotHere(Exception):  # noqa: N818 (an outcome, not an error of ours)
    """The check has no meaning on this cluster; the text says why."""


@dataclass(frozen=True)
class Seen:
    """What a check found when all was well."""

    text: str
    counts: Mapping[str, int] = field(default_factory=dict)


Function = Callable[["Look"], Seen]
Change = Callable[["Stage"], Seen]


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One stage of the way a request takes, walked only when a request has failed.

    The first hop whose ``probe`` returns a text is where things begin to differ.
    """

    name: str
    probe: Callable[[Look], str | None]
    causes: tuple[str, ...] = ()
    then: str | None = None


@dataclass(frozen=True, kw_only=True)
class Check:
    """One assertion of a lab. It only looks; an exercise may change and puts back."""

    id: str
    title: str
    why: str
    expect: str
    anchor: str
    vantages: tuple[Vantage, ...]
    verb: Verb
    traffic: Traffic
    path: tuple[Hop, ...]
    function: Function
    mode: str | None = None
    """kube-proxy's mode in which it holds; None for all."""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One step that changes the lab, proves the effect and puts everything back."""

    id: str
    title: str
    why: str
    expect: str
    anchor: str
    budget: float
    """Seconds for each wait inside it, on a machine of normal speed."""
    function: Change
    mode: str | None = None
    """kube-proxy's mode in which it holds; None for all."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One command and what it gave: the raw trace of a check."""

    at: float
    """Seconds since the run of checks began."""
    vantage: str
    command: str
    """As a learner would type it."""
    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What became of one check at one vantage."""

    id: str
    title: str
    why: str
    kind: str
    """``check`` or ``exercise``."""
    vantage: str
    state: State
    expected: str
    seen: str
    guide: str
    """File and heading of the guide that explains it."""
    command: str = ""
    attempts: int = 1
    seconds: float = 0.0
    failing_for: float = 0.0
    """Seconds between the first and the last failed attempt."""
    fault: Fault | None = None
    hop: str | None = None
    causes: tuple[str, ...] = ()
    then: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    trace: tuple[Observation, ...] = ()

    @property
    def green(self) -> bool:
        """Whether it passed, or had nothing to measure."""
        return self.state in (State.PASS, State.SKIP)
