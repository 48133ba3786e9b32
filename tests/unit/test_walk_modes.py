"""The steps of a lab, and the walk through them, in each mode of kube-proxy's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from l4lab import actions
from l4lab.checks import NODES, Seen, check
from l4lab.errors import UsageError
from l4lab.guide import Command, Step
from l4lab.walk import checks_of, in_mode, walk
from l4lab.walk_words import WORDS as WALK_WORDS
from tests.unit import test_walk
from tests.unit.test_walk import (
    STEPS,
    TOPOLOGY,
    WORDS,
    Learner,
    changes,
    looks,
)

lab, cluster = test_walk.lab, test_walk.cluster  # fixtures


@check(id="other-mode", title="t", anchor="one", vantage=NODES, mode="nftables", **WORDS)
def other_mode(_look):
    return Seen("")


@check(id="this-mode", title="t", anchor="one", vantage=NODES, mode="ipvs", **WORDS)
def this_mode(_look):
    return Seen("")


@pytest.fixture
def two_modes(lab):
    """A lab with something to see in either mode only."""
    lab.checks = SimpleNamespace(a=looks, b=changes, c=other_mode, d=this_mode)
    here = Command(text="echo ipvsadm")
    there = Command(text="echo chains", mode="nftables")
    lab.done = (Step(id="one", do=(here, there), checks=("looks", "this-mode")), *STEPS[1:])
    return lab


def test_a_step_has_the_commands_and_checks_of_the_mode(two_modes):
    [here, *_] = in_mode(two_modes, TOPOLOGY, "ipvs")
    [there, *_] = in_mode(two_modes, TOPOLOGY, "nftables")
    assert [command.text for command in here.do] == ["echo ipvsadm"]
    assert [command.text for command in there.do] == ["echo chains"]
    assert here.checks == ("looks", "this-mode")
    assert there.checks == ("looks", "other-mode")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_walk_in_another_mode_says_what_it_leaves_out(two_modes, tmp_path, language):
    learner = Learner(tmp_path, mode="nftables")
    walk(two_modes, TOPOLOGY, learner.hands, language=language)
    assert "IPVS" in learner.text
    assert "docs/proxy-modes.md" in learner.text
    assert "$ echo chains\nchains\n" in learner.text
    assert "$ echo ipvsadm" not in learner.text
    # Of three steps one asks IPVS; none of the others speaks of it.
    note = WALK_WORDS[language].of_ipvs.format(mode="nftables")
    assert learner.text.count(note) == 1
    assert learner.text.index("$ echo chains") < learner.text.index(note)
    assert learner.text[learner.text.index(note) :].startswith(f"{note}\n\n**")
    assert ("check", "looks", "other-mode") in learner.did


def test_a_walk_in_the_mode_of_the_guides_says_nothing_of_modes(two_modes, tmp_path):
    learner = Learner(tmp_path)
    walk(two_modes, TOPOLOGY, learner.hands)
    assert "docs/proxy-modes.md" not in learner.text
    assert WALK_WORDS["en"].of_ipvs.format(mode="ipvs") not in learner.text
    assert "$ echo ipvsadm" in learner.text
    assert "$ echo chains" not in learner.text


def test_a_step_without_checks_in_this_mode_says_so(two_modes, cluster, monkeypatch):
    monkeypatch.setattr(actions, "mode_of", lambda _cluster, _lab: "nftables")
    two_modes.done = (Step(id="one", checks=("this-mode",)), *STEPS[1:])
    two_modes.checks.c = looks
    with pytest.raises(UsageError, match="step 'one' of lab sample has no checks in mode nftables"):
        checks_of(cluster, two_modes, "one")
