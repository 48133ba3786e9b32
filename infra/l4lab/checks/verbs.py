"""The three verbs of a check, and the loop that judges a check by them.

Time comes from a ``Clock``, so the whole loop is tested without waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from l4lab.checks.model import CannotMeasure, Hopeless, NotHere, Seen, State, Unmet

SETTLE = 30.0
"""Seconds a cluster may need after a change (kube-proxy was seen to need them on a busy machine);
a failure later than that makes a pass flaky."""

AT_WORK = 180.0
"""Seconds, at most, that a cluster known to be at work is waited for beyond a budget: kube-proxy
was seen to take 37 s to write one change on a busy machine, and a lab makes several."""

_FIRST_LOOK = 15.0
"""Seconds to wait for a first look that can measure, where a verb wants no settling: cluster DNS
learns of a new Service a moment after everybody else."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since some fixed moment."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class WallClock:
    """Real time."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Really wait."""
        time.sleep(seconds)


class Stopped(Exception):  # noqa: N818 (a signal)
    """The run was broken off while this check waited."""


class StoppableClock(WallClock):
    """Real time, whose sleepers wake with ``Stopped`` when the run is broken off."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends first."""
        if self._stop.wait(seconds):
            raise Stopped

    def stop(self) -> None:
        """Wake all sleepers, now and from now on."""
        self._stop.set()


@dataclass(frozen=True, kw_only=True)
class Hold:
    """How often and for how long green must be seen before it counts."""

    samples: int = 3
    over: float = 2.0


ONCE = Hold(samples=1, over=0.0)


@dataclass(frozen=True, kw_only=True)
class Eventually:
    """It becomes true within some seconds, and then holds."""

    within: float = 20.0
    every: float = 0.5
    hold: Hold = Hold()


@dataclass(frozen=True, kw_only=True)
class Consistently:
    """It is true from the first look on, for as long as one looks."""

    for_: float
    every: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Never:
    """What the function describes does not happen: it raises ``Unmet`` at every look."""

    for_: float
    every: float = 1.0


Verb = Eventually | Consistently | Never


def eventually(*, within: float = 20.0, every: float = 0.5, hold: Hold | None = None) -> Verb:
    """It becomes true within ``within`` seconds, looked at ``every`` so many, and then holds."""
    return Eventually(within=within, every=every, hold=hold or Hold())


def consistently(*, for_: float, every: float = 1.0) -> Verb:
    """It is true at every look for ``for_`` seconds."""
    return Consistently(for_=for_, every=every)


