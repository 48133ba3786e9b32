"""Type by type against the real API server: create, no-op, update, replace, refresh, delete."""

import pytest

pytestmark = pytest.mark.server

META = {"name": "it"}
POD = {"containers": [{"name": "app", "image": "good"}]}
LABELS = {"run": "it"}


def deployment(*, replicas=2, image="good", labels=LABELS):
    return {
        "metadata": META,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }


def service(**spec):
    ports = [{"name": "tcp-80", "port": 80, "targetPort": 80, "protocol": "TCP"}]
    return {"metadata": META, "spec": {"ports": ports, **spec}}


def rule(*verbs):
    return {
        "metadata": META,
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}],
    }


def binding(role):
    return {
        "metadata": META,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}],
    }


def endpoint_slice(*addresses, kind="IPv4"):
    return {
        "metadata": {**META, "labels": {"kubernetes.io/service-name": "other"}},
        "addressType": kind,
        "endpoints": [{"addresses": [address]} for address in addresses],
        "ports": [{"name": "mysql", "port": 3306, "protocol": "TCP"}],
    }


def endpoints(address):
    return {
        "metadata": META,
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "mysql", "port": 3306}]}],
    }


CORE = "kubernetes:core/v1:"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1:"
SLICE = "kubernetes:discovery.k8s.io/v1:EndpointSlice"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"

# token, first inputs, second inputs, the change between them
UPDATES = {
    "Deployment": (DEPLOYMENT, deployment(), deployment(replicas=3), {"spec.replicas": "UPDATE"}),
    "Deployment image": (
        DEPLOYMENT,
        deployment(),
        deployment(image="better"),
        {"spec.template.spec.containers[0].image": "UPDATE"},
    ),
    "Pod image": (
        CORE + "Pod",
        {"metadata": META, "spec": POD},
        {"metadata": META, "spec": {"containers": [{"name": "app", "image": "better"}]}},
        {"spec.containers[0].image": "UPDATE"},
    ),
    "Service": (
        CORE + "Service",
        service(),
        service(sessionAffinity="ClientIP"),
        {"spec.sessionAffinity": "ADD"},
    ),
    "ExternalName": (
        CORE + "Service",
        {"metadata": META, "spec": {"type": "ExternalName", "externalName": "a.example"}},
        {"metadata": META, "spec": {"type": "ExternalName", "externalName": "b.example"}},
        {"spec.externalName": "UPDATE"},
    ),
    "Service type": (
        CORE + "Service",
        service(),
        service(type="NodePort"),
        {"spec.type": "ADD"},
    ),
    "Endpoints": (
        CORE + "Endpoints",
        endpoints("192.168.128.31"),
        endpoints("192.168.128.32"),
        {"subsets[0].addresses[0].ip": "UPDATE"},
    ),
    "EndpointSlice": (
        SLICE,
        endpoint_slice("192.168.128.31"),
        endpoint_slice("192.168.128.31", "192.168.128.32"),
        {"endpoints[1]": "ADD"},
    ),
    "ConfigMap": (
        CORE + "ConfigMap",
        {"metadata": META, "data": {"a": "1", "b.txt": "2"}},
        {"metadata": META, "data": {"a": "1", "c.txt": "3"}},
        {'data["b.txt"]': "DELETE", 'data["c.txt"]': "ADD"},
    ),
    "Secret": (
        CORE + "Secret",
        {"metadata": META, "stringData": {"password": "one-secret"}},
        {"metadata": META, "stringData": {"password": "two-secret"}},
        {"stringData.password": "UPDATE"},
    ),
    "NetworkPolicy": (
        "kubernetes:networking.k8s.io/v1:NetworkPolicy",
        {"metadata": META, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
        {"metadata": META, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}},
        {"spec.policyTypes[0]": "UPDATE"},
    ),
    "ResourceQuota": (
        CORE + "ResourceQuota",
        {"metadata": META, "spec": {"hard": {"pods": "5", "requests.cpu": "1000m"}}},
        {"metadata": META, "spec": {"hard": {"pods": "7", "requests.cpu": "1000m"}}},
        {"spec.hard.pods": "UPDATE"},
    ),
    "ServiceAccount": (
        CORE + "ServiceAccount",
        {"metadata": META},
        {"metadata": META, "automountServiceAccountToken": False},
        {"automountServiceAccountToken": "ADD"},
    ),
    "Role": (RBAC + "Role", rule("get"), rule("get", "list"), {"rules[0].verbs[1]": "ADD"}),
    "RoleBinding": (
        RBAC + "RoleBinding",
        binding("one"),
        {**binding("one"), "subjects": []},
        {"subjects[0]": "DELETE"},
    ),
    "Lease, a kind without any code for it": (
        "kubernetes:coordination.k8s.io/v1:Lease",
        {"metadata": META, "spec": {"holderIdentity": "a"}},
        {"metadata": META, "spec": {"holderIdentity": "b"}},
        {"spec.holderIdentity": "UPDATE"},
    ),
}


