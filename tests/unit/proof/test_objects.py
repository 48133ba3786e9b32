"""Objects of the API as facts: what was written, not how it is doing."""

from __future__ import annotations

import copy

from l4lab.proof.objects import Objects, facts, sections


def item(kind, name, space="default", *, spec=None, above=None, labels=None, uid=None, **rest):
    metadata = {"name": name, "uid": uid or f"uid-{kind}-{name}"}
    if space:
        metadata["namespace"] = space
    if labels:
        metadata["labels"] = labels
    if above:
        metadata["ownerReferences"] = [
            {
                "kind": above["kind"],
                "name": above["metadata"]["name"],
                "uid": above["metadata"]["uid"],
                "controller": True,
            }
        ]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec or {}, **rest}


DEPLOYMENT = item("Deployment", "web", spec={"replicas": 2})
REPLICAS = item("ReplicaSet", "web-5f", spec={"replicas": 2}, above=DEPLOYMENT)


def pod(suffix, address):
    return item(
        "Pod",
        f"web-5f-{suffix}",
        spec={"nodeName": "n1"},
        above=REPLICAS,
        status={"podIPs": [{"ip": address}]},
    )


SERVICE = item(
    "Service", "web", spec={"clusterIP": "10.10.3.4", "ports": [{"port": 80, "nodePort": 30380}]}
)


def slice_(suffix, *addresses):
    return item(
        "EndpointSlice",
        f"web-{suffix}",
        above=SERVICE,
        labels={"kubernetes.io/service-name": "web"},
        ports=[{"name": "http", "protocol": "TCP", "port": 80}],
        endpoints=[{"addresses": [one], "conditions": {"ready": True}} for one in addresses],
    )


def world(*suffixes):
    addresses = [f"10.244.1.{10 + ord(one)}" for one in suffixes]
    pods = [pod(one, address) for one, address in zip(suffixes, addresses, strict=True)]
    return [DEPLOYMENT, REPLICAS, *pods, SERVICE, slice_(suffixes[0], *addresses)]


def told(items, without=()):
    objects = Objects(items)
    passed = objects.below(frozenset(without))
    found = facts(objects, objects.living(without=passed), without=passed)
    return {fact.what: fact.value for fact in found}


def test_other_pods_of_the_same_workload_make_the_same_facts():
    one = told(world("a", "b"))
    assert one == told(world("x", "y"))
    assert one["pods of ReplicaSet default/web-5f"] == "2"
    assert one["endpoints of Service default/web"] == "2 ready: http TCP 80"
    assert told(world("a")) != one


def test_status_versions_and_times_are_no_facts_but_what_was_written_is():
    later = copy.deepcopy(DEPLOYMENT)
    later["metadata"] |= {"resourceVersion": "9", "generation": 4, "managedFields": [1]}
    later["status"] = {"replicas": 2}
    assert sections(later) == sections(DEPLOYMENT)
    later["spec"]["replicas"] = 3
    changed = set(sections(later).splitlines()) ^ set(sections(DEPLOYMENT).splitlines())
    assert {line.split()[0] for line in changed} == {"spec.replicas"}


def test_no_value_of_a_secret_is_in_its_fact():
    secret = item("Secret", "key", data={"password": "c2VjcmV0"})
    assert "c2VjcmV0" not in sections(secret)
    assert "data.password sha256:" in sections(secret)


def test_what_is_being_deleted_is_told_as_such():
    leaving = copy.deepcopy(DEPLOYMENT)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert list(told([leaving])) == ["Deployment default/web (being deleted)"]


def test_without_an_object_all_that_came_of_it_is_passed_over():
    others = item("Deployment", "other")
    found = told([*world("a"), others], without=["Deployment default/web", "Service default/web"])
    assert list(found) == ["Deployment default/other"]


def test_marks_are_what_kernels_call_it():
    items = world("a")
    objects = Objects(items)
    marks = objects.marks_of(objects.of_namespace("default"))
    assert {"10.10.3.4", "port:30380", "10.244.1.107", "uid-Pod-web-5f-a"} <= marks
    assert any(one.startswith("cali") for one in marks)


def test_an_address_that_calico_holds_for_a_gone_pod_is_a_fact():
    def about(name):
        return {"secondary": {"namespace": "default", "pod": name, "node": "n1"}}

    block = item(
        "IPAMBlock",
        "10-244-1-0-26",
        None,
        spec={"attributes": [about("web-5f-a"), about("web-5f-z"), {"secondary": {"type": "vx"}}]},
    )
    found = told([*world("a"), block])
    assert found["Calico address of gone pod default/web-5f-z"] == "taken"
    assert "Calico address of gone pod default/web-5f-a" not in found
    assert not [what for what in found if what.startswith("IPAMBlock")]


def test_what_runs_out_by_itself_is_no_fact():
    token = item("Secret", "bootstrap-token-abc", type="bootstrap.kubernetes.io/token")
    old = item("ReplicaSet", "web-4e", spec={"replicas": 0}, above=DEPLOYMENT)
    info = item("ConfigMap", "cluster-info", data={"jws-kubeconfig-abc": "x", "kubeconfig": "y"})
    found = told([token, old, info])
    assert list(found) == ["ConfigMap default/cluster-info"]
    assert "jws" not in found["ConfigMap default/cluster-info"]
