"""A class of three on the real cluster: apart from each other, each green, each reset with a proof.

What a student must not be able to do is tried for real, with that student's own login.
"""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from l4lab import command
from l4lab.classroom import Classroom, Limits, Student, reset, results, verbs
from l4lab.classroom.room import Room
from l4lab.lab import get_lab
from l4lab.place import Place
from l4lab.progress import Progress
from l4lab.proof import api
from l4lab.retry import wait_for
from tests.classes import REFUSED, big_pod, forbidden
from tests.cluster.conftest import PROJECT

IDS = ("class-ann", "class-bob", "class-cy")
ANN, BOB, CY = (
    Student(
        id=name,
        name=full,
        place=Place(student=name, namespace=name, first_node_port=30400 + 10 * number),
    )
    for number, (name, full) in enumerate(zip(IDS, ("安娜", "Боб", "Cy"), strict=True))
)
CLASS = Classroom(
    name="test", students=(ANN, BOB, CY), labs=("clusterip",), limits=Limits(at_once=3)
)
LAB = get_lab(PROJECT, "clusterip")
# What kubectl says of a wget that was ended, or found a port closed.
UNREACHED = ("exit code 143", "exit code 124", "refused", "can't connect")


@pytest.fixture(scope="module")
def room(access):
    return Room(classroom=CLASS, access=access, progress=Progress())


@pytest.fixture(scope="module")
def klass(room):
    """The class, up and with its lab, green; taken away afterwards."""
    try:
        assert_well(verbs.up(room, CLASS.students))
        assert_well(verbs.deploy(room, CLASS.students, LAB))
        assert_well(verbs.check(room, CLASS.students, LAB))
        yield room
    finally:
        assert_well(verbs.down(room, CLASS.students))
        # The cluster's end would leave them.
        shutil.rmtree(room.paths.class_results, ignore_errors=True)
    spaces = {one["metadata"]["name"] for one in items(room) if one["kind"] == "Namespace"}
    assert not spaces & set(IDS)


def assert_well(outcomes):
    assert [(one.student, one.note, one.lines) for one in outcomes if not one.ok] == []


def items(room):
    return api.read(room.paths.kubeconfig)


def admin(room, *words, text=None, timeout=60):
    argv = [room.access.kubectl, f"--kubeconfig={room.paths.kubeconfig}", *words]
    return command.run(argv, timeout=timeout, check=False, input=text)


def as_student(room, student, *words, text=None):
    login = room.paths.classroom / student.id / f"{student.id}.kubeconfig"
    argv = [room.access.kubectl, f"--kubeconfig={login}", *words]
    return command.run(argv, timeout=60, check=False, input=text)


def refused(done, *words):
    assert not done.succeeded, done.stdout
    assert any(word in done.stderr for word in words), done.stderr


def pods_of(room, student):
    return as_student(room, student, "get", "pods", "-o", "name").stdout.split()


def too_many_pods(room, student):
    pods = pods_of(room, student)
    return None if len(pods) == 3 else " ".join(pods)


def objects_of(room, student):
    """Kind, name and version of all objects of a student that stay as they are by themselves."""
    return {
        (one["kind"], one["metadata"]["name"], json.dumps(one.get("spec"), sort_keys=True))
        for one in items(room)
        if one["metadata"].get("namespace") == student.place.namespace
    }


def test_everybodys_lab_is_green_and_kept(klass):
    rows = results.rows(klass.paths, CLASS, CLASS.students)
    assert {row.student for row in rows} == set(IDS)
    assert {row.state for row in rows} <= {"pass", "skip"}
    assert len({(row.student, row.check) for row in rows}) > 3 * 15


def test_a_login_reaches_its_own_namespace_and_no_other(klass):
    login = klass.paths.classroom / ANN.id / f"{ANN.id}.kubeconfig"
    assert login.stat().st_mode & 0o777 == 0o600
    own = as_student(klass, ANN, "get", "pods", "-o", "name")
    assert own.stdout.count("pod/") == 3
    for words in forbidden(ANN.id, BOB.id):
        refused(as_student(klass, ANN, *words), "orbidden")
    for question in ("get pods -n kube-system", "* *", "get nodes/proxy", "escalate roles"):
        assert as_student(klass, ANN, "auth", "can-i", *question.split()).stdout.strip() == "no"


def closed(url):
    """Why there is no answer to a request from here; None for an answer."""
    said = command.run(["curl", "-sS", "-f", "-m", "4", url], timeout=20, check=False)
    return None if said.succeeded else said.last_line or f"exit code {said.rc}"


