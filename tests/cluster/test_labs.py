"""Every lab on a real cluster: red before it is there, green after, red by each of its breaks."""

import importlib
import time
from pathlib import Path

import pytest

from l4lab.checks import Check, Exercise, State, declared, run_lab
from l4lab.checks.kernel import IPVS
from l4lab.lab import find_labs
from l4lab.retry import wait_for
from l4lab.shell import ShellError
from tests.cluster.breaks import Break
from tests.cluster.hands import Hands, attempts

LABS = find_labs(Path(__file__).parents[2])

# What a break needs to show: the cluster must first have noticed it.
ATTEMPTS = 6
IMPATIENT = 0.2
COMMAND_SECONDS = 120
# How many times as long as a guide says a slow machine may take; what it shows stays the same.
SLOWER = 4
# One of the Service, one of a kernel, one of what is outside; test_path.py breaks the selector and
# puts up a firewall, and with --long breaks kube-proxy, cluster DNS and a port, too.
SAMPLE = {
    "clusterip": (
        "wrong service port",
        "a backend missing in one kernel",
    ),
    "externalname": ("the site is down",),
}
# The course's own; of the others one is walked through by test_guides.py.
COURSE = (
    "three-networks",
    "service-fields",
    "clusterip",
    "nodeport",
    "externalname",
    "selectorless",
)
# Those whose guide's commands are typed, too: of each kind of place one.
GUIDED = ("clusterip", "externalname", "selectorless")


def breaks_of(lab, every: bool) -> list[Break]:
    """The lab's breaks: all if asked, else those of ``SAMPLE``: a break takes most of a minute."""
    faults = importlib.import_module(f"tests.cluster.faults.{lab.name.replace('-', '_')}").BREAKS
    names = [str(fault) for fault in faults]
    sample = SAMPLE.get(lab.name, ())
    assert set(sample) <= set(names)
    return [fault for fault in faults if every or str(fault) in sample]


def pytest_generate_tests(metafunc):
    """All tests of one lab come one after the other, so that it is deployed once."""
    if metafunc.definition.get_closest_marker("parametrize"):
        return
    if "fault" in metafunc.fixturenames:
        every = metafunc.config.getoption("--every-break")
        pairs = [(lab.name, fault) for lab in LABS.values() for fault in breaks_of(lab, every)]
        ids = [f"{name}-{fault}" for name, fault in pairs]
        metafunc.parametrize(("lab", "fault"), pairs, indirect=["lab"], ids=ids)
    elif "lab" in metafunc.fixturenames:
        typing = metafunc.function is test_the_commands_of_the_guide_do_what_it_says
        short = GUIDED if typing else COURSE
        names = [
            pytest.param(name, marks=[] if name in short else pytest.mark.long) for name in LABS
        ]
        metafunc.parametrize("lab", names, indirect=True)


@pytest.fixture(scope="module")
def before():
    """The report of each lab from just before it was deployed."""
    return {}


@pytest.fixture
def lab(request, access, bench, before):
    """The lab, deployed, and no other."""
    name = request.param
    if name not in before:
        bench.clear()
        before[name] = run_lab(
            LABS[name], access, exercises=False, patience=IMPATIENT, evidence=False
        )
    return bench.put(name)


@pytest.fixture
def hands(access, lab):
    hands = Hands(access, lab.facts.NAMESPACE)
    with hands.reach:
        yield hands


def held(lab, kind):
    """What the lab declares for the mode of this cluster's kube-proxy."""
    return [one for one in declared(lab.checks, kind) if one.mode in (None, IPVS)]


def typed(shell, command):
    """Type a command; what is not as the guide says, with all it printed, or None."""
    until = time.monotonic() + command.within * SLOWER
    while True:
        try:
            said = shell.run(command.text, timeout=COMMAND_SECONDS)
        except ShellError as failed:
            return str(failed)
        differs = command.differs(said.rc, said.output)
        if differs is None:
            return None
        if time.monotonic() >= until:
            return f"{differs}\n{said.output}"
        time.sleep(1)


