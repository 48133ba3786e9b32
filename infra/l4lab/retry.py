"""Waiting with a deadline: every wait says what it waits for and ends with the last thing seen."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimedOut(Exception):  # noqa: N818  # reads as what happened, where it is caught
    """A wait reached its deadline. ``str()`` is one line: what, how long, the last thing seen."""

    def __init__(self, what: str, seconds: float, last: str) -> None:
        super().__init__(f"{what}: not within {seconds:.0f} s; last seen: {last or 'nothing'}")
        self.last = last


def wait_for(
    what: str,
    probe: Callable[[], str | None],
    *,
    within: float,
    every: float = 0.25,
    meanwhile: Callable[[], None] | None = None,
) -> float:
    """Call ``probe`` until it returns None (done); a text it returns says what is still missing.

    Args:
        what: What is waited for, for the error.
        probe: Returns None when done, else the last thing seen.
        within: Seconds until the deadline.
        every: Seconds between two probes.
        meanwhile: Called between probes; may raise to end a hopeless wait.

    Returns:
        The seconds it took.

    Raises:
        TimedOut: At the deadline.
    """
    started = time.monotonic()
    while True:
        last = probe()
        waited = time.monotonic() - started
        if last is None:
            return waited
        if waited >= within:
            raise TimedOut(what, within, last)
        if meanwhile:
            meanwhile()
        time.sleep(every)
