"""Checking again and again until all is green: for somebody who mends, or waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from l4lab.checks.model import CheckResult
from l4lab.checks.report import LabReport, sort_results

PATIENCE = 0.1
"""How much of its budget a check has in one round: the next round comes anyway."""

Look = Callable[[Sequence[str]], LabReport]


def watch(
    look: Look,
    ids: Sequence[str],
    *,
    within: float | None = None,
    every: float = 1.0,
    told: Callable[[LabReport], None] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> LabReport:
    """Run checks until all of them are green; after the first round only those that are red.

    When none is red any more, all are run once again: one may have turned red meanwhile.

    Args:
        look: Runs the checks with these ids.
        ids: The checks, in the order of the lab.
        within: Seconds after which no further round begins; for ever without it.
        every: Seconds between two rounds.
        told: Called after each round with what is known of all checks.
        now: Where time comes from, in seconds.
        sleep: Waits so many seconds.

    Returns:
        The last that is known of every check.
    """
    started = now()
    latest: dict[str, list[CheckResult]] = {}
    asked: Sequence[str] = ids
    while True:
        report = look(asked)
        for name in asked:
            latest[name] = [result for result in report.results if result.id == name]
        known = [result for results in latest.values() for result in results]
        report = replace(report, results=sort_results(known, ids), seconds=now() - started)
        if told:
            told(report)
        whole = len(asked) == len(ids)
        if (whole and not report.red) or (within is not None and now() - started >= within):
            return report
        asked = report.red or ids
        if report.red:
            sleep(every)
