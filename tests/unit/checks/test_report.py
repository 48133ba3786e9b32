"""The three shapes of a report."""

import json
import xml.etree.ElementTree as ET

import pytest

from l4lab.checks import CheckResult, Fault, LabReport, State, explain


def result(state=State.PASS, **rest):
    texts = {"id": "one", "title": "it answers", "why": "w", "kind": "check", "vantage": "host"}
    more = {"expected": "HTTP 200", "seen": "HTTP 200", "guide": "labs/x/README.md#a"}
    return CheckResult(state=state, **{**texts, **more, **rest})


def report(*results):
    return LabReport(lab="x", results=results, seconds=3.21)


@pytest.mark.parametrize(
    ("states", "passed"),
    [
        ([State.PASS, State.SKIP], True),
        ([State.PASS, State.FAIL], False),
        ([State.PASS, State.ERROR], False),
        ([State.PASS, State.FLAKY], False),
        ([State.SKIP], False),
        ([], False),
    ],
)
def test_passed_needs_something_measured_and_nothing_red(states, passed):
    assert report(*map(result, states)).passed is passed


def test_the_worst_vantage_decides_the_state_of_a_check():
    found = report(result(), result(State.ERROR), result(State.FAIL, vantage="node a"))
    assert found.state_of("one") is State.FAIL
    assert found.red == ("one",)


def test_json_is_complete_and_without_raw_traces():
    data = json.loads(report(result(State.FAIL, fault=Fault.REFUSED, counts={"x": 2})).to_json())
    assert data["passed"] is False
    assert data["states"] == {"fail": 1}
    (found,) = data["results"]
    assert (found["fault"], found["counts"]) == ("REFUSED", {"x": 2})
    assert found["causes"]
    assert "trace" not in found


def test_junit_has_a_case_for_each_check_and_vantage():
    text = report(
        result(),
        result(State.FAIL, seen="REFUSED <&>", vantage="node a"),
        result(State.ERROR, id="two", seen="\x1b[31m\x00"),
        result(State.SKIP, id="three", seen="one node only"),
        result(State.FLAKY, id="four"),
    ).to_junit()
    suite = ET.fromstring(text)[0]  # noqa: S314 (our own)
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "2", "errors": "1", "skipped": "1"}
    assert [case.get("name") for case in suite][:2] == ["one [host]", "one [node a]"]
    failure = suite[1].find("failure")
    assert failure.get("message") == "REFUSED <&>"
    assert "expected" in failure.text


def test_text_has_a_line_for_each_result_and_explains_the_red_ones():
    text = report(result(), result(State.FAIL, id="longer", seen="TIMEOUT")).render(False)
    lines = text.splitlines()
    assert lines[0] == "PASS  one     host: HTTP 200"
    assert lines[1] == "FAIL  longer  host: TIMEOUT"
    assert "FAIL longer, host: it answers" in lines
    assert lines[-1] == "lab x: 1 pass, 1 fail in 3.2 s"


def test_colours_only_where_asked():
    found = report(result())
    assert "\033[" not in found.render(False)
    assert "\033[32m" in found.render(True)


def test_the_order_of_a_failure_text():
    text = explain(
        result(
            State.FAIL,
            seen="REFUSED x 4",
            attempts=5,
            failing_for=8,
            hop="IPVS: no row",
            causes=("a", "b"),
            then="look",
            command="curl x",
        )
    )
    labels = [line.split()[0] for line in text.splitlines()]
    assert labels == [
        "FAIL",
        "$",
        "expected",
        "seen",
        "since",
        "differs",
        "causes",
        "2.",
        "next",
        "guide",
    ]
