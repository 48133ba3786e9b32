"""A class on a real API server: who may do what, and a reset that takes away what it says.

Networks and kernels are for tests/cluster/test_class.py; here pods never run.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from l4lab import command, proof
from l4lab.classroom import Classroom, Limits, Student, reset, results, verbs
from l4lab.classroom.room import Room, known_places
from l4lab.lab import get_lab
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.proof import api
from l4lab.pulumi_cli import checkpoint
from l4lab.retry import wait_for
from l4lab.settings import parse
from l4lab.state import Access, Paths, write_json, write_private
from l4lab.topology import Topology
from tests.classes import REFUSED, big_pod, forbidden

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.server

ANN, BOB = (
    Student(id=name, name=name, place=Place(student=name, namespace=name, first_node_port=port))
    for name, port in (("ann", 30400), ("bob", 30410))
)
CLASS = Classroom(name="test", students=(ANN, BOB), labs=("clusterip",), limits=Limits())
HELD = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "held", "finalizers": ["l4lab.test/held"]},
}
LET_GO = json.dumps({"metadata": {"finalizers": None}})
KINDS = {
    "/api/v1": {
        "namespaces": "Namespace",
        "pods": "Pod",
        "services": "Service",
        "configmaps": "ConfigMap",
        "secrets": "Secret",
        "serviceaccounts": "ServiceAccount",
        "resourcequotas": "ResourceQuota",
        "limitranges": "LimitRange",
        "nodes": "Node",
    },
    "/apis/apps/v1": {"deployments": "Deployment", "replicasets": "ReplicaSet"},
    "/apis/discovery.k8s.io/v1": {"endpointslices": "EndpointSlice"},
    "/apis/networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "/apis/rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
}


@pytest.fixture(scope="module")
def up(server, kubelet, tmp_path_factory):
    """The class, up; its machines are none, for there are none."""

    def read(_kubeconfig):
        return [
            {"apiVersion": root.removeprefix("/apis/").removeprefix("/api/"), "kind": kind, **item}
            for root, kinds in KINDS.items()
            for plural, kind in kinds.items()
            for item in server.request("GET", f"{root}/{plural}")["items"]
        ]

    paths = Paths(tmp_path_factory.mktemp("class"))
    server.write_kubeconfig(paths.kubeconfig)
    topology = Topology(
        name="test", machines=(), networks=parse({}, "l4lab.toml").topology.networks
    )
    programs = Path(os.environ["L4LAB_SERVER_BIN"])
    access = Access(
        topology=topology,
        paths=paths,
        kubectl=programs / "kubectl",
        pulumi=programs / "pulumi",
    )
    made = Room(classroom=CLASS, access=access, progress=Progress(quiet=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "read", read)
        assert_well(verbs.up(made, CLASS.students))
        for student in CLASS.students:
            server.wait_for_account(student.id)
        yield made
        assert_well(verbs.down(made, CLASS.students))
    assert known_places(paths) == {}


@pytest.fixture
def room(up, server):
    """The class with nothing of any student's in it, afterwards too."""

    def uncounted():
        # Nothing may be made where it is not known yet how much there is.
        quotas = [
            one
            for student in CLASS.students
            for one in server.get(f"/api/v1/namespaces/{student.id}/resourcequotas")["items"]
        ]
        left = [one["metadata"] for one in quotas if "used" not in one.get("status", {})]
        return str([(one["namespace"], one["name"]) for one in left]) if left else None

    wait_for("quotas that are counted", uncounted, within=120)
    yield up
    assert_well(reset.reset(up, CLASS.students))


def assert_well(outcomes):
    assert [(one.student, one.note, one.lines) for one in outcomes if not one.ok] == []


def ask(room, student, *words, text=None):
    """kubectl with the student's login, or the administrator's."""
    login = room.paths.classroom / student.id / f"{student.id}.kubeconfig" if student else None
    argv = [room.access.kubectl, f"--kubeconfig={login or room.paths.kubeconfig}", *words]
    return command.run(argv, timeout=60, check=False, input=text)


def refused(done, word):
    assert not done.succeeded, done.stdout
    assert word in done.stderr


