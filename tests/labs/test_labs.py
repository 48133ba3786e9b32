"""What every lab must have, for every folder of ``labs/``: a new lab is tested by being there."""

import re
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from l4lab.checks import Check, Exercise, declared
from l4lab.errors import UsageError
from l4lab.guide import LANGUAGES, render, sections
from l4lab.lab import PARTS, find_labs
from l4lab.settings import parse

PROJECT = Path(__file__).parents[2]
FOLDERS = sorted(
    folder
    for folder in (PROJECT / "labs").iterdir()
    if folder.is_dir() and not folder.name.startswith(("_", "."))
)
LABS = find_labs(PROJECT)
GUIDES = [file for _template, file in LANGUAGES.values()]
COURSE = parse({}, "course").topology
# The same cluster, of which nothing is called or numbered as in the course.
OTHER = parse(
    {
        "network": {
            "nodes": "172.29.7.0/24",
            "pods": "10.66.0.0/16",
            "services": "10.77.0.0/16",
        },
        "machines": {
            "alpha": {"role": "control_plane", "address": "172.29.7.51", "memory": 2560},
            "beta": {"role": "worker", "address": "172.29.7.52", "memory": 2048},
            "gamma": {"role": "worker", "address": "172.29.7.53", "memory": 2048},
            "delta": {"role": "mariadb", "address": "172.29.7.54", "memory": 768},
        },
    },
    "other",
).topology
# A cluster may do without a database.
BARE = replace(COURSE, machines=COURSE.nodes)
ANYWHERE = {"127.0.0.1", "0.0.0.0"}  # noqa: S104  # named in a text, not listened on
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH_FROM_POD = "./l4lab path {facts."
SCRIPTED = re.compile(r"{{.*?}}|{%.*?%}|{#.*?#}", re.DOTALL)
ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


def is_address(text):
    """A lab may show what happens to numbers that are none."""
    return all(int(part) < 256 for part in text.split("."))


def block_of(step):
    return "\n".join(["```bash", *(command.text for command in step.commands()), "```"])


def items(lab):
    return [*declared(lab.checks, Check), *declared(lab.checks, Exercise)]


def is_data(value):
    if isinstance(value, dict):
        return all(is_data(one) for pair in value.items() for one in pair)
    if isinstance(value, list | tuple):
        return all(is_data(one) for one in value)
    return value is None or isinstance(value, str | int | float | bool)


@pytest.fixture(params=LABS.values(), ids=LABS.keys())
def lab(request):
    return request.param


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_lab_has_all_its_parts(folder):
    missing = [part for part in (*PARTS, *GUIDES) if not (folder / part).is_file()]
    assert missing == []
    assert folder.name in LABS


def test_facts_are_data_with_a_title_a_namespace_and_objects(lab):
    names = [name for name in vars(lab.facts) if name.isupper()]
    assert {"TITLE", "NAMESPACE", "OBJECTS"} <= set(names)
    assert [name for name in names if not is_data(getattr(lab.facts, name))] == []


def test_the_program_is_a_function_without_arguments(lab):
    assert lab.program.__code__.co_argcount == 0


