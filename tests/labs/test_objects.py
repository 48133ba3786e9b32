"""What a lab makes is what its facts list: a reset deletes by that list and by nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from l4lab.lab import find_labs
from l4lab.settings import parse
from tests.unit import test_programs

cluster, declared = test_programs.cluster, test_programs.declared  # fixtures
pytestmark = test_programs.pytestmark

PROJECT = Path(__file__).parents[2]
LABS = find_labs(PROJECT)
TOPOLOGY = parse({}, "course").topology
KUBECTL = re.compile(r"\./l4lab kubectl (create|run|expose|apply|replace) (.*)")


def typed(lab):
    """Kind and name of what the steps' commands make."""
    for step in lab.steps(TOPOLOGY):
        for command in step.do:
            found = KUBECTL.search(command.text)
            if not found or "--dry-run" in found[2]:
                continue
            if found[2] == "-f -":
                made = json.loads(command.text.partition("'")[2].rpartition("'")[0])
                yield made["kind"], made["metadata"]["name"]
            else:
                kind, _type, name, *_ = found[2].split()
                assert (found[1], kind) == ("create", "service"), command.text
                yield "Service", name


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_the_objects_are_all_that_program_steps_and_exercises_make(lab, declared):
    made = {
        (kind, one["metadata"]["name"])
        for (kind, _), one in declared(lab).items()
        if "metadata" in one
    }
    made |= set(typed(lab))
    assert len(lab.facts.OBJECTS) == len(lab.objects)
    assert lab.objects == made


def test_exercises_make_nothing_that_steps_do_not():
    """Theirs are the Services that they offer; each is called as in the lab's steps."""
    makes = re.compile(r'change\(\s*"(?:create|run|expose|apply|replace)"|stage\.offer\(')
    making = {
        lab.name: set(makes.findall("".join(file.read_text() for file in lab.folder.glob("*.py"))))
        for lab in LABS.values()
    }
    offering = {name for name, words in making.items() if words}
    assert {name for name, words in making.items() if words - {"stage.offer("}} == set()
    assert offering == {lab.name for lab in LABS.values() if [*typed(lab)]}