@pytest.mark.parametrize(("token", "first", "second", "change"), UPDATES.values(), ids=UPDATES)
def test_lives_from_create_to_delete(engine, token, first, second, change):
    made = engine.create(token, "it", first)
    assert made.id == f"{engine.namespace}/it"
    assert made.outputs["metadata"]["uid"]

    assert engine.plan(made, first).same, "the same inputs are no change"
    assert engine.refresh(made).inputs == made.inputs, "nobody has touched it"

    plan = engine.plan(made, second)
    assert plan.changes == change
    updated = engine.update(made, second)
    assert updated.outputs["metadata"]["uid"] == made.outputs["metadata"]["uid"]
    assert engine.plan(updated, second).same
    seen = engine.refresh(updated)
    assert seen.inputs == updated.inputs, "the update is what the server now has"

    engine.delete(updated)
    assert engine.refresh(updated) is None


def test_a_namespace_lives_and_goes_with_all_it_holds(engine, server):
    token, name = CORE + "Namespace", f"{engine.namespace}-own"
    made = engine.create(token, "it", {"metadata": {"name": name}}, bare=True)
    assert made.id == name
    server.wait_for_account(name)
    labelled = {"metadata": {"name": name, "labels": {"student": "alice"}}}
    assert engine.plan(made, labelled, bare=True).changes == {"metadata.labels": "ADD"}
    engine.delete(made)
    assert server.get(f"/api/v1/namespaces/{name}") is None


REPLACES = {
    "Deployment selector": (
        DEPLOYMENT,
        deployment(),
        deployment(labels={"run": "other"}),
        {
            "spec.selector.matchLabels.run": "UPDATE_REPLACE",
            "spec.template.metadata.labels.run": "UPDATE",
        },
    ),
    "Pod spec": (
        CORE + "Pod",
        {"metadata": META, "spec": POD},
        {"metadata": META, "spec": {**POD, "hostname": "changed"}},
        {"spec.hostname": "ADD_REPLACE"},
    ),
    "Service clusterIP": (
        CORE + "Service",
        service(clusterIP="10.10.7.7"),
        service(clusterIP="10.10.7.8"),
        {"spec.clusterIP": "UPDATE_REPLACE"},
    ),
    "EndpointSlice addressType": (
        SLICE,
        endpoint_slice("192.168.128.31"),
        endpoint_slice("fd00::31", kind="IPv6"),
        {"addressType": "UPDATE_REPLACE", "endpoints[0].addresses[0]": "UPDATE"},
    ),
    "RoleBinding roleRef": (
        RBAC + "RoleBinding",
        binding("one"),
        binding("two"),
        {"roleRef.name": "UPDATE_REPLACE"},
    ),
    "Secret type": (
        CORE + "Secret",
        {"metadata": META, "type": "Opaque"},
        {"metadata": META, "type": "lab.example/other"},
        {"type": "UPDATE_REPLACE"},
    ),
    "immutable ConfigMap": (
        CORE + "ConfigMap",
        {"metadata": META, "immutable": True, "data": {"a": "1"}},
        {"metadata": META, "immutable": True, "data": {"a": "2"}},
        {"data.a": "UPDATE_REPLACE"},
    ),
    "name": (
        CORE + "ConfigMap",
        {"metadata": META},
        {"metadata": {"name": "that"}},
        {"metadata.name": "UPDATE_REPLACE"},
    ),
}


