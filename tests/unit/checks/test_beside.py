"""Several questions of one check at once."""

from __future__ import annotations

import threading

import pytest

from l4lab.checks import Look, Unmet, Vantage, Where, side_by_side
from l4lab.checks.reach import SharedReads
from l4lab.command import Result
from tests.unit.checks.world import Clock, topology

NAMES = ("a", "b", "c")


class Meeting:
    """A reach whose commands end only when all of them have begun, the later ones first."""

    def __init__(self) -> None:
        self.begun = threading.Barrier(len(NAMES))
        self.ended = {name: threading.Event() for name in (*NAMES, "none")}
        self.ended["none"].set()
        self.after = dict(zip(NAMES, (*NAMES[1:], "none"), strict=True))

    def run(self, _vantage, argv, *, timeout, stdin=None):
        self.begun.wait(timeout=60)
        self.ended[self.after[argv[1]]].wait(timeout=60)
        self.ended[argv[1]].set()
        return Result(argv=tuple(argv), rc=0, stdout=argv[1], stderr="", seconds=0.0)


@pytest.fixture
def look():
    reach = Meeting()
    return Look(
        reach=reach,
        shared=SharedReads(reach, max_age=0.0),
        vantage=Vantage(Where.POD, "client"),
        topology=topology(),
        namespace="default",
        lab="clusterip",
        clock=Clock(),
    )


def last_words(look):
    return [seen.argv[-1] for seen in look.trace]


def test_all_are_asked_at_once_and_told_in_their_order(look):
    said = side_by_side(look, lambda own, name: own.run(["ask", name]).stdout, NAMES)
    assert said == list(NAMES)
    assert last_words(look) == list(NAMES)


def test_the_first_that_is_wrong_ends_it_and_is_the_last_in_the_trace(look):
    def ask(own, name):
        own.run(["ask", name])
        if name != "a":
            raise Unmet(f"{name} is wrong")

    with pytest.raises(Unmet, match="b is wrong"):
        side_by_side(look, ask, NAMES)
    assert last_words(look) == ["a", "b"]


def test_nothing_to_ask(look):
    assert side_by_side(look, lambda own, name: own.run([name]), ()) == []
