"""What is made of a Deployment's pods while it is waited for; needs no API server."""

import pytest

from provider.l4lab_provider.awaits import trouble_of

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
    """Answers what the judge asks: one ReplicaSet, and its pods."""

    def __init__(self, *pods):
        self.objects = {"ReplicaSet": [SET], "Pod": list(pods)}

    def kind(self, _version, kind):
        return kind

    def find(self, kind, *, namespace, labels):
        assert namespace == "default"
        assert labels.startswith("run=it")
        return self.objects[kind]


def failed(**meta):
    return {"metadata": {"name": "it-1-a", **meta}, "status": {"phase": "Failed"}}


def test_a_failed_pod_is_hopeless():
    trouble = trouble_of(Cluster(failed()), DEPLOYMENT)
    assert (trouble.hopeless, trouble.text) == (True, "pod it-1-a failed: its containers ended")


@pytest.mark.parametrize("others", [(), (failed(deletionTimestamp="2026-01-01T00:00:00Z"),)])
def test_a_pod_on_its_way_out_tells_nothing(others):
    """So an update with strategy Recreate is waited for until its new pod is there."""
    leaving = failed(deletionTimestamp="2026-01-01T00:00:00Z")
    trouble = trouble_of(Cluster(leaving, *others), DEPLOYMENT)
    assert (trouble.hopeless, trouble.text) == (False, "0 of 1 pods are available")
