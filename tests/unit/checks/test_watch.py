"""Checking until green: what is run again, when it ends, and what is known then."""

from __future__ import annotations

import pytest

from l4lab.checks import CheckResult, LabReport, State, watch

IDS = ("a", "b", "c")


def report(states):
    return LabReport(
        lab="sample",
        seconds=0.0,
        results=tuple(
            CheckResult(
                id=name,
                title="t",
                why="w",
                kind="check",
                vantage="host",
                state=state,
                expected="e",
                seen="s",
                guide="g",
            )
            for name, state in states.items()
        ),
    )


class World:
    """Each round its red checks; a round takes two seconds."""

    def __init__(self, *rounds):
        self.rounds = list(rounds)
        self.looked = []
        self.told = []
        self.time = 0.0

    def look(self, ids):
        self.looked.append("".join(ids))
        red = self.rounds.pop(0)
        self.time += 2.0
        return report({name: State.FAIL if name in red else State.PASS for name in ids})

    def sleep(self, seconds):
        self.time += seconds

    def watch(self, **options):
        return watch(
            self.look,
            IDS,
            told=lambda found: self.told.append("".join(found.red)),
            now=lambda: self.time,
            sleep=self.sleep,
            **options,
        )


def test_all_green_at_once_is_one_round():
    world = World("")
    assert world.watch().passed
    assert world.looked == ["abc"]
    assert world.told == [""]


def test_only_what_is_red_is_run_again_and_all_at_the_end():
    world = World("ac", "c", "c", "", "")
    found = world.watch()
    assert world.looked == ["abc", "ac", "c", "c", "abc"]
    assert world.told == ["ac", "c", "c", "", ""]
    assert [result.id for result in found.results] == list(IDS)
    assert found.passed
    assert found.seconds == 5 * 2.0 + 3 * 1.0


def test_what_has_turned_red_meanwhile_is_seen():
    world = World("a", "", "b", "", "")
    assert world.watch().passed
    assert world.looked == ["abc", "a", "abc", "b", "abc"]


@pytest.mark.parametrize(("within", "rounds"), [(0.0, 1), (2.0, 1), (2.5, 2), (6.0, 3)])
def test_no_round_begins_after_the_deadline(within, rounds):
    world = World(*["c"] * 9)
    found = world.watch(within=within)
    assert len(world.looked) == rounds
    assert not found.passed
    assert found.red == ("c",)
    assert [found.state_of(name) for name in IDS] == [State.PASS, State.PASS, State.FAIL]


def test_an_interruption_passes_through():
    def interrupted(_ids):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(interrupted, IDS)
