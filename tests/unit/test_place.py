"""A lab in another place: its stack, its commands, its programs; and what cannot be shared."""

from pathlib import Path

import pytest

from l4lab.errors import UsageError
from l4lab.lab import find_labs, get_lab
from l4lab.place import COURSE, Place
from l4lab.state import Paths, write_json

PROJECT = Path(__file__).parents[2]
ALICE = Place(student="alice", namespace="alice", first_node_port=30400)


def test_a_students_lab_has_a_stack_and_a_namespace_of_its_own():
    lab = get_lab(PROJECT, "clusterip")
    assert (lab.stack, lab.namespace) == ("clusterip", "default")
    theirs = lab.at(ALICE)
    assert (theirs.name, theirs.stack, theirs.namespace) == (
        "clusterip",
        "clusterip.alice",
        "alice",
    )


def test_what_cannot_be_shared_says_why():
    with pytest.raises(UsageError, match="not for a class on one cluster") as failed:
        get_lab(PROJECT, "selectorless").at(ALICE)
    assert "database" in failed.value.reason


def test_every_lab_either_is_shared_or_says_why_not():
    for lab in find_labs(PROJECT).values():
        if getattr(lab.facts, "SHARED", False):
            text = (lab.folder / "program.py").read_text()
            assert "surroundings().place" in text, lab.name
            used = {path.name for path in lab.folder.glob("*.py")} - {"facts.py", "steps.py"}
            for name in used:
                assert "facts.NAMESPACE" not in (lab.folder / name).read_text(), (lab.name, name)
        else:
            with pytest.raises(UsageError) as failed:
                lab.at(ALICE)
            assert failed.value.reason == lab.facts.NOT_SHARED


@pytest.mark.parametrize(
    ("typed", "theirs"),
    [
        ("./l4lab kubectl get pods -o wide", "./l4lab kubectl -n alice get pods -o wide"),
        ("./l4lab kubectl get pods -n kube-system", "./l4lab kubectl get pods -n kube-system"),
        ("./l4lab kubectl get services -A", "./l4lab kubectl get services -A"),
        ("./l4lab deploy clusterip", "./l4lab class deploy clusterip --only alice"),
        ("./l4lab check clusterip --only dns", "./l4lab class check clusterip --only alice"),
        ("./l4lab destroy clusterip", "./l4lab class reset --lab clusterip --only alice"),
        ("./l4lab reset clusterip", "./l4lab class reset --lab clusterip --only alice"),
        ("./l4lab reset, then ./l4lab up", "./l4lab reset, then ./l4lab up"),
        ("./l4lab ssh k8s-node01 ipvsadm -Ln", "./l4lab ssh k8s-node01 ipvsadm -Ln"),
    ],
)
def test_commands_as_they_are_typed_there(typed, theirs):
    assert ALICE.as_typed(typed) == theirs
    assert COURSE.as_typed(typed) == typed


def test_a_plain_stack_finds_its_students_place(tmp_path):
    paths = Paths(tmp_path)
    with pytest.raises(UsageError, match="no student 'alice'"):
        paths.place_of("alice")
    write_json(paths.classroom / "alice" / "place.json", vars(ALICE))
    assert paths.place_of("alice") == ALICE