def work_of(room, student):
    """A Deployment, a Service and a ConfigMap that the student makes."""
    for words in (
        ("create", "deployment", "web", "--image=x", "--replicas=2"),
        ("expose", "deployment", "web", "--port=80"),
        ("create", "configmap", "notes", "--from-literal=a=b"),
    ):
        done = ask(room, student, *words)
        assert done.succeeded, done.stderr


def names_of(room, student, *, owned=False):
    """Kind and name of what is in the student's namespace, without what has an owner there."""
    return {
        f"{one['kind']} {one['metadata']['name']}"
        for one in api.read(None)
        if one["metadata"].get("namespace") == student.id
        and (owned or not one["metadata"].get("ownerReferences"))
    }


def test_a_login_reaches_its_own_namespace_and_no_other(room):
    work_of(room, ANN)
    login = room.paths.classroom / ANN.id / f"{ANN.id}.kubeconfig"
    assert login.stat().st_mode & 0o777 == 0o600
    assert ask(room, ANN, "get", "deployments", "-o", "name").stdout == "deployment.apps/web\n"
    for words in forbidden(ANN.id, BOB.id):
        refused(ask(room, ANN, *words), "orbidden")
    may = ask(room, ANN, "auth", "can-i", "--list", "-n", BOB.id).stdout
    assert "pods" not in may
    for question in ("* *", "get nodes/proxy", "escalate roles", "impersonate users"):
        assert ask(room, ANN, "auth", "can-i", *question.split()).stdout.strip() == "no"


def test_what_reaches_beyond_the_namespace_or_the_share_is_refused(room):
    for manifest, says in REFUSED.values():
        refused(ask(room, ANN, "create", "-f", "-", text=manifest), says)
    refused(
        ask(room, ANN, "run", "big", "--image=x", "--overrides", big_pod("900Mi")),
        "exceeded quota",
    )
    for number in range(CLASS.limits.pods):
        assert ask(room, ANN, "run", f"small{number}", "--image=x").succeeded
    refused(ask(room, ANN, "run", "more", "--image=x"), "exceeded quota")
    assert ask(room, BOB, "run", "small", "--image=x").succeeded


def test_a_reset_does_what_the_dry_run_said_and_touches_nobody_else(room):
    work_of(room, ANN)
    work_of(room, BOB)
    ask(room, None, "delete", "limitrange", "class", "-n", ANN.id)
    change = json.dumps({"spec": {"hard": {"pods": "99"}}})
    ask(room, None, "patch", "resourcequota", "class", "-n", ANN.id, "-p", change)
    before, others = names_of(room, ANN), names_of(room, BOB)
    [told] = reset.reset(room, (ANN,), dry_run=True)
    assert names_of(room, ANN) == before
    [done] = reset.reset(room, (ANN,))
    assert done.ok, done.lines
    assert done.note.startswith("clean: ")
    assert done.data["list"] == told.data["list"]
    gone = {f"delete {one}" for one in before - names_of(room, ANN)}
    assert gone | {"restore LimitRange class", "restore ResourceQuota class"} == set(told.lines)
    assert names_of(room, BOB) == others
    [again] = reset.reset(room, (ANN,), dry_run=True)
    assert again.lines == ()


def test_pods_of_controllers_are_held_to_the_same(room, server):
    """A template is no pod: its pods are refused when they are to be made."""
    tolerated = {"tolerations": [{"operator": "Exists"}]}
    for name, spec, says in (
        ("critical", {"priorityClassName": "system-cluster-critical"}, "exceeded quota"),
        ("placed", {"nodeName": "k8s-node01"}, "the scheduler's to choose"),
        ("tolerant", tolerated, "not for the control plane"),
    ):
        made = ask(room, ANN, "create", "deployment", name, "--image=x", "--replicas=0")
        assert made.succeeded, made.stderr
        change = json.dumps({"spec": {"replicas": 1, "template": {"spec": spec}}})
        assert ask(room, ANN, "patch", "deployment", name, "-p", change).succeeded

        def refused_one(name=name, says=says):
            found = server.get(f"/apis/apps/v1/namespaces/ann/deployments/{name}")
            said = [one.get("message", "") for one in found["status"].get("conditions", [])]
            return None if any(says in one for one in said) else str(said)

        wait_for(f"the refusal of {name}'s pod", refused_one, within=60)
    assert ask(room, ANN, "get", "pods", "-o", "name").stdout == ""


