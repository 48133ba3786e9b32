"""Results of a class: kept, told as rows, CSV, JUnit and pages; names in any script."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from l4lab.checks import CheckResult, LabReport, State
from l4lab.classroom import pages, results
from l4lab.classroom.model import Classroom, Limits, Outcome, Student
from l4lab.place import Place
from l4lab.state import Paths, read_json

ANN = Student(id="ann", name="安娜 <b>", place=Place(student="ann", namespace="ann"))
BOB = Student(id="bob", name="=cmd()", place=Place(student="bob", namespace="bob"))
CLASS = Classroom(name="课", students=(ANN, BOB), labs=("clusterip",), limits=Limits())


def result(id_, state, seen="HTTP 200"):
    return CheckResult(
        id=id_,
        title="t",
        why="w",
        kind="check",
        vantage="api",
        state=state,
        expected="e",
        seen=seen,
        guide="g",
    )


@pytest.fixture
def paths(tmp_path):
    found = Paths(tmp_path)
    told = (
        result("endpoints", State.PASS),
        result("service-fields", State.FAIL, "password: hunter2\x00 <i>"),
    )
    results.keep(found, "ann", LabReport(lab="clusterip", results=told, seconds=1.0))
    return found


def test_rows_of_who_was_checked_and_who_was_not(paths):
    rows = results.rows(paths, CLASS, CLASS.students)
    assert [(row.student, row.check, row.state) for row in rows] == [
        ("ann", "endpoints", "pass"),
        ("ann", "service-fields", "fail"),
        ("bob", "", "not checked"),
    ]
    assert "hunter2" not in str(rows)


def test_csv_holds_no_formula(paths):
    rows = list(
        csv.DictReader(io.StringIO(results.to_csv(results.rows(paths, CLASS, CLASS.students))))
    )
    assert rows[0]["name"] == "安娜 <b>"
    assert rows[2]["name"] == "'=cmd()"
    assert rows[0]["evidence"] == "HTTP 200"


def test_junit_counts(paths):
    root = ET.fromstring(results.to_junit(results.rows(paths, CLASS, CLASS.students)))  # noqa: S314  # our own
    suites = {suite.get("name"): suite for suite in root}
    assert suites["ann.clusterip"].get("failures") == "1"
    assert suites["ann.clusterip"].get("tests") == "2"
    assert suites["bob.clusterip"].get("skipped") == "1"


def test_the_page_has_every_check_and_escapes_what_people_typed(paths):
    html = pages.report(CLASS, CLASS.students, results.rows(paths, CLASS, CLASS.students))
    assert "安娜 &lt;b&gt;" in html
    assert "service-fields" in html
    assert "1 fail, 1 pass" in html
    assert "not checked" in html
    assert "<i>" not in html


def test_cards_name_what_a_student_needs():
    html = pages.cards(CLASS, CLASS.students)
    assert "安娜 &lt;b&gt;" in html
    assert "ann.kubeconfig" in html
    assert html.count('class="card"') == 2


def states(paths, classroom=CLASS):
    return {row.student: row.state for row in results.rows(paths, classroom, classroom.students)}


def test_a_class_made_anew_has_none_of_the_earlier_ones_results(paths):
    before = results.kept(paths, "ann", "clusterip")
    moved = results.begin(paths, CLASS, running=False)
    assert states(paths) == {"ann": "not checked", "bob": "not checked"}
    assert read_json(moved / "ann" / "clusterip.json") == before
    report = LabReport(lab="clusterip", results=(result("selector", State.PASS),), seconds=1.0)
    results.keep(paths, "ann", report)
    again = results.begin(paths, CLASS, running=False)
    assert again != moved
    assert read_json(moved / "ann" / "clusterip.json") == before
    assert results.begin(paths, CLASS, running=False) is None, "there was nothing to move"


def test_a_class_that_goes_on_keeps_its_results_and_one_of_another_name_does_not(paths):
    assert results.begin(paths, CLASS, running=True) is None
    assert states(paths)["ann"] == "fail"
    other = replace(CLASS, name="another")
    assert results.begin(paths, other, running=True) is not None
    assert states(paths, other)["ann"] == "not checked"


def test_the_end_of_a_class_keeps_its_results_and_not_who_failed(paths):
    results.begin(paths, CLASS, running=True)
    results.remember(paths, "up", [Outcome(student="ann", ok=False, seconds=0, note="")])
    results.end(paths)
    assert results.failed_last(paths, "up") is None
    assert states(paths)["ann"] == "fail"
    assert [one.name for one in paths.classroom.iterdir()] == ["results"]


def test_who_failed_is_remembered_and_who_was_not_asked_stays(tmp_path):
    paths = Paths(tmp_path)

    def outcome(student, ok):
        return Outcome(student=student, ok=ok, seconds=0, note="")

    assert results.failed_last(paths, "up") is None
    results.remember(paths, "up", [outcome("ann", ok=False), outcome("bob", ok=False)])
    assert results.failed_last(paths, "up") == ["ann", "bob"]
    results.remember(paths, "up", [outcome("bob", ok=True)])
    assert results.failed_last(paths, "up") == ["ann"]
