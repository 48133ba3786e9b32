"""What is made of a controller's pods while it is waited for; needs no API server."""

import threading

import pytest

from provider.l4lab_provider.awaits import NotReadyError, trouble_of, wait_until_ready
from provider.l4lab_provider.diff import Change, asked

META = {"namespace": "default", "annotations": {"deployment.kubernetes.io/revision": "1"}}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {**META, "name": "it", "uid": "d", "generation": 2},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"run": "it"}}},
    "status": {"observedGeneration": 2, "replicas": 0},
}
SET = {
    "metadata": {
        **META,
        "name": "it-1",
        "labels": {"pod-template-hash": "1"},
        "ownerReferences": [{"uid": "d"}],
    }
}


class Cluster:
    """Answers what the judge asks: one ReplicaSet, and its pods; nothing has happened."""

    def __init__(self, *pods):
        self.objects = {"ReplicaSet": [SET], "Pod": list(pods), "Event": []}

    def kind(self, _version, kind):
        return kind

    def find(self, kind, *, namespace, labels):
        assert namespace == "default"
        assert kind == "Event" or labels.startswith("run=it")
        return self.objects[kind]


def failed(**meta):
    return {"metadata": {"name": "it-1-a", **meta}, "status": {"phase": "Failed"}}


def test_for_a_failed_pod_its_set_makes_another():
    trouble = trouble_of(Cluster(failed()), DEPLOYMENT)
    assert (trouble.hopeless, trouble.text) == (None, "pod it-1-a failed: its containers ended")
    starting = {"metadata": {"name": "it-1-b"}, "status": {"phase": "Pending"}}
    trouble = trouble_of(Cluster(failed(), starting), DEPLOYMENT)
    assert (trouble.hopeless, trouble.text) == (False, "0 of 1 pods are available")


@pytest.mark.parametrize("others", [(), (failed(deletionTimestamp="2026-01-01T00:00:00Z"),)])
def test_a_pod_on_its_way_out_tells_nothing(others):
    """So an update with strategy Recreate is waited for until its new pod is there."""
    leaving = failed(deletionTimestamp="2026-01-01T00:00:00Z")
    trouble = trouble_of(Cluster(leaving, *others), DEPLOYMENT)
    assert (trouble.hopeless, trouble.text) == (False, "0 of 1 pods are available")


# -- StatefulSets


def stateful_set(status, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "it", "namespace": "default", "generation": 2},
        "spec": {"selector": {"matchLabels": {"run": "it"}}, **spec},
        "status": {"observedGeneration": 2, "updateRevision": "new", **status},
    }


def counts(total, ready, updated):
    return {"replicas": total, "readyReplicas": ready, "updatedReplicas": updated}


def at(partition):
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}


@pytest.mark.parametrize(
    ("status", "spec", "text"),
    [
        (counts(1, 1, 1), {}, None),
        ({}, {}, "0 of 1 pods are ready, 1 yet to be updated"),
        ({"observedGeneration": 1, **counts(1, 1, 1)}, {}, "the stateful set controller has not"),
        ({}, {"replicas": 0}, None),
        (counts(1, 0, 0), {"replicas": 0}, "0 of 0 pods are ready"),
        (counts(3, 3, 3), {"replicas": 2}, "3 of 2 pods are ready"),
        (counts(2, 2, 1), {"replicas": 2}, "2 of 2 pods are ready, 1 yet to be updated"),
        (counts(2, 2, 0), {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, None),
        (counts(2, 1, 0), {"replicas": 2, "updateStrategy": {"type": "OnDelete"}}, "1 of 2 pods"),
        (counts(3, 3, 1), {"replicas": 3, "updateStrategy": at(2)}, None),
        (counts(3, 3, 3), {"replicas": 3, "updateStrategy": at(2)}, None),
        (counts(3, 3, 0), {"replicas": 3, "updateStrategy": at(2)}, "3 of 3 pods are ready, 1 yet"),
        (counts(3, 3, 0), {"replicas": 3, "updateStrategy": at(9)}, None),
    ],
)
def test_a_stateful_set_is_ready_with_all_pods_it_is_to_have_of_the_revision(status, spec, text):
    trouble = trouble_of(Cluster(), stateful_set(status, **spec))
    assert (trouble is None) == (text is None)
    if trouble:
        assert trouble.hopeless is False
        assert trouble.text.startswith(text)


def one_of(revision, **meta):
    waiting = {"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    labels = {"controller-revision-hash": revision}
    return {
        "metadata": {"name": f"it-{revision}", "labels": labels, **meta},
        "status": {"phase": "Pending", "containerStatuses": [waiting]},
    }


PARALLEL = {"podManagementPolicy": "Parallel"}
LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
STAYS = "; it is not of the present revision, and stays until it is deleted"


@pytest.mark.parametrize(
    ("pods", "spec", "hopeless", "after"),
    [
        ([one_of("new"), one_of("old")], {}, True, ""),
        ([one_of("new", **LEAVING)], {}, False, None),
        ([one_of("old")], {}, None, STAYS),
        ([one_of("old")], PARALLEL, False, None),
        ([one_of("old", **LEAVING)], {}, False, None),
        ([one_of("old")], {**PARALLEL, "updateStrategy": at(1)}, None, STAYS),
        ([one_of("old")], {**PARALLEL, "updateStrategy": {"type": "OnDelete"}}, None, STAYS),
    ],
)
def test_of_a_stateful_sets_pods_those_tell_that_stay(pods, spec, hopeless, after):
    trouble = trouble_of(Cluster(*pods), stateful_set(counts(1, 0, 0), **spec))
    assert trouble.hopeless is hopeless
    if after is None:
        assert trouble.text.startswith("0 of 1 pods are ready")
    else:
        name = pods[0]["metadata"]["name"]
        assert trouble.text == f"pod {name}, container app: ImagePullBackOff{after}"


# -- pods of their own


def pod(*, image="one", generation=1, **status):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "it", "namespace": "default", "generation": generation},
        "spec": {"containers": [{"name": "app", "image": image}]},
        "status": status,
    }


READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def runs(identity, image="docker.io/library/one:latest"):
    return {"containerStatuses": [{"name": "app", "containerID": identity, "image": image}]}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"reason": "Evicted", "message": "The node was low"}, "Evicted: The node was low"),
        (
            {
                "containerStatuses": [
                    {"name": "app", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
                ]
            },
            "container app: Error (exit code 3)",
        ),
    ],
)
def test_a_failed_pod_of_its_own_is_hopeless_with_its_reason(status, why):
    trouble = trouble_of(Cluster(), pod(phase="Failed", **status))
    assert (trouble.hopeless, trouble.text) == (True, f"pod it failed: {why}")


def test_a_pod_is_not_ready_before_its_node_has_seen_the_change():
    old = pod(generation=2, observedGeneration=1, **READY)
    assert "has not seen the change" in trouble_of(Cluster(), old).text
    assert trouble_of(Cluster(), pod(generation=2, observedGeneration=2, **READY)) is None


def test_a_pod_that_has_ended_takes_no_change():
    trouble = trouble_of(Cluster(), pod(phase="Succeeded", generation=2, observedGeneration=1))
    assert (trouble.hopeless, trouble.text) == (
        True,
        "pod it has ended and takes no change: delete it",
    )
    assert trouble_of(Cluster(), pod(phase="Succeeded", generation=1, observedGeneration=1)) is None


class Changing:
    """Shows a Pod as it becomes another, look by look; the last one stays."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def kind(self, _version, kind):
        return kind

    def get(self, _kind, *, namespace, name):
        assert (namespace, name) == ("default", "it")
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]


def wait(cluster, live, before, told):
    never = threading.Event()
    return wait_until_ready(
        cluster, live, within=60, cancelled=never, tell=told.append, before=before
    )


def test_a_changed_pod_is_ready_when_its_container_is_another():
    before = pod(**READY, **runs("a"))
    changed = pod(image="two", generation=2, observedGeneration=2, **READY, **runs("a"))
    anew = pod(image="two", generation=2, observedGeneration=2, **READY, **runs("b"))
    told = []
    assert wait(Changing(changed, anew), changed, before, told) == anew
    assert told == ["pod it, container app: not begun anew yet"]
    same = pod(**READY, **runs("a"))
    assert wait(Changing(same), same, before, told) == same, "no image has changed"


def test_a_pod_that_was_changed_back_in_time_goes_on_as_it_is():
    before = pod(image="bad", generation=2, **READY, **runs("a"))
    back = pod(generation=3, observedGeneration=3, **READY, **runs("a"))
    assert wait(Changing(back), back, before, []) == back


def test_a_changed_pod_that_fails_ends_the_wait():
    before, failing = pod(**READY, **runs("a")), pod(image="two", phase="Failed", reason="Evicted")
    with pytest.raises(NotReadyError, match="pod it failed: Evicted"):
        wait(Changing(failing), pod(image="two", **READY, **runs("a")), before, [])


def test_a_service_of_pods_that_have_ended_is_told_so():
    class Ended(Cluster):
        def find(self, kind, *, namespace, labels):
            return [] if kind == "EndpointSlice" else [pod(phase="Succeeded")]

    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "it", "namespace": "x"}}
    trouble = trouble_of(Ended(), {**service, "spec": {"selector": {"run": "it"}}})
    assert (trouble.hopeless, trouble.text) == (None, "pod it has ended, and answers nobody")


def test_what_is_being_deleted_is_not_ready():
    going = pod(**READY)
    going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a.b/c"]}
    assert trouble_of(Cluster(), going).text == "it is being deleted, held by a.b/c"


def test_a_changed_pod_that_is_not_awaited_is_not():
    before = pod(**READY, **runs("a"))
    changed = pod(image="two", generation=2, observedGeneration=2, **READY, **runs("a"))
    changed["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    assert wait(Changing(changed), changed, before, []) == changed


def test_a_field_that_no_program_wrote_is_left_alone():
    """Of an object that was imported; the preview and the update see it alike."""
    old = {"__imported": True, "spec": {"replicas": 1, "paused": True}}
    new = {"spec": {"replicas": 2}}
    assert asked(old, new) == {("spec", "replicas"): Change.UPDATE}
    del old["__imported"]
    assert asked(old, new)[("spec", "paused")] is Change.DELETE