def test_a_pod_that_tolerates_more_once_it_is_there_is_refused_too(room):
    assert ask(room, ANN, "run", "small", "--image=x").succeeded
    more = [{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}]
    change = ("--type=json", "-p", json.dumps(more))
    refused(ask(room, ANN, "patch", "pod", "small", *change), "not for the control plane")


def test_pods_that_have_ended_are_counted(room, server):
    """They are objects all the same: without a bound a student fills etcd with them."""
    hard = server.get("/api/v1/namespaces/ann/resourcequotas/class")["status"]["hard"]
    assert hard["count/pods"] == "56"
    assert hard["count/controllerrevisions.apps"] == "100"


def test_a_second_up_changes_nothing(room):
    taken = room.fingerprint(ANN).read_text()
    work_of(room, ANN)
    assert_well(verbs.up(room, (ANN,)))
    assert room.fingerprint(ANN).read_text() == taken


def test_other_bounds_are_given_to_whoever_has_work_and_a_reset_is_clean_after_it(room, server):
    def hard(student):
        path = f"/api/v1/namespaces/{student.id}/resourcequotas/class"
        return server.get(path)["spec"]["hard"]

    work_of(room, ANN)
    wider = Classroom(name="test", students=CLASS.students, labs=CLASS.labs, limits=Limits(pods=7))
    other = Room(classroom=wider, access=room.access, progress=room.progress)
    others, before = hard(BOB), names_of(room, ANN)
    assert_well(verbs.up(other, (ANN,)))
    assert (hard(ANN)["pods"], hard(BOB)) == ("7", others)
    assert names_of(room, ANN) == before
    [done] = reset.reset(other, (ANN,))
    assert done.ok, done.lines
    assert "delete Deployment web" in done.lines
    assert_well(verbs.up(room, (ANN,)))
    assert hard(ANN) == others


def test_a_reset_is_not_held_against_bounds_that_are_others_now(room):
    made = room.made(ANN)
    before = made.read_text()
    made.write_text(json.dumps({**json.loads(before), "objects": []}))
    try:
        refused, other = reset.reset(room, (ANN, BOB))
    finally:
        made.write_text(before)
    assert not refused.ok
    assert "other limits or rights" in refused.note
    assert other.ok, other.note


def test_an_up_that_was_cut_off_does_not_take_work_for_the_clean_state(room):
    work_of(room, ANN)
    room.made(ANN).unlink()  # it is written when the fingerprint is
    [ann, bob] = verbs.up(room, CLASS.students)
    assert not ann.ok
    assert "there is work in the namespace" in ann.note
    assert ann.next == "./l4lab class reset --only ann, then class up"
    assert bob.ok, bob.note
    assert results.failed_last(room.paths, "up") == ["ann"]
    reset.reset(room, (ANN,))
    assert_well(verbs.up(room, (ANN,)))


def test_the_clean_state_of_another_cluster_is_neither_trusted_nor_kept(room):
    """Machines were reset and built on again: the class is known, and its namespaces are gone."""
    old = {"cluster": "another", "objects": []}
    write_json(room.made(ANN), old)
    taken = proof.read_json(room.fingerprint(ANN))
    spoilt = replace(taken, facts={**taken.facts, "cluster": {"Service ann/old": "x"}})
    proof.write_json(room.fingerprint(ANN), spoilt)
    [ann] = reset.reset(room, (ANN,))
    assert "was on another cluster" in ann.note
    assert_well(verbs.up(room, (ANN,)))
    assert proof.read_json(room.fingerprint(ANN)).facts == taken.facts
    assert_well(reset.reset(room, (ANN,)))


def test_a_damaged_stack_stops_nobodys_reset(room):
    lab = get_lab(PROJECT, "clusterip")
    for student in CLASS.students:
        work_of(room, student)
    token = "kubernetes:core/v1:Service"
    urn = f"urn:pulumi:clusterip.bob::l4lab::{token}::web"
    made = [{"urn": urn, "type": token, "id": "bob/web"}]
    state = json.dumps({"checkpoint": {"latest": {"resources": made}}})
    write_private(checkpoint(room.paths, "clusterip.ann"), state[:40])
    write_private(checkpoint(room.paths, "clusterip.bob"), state)
    ann, bob = reset.reset(room, CLASS.students, lab=lab)
    assert not ann.ok
    assert "stack clusterip.ann" in ann.note
    assert "Service web" in names_of(room, ANN)
    assert bob.lines == ("delete Service web", "forget stack clusterip.bob")
    assert bob.ok, bob.note
    assert "Service web" not in names_of(room, BOB)
    [done] = reset.reset(room, (ANN,))
    assert done.ok, done.note
    assert "forget stack clusterip.ann" in done.lines
    assert not checkpoint(room.paths, "clusterip.ann").exists()
    assert "Service web" not in names_of(room, ANN)


