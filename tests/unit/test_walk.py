"""The walk through a lab: what is asked, run, checked and told, for every answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l4lab import actions
from l4lab.checks import NODES, CheckResult, LabReport, Seen, State, check, exercise
from l4lab.errors import UsageError
from l4lab.guide import Command, Step
from l4lab.settings import parse
from l4lab.shell import Shell
from l4lab.walk import DEADLINE, Hands, checks_of, hands_of, step_of, walk

TOPOLOGY = parse({}, "test").topology
WORDS = {"why": "Because it is so, and not otherwise.", "expect": "e"}


@check(id="looks", title="t", anchor="one", vantage=NODES, **WORDS)
def looks(_look):
    return Seen("")


@exercise(id="changes", title="t", anchor="two", **WORDS)
def changes(_stage):
    return Seen("")


STEPS = (
    Step(id="one", do=(Command(text="A=first"), Command(text="echo $A")), checks=("looks",)),
    Step(id="two", do=(Command(text="B=$A-second"),), checks=("looks", "changes")),
    Step(id="three", do=(Command(text="echo $A $B"),)),
)
GUIDE = """# Sample

{% for name in ("one", "two", "three") %}
<a id="{{ name }}"></a>

## Heading {{ name }}

{{ do(name) }}

**See:** what {{ name }} shows.

**Why:** so.