def never(*, for_: float, every: float = 1.0) -> Verb:
    """What the function describes happens at no look within ``for_`` seconds."""
    return Never(for_=for_, every=every)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the loop found."""

    state: State
    attempts: int
    seconds: float
    failing_for: float = 0.0
    seen: Seen | None = None
    unmet: Unmet | None = None
    error: CannotMeasure | None = None
    skipped: str = ""


Sample = Callable[[], Seen]


def _at_rest() -> bool:
    return False


def judge(
    verb: Verb,
    sample: Sample,
    *,
    clock: Clock,
    factor: float = 1.0,
    patience: float = 1.0,
    at_work: Callable[[], bool] = _at_rest,
) -> Verdict:
    """Take samples until the verb is decided.

    Args:
        verb: What must hold, and for how long.
        sample: One look: returns what was seen, or raises what was wrong.
        clock: Where time comes from.
        factor: How many times slower than normal the machines are; budgets grow with it, the
            time green must hold does not.
        patience: Scales the budget alone: how soon we give up says nothing of how soon a cluster
            settles.
        at_work: Whether the cluster is known to be still at what it was told. A budget that is
            over then goes on, ``AT_WORK`` seconds at most, and one more look is taken once it has
            ended; what is red meanwhile makes no pass flaky.
    """
    match verb:
        case Eventually():
            within = verb.within * factor * patience
            settle = SETTLE * factor
            return _eventually(
                verb, sample, clock=clock, within=within, settle=settle, at_work=at_work
            )
        case Consistently():
            ready = _FIRST_LOOK * factor * patience
            return _throughout(verb, sample, clock=clock, ready=ready)
        case Never():
            ready = _FIRST_LOOK * factor * patience
            return _throughout(verb, _inverted(sample), clock=clock, ready=ready)


def _eventually(
    verb: Eventually,
    sample: Sample,
    *,
    clock: Clock,
    within: float,
    settle: float,
    at_work: Callable[[], bool],
) -> Verdict:
    started = clock.now()
    streak = attempts = 0
    first_bad: float | None = None
    last_bad = unexcused = started
    working = False
    while True:
        attempts += 1
        begun = clock.now()
        outcome = _look(sample)
        now = clock.now()
        if isinstance(outcome, Seen):
            streak += 1
            if streak >= verb.hold.samples:
                late = first_bad is not None and unexcused - started > settle
                return Verdict(
                    state=State.FLAKY if late else State.PASS,
                    attempts=attempts,
                    seconds=now - started,
                    failing_for=last_bad - first_bad if first_bad is not None else 0.0,
                    seen=outcome,
                )
            gap = verb.hold.over / max(verb.hold.samples - 1, 1)
            clock.sleep(max(gap - (now - begun), 0.0))
            continue
        streak = 0
        first_bad = begun if first_bad is None else first_bad
        last_bad = now
        waited = now - started
        worked, working = working, waited >= min(within, settle) and at_work()
        # A look during which the work ended may have come too early: one more is taken.
        idle = not (working or worked)
        if idle:
            unexcused = now
        over = waited >= within + (0 if idle else AT_WORK)
        if _final(outcome) or over:
            return _bad(outcome, attempts, seconds=waited, failing_for=now - first_bad)
        clock.sleep(verb.every)


def _throughout(
    verb: Consistently | Never, sample: Sample, *, clock: Clock, ready: float
) -> Verdict:
    asked = clock.now()
    started: float | None = None
    attempts = 0
    while True:
        attempts += 1
        begun = clock.now()
        outcome = _look(sample)
        now = clock.now()
        blind = isinstance(outcome, CannotMeasure) and not outcome.final
        if started is None and blind and now - asked < ready:
            clock.sleep(verb.every)
            continue
        started = begun if started is None else started
        passed = now - started
        if not isinstance(outcome, Seen):
            failing = now - asked if blind and attempts > 1 else 0.0
            return _bad(outcome, attempts, seconds=now - asked, failing_for=failing)
        if passed >= verb.for_:
            return Verdict(state=State.PASS, attempts=attempts, seconds=passed, seen=outcome)
        clock.sleep(verb.every)


def _inverted(sample: Sample) -> Sample:
    def inverted() -> Seen:
        try:
            seen = sample()
        except Hopeless:
            raise
        except Unmet as absent:
            return Seen(absent.seen, absent.counts)
        raise Unmet(seen.text, counts=seen.counts)

    return inverted


_Outcome = Seen | Unmet | CannotMeasure | NotHere


def _look(sample: Sample) -> _Outcome:
    try:
        return sample()
    except (Unmet, CannotMeasure, NotHere) as outcome:
        return outcome


def _final(outcome: _Outcome) -> bool:
    return isinstance(outcome, Hopeless | NotHere) or (
        isinstance(outcome, CannotMeasure) and outcome.final
    )


def _bad(outcome: _Outcome, attempts: int, *, seconds: float, failing_for: float) -> Verdict:
    if isinstance(outcome, NotHere):
        return Verdict(state=State.SKIP, attempts=attempts, seconds=seconds, skipped=str(outcome))
    if isinstance(outcome, CannotMeasure):
        return Verdict(
            state=State.ERROR,
            attempts=attempts,
            seconds=seconds,
            failing_for=failing_for,
            error=outcome,
        )
    return Verdict(
        state=State.FAIL,
        attempts=attempts,
        seconds=seconds,
        failing_for=failing_for,
        unmet=outcome if isinstance(outcome, Unmet) else None,
    )
