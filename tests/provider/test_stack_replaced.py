"""Changes and replacements of an object that are killed on their way, and what comes after."""

import os
import pickle
import signal
import subprocess
import sys
from functools import partial

import pytest

from l4lab import pulumi_cli, stack
from l4lab.pulumi_cli import is_running
from l4lab.retry import wait_for
from tests.provider.test_stack import PROJECT, MadeLab
from tests.provider.test_stack_cut_off import operation_of

pytestmark = pytest.mark.server

CHILD = """
import pickle, sys
from l4lab import stack
access, lab = pickle.load(open(sys.argv[1], "rb"))
stack.deploy(lab, access)
"""


def declare_service(namespace, spec, meta):
    import pulumi_kubernetes as k8s

    made = {"ports": [{"port": 80}], **spec}
    k8s.core.v1.Service("web", metadata={"name": "web", "namespace": namespace, **meta}, spec=made)


def service_lab(space, meta=None, **spec):
    return MadeLab("made", partial(declare_service, space.name, spec, meta or {}))


def declare_pod(namespace, hostname, finalizers):
    import pulumi_kubernetes as k8s

    spec = {"hostname": hostname, "containers": [{"name": "app", "image": "good"}]}
    k8s.core.v1.Pod("one", metadata={"namespace": namespace, "finalizers": finalizers}, spec=spec)


def pod_lab(space, hostname, finalizers=None):
    return MadeLab("made", partial(declare_pod, space.name, hostname, finalizers))


@pytest.fixture
def killed(access, tmp_path):
    """Deploys a lab in a process of its own, and kills all of that once something is to be seen."""

    def kill_once(seen, lab):
        left = tmp_path / "temporary"
        left.mkdir(exist_ok=True)
        (tmp_path / "access").write_bytes(pickle.dumps((access, lab)))
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, tmp_path / "access"],
            cwd=PROJECT,
            env={**os.environ, "TMPDIR": str(left)},
        )
        try:
            wait_for("the change", lambda: None if seen() else "none", within=240, every=0.1)
            operation, cli = operation_of(child)
            for process in (cli, operation, child.pid):
                os.kill(process, signal.SIGKILL)
        finally:
            child.kill()
            child.wait()
        wait_for("its end", lambda: "it runs" if is_running(cli) else None, within=60, every=0.1)
        assert list(left.iterdir()) == [], "outside of the cluster's own folder"
        assert stack.status(lab, access).pending

    return kill_once


def finish(verb, lab, access):
    if verb == "deploy":
        stack.deploy(lab, access)
        assert not stack.deploy(lab, access).changed
    stack.destroy(lab, access)
    assert not stack.status(lab, access).deployed
    assert not list(pulumi_cli.scratch(access.paths, "made").iterdir())


VERBS = pytest.mark.parametrize(
    "verb",
    [
        "deploy",
        # Where a deploy finds its way on, a destroy mostly does; test_stack_cut_off.py has one.
        pytest.param("destroy", marks=pytest.mark.long),
    ],
)


def test_an_update_is_taken_back_by_the_program_from_before(access, space, killed):
    before = service_lab(space, clusterIP="10.10.8.1")
    stack.deploy(before, access)
    spec = space.spec()
    after = service_lab(
        space,
        clusterIP="10.10.8.1",
        selector={"run": "nothing"},
        sessionAffinity="ClientIP",
    )
    killed(lambda: space.spec()["sessionAffinity"] == "ClientIP", after)
    assert stack.preview(before, access).changed
    assert stack.deploy(before, access).changed
    assert space.spec() == spec
    assert not stack.deploy(before, access).changed
    stack.destroy(before, access)


@VERBS
def test_killed_when_the_new_one_is_made_in_place_of_the_old(access, space, killed, verb):
    stack.deploy(service_lab(space, clusterIP="10.10.8.2"), access)
    after = service_lab(space, clusterIP="10.10.8.3", selector={"run": "nothing"})
    live = f"{space.path}/services/web"
    killed(
        lambda: ((space.server.get(live) or {}).get("spec") or {}).get("clusterIP") == "10.10.8.3",
        after,
    )
    finish(verb, service_lab(space, clusterIP="10.10.8.3"), access)
    assert space.server.get(live) is None


@VERBS
def test_killed_when_the_old_one_is_deleted(access, space, killed, verb):
    held = {"finalizers": ["lab.example/held"]}
    stack.deploy(service_lab(space, held, clusterIP="10.10.8.4"), access)
    killed(
        lambda: "deletionTimestamp" in space.server.get(space.service)["metadata"],
        service_lab(space, held, clusterIP="10.10.8.5"),
    )
    space.server.patch(space.service, {"metadata": {"finalizers": None}})
    finish(verb, service_lab(space, clusterIP="10.10.8.5"), access)
    assert space.server.get(space.service) is None


def pods(space):
    return space.server.get(f"{space.path}/pods")["items"]


@VERBS
def test_killed_when_the_new_one_is_made_beside_the_old(access, space, kubelet, killed, verb):
    stack.deploy(pod_lab(space, "one"), access)
    kubelet.paused = True
    try:
        killed(lambda: len(pods(space)) == 2, pod_lab(space, "two"))
    finally:
        kubelet.paused = False
    if verb == "deploy":
        stack.deploy(pod_lab(space, "two"), access)
        assert [pod["spec"]["hostname"] for pod in pods(space)] == ["two"]
    finish(verb, pod_lab(space, "two"), access)
    assert pods(space) == []


@VERBS
def test_killed_when_only_the_old_one_is_left_to_go(access, space, kubelet, killed, verb):
    stack.deploy(pod_lab(space, "one", ["lab.example/held"]), access)
    killed(
        lambda: any("deletionTimestamp" in pod["metadata"] for pod in pods(space)),
        pod_lab(space, "two"),
    )
    for pod in pods(space):
        path = f"{space.path}/pods/{pod['metadata']['name']}"
        space.server.patch(path, {"metadata": {"finalizers": None}})
    finish(verb, pod_lab(space, "two"), access)
    assert pods(space) == []
