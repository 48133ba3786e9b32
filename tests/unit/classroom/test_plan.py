"""What a reset deletes, restores and forgets: only what is the student's."""

from l4lab.classroom import plan


def reference(api, kind, name, space="alice"):
    return {"apiVersion": api, "kind": kind, "name": name, "uid": f"{kind} {name} of {space}"}


def thing(kind, name, space="alice", *, api="v1", owner=None, labels=None, **rest):
    metadata = {"name": name, "labels": labels or {}, "uid": f"{kind} {name} of {space}"}
    if space:
        metadata["namespace"] = space
    if owner:
        metadata["ownerReferences"] = [reference(*one) for one in owner]
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


QUOTA = thing("ResourceQuota", "class", spec={"hard": {"pods": "6"}})
GIVEN = [thing("ConfigMap", "kube-root-ca.crt"), thing("ServiceAccount", "default")]


def made(*more, wanted=(QUOTA,), stacks=(), only=None):
    return plan.make([*GIVEN, *more], namespace="alice", wanted=wanted, stacks=stacks, only=only)


def test_a_clean_namespace_needs_nothing():
    assert made(QUOTA).lines == ()


def test_what_the_student_made_goes_and_what_came_of_it_is_not_named():
    found = made(
        QUOTA,
        thing("Deployment", "web", api="apps/v1"),
        thing("ReplicaSet", "web-1", api="apps/v1", owner=[("apps/v1", "Deployment", "web")]),
        thing("Pod", "web-1-a", owner=[("apps/v1", "ReplicaSet", "web-1")]),
        thing("Service", "web"),
        stacks=["clusterip.alice"],
    )
    assert found.lines == (
        "delete Deployment web",
        "delete Service web",
        "forget stack clusterip.alice",
    )
    assert found.delete == ("Deployment.v1.apps/web", "Service.v1./web")
    assert found.pods == ("Pod.v1./web-1-a",)


def test_another_students_things_are_never_named():
    found = made(QUOTA, thing("Service", "web", "bob"), thing("Namespace", "bob", None))
    assert found == plan.Plan()


def test_endpoints_made_by_hand_go_by_their_mirror():
    mirror = {"endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"}
    found = made(
        QUOTA, thing("EndpointSlice", "db-1", labels=mirror, owner=[("v1", "Endpoints", "db")])
    )
    assert found.lines == ("delete Endpoints db",)
    assert found.delete == ("Endpoints.v1./db",)


def test_what_is_ours_and_gone_or_changed_is_put_back():
    assert made().lines == ("restore ResourceQuota class",)
    more = thing("ResourceQuota", "class", spec={"hard": {"pods": "60"}})
    assert made(more).restore == (QUOTA,)
    same = thing("ResourceQuota", "class", spec={"hard": {"pods": "6"}, "scopes": []})
    assert made(same).lines == ()


def test_a_login_ends_with_its_account():
    account = thing("ServiceAccount", "student")
    lost = plan.make((), namespace="alice", wanted=(account,), stacks=())
    assert lost.new_login
    assert lost.lines == ("restore ServiceAccount student", "give a new login")
    assert not made().new_login


def test_a_lab_alone_leaves_the_rest():
    found = made(
        thing("Deployment", "web", api="apps/v1", owner=[("v1", "Service", "mine")]),
        thing("Service", "mine"),
        only={"Deployment web"},
        stacks=["clusterip.alice"],
    )
    assert found.lines == ("delete Deployment web", "forget stack clusterip.alice")
    assert found.restore == ()
    assert found.pods == ()


def test_what_is_being_deleted_is_waited_for():
    """A finalizer may hold it for ever: nobody would be told of it."""
    leaving = thing("Service", "web")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert made(QUOTA, leaving).delete == ("Service.v1./web",)


def test_a_label_of_slices_hides_nothing_else():
    mirror = {"endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"}
    found = made(QUOTA, thing("ConfigMap", "hidden", labels=mirror))
    assert found.lines == ("delete ConfigMap hidden",)


def test_an_owner_takes_along_what_is_its_only_if_it_goes_itself():
    account = ("v1", "ServiceAccount", "default")
    web = ("apps/v1", "Deployment", "web")
    found = made(
        QUOTA,
        thing("Deployment", "web", api="apps/v1", owner=[account]),
        thing("ReplicaSet", "web-1", api="apps/v1", owner=[web]),
        thing("Pod", "web-1-a", owner=[("apps/v1", "ReplicaSet", "web-1")]),
        thing("ConfigMap", "of-both", owner=[web, account]),
        thing("ConfigMap", "of-bob", owner=[("v1", "ConfigMap", "notes", "bob")]),
        thing("ConfigMap", "notes", "bob"),
        thing("Secret", "of-nothing", owner=[("v9", "Deployment", "web")]),
    )
    assert found.lines == (
        "delete ConfigMap of-bob",
        "delete ConfigMap of-both",
        "delete Deployment web",
        "delete Secret of-nothing",
    )


def test_objects_that_own_each_other_go_by_name():
    first, second = ("v1", "ConfigMap", "first"), ("v1", "ConfigMap", "second")
    found = made(
        QUOTA,
        thing("ConfigMap", "first", owner=[second]),
        thing("ConfigMap", "second", owner=[first]),
    )
    assert found.lines == ("delete ConfigMap first", "delete ConfigMap second")


def test_what_has_no_uid_is_no_object_that_could_be_deleted():
    measured = thing("PodMetrics", "web", api="metrics.k8s.io/v1beta1")
    del measured["metadata"]["uid"]
    assert made(QUOTA, thing("Pod", "web"), measured).lines == ("delete Pod web",)