{% endfor %}
"""


@dataclass
class Lab:
    folder: Path
    done: tuple[Step, ...] = STEPS
    name: str = "sample"
    facts: Any = None
    checks: Any = field(default_factory=lambda: SimpleNamespace(a=looks, b=changes))

    def steps(self, _topology):
        return self.done


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "guide.md.j2").write_text(GUIDE)
    (tmp_path / "guide.zh.md.j2").write_text(GUIDE.replace("See:", "现象："))
    return Lab(tmp_path)


def report(ids, red=()):
    return LabReport(
        lab="sample",
        seconds=1.0,
        results=tuple(
            CheckResult(
                id=name,
                title="t",
                why="w",
                kind="check",
                vantage="host",
                state=State.FAIL if name in red else State.PASS,
                expected="the one",
                seen="the other" if name in red else "the one",
                guide="labs/sample/README.md#one",
            )
            for name in ids
        ),
    )


class Learner:
    """Somebody who gives prepared answers, and a world that does what it is told to."""

    def __init__(self, folder, answers=None, *, deployed=True, reds=(), mode="ipvs"):
        self.folder = folder
        self.answers = answers
        self.there = deployed
        self.mode = mode
        self.reds = list(reds)
        """What is red at the first look, the second, and so on."""
        self.text = ""
        self.asked = []
        self.did = []
        self.time = 0.0
        self.shells = []

    @property
    def hands(self):
        return Hands(
            write=self.write,
            ask=None if self.answers is None else self.ask,
            bash=self.bash,
            mode=lambda: self.mode,
            deployed=lambda: self.there,
            deploy=lambda: self.did.append("deploy"),
            check=lambda ids: self.look("check", ids),
            wait=lambda ids: self.look("wait", ids),
            sleep=self.sleep,
            now=lambda: self.time,
        )

    def write(self, text):
        self.text += text

    def ask(self, question):
        self.asked.append(question)
        answer = self.answers.pop(0) if self.answers else ""
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def bash(self):
        self.shells.append(Shell(self.folder))
        return self.shells[-1]

    def look(self, how, ids):
        self.did.append((how, *ids))
        return report(ids, self.reds.pop(0) if self.reds else ())

    def sleep(self, seconds):
        self.time += seconds


def ends(learner):
    assert learner.shells
    return [shell.ended for shell in learner.shells]


# --- with nobody to ask -------------------------------------------------------------------------


def test_everything_is_done_where_nobody_is_asked(lab, tmp_path):
    learner = Learner(tmp_path)
    walked = walk(lab, TOPOLOGY, learner.hands)
    assert (walked.red, walked.left_at) == ((), None)
    assert learner.did == [("check", "looks"), ("check", "looks"), ("check", "changes")]
    assert "$ echo $A\nfirst\n" in learner.text
    assert "$ echo $A $B\nfirst first-second\n" in learner.text
    assert learner.text.endswith("The walk is over: all that was checked is green.\n")
    assert ends(learner) == [True]


def test_a_step_is_told_in_order_heading_commands_checks_and_why(lab, tmp_path):
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands)
    said = [
        "1/3  Heading one\n",
        "    A=first\n    echo $A\n",
        "$ A=first\n",
        "PASS  looks  host: the one",
        "**See:** what one shows.\n\n**Why:** so.\n",
        "2/3  Heading two\n",
    ]
    places = [learner.text.index(text) for text in said]
    assert places == sorted(places)
    # The guide's own block of commands is not shown a second time.
    assert "```" not in learner.text


def test_the_language_is_the_guide_s_and_the_walk_s(lab, tmp_path):
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands, language="zh")
    assert "**现象：** what one shows." in learner.text
    assert learner.text.endswith("全部步骤结束：检查过的都是绿的。\n")


def test_a_red_check_is_explained_and_is_the_result(lab, tmp_path):
    learner = Learner(tmp_path, reds=[(), ("looks",)])
    walked = walk(lab, TOPOLOGY, learner.hands)
    assert walked.red == ("looks",)
    assert "  expected  the one\n  seen      the other\n" in learner.text
    assert learner.text.endswith("red at the last look: looks\n")


def test_what_is_green_later_is_not_red(lab, tmp_path):
    learner = Learner(tmp_path, reds=[("looks",), ()])
    assert walk(lab, TOPOLOGY, learner.hands).red == ()


def test_the_lab_is_deployed_where_it_is_not(lab, tmp_path):
    learner = Learner(tmp_path, deployed=False)
    walk(lab, TOPOLOGY, learner.hands)
    assert learner.did[0] == "deploy"
    assert "Lab sample is not deployed." in learner.text


# --- commands -----------------------------------------------------------------------------------


def steps(lab, *commands):
    lab.done = (Step(id="one", do=commands), *STEPS[1:])


def test_output_that_is_not_as_promised_is_told(lab, tmp_path):
    steps(lab, Command(text="printf x", shows=("y",)), Command(text="(exit 3)"))
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands)
    assert "x\n  Not as the guide says: nothing like 'y' in its output.\n" in learner.text
    assert "  Not as the guide says: exit code 3, not 0.\n" in learner.text


def test_what_needs_a_moment_is_looked_at_again(lab, tmp_path):
    steps(lab, Command(text="echo . >>dots; wc -l <dots", shows=("^3",), within=5.0))
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands)
    assert learner.text.count("  Not there yet; again.\n") == 2
    assert "Not as the guide says" not in learner.text


def test_and_again_only_so_long(lab, tmp_path):
    steps(lab, Command(text="echo no", shows=("yes",), within=3.0))
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands)
    assert learner.text.count("  Not there yet; again.\n") == 3
    assert learner.text.count("Not as the guide says") == 1


def test_a_command_without_end_costs_no_variables(lab, tmp_path, monkeypatch):
    monkeypatch.setattr("l4lab.walk.DEADLINE", 4.0)
    steps(lab, Command(text="A=kept"), Command(text="sleep 600"), Command(text="echo $A"))
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands)
    assert "Not as the guide says: no end within 4 s: sleep 600." in learner.text
    assert "$ echo $A\nkept\n" in learner.text
    assert ends(learner) == [True, True]
    assert DEADLINE >= 60


# --- answers ------------------------------------------------------------------------------------


def test_questions_and_the_usual_answers(lab, tmp_path):
    learner = Learner(tmp_path, ["", "", "", ""])
    assert walk(lab, TOPOLOGY, learner.hands).red == ()
    assert [question.split()[0] for question in learner.asked] == [
        "Enter:",
        "Enter:",
        "changes:",
        "Enter:",
    ]
    assert learner.did == [("check", "looks"), ("check", "looks"), ("check", "changes")]


def test_what_is_skipped_is_not_run_but_its_variables_are_there(lab, tmp_path):
    learner = Learner(tmp_path, ["s", "S ", "s", ""])
    walk(lab, TOPOLOGY, learner.hands)
    assert "$ echo $A\n" not in learner.text
    assert "$ echo $A $B\nfirst first-second\n" in learner.text
    assert ("check", "changes") not in learner.did


def test_quitting_tells_how_to_go_on(lab, tmp_path):
    learner = Learner(tmp_path, ["", "q"])
    walked = walk(lab, TOPOLOGY, learner.hands)
    assert walked.left_at == "two"
    assert learner.text.endswith("\nGo on with: ./l4lab lab sample --from two\n")
    assert ends(learner) == [True]


def test_an_interruption_tells_it_too_and_stays_one(lab, tmp_path):
    learner = Learner(tmp_path, ["", KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        walk(lab, TOPOLOGY, learner.hands)
    assert learner.text.endswith("--from two\n")
    assert ends(learner) == [True]


def test_going_on_from_a_step_has_the_variables_of_those_before(lab, tmp_path):
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands, start="three")
    assert "3/3  Heading three\n" in learner.text
    assert "Heading one" not in learner.text
    assert "$ echo $A $B\nfirst first-second\n" in learner.text
    assert learner.did == []


def test_a_variable_that_cannot_be_set_is_told(lab, tmp_path):
    lab.done = (Step(id="one", do=(Command(text="A=$(false)"),)), *STEPS[1:])
    learner = Learner(tmp_path)
    walk(lab, TOPOLOGY, learner.hands, start="two")
    assert "$ A=$(false)\n  Not as the guide says: exit code 1, not 0.\n" in learner.text


def test_red_again_wait_and_on(lab, tmp_path):
    red = ("looks",)
    learner = Learner(tmp_path, ["", "", "w", "s", "q"], reds=[red, red, red])
    walked = walk(lab, TOPOLOGY, learner.hands)
    assert learner.did == [("check", "looks"), ("check", "looks"), ("wait", "looks")]
    assert walked.left_at == "two"
    assert "wait until green" in learner.asked[1]


def test_an_exercise_is_never_waited_for(lab, tmp_path):
    learner = Learner(tmp_path, ["", "", "", "w", "s", ""], reds=[(), (), ("changes",)] * 2)
    walk(lab, TOPOLOGY, learner.hands, start="one")
    assert [did for did in learner.did if "changes" in did] == [("check", "changes")] * 2
    assert "wait until green" not in learner.asked[3]


def test_who_makes_the_lab_by_hand_is_waited_for(lab, tmp_path):
    learner = Learner(tmp_path, ["k"], deployed=False)
    walk(lab, TOPOLOGY, learner.hands)
    assert learner.did[0] == ("wait", "looks")
    assert "deploy" not in learner.did


def test_who_wants_the_lab_deployed_says_so(lab, tmp_path):
    learner = Learner(tmp_path, [""], deployed=False)
    walk(lab, TOPOLOGY, learner.hands)
    assert learner.did[0] == "deploy"


# --- names --------------------------------------------------------------------------------------


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setattr(actions, "mode_of", lambda _cluster, _lab: "ipvs")
    return SimpleNamespace(settings=SimpleNamespace(topology=TOPOLOGY))


def test_steps_by_name(lab, tmp_path, cluster):
    assert step_of(lab, TOPOLOGY, "two") is STEPS[1]
    assert checks_of(cluster, lab, "two") == ("looks", "changes")
    with pytest.raises(UsageError) as raised:
        walk(lab, TOPOLOGY, Learner(tmp_path).hands, start="four")
    assert raised.value.reason == "its steps are: one, two, three"
    with pytest.raises(UsageError, match="step 'three' of lab sample has no checks"):
        checks_of(cluster, lab, "three")


def test_the_commands_use_the_settings_of_the_walk(lab, tmp_path):
    cluster = SimpleNamespace(project=tmp_path)
    config = Path("other.toml")
    hands = hands_of(cluster, lab, write=print, ask=None, config=config)
    with hands.bash() as shell:
        said = shell.run('echo "$L4LAB_CONFIG"; pwd', timeout=10)
    assert said.output == f"{config.absolute()}\n{tmp_path}\n"
