"""Which checks run beside which, and what is made of checks that break."""

import threading
from types import ModuleType

import pytest

from l4lab.checks import (
    API,
    DBHOST,
    HOST,
    NODES,
    ONCE,
    Seen,
    State,
    Traffic,
    Unmet,
    check,
    consistently,
    declared,
    eventually,
    exercise,
)
from l4lab.checks.model import Check, Hop
from l4lab.errors import UsageError


def lab_of(*items):
    module = ModuleType("checks")
    module.ALL = items
    return module


def made(function, *, id="one", vantage=API, **rest):
    rest.setdefault("verb", eventually(hold=ONCE, within=1))
    texts = {"title": "t", "why": "w", "expect": "e", "anchor": "a"}
    return check(id=id, vantage=vantage, **texts, **rest)(function)


def made_exercise(function, *, id="change"):
    texts = {"title": "t", "why": "w", "expect": "e", "anchor": "a"}
    return exercise(id=id, **texts, budget=5)(function)


def good(_look):
    return Seen("fine")


def bad(_look):
    raise Unmet("not fine", causes=("cause",), then="look there")


def test_one_line_for_each_node_and_each_kind_of_place(run):
    report = run(checks=lab_of(made(good, vantage=(HOST, NODES, DBHOST))))
    assert [result.vantage for result in report.results] == [
        "host",
        "node k8s-master01",
        "node k8s-node01",
        "node k8s-node02",
        "dbhost mariadb01",
    ]


def test_results_come_one_by_one_and_are_reported_in_the_lab_s_order(run):
    came = []
    late = threading.Event()

    def waits(_look):
        assert late.wait(60)
        return Seen("late")

    def frees(_look):
        late.set()
        return Seen("soon")

    checks = lab_of(made(waits, id="first"), made(frees, id="second"))
    report = run(checks=checks, on_result=lambda result: came.append(result.id))
    assert sorted(came) == ["first", "second"]
    assert [result.id for result in report.results] == ["first", "second"]


def test_what_counts_its_requests_never_runs_beside_other_requests(run):
    guard, busy, clashes = threading.Lock(), set(), []

    def sends(name):
        def function(_look):
            with guard:
                clashes.extend((name, other) for other in busy if other != name)
                busy.add(name)
            # Long enough that anything allowed beside it would be there by now.
            threading.Event().wait(0.02)
            with guard:
                busy.discard(name)
            return Seen("sent")

        return function

    checks = [
        made(sends(f"counted{i}"), id=f"counted{i}", traffic=Traffic.COUNTED) for i in range(2)
    ]
    checks += [made(sends("some"), id=f"some{i}", traffic=Traffic.SOME) for i in range(3)]
    run(checks=lab_of(*checks))
    assert clashes == []


def test_what_counts_begins_when_all_that_send_have_settled(run):
    looks = []

    def settles(_look):
        looks.append("sent")
        if len(looks) < 5:
            raise Unmet("kube-proxy has not caught up")
        return Seen("sent")

    def counts(_look):
        looks.append("counted")
        return Seen("counted")

    counted = made(counts, id="counted", traffic=Traffic.COUNTED)
    sending = made(settles, id="sending", traffic=Traffic.SOME, verb=eventually(hold=ONCE))
    assert run(checks=lab_of(counted, sending)).passed
    assert looks == [*["sent"] * 5, "counted"]


def test_a_check_that_breaks_is_an_error_with_its_stack_kept(run):
    def breaks(_look):
        raise KeyError("spec")

    (result,) = run(checks=lab_of(made(breaks))).results
    assert result.state is State.ERROR
    assert "KeyError" in result.seen
    assert "Traceback" in result.trace[-1].stderr


def test_an_unknown_id_is_answered_with_the_known_ones(run):
    with pytest.raises(UsageError, match="no check 'two'") as told:
        run(checks=lab_of(made(good)), only=["two"])
    assert "one" in str(told.value.reason)


def test_the_first_hop_that_differs_is_told_with_its_causes_first(run):
    def lost(_look):
        raise Unmet("gone")

    path = [
        Hop(name="here", probe=lambda _look: None),
        Hop(name="there", probe=lost, causes=("there is broken",), then="mend it"),
        Hop(name="beyond", probe=lambda _look: "also"),
    ]
    (result,) = run(checks=lab_of(made(bad, path=path))).results
    assert result.hop == "there: gone"
    assert result.causes == ("there is broken", "cause")
    assert result.then == "mend it"


def test_hops_are_not_walked_while_all_is_well(run):
    walked = []
    path = [Hop(name="here", probe=walked.append)]
    assert run(checks=lab_of(made(good, path=path))).passed
    assert walked == []


def test_an_exercise_puts_back_the_last_change_first_also_when_it_fails(run):
    undone = []

    def changes(stage):
        stage.undo("first", lambda: undone.append("first"))
        stage.undo("second", lambda: undone.append("second"))
        raise Unmet("no effect")

    (result,) = run(checks=lab_of(made_exercise(changes)), exercises=True).results
    assert result.state is State.FAIL
    assert undone == ["second", "first"]


def test_what_cannot_be_put_back_is_an_error_that_says_so(run):
    def changes(stage):
        def fails():
            raise Unmet("still 3 pods")

        stage.undo("2 replicas", fails)
        return Seen("fine")

    (result,) = run(checks=lab_of(made_exercise(changes)), exercises=True).results
    assert result.state is State.ERROR
    assert result.seen == "could not put back: 2 replicas: still 3 pods"


def test_an_exercise_broken_off_puts_back(run):
    undone = []

    def changes(stage):
        stage.undo("it", lambda: undone.append("it"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(checks=lab_of(made_exercise(changes)), exercises=True)
    assert undone == ["it"]


def test_a_wait_in_an_exercise_ends_with_the_last_thing_seen(run):
    def changes(stage):
        def probe():
            raise Unmet("1 of 2")

        stage.wait("both pods", probe)

    (result,) = run(checks=lab_of(made_exercise(changes)), exercises=True).results
    assert result.seen.startswith("both pods: 1 of 2 (waited 5")


def test_a_check_cannot_change_anything(run):
    def changes(look):
        look.kubectl("delete", "pod", "x")

    (result,) = run(checks=lab_of(made(changes))).results
    assert result.state is State.ERROR
    assert "only looks" in result.seen


def test_budgets_grow_on_slow_machines(run, world):
    answer = world.run

    def slow(vantage, argv, *, timeout):
        result = answer(vantage, argv, timeout=timeout)
        seconds = 0.2 if argv == ["true"] else result.seconds
        return type(result)(**{**vars(result), "seconds": seconds})

    world.run = slow
    report = run(checks=lab_of(made(bad, verb=eventually(within=10, every=1))))
    assert report.factor == pytest.approx(4)
    assert report.results[0].failing_for == pytest.approx(40, abs=1)


def test_consistently_and_declared_order(run):
    one = made(good, id="b", verb=consistently(for_=2))
    two = made(good, id="a")
    module = lab_of(one, two)
    module.AGAIN = one
    assert [found.id for found in declared(module, Check)] == ["b", "a"]
    assert run(checks=module).results[0].attempts == 3