def test_pods_reach_their_own_and_nobody_elses(klass):
    def fetch(target):
        # Not wget's own -T: Debian's busybox dies of it.
        words = ("timeout", "4", "wget", "-q", "-O", "-", target)
        return as_student(klass, ANN, "exec", "client", "--", *words)

    def unanswered():
        said = fetch("http://my-nginx/")
        return None if "nginx" in said.stdout else said.last_line or "nothing"

    wait_for("an answer of her own Service", unanswered, within=60)
    pods = json.loads(admin(klass, "get", "pods", "-n", BOB.id, "-o", "json").stdout)["items"]
    address = next(one["status"]["podIP"] for one in pods if "nginx" in one["metadata"]["name"])
    for target in (f"http://{address}/", f"http://my-nginx.{BOB.id}/"):
        refused(fetch(target), *UNREACHED)
    port = BOB.place.first_node_port
    change = {"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}}
    opened = as_student(klass, BOB, "patch", "service", "my-nginx", "-p", json.dumps(change))
    assert opened.succeeded, opened.stderr
    try:
        for node in klass.access.topology.nodes:
            url = f"http://{node.address}:{port}/"
            # This process is on the node network, to which a node port is open.
            wait_for(f"an answer of {url}", partial(closed, url), within=120)
            refused(fetch(url), *UNREACHED)
    finally:
        back = {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": None}]}}
        admin(klass, "patch", "service", "my-nginx", "-n", BOB.id, "-p", json.dumps(back))


def test_nobody_takes_more_than_their_share(klass):
    scaled = as_student(klass, ANN, "scale", "deployment", "my-nginx", "--replicas=20")
    assert scaled.succeeded
    refused(
        as_student(klass, ANN, "run", "big", "--image=x", "--overrides", big_pod("900Mi")),
        "exceeded quota",
    )
    assert len(pods_of(klass, ANN)) <= CLASS.limits.pods
    assert as_student(klass, ANN, "scale", "deployment", "my-nginx", "--replicas=2").succeeded
    rollout = ("rollout", "status", "deployment/my-nginx", "--timeout=100s")
    done = admin(klass, *rollout, "-n", ANN.id, timeout=120)
    assert done.succeeded, done.stderr
    # The next tests compare her objects: those on their way out have to be gone.
    wait_for("two replicas and the client", lambda: too_many_pods(klass, ANN), within=120)


@pytest.mark.parametrize(("manifest", "says"), REFUSED.values(), ids=REFUSED)
def test_what_would_reach_beyond_the_namespace_is_refused(klass, manifest, says):
    refused(as_student(klass, ANN, "create", "-f", "-", text=manifest), says)


@pytest.mark.long
def test_one_students_break_is_red_for_that_one_only(klass):
    change = json.dumps({"spec": {"selector": {"run": "nobody"}}})
    assert as_student(klass, CY, "patch", "service", "my-nginx", "-p", change).succeeded
    found = {one.student: one for one in verbs.check(klass, (BOB, CY), LAB)}
    assert found[BOB.id].ok, found[BOB.id].note
    assert not found[CY.id].ok
    assert "selector" in found[CY.id].data["red"]
    assert results.failed_last(klass.paths, "check-clusterip") == [CY.id]
    # To be read by those who have it in front of them: in their namespace, by their commands.
    kept = results.kept(klass.paths, CY.id, "clusterip")["results"]
    nexts = [one["next"] for one in kept if one["next"] and "kubectl get pods" in one["next"]]
    assert all(f"-n {CY.id}" in text or "kube-system" in text for text in nexts)


def test_a_reset_of_one_is_proved_and_leaves_the_others(klass):
    made = as_student(klass, CY, "create", "configmap", "notes", "--from-literal=a=b")
    assert made.succeeded, made.stderr
    admin(klass, "delete", "limitrange", "class", "-n", CY.id)
    others = {one.id: objects_of(klass, one) for one in (ANN, BOB)}
    before = objects_of(klass, CY)

    [told] = reset.reset(klass, (CY,), dry_run=True)
    assert objects_of(klass, CY) == before
    assert {
        "delete ConfigMap notes",
        "delete Deployment my-nginx",
        "delete Service my-nginx",
        "restore LimitRange class",
        f"forget stack clusterip.{CY.id}",
    } <= set(told.lines)

    [done] = reset.reset(klass, (CY,))
    assert done.ok, done.lines
    assert done.note.startswith("clean: ")
    assert done.data["list"] == told.data["list"]
    gone = {f"{kind} {name}" for kind, name, _ in before - objects_of(klass, CY)}
    owned = ("ReplicaSet", "EndpointSlice", "Pod my-nginx")
    named = {line.removeprefix("delete ") for line in told.lines if line.startswith("delete ")}
    assert {one for one in gone if not one.startswith(owned)} == named
    assert {one.id: objects_of(klass, one) for one in (ANN, BOB)} == others
    assert results.kept(klass.paths, CY.id, "clusterip") is not None

    assert_well(verbs.deploy(klass, (CY,), LAB))
    assert_well(verbs.check(klass, (CY,), LAB))


@pytest.mark.long  # tests/provider shows it without machines
def test_a_namespace_that_cannot_go_is_explained(klass):
    held = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": BOB.id, "finalizers": ["l4lab.test/held"]},
    }
    assert admin(klass, "create", "-f", "-", text=json.dumps(held)).succeeded
    try:
        admin(klass, "delete", "namespace", BOB.id, "--wait=false")
        [stuck] = reset.reset(klass, (BOB,))
        assert not stuck.ok
        assert "Terminating" in stuck.note
    finally:
        admin(
            klass,
            "patch",
            "configmap",
            "held",
            "-n",
            BOB.id,
            "-p",
            '{"metadata":{"finalizers":null}}',
        )
        admin(klass, "wait", "--for=delete", f"namespace/{BOB.id}", "--timeout=60s")
    assert_well(verbs.up(klass, (BOB,)))
