"""The two pages of a class: the report, and the login cards. They need no network and no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2

from l4lab import page
from l4lab.classroom.model import Classroom, Student
from l4lab.classroom.results import Row

_FOLDER = Path(__file__).parent
_WORST = ("fail", "error", "flaky", "pass", "skip")
_CLASS_OF = {"not checked": "skip"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One lab of one student: the worst state, and how many results of each."""

    state: str
    text: str


def report(classroom: Classroom, students: Sequence[Student], rows: Sequence[Row]) -> str:
    """The report as HTML: a table of the class, then each student's checks with their evidence."""
    table = {
        student.id: [
            _cell([row for row in rows if (row.student, row.lab) == (student.id, lab)])
            for lab in classroom.labs
        ]
        for student in students
    }
    return _render(
        "report.html.j2",
        classroom=classroom,
        students=students,
        rows=rows,
        table=table,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def cards(
    classroom: Classroom, students: Sequence[Student], files: Mapping[str, Path] | None = None
) -> str:
    """The login cards as HTML, to be printed and cut.

    Args:
        classroom: The class.
        students: For whom.
        files: The settings file of each student's cluster, where they have clusters.
    """
    return _render("cards.html.j2", classroom=classroom, students=students, files=files or {})


def _cell(rows: Sequence[Row]) -> Cell:
    states = Counter(_CLASS_OF.get(row.state, row.state) for row in rows)
    state = next((one for one in _WORST if states[one]), "skip")
    if all(row.state == "not checked" for row in rows):
        return Cell(state="skip", text="not checked")
    return Cell(
        state=state, text=", ".join(f"{states[one]} {one}" for one in _WORST if states[one])
    )


def _render(name: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name).render(style=page.style(), **values)
