"""classroom.yaml: what it gives, and every refusal with key, reason and what would be right."""

from pathlib import Path

import pytest

from l4lab.classroom.file import load, parse
from l4lab.errors import SettingsError
from l4lab.place import COURSE, Place
from l4lab.settings import parse as parse_settings

PROJECT = Path(__file__).parents[3]
SETTINGS = parse_settings({}, "l4lab.toml")


def given(**changes):
    raw = {"class": "networks", "labs": ["clusterip"], "students": ["alice", "bob"]}
    return {key: value for key, value in {**raw, **changes}.items() if value is not None}


def read(known=None, **changes):
    return parse(
        given(**changes), "classroom.yaml", project=PROJECT, settings=SETTINGS, known=known or {}
    )


def test_a_small_class():
    found = read(students=[{"id": "alice", "name": "爱丽丝"}, "bob"])
    assert [(one.id, one.name) for one in found.students] == [("alice", "爱丽丝"), ("bob", "bob")]
    places = [one.place for one in found.students]
    assert [place.namespace for place in places] == ["alice", "bob"]
    ports = [set(place.node_ports) for place in places]
    assert not ports[0] & ports[1]
    assert not (ports[0] | ports[1]) & set(COURSE.node_ports)


def test_who_has_a_place_keeps_it_and_it_is_given_to_nobody_else():
    known = {"bob": Place(student="bob", namespace="bob", first_node_port=30400)}
    found = {one.id: one.place for one in read(known).students}
    assert found["bob"] == known["bob"]
    assert found["alice"].first_node_port == 30410


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"students": ["alice", "alice"]}, "students[2].id is wrong|'alice' is there twice"),
        ({"students": ["Alice"]}, "students[1].id|cannot name a namespace|a letter first"),
        ({"students": ["kube-system"]}, "students[1].id|has another meaning"),
        ({"students": [{"id": "a", "nmae": "A"}]}, "unknown key nmae|id, name"),
        ({"students": [{"id": "a", "name": "A\nB"}]}, "students[1].name|not in one line"),
        ({"students": []}, "students is wrong|not a list"),
        ({"students": None}, "students is wrong|None is not a list"),
        (
            {"labs": ["clusterip", "nosuch"]},
            "labs[2] is wrong|there is no lab 'nosuch'|./l4lab labs",
        ),
        ({"labs": ["selectorless"]}, "labs[1] is wrong|not for a class|leave it out"),
        ({"labs": [3]}, "labs[1] is wrong|3 is not a text"),
        ({"shape": "other"}, "shape is wrong|one of: shared, each"),
        ({"limits": {"pods": 2}}, "limits.pods is wrong|2 cannot be|from 3 to 110"),
        ({"limits": {"pods": True}}, "limits.pods is wrong|True cannot be"),
        ({"limits": {"ports": 2}}, "unknown key ports in limits|at_once"),
        (
            {"limits": {"pods": 90, "cpu": 90}},
            "limits.memory is wrong|80 MiB are less than one for each of 90 pods|at least 90",
        ),
        ({"limits": {"pods": 31}}, "limits.cpu is wrong|less than one for each of 31 pods"),
        ({"class": ""}, "class is wrong|not a text"),
        ({"teacher": "me"}, "unknown key teacher"),
        (
            {"students": [f"s{number}" for number in range(300)]},
            "students is wrong|300 students x 6 pods are 1800, and the 2 workers have 196 left"
            "|at most 32 students, a smaller limits.pods, or more workers",
        ),
        (
            {"students": [f"s{number}" for number in range(30)], "limits": {"memory": 100}},
            "30 students x 100 MiB are 3000, and the 2 workers have 2696 left|at most 26 students",
        ),
        (
            {"students": ["a"], "limits": {"cpu": 2000}},
            "1 students x 2000 thousandths of a processor|have 1200 left",
        ),
    ],
)
def test_refusals(changes, told):
    with pytest.raises(SettingsError) as failed:
        read(**changes)
    text = str(failed.value)
    assert text.startswith("classroom.yaml: ")
    for part in told.split("|"):
        assert part in text


def test_node_ports_that_are_used_up():
    known = {
        f"old{first}": Place(student="x", namespace="x", first_node_port=first)
        for first in range(30400, 32760, 10)
    }
    with pytest.raises(SettingsError) as failed:
        read(known)
    assert "node ports are used up at alice" in str(failed.value)
    assert "at most 236 students" in str(failed.value)
    # A file that is refused is so for `down`, too.
    assert "leave alice out, ./l4lab class down --only OLD" in str(failed.value)
    del known["old31000"]
    assert read(known, students=["alice"]).students[0].place.first_node_port == 31000


def test_a_class_for_thirty_fits_the_default_cluster():
    assert len(read(students=[f"s{number}" for number in range(30)]).students) == 30


def test_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "classroom.yaml"

    def refused():
        with pytest.raises(SettingsError) as failed:
            load(file, PROJECT, SETTINGS, {})
        return str(failed.value)

    assert "there is no file" in refused()
    file.write_text("class: [")
    assert "is not YAML" in refused()
    file.write_text("- a\n")
    assert "the file is wrong" in refused()
    file.write_bytes(b"\xff\xfe")
    assert "cannot read" in refused()