def checked(lab, access, wanted, *, patience=1.0):
    """Check until every state is as wanted; the last states and report."""
    for _ in attempts(ATTEMPTS):
        report = run_lab(
            lab,
            access,
            only=sorted(wanted),
            exercises=False,
            patience=patience,
            evidence=False,
        )
        states = {name: report.state_of(name) for name in wanted}
        if states == wanted:
            break
    return states, report


def test_every_check_fails_before_the_lab_is_deployed(before, lab):
    always = getattr(lab.facts, "ALWAYS_GREEN", ())
    states = {
        check.id: before[lab.name].state_of(check.id)
        for check in held(lab, Check)
        if check.id not in always
    }
    assert {name: state for name, state in states.items() if state is not State.FAIL} == {}


def test_all_is_green_after(access, lab):
    report = run_lab(lab, access)
    assert report.passed, report.render(False)
    ran = {result.id for result in report.results}
    assert {item.id for item in held(lab, Check)} <= ran
    assert {item.id for item in held(lab, Exercise)} <= ran
    assert report.diagnosis is None


def test_the_commands_of_the_guide_do_what_it_says(access, lab, hands, shell):
    # A learner begins with the pods of the deployment; exercises before may have left others.
    wait_for("the end of replaced pods", hands.leaving, within=120)
    steps = lab.steps(access.topology)
    assert any(step.do for step in steps)
    for step in steps:
        for command in step.commands():
            differs = typed(shell, command)
            assert differs is None, f"step {step.id}\n$ {command.text}\n{differs}"


def told_and_mended(lab, access, hands, fault):
    """Break the lab, see the right checks red, mend it, see all of them green."""
    wanted = {
        **dict.fromkeys(fault.green, State.PASS),
        **dict.fromkeys(fault.error, State.ERROR),
        **dict.fromkeys(fault.red | {fault.explains}, State.FAIL),
    }
    try:
        fault.apply(hands)
        states, report = checked(lab, access, wanted, patience=IMPATIENT)
    finally:
        fault.undo(hands)
    assert states == wanted, report.render(False)
    if fault.node_only:
        broken = getattr(hands, fault.node_only)
        told = [one for one in report.results if one.id == fault.explains and not one.green]
        assert {one.vantage.split()[-1] for one in told} == {broken}
    mended = dict.fromkeys(wanted, State.PASS)
    states, report = checked(lab, access, mended)
    assert states == mended, report.render(False)


def test_a_break_is_told_by_the_check_that_explains_it(access, lab, hands, fault):
    told_and_mended(lab, access, hands, fault)


@pytest.mark.parametrize("lab", ["clusterip"], indirect=True)
def test_an_exercise_is_red_where_a_kernel_does_not_follow_and_puts_back(access, lab, hands):
    hands.freeze_proxy(hands.worker)
    try:
        report = run_lab(lab, access, only=["scale-to-three"], patience=IMPATIENT)
    finally:
        hands.thaw_proxy(hands.worker)
    (result,) = report.results
    assert result.state in (State.FAIL, State.ERROR), report.render(False)
    mended = {check.id: State.PASS for check in held(lab, Check)}
    states, report = checked(lab, access, mended)
    assert states == mended, report.render(False)


@pytest.mark.parametrize("lab", ["clusterip"], indirect=True)
def test_what_is_red_leaves_its_evidence(access, lab, hands):
    hands.kubectl("scale", f"deployment/{lab.facts.DEPLOYMENT}", "--replicas=0")

    def staying():
        return ", ".join(hands.pod_addresses(lab.facts.LABELS)) or None

    try:
        # What only begins to go is still green.
        wait_for("the pods to be ended", staying, within=120)
        report = run_lab(lab, access, only=["endpoints"], patience=IMPATIENT)
    finally:
        hands.kubectl(
            "scale", f"deployment/{lab.facts.DEPLOYMENT}", f"--replicas={lab.facts.REPLICAS}"
        )
    assert report.red == ("endpoints",)
    assert "endpoints" in (report.diagnosis / "failures.txt").read_text()