def test_a_namespace_of_somebody_else_is_left_alone(room, server):
    cy = Student(id="cy", name="cy", place=Place(student="cy", namespace="cy"))
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "cy"}})
    try:
        for verb in (verbs.up, verbs.down):
            [outcome] = verb(room, (cy,))
            assert not outcome.ok
            assert "is not the class's" in outcome.note
        assert server.get("/api/v1/namespaces/cy")["status"]["phase"] == "Active"
    finally:
        server.request("DELETE", "/api/v1/namespaces/cy")


def test_a_namespace_that_cannot_go_is_explained(room):
    made = ask(room, None, "create", "-n", BOB.id, "-f", "-", text=json.dumps(HELD))
    assert made.succeeded, made.stderr
    try:
        ask(room, None, "delete", "namespace", BOB.id, "--wait=false")
        for verb in (reset.reset, verbs.up):
            [stuck] = verb(room, (BOB,))
            assert not stuck.ok
            assert "Terminating" in stuck.note
    finally:
        ask(room, None, "patch", "configmap", "held", "-n", BOB.id, "-p", LET_GO)
        ask(room, None, "wait", "--for=delete", f"namespace/{BOB.id}", "--timeout=60s")
    [told] = reset.reset(room, (BOB,), dry_run=True)
    assert "give a new login" in told.lines
    assert_well(reset.reset(room, (BOB,)))
    again = ask(room, BOB, "get", "pods")
    assert again.succeeded, again.stderr


def test_what_a_student_would_keep_from_a_reset_goes_or_is_named(room, server, monkeypatch):
    """An owner that stays, and a finalizer, which a student may write, too."""
    uid = server.get("/api/v1/namespaces/ann/serviceaccounts/student")["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "student", "uid": uid}
    owned = {**HELD, "metadata": {"name": "owned", "ownerReferences": [owner]}}
    for one in (HELD, owned):
        made = ask(room, ANN, "create", "-f", "-", text=json.dumps(one))
        assert made.succeeded, made.stderr
    ask(room, ANN, "delete", "configmap", "held", "--wait=false")
    monkeypatch.setattr(reset, "GONE_WITHIN", 5.0)
    try:
        [stuck] = reset.reset(room, (ANN,))
    finally:
        ask(room, ANN, "patch", "configmap", "held", "-p", LET_GO)
    assert not stuck.ok
    assert "configmaps/held" in stuck.note
    assert "ConfigMap owned" not in names_of(room, ANN, owned=True)


def test_a_stack_each_and_one_that_fails_stops_nobody(room):
    spoilt = ask(room, BOB, "create", "service", "clusterip", "my-nginx", "--tcp=80")
    assert spoilt.succeeded, spoilt.stderr
    lab = get_lab(PROJECT, "clusterip")
    found = {one.student: one for one in verbs.deploy(room, CLASS.students, lab)}
    assert found["ann"].ok, found["ann"].note
    assert "Service my-nginx" in names_of(room, ANN)
    assert not found["bob"].ok
    assert "exists already" in found["bob"].note
    assert results.failed_last(room.paths, "deploy-clusterip") == ["bob"]

    [told] = reset.reset(room, (ANN,), lab=lab, dry_run=True)
    assert told.lines == (
        "delete Deployment my-nginx",
        "delete Pod client",
        "delete Service my-nginx",
        "forget stack clusterip.ann",
    )
    assert_well(reset.reset(room, CLASS.students))
    assert_well(verbs.deploy(room, CLASS.students, lab))
    assert {"Deployment my-nginx", "Service my-nginx", "Pod client"} <= names_of(room, BOB)


def test_one_who_is_worked_for_is_not_worked_for_twice(room):
    with room.held(ANN):
        found = {one.student: one for one in verbs.down(room, (ANN,))}
    assert "student ann is in use: held by process" in found["ann"].note
