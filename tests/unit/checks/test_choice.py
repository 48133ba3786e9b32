"""Which checks are run in which of kube-proxy's modes."""

from types import ModuleType

import pytest

from l4lab.checks import NODES, Seen, check, exercise
from l4lab.checks.choice import choose
from l4lab.checks.kernel import live_mode
from l4lab.command import Result
from l4lab.errors import UsageError
from tests.unit.checks.world import topology

WORDS = {"title": "t", "why": "w", "expect": "e", "anchor": "a"}


def a_lab():
    module = ModuleType("checks")
    for name, mode in (("both", None), ("old", "ipvs"), ("new", "nftables")):
        made = check(id=name, vantage=NODES, mode=mode, **WORDS)(lambda _look: Seen("fine"))
        setattr(module, name, made)
    module.step = exercise(id="step", mode="ipvs", **WORDS)(lambda _stage: Seen("fine"))
    return module


def names(mode, only=None):
    checks, steps = choose(a_lab(), "lab", only=only, mode=mode)
    return [one.id for one in (*checks, *steps)]


def test_what_is_of_another_mode_is_left_out():
    assert names("ipvs") == ["both", "old", "step"]
    assert names("nftables") == ["both", "new"]
    assert names("nftables", only=["new"]) == ["new"]


def test_a_check_of_another_mode_cannot_be_asked_for():
    with pytest.raises(UsageError, match="check old is about kube-proxy's mode ipvs") as refused:
        names("nftables", only=["old"])
    assert "./l4lab proxy ipvs" in str(refused.value)


def test_the_known_checks_are_named():
    with pytest.raises(UsageError, match="no check 'nonsense'") as refused:
        names("nftables", only=["nonsense"])
    assert "both, new" in str(refused.value)


class Answers:
    """Nodes whose kube-proxy answers as told, and the settings it was given."""

    def __init__(self, *, nodes=(), settings=""):
        self.nodes, self.settings = dict(nodes), settings

    def run(self, vantage, argv, *, timeout):
        del timeout
        said = self.settings if argv[0] == "kubectl" else self.nodes.get(vantage.name)
        rc = 7 if said is None else 0
        return Result(argv=tuple(argv), rc=rc, stdout=said or "", stderr="", seconds=0.0)


def test_the_first_node_that_answers_says_the_mode():
    answers = Answers(nodes={"k8s-node01": "nftables"})
    assert live_mode(answers, topology()) == "nftables"


def test_where_no_node_answers_the_settings_count():
    assert live_mode(Answers(settings="a: 1\nmode: nftables\n"), topology()) == "nftables"
    assert live_mode(Answers(settings="a: 1\nmode: ipvs\n"), topology()) == "ipvs"
