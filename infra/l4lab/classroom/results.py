"""What came of the checks of a class: kept apart from what a reset takes away.

They are of one class: from its first ``class up`` to its end, under one name. Results outlive all
of that, so what is there when another class begins is moved out of its way.
"""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from l4lab.checks import LabReport
from l4lab.checks.diagnosis import redacted
from l4lab.checks.formats import cell
from l4lab.checks.report import as_data, printable
from l4lab.classroom.model import Classroom, Outcome, Student
from l4lab.state import Paths, read_json, write_json

_EVIDENCE: Final = 400
_EARLIER: Final = "_earlier"  # no student can be called so
_GREEN: Final = ("pass", "skip")
COLUMNS: Final = ("student", "name", "lab", "check", "vantage", "state", "evidence", "measured")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One check of one student's lab, at one vantage."""

    student: str
    name: str
    lab: str
    check: str
    vantage: str
    state: str
    evidence: str
    measured: str


def begin(paths: Paths, classroom: Classroom, *, running: bool) -> Path | None:
    """Begin with no results where a class is made anew.

    Args:
        paths: The state.
        classroom: The class that is being brought up.
        running: Whether a student of a class has a place, or a cluster, already.

    Returns:
        Where the results of the earlier class are now; None where there were none.
    """
    known = read_json(_record(paths)) or {"name": classroom.name}
    moved = None
    if not running or known["name"] != classroom.name:
        moved = _set_aside(paths)
    write_json(_record(paths), {"name": classroom.name})
    return moved


def end(paths: Paths) -> None:
    """Forget who failed, and that there was a class; its results are kept."""
    shutil.rmtree(_last(paths, "any").parent, ignore_errors=True)
    _record(paths).unlink(missing_ok=True)


def _set_aside(paths: Paths) -> Path | None:
    root = paths.class_results
    found = [one for one in root.iterdir() if one.name != _EARLIER] if root.is_dir() else []
    if not found:
        return None
    (root / _EARLIER).mkdir(mode=0o700, exist_ok=True)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    aside = Path(tempfile.mkdtemp(prefix=f"{today}-", dir=root / _EARLIER))
    for one in found:
        one.rename(aside / one.name)
    return aside


def keep(paths: Paths, student: str, report: LabReport) -> None:
    """Keep the results of one lab of one student; they take the place of the last ones."""
    rows = []
    for result in report.results:
        data = as_data(result)
        data["evidence"] = redacted(result.seen)[:_EVIDENCE]
        rows.append(data)
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    write_json(
        _file(paths, student, report.lab),
        {"measured": moment, "passed": report.passed, "results": rows},
    )


def kept(paths: Paths, student: str, lab: str) -> dict[str, Any] | None:
    """What was kept of a lab of a student; None where it was never checked."""
    return read_json(_file(paths, student, lab))


def outcome(student: str, report: LabReport) -> Outcome:
    """A student's turn in ``check``, in a line and as data."""
    red = ", ".join(report.red)
    good = sum(result.green for result in report.results)
    return Outcome(
        student=student,
        ok=report.passed,
        seconds=report.seconds,
        note=f"{good} of {len(report.results)} green" + (f"; not green: {red}" if red else ""),
        next=f"./l4lab class report --only {student}" if red else None,
        data={"red": list(report.red), "passed": report.passed},
    )


def rows(paths: Paths, classroom: Classroom, students: Iterable[Student]) -> list[Row]:
    """Every check of every student, in the order of the class; a lab not checked is one row."""
    found = []
    for student in students:
        for lab in classroom.labs:
            head = {"student": student.id, "name": student.name, "lab": lab}
            data = kept(paths, student.id, lab)
            if data is None:
                blank = dict.fromkeys(COLUMNS[3:], "")
                found.append(Row(**head, **{**blank, "state": "not checked"}))
                continue
            found += [
                Row(
                    **head,
                    check=one["id"],
                    vantage=one["vantage"],
                    state=one["state"],
                    evidence=one["evidence"],
                    measured=data["measured"],
                )
                for one in data["results"]
            ]
    return found


def to_csv(found: Sequence[Row]) -> str:
    """The rows as CSV; what a spreadsheet would take for a formula is marked as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in found:
        writer.writerow([cell(str(getattr(row, column))) for column in COLUMNS])
    return text.getvalue()


def to_junit(found: Sequence[Row]) -> str:
    """The rows as JUnit XML: a suite a student and lab, a case a check and vantage."""
    root = ET.Element("testsuites")
    suites: dict[tuple[str, str], ET.Element] = {}
    for row in found:
        suite = suites.get((row.student, row.lab))
        if suite is None:
            name = f"{row.student}.{row.lab}"
            suite = suites[row.student, row.lab] = ET.SubElement(root, "testsuite", name=name)
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{row.student}.{row.lab}",
            name=f"{row.check} ({row.vantage})" if row.check else "not checked",
        )
        if row.state in ("skip", "not checked"):
            ET.SubElement(case, "skipped", message=row.evidence or row.state)
        elif row.state not in _GREEN:
            tag = "error" if row.state == "error" else "failure"
            ET.SubElement(case, tag, message=row.evidence, type=row.state)
    for suite in suites.values():
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
        suite.set("tests", str(len(suite)))
    ET.indent(root)
    text = printable(ET.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def remember(paths: Paths, turn: str, outcomes: Sequence[Outcome]) -> None:
    """Note who failed, for ``--failed``; who was not asked this time stays as noted."""
    noted = failed_last(paths, turn) or []
    asked = {one.student for one in outcomes}
    failed = [one for one in noted if one not in asked]
    failed += [one.student for one in outcomes if not one.ok]
    write_json(_last(paths, turn), {"failed": failed})


def failed_last(paths: Paths, turn: str) -> list[str] | None:
    """Who failed when that was done last; None where it was never done."""
    data = read_json(_last(paths, turn))
    return None if data is None else list(data["failed"])


def _file(paths: Paths, student: str, lab: str) -> Path:
    return paths.class_results / student / f"{lab}.json"


def _last(paths: Paths, turn: str) -> Path:
    return paths.classroom / "last" / f"{turn}.json"


def _record(paths: Paths) -> Path:
    return paths.classroom / "class.json"
