"""The clean state that a reset is held against, and a reset that cannot be for one student."""

from pathlib import Path

import pytest

from l4lab import proof
from l4lab.classroom import clean, reset, verbs
from l4lab.classroom.kubectl import Kubectl
from l4lab.classroom.model import Classroom, Limits, Student
from l4lab.classroom.room import Room
from l4lab.errors import LockedError, UsageError
from l4lab.lab import get_lab
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.proof import API, Fingerprint, api
from l4lab.pulumi_cli import checkpoint
from l4lab.settings import parse
from l4lab.state import Access, Paths, write_json, write_private

ANN, BOB = (
    Student(id=one, name=one, place=Place(student=one, namespace=one, first_node_port=port))
    for one, port in (("ann", 30400), ("bob", 30410))
)
CLASS = Classroom(name="c", students=(ANN, BOB), labs=("clusterip",), limits=Limits())
QUOTA = {"kind": "ResourceQuota", "metadata": {"name": "class", "namespace": "ann"}}
OLD = {"kind": "LimitRange", "metadata": {"name": "old", "namespace": "ann"}}
SYSTEM = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "kube-system", "uid": "this"},
}
LAB = get_lab(Path(__file__).parents[3], "clusterip")


@pytest.fixture
def seen(monkeypatch):
    """The facts that each look at a student finds now."""
    facts = {API: {"ResourceQuota ann/class": "6", "LimitRange ann/old": "1"}}
    monkeypatch.setattr(
        proof,
        "snapshots",
        lambda _access, scopes: [
            Fingerprint(scope=str(one), taken=1.0, facts={API: dict(facts[API])}) for one in scopes
        ],
    )
    monkeypatch.setattr(clean, "EVERY", 0.0)
    return facts[API]


@pytest.fixture
def room(tmp_path, monkeypatch):
    topology = parse({}, "l4lab.toml").topology
    monkeypatch.setattr(api, "read", lambda _kubeconfig: [SYSTEM])
    access = Access(
        topology=topology, paths=Paths(tmp_path), kubectl=Path("none"), pulumi=Path("none")
    )
    return Room(classroom=CLASS, access=access, progress=Progress(quiet=True))


def made(*objects, cluster="this"):
    return {"ann": {"cluster": cluster, "objects": list(objects)}}


def test_a_clean_state_is_of_the_cluster_it_was_seen_on(room, seen):
    assert clean.cluster_of([SYSTEM]) == "this"
    assert not clean.is_known(room, ANN, "this")
    clean.note(room, [ANN], made(QUOTA))
    assert clean.is_known(room, ANN, "this")
    assert not clean.is_known(room, ANN, "another")
    clean.refuse_other_cluster(room, ANN, "this")
    with pytest.raises(UsageError, match="was on another cluster") as failed:
        clean.refuse_other_cluster(room, ANN, "another")
    assert failed.value.resolution == "./l4lab class up --only ann"
    clean.forget(room, ANN)
    assert not clean.is_known(room, ANN, "this")


def test_one_that_was_noted_before_clusters_were_is_taken_for_this_ones(room, seen):
    clean.note(room, [ANN], made(QUOTA))
    write_json(room.made(ANN), {"objects": [QUOTA]})
    assert clean.is_known(room, ANN, "this")
    clean.refuse_other_cluster(room, ANN, "this")


def test_a_file_that_cannot_be_read_is_none(room, seen):
    clean.note(room, [ANN], made(QUOTA))
    write_private(room.fingerprint(ANN), '{"scope": ')
    assert clean.kept(room, ANN) is None
    assert not clean.is_known(room, ANN, "this")
    write_private(room.made(ANN), "{")
    clean.note(room, [ANN], made(QUOTA))
    assert clean.is_known(room, ANN, "this")


def test_what_the_class_gives_anew_is_seen_anew_and_nothing_of_the_students(room, seen):
    clean.note(room, [ANN], made(QUOTA, OLD))
    seen |= {"ResourceQuota ann/class": "7", "Service ann/web": "work"}
    clean.note(room, [ANN], made(QUOTA, OLD))
    assert clean.kept(room, ANN).facts[API]["ResourceQuota ann/class"] == "6", "nothing was given"
    more = {"metadata": {"name": "class", "namespace": "ann"}, "kind": "ResourceQuota", "spec": 7}
    clean.note(room, [ANN], made(more))
    assert clean.kept(room, ANN).facts[API] == {"ResourceQuota ann/class": "7"}


