"""Lab clusterip on a real cluster: red before it is there, green after, red by each break."""

from pathlib import Path

import pytest

from l4lab import stack
from l4lab.checks import Check, Exercise, State, declared, run_lab
from l4lab.lab import get_lab
from tests.cluster.faults import BREAKS
from tests.cluster.hands import Hands

PROJECT = Path(__file__).parents[2]
LAB = get_lab(PROJECT, "clusterip")

# What a break needs to show: the cluster must first have noticed it.
ATTEMPTS = 6
IMPATIENT = 0.3


@pytest.fixture(scope="module")
def before(access):
    """What the checks say of a cluster on which the lab is not deployed."""
    return run_lab(LAB, access, exercises=False, patience=IMPATIENT)


@pytest.fixture(scope="module")
def lab(access, before):
    """The lab, deployed for all tests of this file."""
    stack.deploy(LAB, access)
    yield LAB
    stack.destroy(LAB, access)


@pytest.fixture
def hands(access):
    hands = Hands(access)
    with hands.reach:
        yield hands


def green_again(access, *, only=None):
    """Check until everything is green; the last report."""
    for _ in range(ATTEMPTS):
        report = run_lab(LAB, access, only=only, exercises=False)
        if report.passed:
            break
    return report


def test_every_check_fails_before_the_lab_is_deployed(before):
    # kube-proxy runs without any lab; its check is turned red by a break below.
    states = {
        check.id: before.state_of(check.id)
        for check in declared(LAB.checks, Check)
        if check.id != "proxy-mode"
    }
    assert {name: state for name, state in states.items() if state is not State.FAIL} == {}


def test_all_is_green_after(access, lab):
    report = run_lab(lab, access)
    assert report.passed, report.render(False)
    ran = {result.id for result in report.results}
    assert {item.id for item in declared(lab.checks, Check)} <= ran
    assert {item.id for item in declared(lab.checks, Exercise)} <= ran
    assert report.diagnosis is None


@pytest.mark.parametrize("fault", BREAKS, ids=str)
def test_a_break_is_told_by_the_check_that_explains_it(access, lab, hands, fault):
    red = fault.red | {fault.explains}
    asked = sorted(red | fault.error | fault.green)
    try:
        fault.apply(hands)
        for _ in range(ATTEMPTS):
            report = run_lab(lab, access, only=asked, exercises=False, patience=IMPATIENT)
            if red | fault.error <= set(report.red):
                break
    finally:
        fault.undo(hands)
    states = {name: report.state_of(name) for name in asked}
    wanted = {
        **dict.fromkeys(fault.green, State.PASS),
        **dict.fromkeys(fault.error, State.ERROR),
        **dict.fromkeys(red, State.FAIL),
    }
    assert states == wanted, report.render(False)
    if fault.node_only:
        broken = getattr(hands, fault.node_only)
        told = [one for one in report.results if one.id == fault.explains and not one.green]
        assert {one.vantage.split()[-1] for one in told} == {broken}
    assert report.diagnosis is not None
    assert (report.diagnosis / "failures.txt").stat().st_size > 0
    mended = green_again(access)
    assert mended.passed, mended.render(False)


def test_an_exercise_is_red_where_a_kernel_does_not_follow_and_puts_back(access, lab, hands):
    hands.freeze_proxy(hands.worker)
    try:
        report = run_lab(lab, access, only=["scale-to-three"], patience=IMPATIENT)
    finally:
        hands.thaw_proxy(hands.worker)
    (result,) = report.results
    assert result.state in (State.FAIL, State.ERROR), report.render(False)
    mended = green_again(access)
    assert mended.passed, mended.render(False)
