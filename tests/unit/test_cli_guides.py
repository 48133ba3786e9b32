"""The command line for learners and writers: steps, watching, walks and guides."""

from __future__ import annotations

import io
import json
import shutil
import sys

import pytest

from l4lab import actions, console, reset, walk
from l4lab.checks import State
from tests.unit.test_cli import (
    PROJECT,
    l4lab,
    project,  # noqa: F401  # a fixture, used by all tests here
    raising,
    report,
)


@pytest.fixture
def mode(monkeypatch):
    """Sets the mode that kube-proxy is in."""

    def set_mode(name):
        monkeypatch.setattr(actions, "mode_of", lambda _cluster, _lab: name)

    set_mode("ipvs")
    return set_mode


def test_a_step_of_the_guide_is_its_checks(monkeypatch, mode):
    seen = []

    def check(_cluster, _lab, *, only, **_more):
        seen.append(only)
        return report(State.PASS)

    monkeypatch.setattr(actions, "check", check)
    assert l4lab("check", "clusterip", "--step", "endpoints").exit_code == 0
    assert l4lab("check", "clusterip", "--step", "endpoints", "--only", "x").exit_code == 0
    assert seen == [("endpoints", "describe"), ("x", "endpoints", "describe")]
    mode("nftables")
    assert l4lab("check", "clusterip", "--step", "kernel").exit_code == 0
    assert seen[-1] == ("proxy-mode", "nft-entry", "nft-random", "no-interface")
    done = l4lab("check", "clusterip", "--step", "nosuch")
    assert done.exit_code == 2
    assert "its steps are: pods, service, " in done.stderr


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("state", "code"), [(State.PASS, 0), (State.FAIL, 1)])
def test_watching(monkeypatch, state, code):
    seen = {}

    def watch(_cluster, lab, *, only, within):
        seen.update(lab=lab.name, only=only, within=within)
        return report(state)

    monkeypatch.setattr(actions, "watch", watch)
    done = l4lab("check", "clusterip", "--watch", "--within", "30", "--step", "selector")
    assert done.exit_code == code
    assert seen == {"lab": "clusterip", "only": ("selector",), "within": 30.0}
    assert "check-0" in done.stdout


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize(("state", "code"), [(State.PASS, 0), (State.FAIL, 1)])
def test_the_reset_of_a_step(monkeypatch, state, code):
    monkeypatch.setattr(reset, "plan_step", lambda *_: reset.StepReset(("create x",), None))
    monkeypatch.setattr(
        reset, "reset_step", lambda *words: reset.StepReset((str(words[2]),), report(state))
    )
    planned = l4lab("reset", "clusterip", "--step", "selector", "--dry-run")
    assert (planned.exit_code, planned.stdout) == (0, "create x\n")
    done = l4lab("reset", "clusterip", "--step", "selector", "--json")
    assert done.exit_code == code
    said = json.loads(done.stdout)
    assert said["done"] == ["('selector',)"]
    assert said["checks"]["passed"] is (code == 0)


def test_the_reset_of_a_step_of_nothing():
    for words in (["reset", "--step", "x"], ["reset", "clusterip", "--step", "nosuch"]):
        done = l4lab(*words)
        assert done.exit_code == 2
        assert "--step is a step of a lab" in done.stderr or "no step 'nosuch'" in done.stderr


def test_a_deadline_is_for_watching():
    done = l4lab("check", "clusterip", "--within", "30")
    assert done.exit_code == 2
    assert "--within is for --watch" in done.stderr


def test_an_interrupted_watch(monkeypatch):
    monkeypatch.setattr(actions, "watch", raising(KeyboardInterrupt()))
    assert l4lab("check", "clusterip", "--watch").exit_code == 130


@pytest.mark.parametrize(
    ("walked", "code"),
    [
        (walk.Walked(red=()), 0),
        (walk.Walked(red=("a",)), 1),
        (walk.Walked(red=("a",), left_at="two"), 0),
    ],
)
def test_the_exit_code_of_a_walk(monkeypatch, walked, code):
    seen = {}

    def walks(lab, _topology, hands, **options):
        hands.write("told\n")
        seen.update(lab=lab.name, ask=hands.ask, **options)
        return walked

    monkeypatch.setattr(walk, "walk", walks)
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    done = l4lab("lab", "clusterip", "--from", "kernel")
    assert (done.exit_code, done.stdout) == (code, "told\n")
    assert seen == {
        "lab": "clusterip",
        "ask": None,
        "language": "zh",
        "start": "kernel",
        "color": False,
    }
    done = l4lab("lab", "clusterip", "--lang", "en", "--json")
    assert seen["language"] == "en"
    assert json.loads(done.stdout) == {"lab": "clusterip", "red": list(walked.red)}
    assert done.stderr == "told\n"


def test_a_walk_before_up():
    done = l4lab("lab", "clusterip", "--yes")
    assert done.exit_code == 2
    assert "the cluster is not up" in done.stderr


def test_somebody_is_asked_only_at_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("  s\n"))
    assert not console.somebody_answers()
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert console.somebody_answers()
    assert console.ask("well?") == "  s"
    assert console.ask("well?") == "q"  # the end of the input
    assert sys.stdout.getvalue() == "\nwell?\n> " * 2


def test_guides_are_compared_and_written():
    labs = console.PROJECT / "labs"
    labs.unlink()
    shutil.copytree(PROJECT / "labs" / "clusterip", labs / "clusterip")
    readme = labs / "clusterip" / "README.zh.md"
    assert l4lab("guides", "--check").exit_code == 0
    readme.write_text("by hand")
    done = l4lab("guides", "--check", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"differs": ["labs/clusterip/README.zh.md"]}
    assert readme.read_text() == "by hand"
    done = l4lab("guides", "clusterip")
    assert (done.exit_code, done.stdout) == (0, "written: labs/clusterip/README.zh.md\n")
    assert readme.read_text() != "by hand"
    assert l4lab("guides", "nosuch").exit_code == 2