def test_one_stack_that_cannot_be_read_stops_that_students_reset_only(room):
    """Of a lab alone: a reset of everything asks no stack."""
    checkpoint(room.paths, "any").parent.mkdir(parents=True)
    for text in ('{"checkpoint": {"lat', '{"checkpoint": {"latest": {"resources": [{}]}}}', "[[]]"):
        checkpoint(room.paths, "clusterip.ann").write_text(text)
        ann, bob = reset.reset(room, CLASS.students, lab=LAB, dry_run=True)
        assert not ann.ok
        assert ann.note.startswith("cannot read the state of stack clusterip.ann: ")
        assert ann.next == "./l4lab class reset --only ann: it needs no stack"
        assert bob.ok, bob.note
        [ann] = reset.reset(room, (ANN,), dry_run=True)
        assert ann.ok
        assert "forget stack clusterip.ann" in ann.lines


def test_a_deployment_that_was_cut_off_is_reset_with_what_it_had_begun(room, monkeypatch):
    """Of a lab alone: its stack is forgotten, so nobody would know again whose the objects are."""

    def resource(kind, **more):
        token = f"kubernetes:core/v1:{kind}"
        urn = f"urn:pulumi:clusterip.ann::l4lab::l4lab:web:Web${token}::web"
        inputs = {"metadata": {"namespace": "ann", "name": "web"}}
        return {"urn": urn, "type": token, "inputs": inputs, **more}

    state = {
        "resources": [
            {"urn": "urn:pulumi:clusterip.ann::l4lab::l4lab:web:Web::web", "type": "l4lab:web:Web"},
            resource("Service", id="ann/web"),
        ],
        "pending_operations": [{"type": "creating", "resource": resource("Pod")}],
    }
    write_json(checkpoint(room.paths, "clusterip.ann"), {"checkpoint": {"latest": state}})
    there = [
        {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "ann", "uid": f"{kind} {name}"},
        }
        for kind, name in (("Pod", "web"), ("Pod", "mine"), ("Service", "web"))
    ]
    monkeypatch.setattr(api, "read", lambda _kubeconfig: [SYSTEM, *there])
    [ann] = reset.reset(room, (ANN,), lab=LAB, dry_run=True)
    assert ann.lines == ("delete Pod web", "delete Service web", "forget stack clusterip.ann")


def test_a_reset_is_not_held_against_another_clusters_state(room):
    write_json(room.made(ANN), made(QUOTA, cluster="before")["ann"])
    write_json(room.made(BOB), {"cluster": "this", "objects": []})
    ann, bob = reset.reset(room, CLASS.students, dry_run=True)
    assert "was on another cluster" in ann.note
    assert bob.ok, bob.note


def test_who_has_a_place_and_is_not_in_the_class_is_told_so(room):
    old = Student(id="dave", name="dave", place=Place(student="dave", namespace="dave"))
    ann, dave = verbs.status(room, (ANN, old))
    assert (ann.note, ann.next) == ("not up", None)
    assert dave.note == "not in the file any more; not up"
    assert dave.next == "./l4lab class down --only dave"


# --- nobody works for a student who is looked at ------------------------------------------------


@pytest.fixture
def looks(room, seen, monkeypatch):
    """Whose locks were held at each look at the machines, and at each change of the cluster."""
    found = []
    snapshots = proof.snapshots

    def held():
        ids = []
        for one in CLASS.students:
            try:
                with room.held(one):
                    pass
            except LockedError:
                ids.append(one.id)
        return ids

    def looking(access, scopes):
        found.append(held())
        return snapshots(access, scopes)

    def changing(_kubectl, _objects):
        assert held() == ["ann", "bob"]

    monkeypatch.setattr(proof, "snapshots", looking)
    monkeypatch.setattr(Kubectl, "apply", changing)
    monkeypatch.setattr(Kubectl, "token", lambda *_words, **_more: "token")
    monkeypatch.setattr(Kubectl, "kubeconfig", lambda *_words, **_more: "kubeconfig")
    monkeypatch.setattr(Kubectl, "obstacle", lambda *_words: None)
    return found


def test_a_student_is_held_from_the_first_look_at_the_cluster_to_the_last(room, looks):
    """Else a lab that is deployed meanwhile is taken for the student's clean state."""
    up = verbs.up(room, CLASS.students)
    assert [one.note for one in up if not one.ok] == []
    assert looks == [["ann", "bob"], ["ann", "bob"]]
    looks.clear()
    assert [one.note for one in reset.reset(room, CLASS.students) if not one.ok] == []
    assert looks == [["ann", "bob"]]
    with room.held(ANN), room.held(BOB):
        pass


def test_who_is_worked_for_by_somebody_else_fails_alone(room, looks):
    with room.held(ANN):
        ann, bob = verbs.up(room, CLASS.students)
        assert ann.note.startswith("student ann is in use: held by process ")
        assert bob.ok, bob.note
        assert clean.kept(room, ANN) is None
        ann, bob = reset.reset(room, CLASS.students)
        assert ann.note.startswith("student ann is in use: held by process ")
        assert bob.ok, bob.note
        assert [one.ok for one in reset.reset(room, CLASS.students, dry_run=True)] == [True, True]