@pytest.mark.parametrize(("token", "first", "second", "change"), REPLACES.values(), ids=REPLACES)
def test_is_replaced_where_the_server_changes_nothing(engine, token, first, second, change):
    made = engine.create(token, "it", first)
    plan = engine.plan(made, second)
    assert plan.changes == change
    renamed = "metadata.name" in change
    assert plan.answer.deleteBeforeReplace is not renamed
    # What the engine does then, in its order.
    if plan.answer.deleteBeforeReplace:
        engine.delete(made)
    new = engine.create(token, "it", second)
    assert new.outputs["metadata"]["uid"] != made.outputs["metadata"]["uid"]
    assert engine.plan(new, second).same
    assert engine.refresh(new).inputs == new.inputs


def test_a_named_node_port_survives_the_replacement(engine):
    def wanted(address):
        ports = [{"port": 80, "nodePort": 30380}]
        return service(type="NodePort", clusterIP=address) | {
            "spec": {"type": "NodePort", "clusterIP": address, "ports": ports}
        }

    made = engine.create(CORE + "Service", "it", wanted("10.10.9.1"))
    plan = engine.plan(made, wanted("10.10.9.2"))
    assert plan.changes == {"spec.clusterIP": "UPDATE_REPLACE"}
    engine.delete(made)


# token, first, drift as a merge patch, where, what the inputs then are
DRIFTS = {
    "Deployment scaled": (
        DEPLOYMENT,
        deployment(),
        "/apis/apps/v1/namespaces/{}/deployments/it",
        {"spec": {"replicas": 1}},
        {"spec.replicas": "UPDATE"},
    ),
    "Service selector": (
        CORE + "Service",
        service(selector=LABELS, clusterIP="None"),
        "/api/v1/namespaces/{}/services/it",
        {"spec": {"selector": {"run": "wrong"}}},
        {"spec.selector.run": "UPDATE"},
    ),
    "Service port": (
        CORE + "Service",
        service(),
        "/api/v1/namespaces/{}/services/it",
        {"spec": {"ports": [{"name": "tcp-80", "port": 8080, "targetPort": 80}]}},
        {"spec.ports[0].port": "UPDATE"},
    ),
    "Service port added": (
        CORE + "Service",
        service(),
        "/api/v1/namespaces/{}/services/it",
        {
            "spec": {
                "ports": [
                    {"name": "tcp-80", "port": 80, "targetPort": 80},
                    {"name": "more", "port": 81},
                ]
            }
        },
        {"spec.ports[1]": "DELETE"},
    ),
    "ConfigMap key gone": (
        CORE + "ConfigMap",
        {"metadata": META, "data": {"a": "1", "b": "2"}},
        "/api/v1/namespaces/{}/configmaps/it",
        {"data": {"b": None}},
        {"data.b": "ADD"},
    ),
    "label gone": (
        CORE + "ConfigMap",
        {"metadata": {**META, "labels": {"x": "y"}}},
        "/api/v1/namespaces/{}/configmaps/it",
        {"metadata": {"labels": None}},
        {"metadata.labels": "ADD"},
    ),
    "quantity": (
        CORE + "ResourceQuota",
        {"metadata": META, "spec": {"hard": {"requests.cpu": "1000m"}}},
        "/api/v1/namespaces/{}/resourcequotas/it",
        {"spec": {"hard": {"requests.cpu": "2"}}},
        {'spec.hard["requests.cpu"]': "UPDATE"},
    ),
}


@pytest.mark.parametrize("case", DRIFTS.values(), ids=DRIFTS)
def test_drift_is_seen_and_mended(engine, server, case):
    token, first, path, drift, change = case
    made = engine.create(token, "it", first)
    server.patch(path.format(engine.namespace), drift)
    seen = engine.refresh(made)
    assert engine.plan(seen, first).changes == change
    engine.update(seen, first)
    again = engine.refresh(made)
    assert again.inputs == made.inputs
    assert again.outputs["metadata"]["uid"] == made.outputs["metadata"]["uid"]


def test_what_others_add_is_left_alone(engine, server):
    made = engine.create(CORE + "ConfigMap", "it", {"metadata": META, "data": {"a": "1"}})
    path = f"/api/v1/namespaces/{engine.namespace}/configmaps/it"
    server.patch(path, {"data": {"foreign": "x"}})
    assert engine.refresh(made).inputs == made.inputs
    engine.update(made, {"metadata": META, "data": {"a": "2"}})
    assert server.get(path)["data"] == {"a": "2", "foreign": "x"}
