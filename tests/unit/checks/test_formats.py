"""The forms for other programs, as those programs read them."""

import csv
import io
import json
import shutil
import subprocess

import pytest

from l4lab.checks import CheckResult, Fault, LabReport, State
from l4lab.checks.formats import FORMATS, cell, to_csv, to_gradescope, to_json_lines, to_tap

proven = pytest.mark.skipif(not shutil.which("prove"), reason="prove is not installed (perl)")


def result(state, id, vantage="host", **rest):
    texts = {"title": "it answers", "why": "w", "kind": "check", "expected": "HTTP 200"}
    more = {"seen": "HTTP 200", "guide": "labs/x/README.md#a"}
    return CheckResult(state=state, id=id, vantage=vantage, **{**texts, **more, **rest})


@pytest.fixture
def report():
    results = (
        result(State.PASS, "one", "node a"),
        result(State.FAIL, "one", "node b", seen="REFUSED\x1b[0m #1", fault=Fault.REFUSED),
        result(State.SKIP, "two", seen="one\nnode # only"),
        result(State.ERROR, "three", seen="no ssh"),
        result(State.FLAKY, "four", seen="=1+1"),
        result(State.PASS, "five", counts={"pod-a": 3}),
    )
    return LabReport(lab="x", results=results, seconds=3.6)


@proven
def test_tap_is_read_by_prove(report, tmp_path):
    file = tmp_path / "results.tap"
    file.write_text(to_tap(report))
    done = subprocess.run(
        ["prove", "--verbose", "--exec", "cat", file], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "Failed 3/6 subtests" in done.stdout
    assert "(less 1 skipped subtest: 2 okay)" in done.stdout
    assert "Parse errors" not in done.stdout
    assert "ok 3 - two, host # SKIP one node # only\n" in file.read_text()
    assert "    FAIL one, node b: it answers\n" in file.read_text()


@proven
def test_tap_of_what_is_green_succeeds(tmp_path):
    file = tmp_path / "results.tap"
    green = (result(State.PASS, "one"), result(State.SKIP, "two", seen="not here"))
    file.write_text(to_tap(LabReport(lab="x", results=green, seconds=1)))
    subprocess.run(["prove", "--exec", "cat", file], check=True, capture_output=True)


def test_gradescope_counts_only_what_was_measured(report):
    data = json.loads(to_gradescope(report))
    points = {one["name"].partition(":")[0]: one.get("score") for one in data["tests"]}
    assert points == {"one": 0.5, "two": None, "three": None, "four": 0, "five": 1}
    assert data["score"] == 1.5
    assert {one["max_score"] for one in data["tests"] if "score" in one} == {1}
    failed = [one for one in data["tests"] if one.get("status") == "failed"]
    assert [one["name"] for one in failed] == ["one: it answers", "four: it answers"]
    assert "pass node a: HTTP 200\n\nFAIL one, node b: it answers" in failed[0]["output"]


def test_a_json_line_each(report):
    rows = [json.loads(line) for line in to_json_lines(report).splitlines()]
    assert [(one["lab"], one["id"], one["state"]) for one in rows][1] == ("x", "one", "fail")
    assert rows[5]["counts"] == {"pod-a": 3}


def test_csv_is_safe_to_open_in_a_spreadsheet(report):
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [row["state"] for row in rows] == ["pass", "fail", "skip", "error", "flaky", "pass"]
    assert rows[4]["seen"] == "'=1+1"
    assert "\x1b" not in to_csv(report)


def test_all_forms_are_on_the_command_line():
    from l4lab.commands.labs import check

    assert set(FORMATS) <= {option.name for option in check.params}


def test_an_empty_cell_stays_empty():
    assert [cell(text) for text in ("", "a=b", "\tx", "@x")] == ["", "a=b", "'\tx", "'@x"]