def test_a_lab_has_checks_with_ids_of_their_own(lab):
    ids = [item.id for item in items(lab)]
    assert declared(lab.checks, Check)
    assert sorted(set(ids)) == sorted(ids)
    assert [one for one in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", one)] == []


def test_every_check_teaches_something_and_says_what_it_expects(lab):
    for item in items(lab):
        assert item.title, item.id
        assert item.expect, item.id
        assert item.why.endswith("."), item.id
        assert len(item.why) > 30, item.id


@pytest.mark.parametrize("guide", GUIDES)
def test_every_check_leads_to_an_anchor_of_the_guide(lab, guide):
    there = set(sections((lab.folder / guide).read_text()))
    assert {item.anchor for item in items(lab)} - there == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_names_only_checks_there_are(lab, guide):
    text = (lab.folder / guide).read_text()
    _, _, breaks = text.rpartition("\n| --- | --- |\n")
    assert breaks
    named = [
        name
        for row in breaks.split("\n\n")[0].splitlines()
        for name in re.findall(r"`([^`]+)`", row.split("|")[2])
    ]
    assert set(named) - {item.id for item in items(lab)} == set()


def test_a_lab_for_a_class_follows_paths_from_the_students_own_pods(lab):
    """A pod's bare name is one of namespace default."""
    typed = [file.name for file in lab.folder.glob("*.py") if PATH_FROM_POD in file.read_text()]
    assert not (getattr(lab.facts, "SHARED", False) and typed)


# --- steps --------------------------------------------------------------------------------------


def test_every_check_belongs_to_exactly_one_step(lab):
    steps = lab.steps(COURSE)
    proved = [name for step in steps for name in step.checks]
    # Guides are typed on a cluster in mode ipvs.
    assert sorted(proved) == sorted(item.id for item in items(lab) if item.mode != "nftables")
    ids = [step.id for step in steps]
    assert sorted(set(ids)) == sorted(ids)


def test_what_commands_show_are_regular_expressions(lab):
    commands = [command for step in lab.steps(COURSE) for command in step.do]
    assert commands
    for command in commands:
        assert command.text.strip() == command.text
        for pattern in command.shows:
            assert re.compile(pattern, re.MULTILINE).pattern


def test_some_commands_show_what_they_should(lab):
    assert any(command.shows for step in lab.steps(COURSE) for command in step.do)


# --- guides -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_guide_is_what_it_is_made_of(lab, language):
    """Write them with: ./l4lab guides."""
    text = (lab.folder / LANGUAGES[language][1]).read_text()
    assert text == render(lab, COURSE, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_is_a_section_with_its_commands_once(lab, language):
    steps = lab.steps(COURSE)
    parts = sections(render(lab, COURSE, language))
    known = [name for name in parts if name in {step.id for step in steps}]
    assert known == [step.id for step in steps]
    for step in steps:
        assert parts[step.id].heading, step.id
        assert len(parts[step.id].words) > 40, step.id
        blocks = [block for block in FENCED.findall(parts[step.id].text) if "```text" not in block]
        assert blocks == ([block_of(step)] if step.do else []), step.id


@pytest.mark.parametrize("language", LANGUAGES)
def test_commands_are_typed_in_steps_and_nowhere_else(lab, language):
    """A fenced block is a step's commands, or a picture."""
    blocks = [
        block
        for block in FENCED.findall(render(lab, COURSE, language))
        if not block.startswith("```text\n")
    ]
    assert blocks == [block_of(step) for step in lab.steps(COURSE) if step.do]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_address_and_no_port_of_the_facts_is_typed_in_a_template(lab, language):
    typed = SCRIPTED.sub("", (lab.folder / LANGUAGES[language][0]).read_text())
    assert set(ADDRESS.findall(typed)) - ANYWHERE == set()
    # Small numbers are also how many there are of something.
    ports = {
        str(value)
        for name, value in vars(lab.facts).items()
        if name.isupper() and isinstance(value, int) and value > 1000
    }
    assert ports & set(re.findall(r"\d+", typed)) == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_guide_is_of_the_cluster_it_is_made_for(lab, language):
    text = render(lab, OTHER, language)
    networks = vars(COURSE.networks).values()
    named = {str(network) for network in networks}
    named |= {machine.name for machine in COURSE.machines}
    named |= {str(COURSE.networks.dns), str(COURSE.networks.gateway)}
    assert {name for name in named if name in text} == set()
    of_the_course = {
        found
        for found in ADDRESS.findall(text)
        if is_address(found) and any(IPv4Address(found) in network for network in networks)
    }
    assert of_the_course == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_cluster_without_a_database_has_guides_all_the_same(lab, language):
    if lab.name == "selectorless":
        with pytest.raises(UsageError, match="lab selectorless needs a machine with role mariadb"):
            render(lab, BARE, language)
        return
    assert set(sections(render(lab, BARE, language))) == {step.id for step in lab.steps(BARE)}
