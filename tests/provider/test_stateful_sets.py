"""How a StatefulSet is waited for, against the real API server."""

import pytest

from tests.provider.engine import InitFailedError
from tests.provider.test_kinds import CORE, META, deployment

pytestmark = pytest.mark.server

SET = "kubernetes:apps/v1:StatefulSet"
PARALLEL = {"podManagementPolicy": "Parallel"}


def numbered(*, image="good", replicas=2, annotations=None, **spec):
    wanted = deployment(image=image, replicas=replicas)
    meta = {**META, "annotations": annotations or {}}
    return {"metadata": meta, "spec": {**wanted["spec"], "serviceName": "it", **spec}}


def images(engine, server):
    found = server.get(f"/api/v1/namespaces/{engine.namespace}/pods")["items"]
    return {one["metadata"]["name"]: one["spec"]["containers"][0]["image"] for one in found}


def fails(engine, wanted):
    """Create what does not become ready; return what the state holds of it then."""
    with pytest.raises(InitFailedError) as failed:
        engine.create(SET, "it", wanted, timeout=600)
    assert "ImagePullBackOff: no luck with bad" in str(failed.value)
    assert "not ready within" not in str(failed.value)
    made = engine.read(SET, "it", failed.value.id)
    made.inputs = failed.value.inputs
    return made


@pytest.mark.parametrize("more", [{}, PARALLEL], ids=["OrderedReady", "Parallel"])
def test_it_is_awaited_and_so_are_the_pods_of_a_change(engine, server, more):
    made = engine.create(SET, "it", numbered(**more))
    assert made.outputs["status"]["readyReplicas"] == 2
    changed = engine.update(made, numbered(image="better", **more))
    assert changed.outputs["status"]["readyReplicas"] == 2
    assert images(engine, server) == {"it-0": "better", "it-1": "better"}
    fewer = engine.update(changed, numbered(image="better", replicas=0, **more))
    assert fewer.outputs["status"]["replicas"] == 0


@pytest.mark.parametrize(
    ("strategy", "after"),
    [
        ({"type": "OnDelete"}, {"it-0": "good", "it-1": "good"}),
        (
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
            {"it-0": "good", "it-1": "better"},
        ),
    ],
    ids=["OnDelete", "partition"],
)
def test_pods_that_are_told_to_stay_are_not_awaited(engine, server, strategy, after):
    made = engine.create(SET, "it", numbered(updateStrategy=strategy))
    engine.update(made, numbered(image="better", updateStrategy=strategy), timeout=60)
    assert images(engine, server) == after


def test_a_bad_image_ends_the_wait_early_and_is_mended_by_the_next_update(engine, server):
    made = fails(engine, numbered(image="bad", **PARALLEL))
    assert "ImagePullBackOff" in engine.refresh(made).trouble
    engine.update(made, numbered(**PARALLEL))
    assert images(engine, server) == {"it-0": "good", "it-1": "good"}


def test_a_bad_pod_in_the_way_of_an_update_is_told_so(engine, server):
    made = fails(engine, numbered(image="bad"))
    with pytest.raises(InitFailedError, match=r"it-0, .*no luck.* stays until it is deleted"):
        engine.update(made, numbered(), timeout=600)
    server.request("DELETE", f"/api/v1/namespaces/{engine.namespace}/pods/it-0")
    engine.update(made, numbered())
    assert images(engine, server) == {"it-0": "good", "it-1": "good"}


def test_a_quota_that_forbids_the_pods_is_named(engine):
    quota = {"metadata": META, "spec": {"hard": {"pods": "0"}}}
    engine.create(CORE + "ResourceQuota", "quota", quota)
    with pytest.raises(InitFailedError, match=r"FailedCreate: .*exceeded quota") as failed:
        engine.create(SET, "it", numbered(), timeout=600)
    assert "not ready within" not in str(failed.value)


def test_annotations_rule_the_wait(engine):
    unseen = numbered(image="bad", annotations={"pulumi.com/skipAwait": "true"})
    engine.delete(engine.create(SET, "it", unseen))
    soon = numbered(image="nowhere", annotations={"pulumi.com/timeoutSeconds": "1"})
    with pytest.raises(InitFailedError, match="not ready within 1 s"):
        engine.create(SET, "it", soon)
