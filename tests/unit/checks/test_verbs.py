"""When a check passes, fails, wobbles or gives up: decided on a clock that no machine drives."""

import pytest

from l4lab.checks import CannotMeasure, Hopeless, NotHere, Seen, State, Unmet
from l4lab.checks.verbs import AT_WORK, SETTLE, consistently, eventually, judge, never


class Script:
    """A sample that gives one outcome after the other, and the last one for ever."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.taken = 0

    def __call__(self):
        self.taken += 1
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


GOOD, BAD = Seen("good"), Unmet("bad")


def test_green_must_hold_for_three_samples_over_two_seconds(clock):
    script = Script(GOOD)
    verdict = judge(eventually(), script, clock=clock)
    assert (verdict.state, script.taken) == (State.PASS, 3)
    assert verdict.seconds >= 2.0


def test_a_failure_between_starts_the_holding_anew(clock):
    script = Script(GOOD, GOOD, BAD, GOOD)
    assert judge(eventually(), script, clock=clock).state is State.PASS
    assert script.taken == 6


def test_a_failure_that_lasts_is_told_with_its_attempts_and_since_when(clock):
    verdict = judge(eventually(within=10, every=1), Script(BAD), clock=clock)
    assert verdict.state is State.FAIL
    assert verdict.attempts == 11
    assert verdict.failing_for == pytest.approx(10, abs=0.5)


def test_a_pass_after_a_late_failure_is_flaky(clock):
    late = int(SETTLE) + 2
    script = Script(*[BAD] * late, GOOD)
    assert judge(eventually(within=60, every=1), script, clock=clock).state is State.FLAKY


def test_a_pass_after_an_early_failure_is_a_pass(clock):
    script = Script(BAD, BAD, GOOD)
    assert judge(eventually(within=60, every=1), script, clock=clock).state is State.PASS


def test_impatience_shortens_the_budget_and_not_the_time_to_settle(clock):
    verb = eventually(within=30, every=1)
    assert judge(verb, Script(BAD), clock=clock, patience=0.3).attempts == 10
    script = Script(*[BAD] * 8, GOOD)
    assert judge(verb, script, clock=clock, patience=0.3).state is State.PASS


def test_budgets_and_settling_grow_with_slow_machines(clock):
    late = int(SETTLE) + 2
    script = Script(*[BAD] * late, GOOD)
    verdict = judge(eventually(within=10, every=1), script, clock=clock, factor=4.0)
    assert verdict.state is State.PASS


def test_wobbling_for_ever_is_a_failure_not_an_endless_wait(clock):
    class Wobble(Script):
        def __call__(self):
            self.taken += 1
            if self.taken % 2:
                return GOOD
            raise BAD

    verdict = judge(eventually(within=10, every=1), Wobble(), clock=clock)
    assert verdict.state is State.FAIL


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Hopeless("ImagePullBackOff"), State.FAIL),
        (CannotMeasure("host unreachable", final=True), State.ERROR),
        (NotHere("one node only"), State.SKIP),
    ],
)
def test_what_waiting_cannot_mend_ends_the_wait_at_once(clock, outcome, state):
    verdict = judge(eventually(within=60), Script(outcome), clock=clock)
    assert (verdict.state, verdict.attempts) == (state, 1)


def test_what_cannot_be_measured_is_tried_again_and_then_an_error(clock):
    script = Script(CannotMeasure("no pod yet"), GOOD)
    assert judge(eventually(), script, clock=clock).state is State.PASS
    verdict = judge(eventually(within=3), Script(CannotMeasure("no pod")), clock=clock)
    assert verdict.state is State.ERROR
    assert verdict.attempts > 1


def test_consistently_fails_at_the_first_failure(clock):
    script = Script(GOOD, GOOD, BAD, GOOD)
    verdict = judge(consistently(for_=10), script, clock=clock)
    assert (verdict.state, verdict.attempts) == (State.FAIL, 3)


def test_consistently_looks_for_the_whole_time(clock):
    script = Script(GOOD)
    assert judge(consistently(for_=5, every=1), script, clock=clock).state is State.PASS
    assert script.taken == 6


def test_never_passes_while_it_does_not_happen_and_fails_when_it_does(clock):
    absent = judge(never(for_=3), Script(Unmet("no such name")), clock=clock)
    assert (absent.state, absent.seen.text) == (State.PASS, "no such name")
    happened = judge(never(for_=3), Script(Unmet("no"), Seen("resolves")), clock=clock)
    assert (happened.state, happened.unmet.seen) == (State.FAIL, "resolves")


def test_never_does_not_take_a_hopeless_lab_for_absence(clock):
    verdict = judge(never(for_=3), Script(Hopeless("no such Service")), clock=clock)
    assert verdict.state is State.FAIL


class Work:
    """A cluster that is at work until some moment."""

    def __init__(self, clock, until):
        self.clock, self.until = clock, until

    def __call__(self):
        return self.clock.time < self.until


def test_a_budget_goes_on_while_the_cluster_is_at_work(clock):
    begun = clock.time
    script = Script(*[BAD] * 49, GOOD)
    at_work = Work(clock, begun + 48)
    verb = eventually(within=10, every=1)
    assert judge(verb, script, clock=clock, at_work=at_work).state is State.PASS


def test_once_the_work_has_ended_one_look_is_the_last(clock):
    begun = clock.time
    at_work = Work(clock, begun + 20.5)
    verdict = judge(eventually(within=10, every=1), Script(BAD), clock=clock, at_work=at_work)
    assert verdict.state is State.FAIL
    # Looks at 0 to 20 s were during the work; at 21 s it was seen to be over, and looked again.
    assert verdict.attempts == 23


def test_work_that_never_ends_is_not_waited_for_without_end(clock):
    verdict = judge(eventually(within=10, every=1), Script(BAD), clock=clock, at_work=lambda: True)
    assert verdict.state is State.FAIL
    assert verdict.seconds == pytest.approx(10 + AT_WORK, abs=1.5)


def test_waiting_does_not_help_what_is_hopeless_though_the_cluster_is_at_work(clock):
    script = Script(Hopeless("ImagePullBackOff"))
    assert judge(eventually(), script, clock=clock, at_work=lambda: True).attempts == 1


def test_a_failure_after_the_work_makes_a_late_pass_flaky(clock):
    begun = clock.time
    at_work = Work(clock, begun + 20)
    script = Script(*[BAD] * (int(SETTLE) + 5), GOOD)
    verb = eventually(within=60, every=1)
    assert judge(verb, script, clock=clock, at_work=at_work).state is State.FLAKY
