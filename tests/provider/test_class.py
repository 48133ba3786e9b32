"""A class on a real API server: who may do what, and a reset that takes away what it says.

Networks and kernels are for tests/cluster/test_class.py; here pods never run.
"""

import json
import os
from pathlib import Path

import pytest

from l4lab import command
from l4lab.classroom import Classroom, Limits, Student, reset, results, verbs
from l4lab.classroom.room import Room, known_places
from l4lab.lab import get_lab
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.proof import api
from l4lab.settings import parse
from l4lab.state import Access, Paths
from l4lab.topology import Topology
from tests.classes import REFUSED, big_pod, forbidden

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.server

ANN, BOB = (
    Student(id=name, name=name, place=Place(student=name, namespace=name, first_node_port=port))
    for name, port in (("ann", 30400), ("bob", 30410))
)
CLASS = Classroom(name="test", students=(ANN, BOB), labs=("clusterip",), limits=Limits())
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
def room(up):
    """The class with nothing of any student's in it, afterwards too."""
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


def names_of(room, student):
    """Kind and name of what is in the student's namespace and was not made by something there."""
    return {
        f"{one['kind']} {one['metadata']['name']}"
        for one in api.read(None)
        if one["metadata"].get("namespace") == student.id
        and not one["metadata"].get("ownerReferences")
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
    ask(
        room,
        None,
        "patch",
        "resourcequota",
        "class",
        "-n",
        ANN.id,
        "-p",
        json.dumps({"spec": {"hard": {"pods": "99"}}}),
    )
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


def test_a_second_up_changes_nothing_and_other_limits_want_a_clean_namespace(room):
    taken = room.fingerprint(ANN).read_text()
    work_of(room, ANN)
    assert_well(verbs.up(room, (ANN,)))
    assert room.fingerprint(ANN).read_text() == taken
    wider = Classroom(name="test", students=CLASS.students, labs=CLASS.labs, limits=Limits(pods=7))
    other = Room(classroom=wider, access=room.access, progress=room.progress)
    [dirty] = verbs.up(other, (ANN,))
    assert not dirty.ok
    assert "there is work in the namespace" in dirty.note
    [bob] = verbs.up(other, (BOB,))
    assert bob.ok
    assert_well(verbs.up(room, (BOB,)))
    assert results.failed_last(room.paths, "up") == ["ann"]


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
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": BOB.id, "finalizers": ["l4lab.test/held"]},
    }
    assert ask(room, None, "create", "-f", "-", text=json.dumps(held)).succeeded
    try:
        ask(room, None, "delete", "namespace", BOB.id, "--wait=false")
        for verb in (reset.reset, verbs.up):
            [stuck] = verb(room, (BOB,))
            assert not stuck.ok
            assert "Terminating" in stuck.note
    finally:
        change = json.dumps({"metadata": {"finalizers": None}})
        ask(room, None, "patch", "configmap", "held", "-n", BOB.id, "-p", change)
        ask(room, None, "wait", "--for=delete", f"namespace/{BOB.id}", "--timeout=60s")
    [told] = reset.reset(room, (BOB,), dry_run=True)
    assert "give a new login" in told.lines
    assert_well(reset.reset(room, (BOB,)))
    again = ask(room, BOB, "get", "pods")
    assert again.succeeded, again.stderr


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
