"""The forms other programs read a report in: TAP, Gradescope's results file, JSON lines, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from l4lab.checks.model import CheckResult, State
from l4lab.checks.report import LabReport, as_data, explain, printable

_COLUMNS: Final = (
    "lab",
    "check",
    "vantage",
    "state",
    "seen",
    "expected",
    "attempts",
    "seconds",
    "command",
    "guide",
)


def to_tap(report: LabReport) -> str:
    """TAP version 13, which all read: a test point each check and vantage, red ones explained."""
    lines = ["TAP version 13", f"1..{len(report.results)}"]
    for number, result in enumerate(report.results, start=1):
        word = "ok" if result.green else "not ok"
        # A # would begin a directive.
        point = f"{word} {number} - {result.id}, {result.vantage}".replace("#", "\\#")
        if result.state is State.SKIP:
            point += f" # SKIP {_in_one_line(result.seen)}"
        lines.append(point)
        if not result.green:
            text = printable(explain(result)).splitlines()
            lines += ["  ---", "  message: |", *(f"    {line}" for line in text), "  ..."]
    return "\n".join([*lines, ""])


def to_gradescope(report: LabReport) -> str:
    """Gradescope's ``results.json``: a test each check, one point, shared by its vantages.

    Only what was measured counts: a check that was skipped, or could not be measured, is shown
    without points, so that it lowers nobody's score.
    """
    tests = []
    for id_ in dict.fromkeys(result.id for result in report.results):
        results = [one for one in report.results if one.id == id_]
        measured = [one for one in results if one.state not in (State.SKIP, State.ERROR)]
        test: dict[str, Any] = {
            "name": f"{id_}: {results[0].title}",
            "output": "\n\n".join(_told(one) for one in results),
        }
        if measured:
            good = sum(one.state is State.PASS for one in measured)
            test |= {
                "score": round(good / len(measured), 2),
                "max_score": 1,
                "status": "passed" if good == len(measured) else "failed",
            }
        tests.append(test)
    score = round(sum(test.get("score", 0) for test in tests), 2)
    data = {"score": score, "execution_time": round(report.seconds), "tests": tests}
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def to_json_lines(report: LabReport) -> str:
    """A JSON object a line, for each check and vantage."""
    lines = [
        json.dumps({"lab": report.lab, **as_data(result)}, ensure_ascii=False)
        for result in report.results
    ]
    return "\n".join([*lines, ""])


def to_csv(report: LabReport) -> str:
    """A row for each check and vantage, below a row of titles."""
    text = io.StringIO()
    rows = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    for result in report.results:
        data = as_data(result)
        row = {"lab": report.lab, "check": result.id, **data}
        rows.writerow({key: _in_a_cell(row[key]) for key in _COLUMNS})
    return text.getvalue()


@dataclass(frozen=True)
class Format:
    """A form: what people call it, and what writes a report in it."""

    title: str
    write: Callable[[LabReport], str]


FORMATS: Final[Mapping[str, Format]] = {
    "junit": Format("JUnit XML", LabReport.to_junit),
    "tap": Format("TAP", to_tap),
    "gradescope": Format("Gradescope's results.json", to_gradescope),
    "jsonl": Format("JSON lines", to_json_lines),
    "csv": Format("CSV", to_csv),
}
"""All forms, by the name the command line has for them."""


def _told(result: CheckResult) -> str:
    text = f"{result.state} {result.vantage}: {result.seen}" if result.green else explain(result)
    return printable(text)


def _in_one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _in_a_cell(value: object) -> object:
    return cell(printable(value)) if isinstance(value, str) else value


def cell(text: str) -> str:
    """A text for a cell of CSV; what a spreadsheet would take for a formula is marked as text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
