"""What every lab must have, for every folder of ``labs/``: a new lab is tested by being there."""

import re
from pathlib import Path

import pytest

from l4lab.checks import Check, Exercise, declared
from l4lab.lab import PARTS, find_labs

PROJECT = Path(__file__).parents[2]
FOLDERS = sorted(
    folder
    for folder in (PROJECT / "labs").iterdir()
    if folder.is_dir() and not folder.name.startswith(("_", "."))
)
LABS = find_labs(PROJECT)
GUIDES = ("README.md", "README.zh.md")


def anchors(text):
    """Ids of a guide's headings as GitHub makes them, and those it gives by hand."""
    slugs = set()
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", title.strip().lower())
        slugs.add(kept.replace(" ", "-"))
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', text))


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


def test_facts_are_data_with_a_title_and_a_namespace(lab):
    names = [name for name in vars(lab.facts) if name.isupper()]
    assert {"TITLE", "NAMESPACE"} <= set(names)
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
def test_every_check_leads_to_a_heading_of_the_guide(lab, guide):
    there = anchors((lab.folder / guide).read_text())
    assert {item.anchor for item in items(lab)} - there == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_names_only_checks_there_are(lab, guide):
    text = (lab.folder / guide).read_text()
    _, _, breaks = text.partition("| --- | --- |\n")
    named = [
        name
        for row in breaks.split("\n\n")[0].splitlines()
        for name in re.findall(r"`([^`]+)`", row.split("|")[2])
    ]
    assert set(named) - {item.id for item in items(lab)} == set()
