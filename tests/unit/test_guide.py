"""Guides as data: commands and their promises, rendering, and the parts of a rendered guide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l4lab import actions
from l4lab.errors import UsageError
from l4lab.guide import Command, Section, Step, language_of, render, sections
from l4lab.settings import parse

TOPOLOGY = parse({}, "test").topology


@dataclass
class Guided:
    folder: Path
    facts: Any
    done: tuple[Step, ...] = ()
    name: str = "sample"

    def steps(self, topology):
        assert topology is TOPOLOGY
        return self.done


@pytest.fixture
def lab(tmp_path):
    step = Step(id="ask", do=(Command(text="A=$(date)"), Command(text="echo <$A> & true")))
    return Guided(tmp_path, SimpleNamespace(SERVICE="my-nginx"), (step,))


def write(lab, text, file="guide.md.j2"):
    (lab.folder / file).write_text(text)


# --- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "rc", "output", "says"),
    [
        (Command(text="x"), 0, "", None),
        (Command(text="x"), 3, "", "exit code 3, not 0"),
        (Command(text="x", rc=7), 0, "", "exit code 0, not 7"),
        (Command(text="x", rc=None), 9, "", None),
        (Command(text="x", shows=(r"^two$",)), 0, "one\ntwo\n", None),
        (
            Command(text="x", shows=("one", "^wo")),
            0,
            "one\ntwo",
            "nothing like '^wo' in its output",
        ),
    ],
)
def test_what_a_command_promises(command, rc, output, says):
    assert command.differs(rc, output) == says


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("CIP=$(./l4lab kubectl get x -o jsonpath='{.spec.clusterIP}')", True),
        ("a_1=5", True),
        ("A=$(one\ntwo)", True),
        ("A=5 ./l4lab up", False),
        ("A=5; rm x", False),
        ("echo A=5", False),
        ("./l4lab exec true", False),
    ],
)
def test_what_only_sets_a_variable(text, sets):
    assert Command(text=text).sets_a_variable is sets


# --- rendering ----------------------------------------------------------------------------------


def test_a_guide_has_facts_topology_and_commands(lab):
    write(
        lab,
        '# {{ facts.SERVICE }}\n{% if 1 %}\n{{ do("ask") }}\n{% endif %}\n{{ topology.name }}\n',
    )
    assert render(lab, TOPOLOGY, "en") == (
        "# my-nginx\n```bash\nA=$(date)\necho <$A> & true\n```\nl4lab\n"
    )


def test_each_language_has_a_template_of_its_own(lab):
    write(lab, "english\n")
    write(lab, "中文\n", "guide.zh.md.j2")
    assert render(lab, TOPOLOGY, "en") == "english\n"
    assert render(lab, TOPOLOGY, "zh") == "中文\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ facts.NOSUCH }}", "NOSUCH"),
        ("{{ nosuch }}", "'nosuch' is undefined"),
        ("one\n{{ do( }}", "line 2: "),
        ('{{ do("nosuch") }}', "its steps are: ask"),
    ],
)
def test_a_template_that_names_what_is_not_there(lab, text, reason):
    write(lab, text)
    with pytest.raises(UsageError) as raised:
        render(lab, TOPOLOGY, "en")
    assert reason in raised.value.reason
    assert "sample" in raised.value.brief


def test_no_template_and_no_language(lab):
    with pytest.raises(UsageError, match=r"lab sample has no guide\.md\.j2"):
        render(lab, TOPOLOGY, "en")
    with pytest.raises(UsageError, match="the languages are: en, zh"):
        render(lab, TOPOLOGY, "fr")


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB"}, "en"),
        ({"LANG": "en_US", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LC_ALL": "", "LANG": "zh"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_language_of_a_person(environment, language):
    assert language_of(environment) == language


# --- parts of a guide ---------------------------------------------------------------------------

TEXT = """# Title

aim

<a id="one"></a>

## First

```bash
# not a heading
echo 1
```

**See:** one.

**Why:** `one`.

<a id="two"></a>

## Second

**See:** two.

## Clean up

gone
"""


def test_a_guide_is_split_by_its_anchors():
    parts = sections(TEXT)
    assert list(parts) == ["one", "two"]
    assert parts["one"].heading == "First"
    assert parts["one"].text.startswith("```bash\n# not a heading\n")
    assert parts["one"].words == "**See:** one.\n\n**Why:** `one`."
    assert parts["two"] == Section(heading="Second", text="**See:** two.")


def test_an_anchor_without_a_heading():
    assert sections('<a id="x"></a>\nwords\n') == {"x": Section(heading="", text="words")}
    assert sections("no anchor") == {}


# --- writing ------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one lab that has a guide and one that has none."""
    for name in ("good", "poor"):
        folder = tmp_path / "labs" / name
        folder.mkdir(parents=True)
        (folder / "facts.py").write_text("TITLE = 'a title'\n")
    good = tmp_path / "labs" / "good"
    (good / "steps.py").write_text("def steps(topology):\n    return ()\n")
    (good / "guide.md.j2").write_text("# {{ facts.TITLE }}\n")
    (good / "guide.zh.md.j2").write_text("# 标题\n")
    import labs

    monkeypatch.setattr(labs, "__path__", [str(tmp_path / "labs")])
    return tmp_path


def test_guides_are_written_once(project):
    files = ["labs/good/README.md", "labs/good/README.zh.md"]
    assert actions.write_guides(project, ["good"], check=True) == files
    assert not (project / files[0]).exists()
    assert actions.write_guides(project, ["good"]) == files
    assert [(project / file).read_text() for file in files] == ["# a title\n", "# 标题\n"]
    assert actions.write_guides(project, ["good"]) == []
    (project / files[1]).write_text("by hand")
    assert actions.write_guides(project, ["good"], check=True) == files[1:]


def test_a_lab_without_a_guide_does_not_keep_the_others_from_theirs(project):
    with pytest.raises(UsageError, match="lab poor has no steps"):
        actions.write_guides(project)
    assert (project / "labs" / "good" / "README.zh.md").is_file()
