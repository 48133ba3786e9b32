"""What a reset deletes, restores and forgets: only what is the student's."""

from l4lab.classroom import plan


def thing(kind, name, space="alice", *, api="v1", owner=None, labels=None, **rest):
    metadata = {"name": name, "labels": labels or {}}
    if space:
        metadata["namespace"] = space
    if owner:
        metadata["ownerReferences"] = [{"kind": owner[0], "name": owner[1]}]
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
        thing("ReplicaSet", "web-1", api="apps/v1", owner=("Deployment", "web")),
        thing("Pod", "web-1-a", owner=("ReplicaSet", "web-1")),
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
    found = made(QUOTA, thing("EndpointSlice", "db-1", labels=mirror, owner=("Endpoints", "db")))
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
        thing("Deployment", "web", api="apps/v1"),
        thing("Service", "mine"),
        only={"Deployment web"},
        stacks=["clusterip.alice"],
    )
    assert found.lines == ("delete Deployment web", "forget stack clusterip.alice")
    assert found.restore == ()
    assert found.pods == ()


def test_what_is_being_deleted_is_not_named_again():
    leaving = thing("Service", "web")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert made(QUOTA, leaving).lines == ()
