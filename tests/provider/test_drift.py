"""What somebody adds where the program is silent, and what a cut-off update has left."""

import base64

import pytest

from tests.provider.test_kinds import (
    CORE,
    DEPLOYMENT,
    LABELS,
    META,
    SLICE,
    UPDATES,
    deployment,
    endpoint_slice,
    endpoints,
    service,
)

pytestmark = pytest.mark.server

NETWORKING = "kubernetes:networking.k8s.io/v1:"
SERVICES = "/api/v1/namespaces/{}/services/it"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/it"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/{}/ingresses/it"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments/it"


def policy():
    rule = {"ports": [{"port": 80}], "from": [{"podSelector": {"matchLabels": LABELS}}]}
    return {"metadata": META, "spec": {"podSelector": {"matchLabels": LABELS}, "ingress": [rule]}}


def backend(**more):
    to = {"service": {"name": "web", "port": {"number": 80}}}
    return {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": to}]}, **more}


def ingress():
    return {"metadata": META, "spec": {"rules": [backend()]}}


def port(**fields):
    return {"name": "tcp-80", "port": 80, "targetPort": 80, "protocol": "TCP", **fields}


def short_service():
    return {"metadata": META, "spec": {"ports": [{"port": 80}]}}


def container(**fields):
    return {"spec": {"template": {"spec": {"containers": [
        {"name": "app", "image": "good", **fields}]}}}}  # fmt: skip


# token, the program, where it is, what a person adds as a merge patch, what is then taken back
ADDED = {
    "a label in a selector": (
        CORE + "Service",
        service(selector=LABELS, clusterIP="None"),
        SERVICES,
        {"spec": {"selector": {"extra": "x"}}},
        {"spec.selector.extra"},
    ),
    "a key of a port": (
        CORE + "Service",
        service(),
        SERVICES,
        {"spec": {"ports": [port(appProtocol="http")]}},
        {"spec.ports[0].appProtocol"},
    ),
    "the default of a port": (
        CORE + "Service",
        short_service(),
        SERVICES,
        {"spec": {"ports": [{"port": 80, "targetPort": 8080}]}},
        {"spec.ports[0].targetPort"},
    ),
    "peers in a policy's rule": (
        NETWORKING + "NetworkPolicy",
        policy(),
        POLICIES,
        {"spec": {"ingress": [{**policy()["spec"]["ingress"][0], "from": [
            {"podSelector": {"matchLabels": LABELS}, "namespaceSelector": {}}]}]}},
        {"spec.ingress[0].from[0].namespaceSelector"},
    ),
    "another direction of a policy": (
        NETWORKING + "NetworkPolicy",
        policy(),
        POLICIES,
        {"spec": {"egress": [{}], "policyTypes": ["Ingress", "Egress"]}},
        {"spec.egress", "spec.policyTypes"},
    ),
    "a label in a policy's selector": (
        NETWORKING + "NetworkPolicy",
        policy(),
        POLICIES,
        {"spec": {"podSelector": {"matchLabels": {"extra": "x"}}}},
        {"spec.podSelector.matchLabels.extra"},
    ),
    "a host of an Ingress": (
        NETWORKING + "Ingress",
        ingress(),
        INGRESSES,
        {"spec": {"rules": [backend(host="a.example")], "tls": [{"hosts": ["a.example"]}]}},
        {"spec.rules[0].host", "spec.tls"},
    ),
    "an endpoint's node": (
        SLICE,
        endpoint_slice("192.168.128.31"),
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices/it",
        {"endpoints": [{"addresses": ["192.168.128.31"], "nodeName": "other"}]},
        {"endpoints[0].nodeName"},
    ),
    "a protocol of Endpoints": (
        CORE + "Endpoints",
        endpoints("192.168.128.31"),
        "/api/v1/namespaces/{}/endpoints/it",
        {"subsets": [{**endpoints("192.168.128.31")["subsets"][0],
            "ports": [{"name": "mysql", "port": 3306, "appProtocol": "x"}]}]},
        {"subsets[0].ports[0].appProtocol"},
    ),
    "a paused Deployment": (
        DEPLOYMENT, deployment(), DEPLOYMENTS, {"spec": {"paused": True}}, {"spec.paused"},
    ),
    "a variable of a container": (
        DEPLOYMENT,
        deployment(),
        DEPLOYMENTS,
        container(env=[{"name": "A", "value": "1"}]),
        {"spec.template.spec.containers[0].env"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADDED.values(), ids=ADDED)
def test_what_a_person_adds_is_taken_back(engine, server, case):
    token, program, path, patch, taken = case
    made = engine.create(token, "it", program)
    path = path.format(engine.namespace)
    before = server.get(path)
    server.patch(path, patch)
    seen = engine.refresh(made)
    assert engine.plan(seen, program).changes == dict.fromkeys(taken, "DELETE")
    mended = engine.update(seen, program)
    after = server.get(path)
    for part in ("spec", "endpoints", "ports", "subsets"):
        assert after.get(part) == before.get(part)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert engine.refresh(mended).inputs == made.inputs


def without_replicas():
    wanted = deployment()
    del wanted["spec"]["replicas"]
    return wanted


ALLOWED = {
    "a node port": (
        CORE + "Service",
        {"metadata": META, "spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        SERVICES,
        {"spec": {"ports": [{"port": 80, "nodePort": 30481}]}},
    ),
    "a scale": (DEPLOYMENT, without_replicas(), DEPLOYMENTS, {"spec": {"replicas": 2}}),
    "a restart": (
        DEPLOYMENT,
        deployment(),
        DEPLOYMENTS,
        {"spec": {"template": {"metadata": {"annotations": {"restartedAt": "now"}}}}},
    ),
}


@pytest.mark.parametrize("case", ALLOWED.values(), ids=ALLOWED)
def test_what_controllers_set_too_is_left_alone(engine, server, case):
    token, program, path, patch = case
    made = engine.create(token, "it", program)
    path = path.format(engine.namespace)
    server.patch(path, patch)
    before = server.get(path)["spec"]
    seen = engine.refresh(made)
    assert engine.plan(seen, program).same
    engine.update(seen, program)
    assert server.get(path)["spec"] == before


# -- updates that were cut off


@pytest.mark.parametrize(("token", "first", "second", "_change"), UPDATES.values(), ids=UPDATES)
def test_an_update_that_no_state_knows_is_seen(engine, token, first, second, _change):
    made = engine.create(token, "it", first)
    engine.update(made, second)  # and killed before the engine wrote it down
    seen = engine.refresh(made)
    assert not engine.plan(seen, first).same, "the old program finds it changed"
    mended = engine.update(seen, first)
    again = engine.refresh(mended)
    assert again.inputs == made.inputs
    fields = {key: again.outputs.get(key) for key in ("spec", "data", "rules", "subsets")}
    assert fields == {key: made.outputs.get(key) for key in fields}
    assert again.outputs["metadata"]["uid"] == made.outputs["metadata"]["uid"]


@pytest.mark.parametrize(("token", "first", "second", "_change"), UPDATES.values(), ids=UPDATES)
def test_an_update_that_no_state_knows_is_done_again(engine, token, first, second, _change):
    made = engine.create(token, "it", first)
    updated = engine.update(made, second)
    done = engine.update(engine.refresh(made), second)
    assert engine.plan(done, second).same
    assert engine.refresh(done).inputs == updated.inputs
    for key in ("spec", "data", "rules", "subsets", "endpoints"):
        assert done.outputs.get(key) == updated.outputs.get(key)


def test_what_it_added_to_a_list_s_item_is_seen(engine, server):
    more = deployment()
    more["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "A", "value": "1"}]
    more["metadata"] = {**META, "labels": {"a": "b"}}
    made = engine.create(DEPLOYMENT, "it", deployment())
    engine.update(made, more)
    seen = engine.refresh(made)
    assert engine.plan(seen, more).same
    assert engine.plan(seen, deployment()).changes == {
        "metadata.labels": "DELETE",
        "spec.template.spec.containers[0].env": "DELETE",
    }


@pytest.mark.parametrize(("token", "first", "_second", "_change"), UPDATES.values(), ids=UPDATES)
def test_a_foreign_note_on_an_object_is_no_change(engine, server, token, first, _second, _change):
    made = engine.create(token, "it", first)
    kind = token.rpartition(":")[2].lower()
    group, version = made.outputs["apiVersion"].rpartition("/")[::2]
    plural = {"networkpolicy": "networkpolicies", "endpoints": kind}.get(kind, f"{kind}s")
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    path = f"{root}/namespaces/{engine.namespace}/{plural}/it"
    server.patch(path, {"metadata": {"annotations": {"a": "note"}}})
    assert engine.refresh(made).inputs == made.inputs


# -- Secrets


def test_a_secret_given_as_text_is_mended(engine, server):
    token, path = CORE + "Secret", f"/api/v1/namespaces/{engine.namespace}/secrets/it"
    wanted = {"metadata": META, "stringData": {"password": "one-secret", "user": "ann"}}
    made = engine.create(token, "it", wanted)
    before = server.get(path)["data"]
    theirs = base64.b64encode(b"theirs").decode()
    server.patch(path, {"data": {"password": theirs, "user": None}})
    seen = engine.refresh(made)
    assert engine.plan(seen, wanted).changes == {
        "stringData.password": "UPDATE",
        "stringData.user": "ADD",
    }
    assert ("stringData",) in seen.input_secrets
    mended = engine.update(seen, wanted)
    assert server.get(path)["data"] == before
    assert engine.refresh(mended).inputs == made.inputs
