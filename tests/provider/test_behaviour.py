"""What the provider promises beyond create, update and delete, against the real API server."""

import threading
import time

import pytest

from provider.l4lab_provider.values import UNKNOWN
from tests.provider.engine import CheckFailedError, Engine, InitFailedError, ProviderError
from tests.provider.test_kinds import CORE, DEPLOYMENT, META, deployment, service

pytestmark = pytest.mark.server

CONFIG_MAP = CORE + "ConfigMap"
POD = CORE + "Pod"
SERVICE = CORE + "Service"
SECRET = CORE + "Secret"


def pod(image="good", **meta):
    return {
        "metadata": {"name": "it", "labels": {"run": "it"}, **meta},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def skip_await(wanted):
    meta = {**wanted["metadata"], "annotations": {"pulumi.com/skipAwait": "true"}}
    return {**wanted, "metadata": meta}


# -- refusals


@pytest.mark.parametrize(
    ("token", "wanted", "words"),
    [
        (SERVICE, service(clusterIP="10.99.0.1"), "not in the valid range"),
        (SERVICE, service(type="NodePort") | {"spec": {"type": "Wrong"}}, "Unsupported value"),
        (CONFIG_MAP, {"metadata": {"name": "Not_A_Name"}}, "RFC 1123"),
        (DEPLOYMENT, deployment() | {"spec": {"replicsa": 1}}, "replicsa"),
    ],
)
def test_the_server_refuses_in_its_own_words_before_anything_is_made(
    engine, server, token, wanted, words
):
    with pytest.raises(CheckFailedError, match=words):
        engine.create(token, "it", wanted)
    for plural in ("services", "configmaps"):
        found = server.get(f"/api/v1/namespaces/{engine.namespace}/{plural}/it")
        assert found is None


def test_a_change_the_server_refuses_for_itself_is_no_replacement(engine):
    made = engine.create(SERVICE, "it", service(clusterIP="10.10.7.9"))
    with pytest.raises(ProviderError, match=r"may not change|not in the valid range"):
        engine.plan(made, service(clusterIP="10.99.0.1"))
    with pytest.raises(ProviderError, match="Duplicate value"):
        engine.plan(
            made,
            service() | {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}},
        )


def test_what_exists_already_is_refused_with_the_way_to_import_it(engine, server):
    path = f"/api/v1/namespaces/{engine.namespace}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": META, "data": {"a": "theirs"}}
    server.request("POST", path, body)
    with pytest.raises(ProviderError, match=f'import_="{engine.namespace}/it"'):
        engine.create(CONFIG_MAP, "it", {"metadata": META, "data": {"a": "ours"}})
    assert server.get(f"{path}/it")["data"] == {"a": "theirs"}


def test_an_unknown_kind_is_named(engine):
    with pytest.raises(ProviderError, match=r"no kind lab\.example/v1 Thing"):
        engine.create("kubernetes:lab.example/v1:Thing", "it", {"metadata": META})


@pytest.mark.parametrize(
    "token",
    ["kubernetes:apps/v1:DeploymentList", "kubernetes:apps/v1:DeploymentPatch",
     "kubernetes:helm.sh/v3:Release", "kubernetes:yaml/v2:ConfigFile"],
)  # fmt: skip
def test_what_is_no_single_object_is_refused(engine, token):
    with pytest.raises(ProviderError, match="not supported"):
        engine.create(token, "it", {"metadata": META})


def test_a_service_in_a_namespace_of_the_same_update_passes_the_check(engine):
    wanted = service()
    wanted["metadata"] = {"name": "it", "namespace": "comes-later"}
    engine.check(SERVICE, "it", wanted)


# -- names, namespaces, import


def test_a_name_is_made_up_once_and_kept(engine):
    made = engine.create(CONFIG_MAP, "settings", {"metadata": {}, "data": {"a": "1"}})
    name = made.outputs["metadata"]["name"]
    assert name.startswith("settings-")
    assert len(name) == len("settings-") + 8
    again = engine.plan(made, {"metadata": {}, "data": {"a": "2"}})
    assert again.changes == {"data.a": "UPDATE"}


def test_an_object_with_a_made_up_name_is_replaced_before_it_is_deleted(engine):
    first = {"metadata": {}, "immutable": True, "data": {"a": "1"}}
    made = engine.create(CONFIG_MAP, "settings", first)
    plan = engine.plan(made, {"metadata": {}, "immutable": True, "data": {"a": "2"}})
    assert plan.replaces
    assert not plan.answer.deleteBeforeReplace


def test_without_a_namespace_it_is_the_kubeconfigs_one(engine):
    inputs, _ = engine.check(CONFIG_MAP, "it", {"metadata": META})
    assert inputs["metadata"]["namespace"] == "default"
    inputs, _ = engine.check(CORE + "Namespace", "it", {"metadata": META})
    assert "namespace" not in inputs["metadata"]


def test_an_import_takes_over_without_a_change(engine, server):
    path = f"/api/v1/namespaces/{engine.namespace}/services"
    wanted = service(clusterIP="10.10.7.20")
    server.request("POST", path, {"apiVersion": "v1", "kind": "Service", **wanted})
    found = engine.read(SERVICE, "it", f"{engine.namespace}/it")
    assert engine.plan(found, wanted).same
    assert "status" not in found.inputs
    updated = engine.update(found, service(clusterIP="10.10.7.20", sessionAffinity="ClientIP"))
    assert updated.outputs["metadata"]["uid"] == found.outputs["metadata"]["uid"]
    assert engine.plan(updated, service(clusterIP="10.10.7.20")).changes == {
        "spec.sessionAffinity": "DELETE"
    }
    assert engine.read(SERVICE, "it", f"{engine.namespace}/nothing") is None


def test_ours_is_deleted_but_not_another_of_its_name(engine, server):
    made = engine.create(CONFIG_MAP, "it", {"metadata": META})
    path = f"/api/v1/namespaces/{engine.namespace}/configmaps"
    server.request("DELETE", f"{path}/it")
    engine.delete(made)  # already gone: fine
    server.request("POST", path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": META})
    engine.delete(made)
    assert server.get(f"{path}/it") is not None


def test_delete_waits_for_all_that_belongs_to_it(engine, server):
    made = engine.create(DEPLOYMENT, "it", deployment())
    engine.delete(made)
    assert server.get(f"/api/v1/namespaces/{engine.namespace}/pods")["items"] == []
    sets = f"/apis/apps/v1/namespaces/{engine.namespace}/replicasets"
    assert server.get(sets)["items"] == []


def test_delete_names_what_holds_an_object(engine, server):
    meta = {"name": "it", "finalizers": ["lab.example/held"]}
    made = engine.create(CONFIG_MAP, "it", {"metadata": meta})
    with pytest.raises(ProviderError, match=r"held by lab\.example/held"):
        engine.delete(made, timeout=1)
    path = f"/api/v1/namespaces/{engine.namespace}/configmaps/it"
    server.patch(path, {"metadata": {"finalizers": None}})
    engine.delete(made)


# -- secrets


def test_a_secrets_data_is_secret_everywhere(engine):
    wanted = {"metadata": META, "stringData": {"password": "hunter-two"}}
    made = engine.create(SECRET, "it", wanted)
    assert ("stringData",) in made.input_secrets
    assert ("data",) in made.secrets
    seen = engine.refresh(made)
    assert ("data",) in seen.secrets
    assert ("stringData",) in seen.input_secrets


def test_a_secret_value_stays_secret_in_any_kind(engine):
    wanted = {"metadata": META, "data": {"key": "hunter-two"}}
    place = ("data", "key")
    inputs, hidden = engine.check(CONFIG_MAP, "it", wanted, secrets=[place])
    assert place in hidden
    made = engine.create(CONFIG_MAP, "it", wanted, secrets=[place])
    assert place in made.secrets
    assert inputs["data"] == {"key": "hunter-two"}


def test_a_refusal_does_not_tell_a_secret(engine):
    wanted = {"metadata": {"name": "it", "labels": {"x": "Not A Label hunter-two!"}}}
    with pytest.raises(CheckFailedError, match=r"\[secret\]") as caught:
        engine.check(CONFIG_MAP, "it", engine.placed(wanted), secrets=[("metadata", "labels", "x")])
    assert "hunter-two" not in str(caught.value)


# -- previews and unknown values


def test_a_preview_makes_nothing_and_takes_unknown_values(engine, server):
    wanted = {"metadata": META, "data": {"address": UNKNOWN}}
    planned = engine.create(CONFIG_MAP, "it", wanted, preview=True)
    assert planned.id == ""
    assert planned.outputs["data"]["address"] == UNKNOWN
    path = f"/api/v1/namespaces/{engine.namespace}/configmaps/it"
    assert server.get(path) is None

    made = engine.create(CONFIG_MAP, "it", {"metadata": META, "data": {"address": "x"}})
    assert engine.plan(made, wanted).changes == {"data.address": "UPDATE"}
    after = engine.update(made, wanted, preview=True)
    assert after.outputs["metadata"]["uid"] == made.outputs["metadata"]["uid"]
    assert after.outputs["data"]["address"] == UNKNOWN
    assert server.get(path)["data"] == {"address": "x"}


def test_an_unknown_selector_is_a_replacement(engine):
    made = engine.create(DEPLOYMENT, "it", deployment(replicas=0))
    wanted = deployment(replicas=0)
    wanted["spec"]["selector"] = {"matchLabels": {"run": UNKNOWN}}
    assert engine.plan(made, wanted).replaces


def test_a_kubeconfig_that_is_not_known_yet_lets_a_preview_pass():
    with Engine({"KUBECONFIG": "/nowhere"}) as engine:
        engine.configure(kubeconfig=UNKNOWN)
        planned = engine.create(CONFIG_MAP, "it", {"metadata": META}, preview=True)
        assert planned.outputs["metadata"]["name"] == "it"


# -- clusters that cannot be asked


def test_an_unreachable_api_is_told_with_its_address(server, tmp_path):
    server.write_kubeconfig(tmp_path / "config", url="https://127.0.0.1:1")
    with Engine({"KUBECONFIG": str(tmp_path / "config")}) as engine:
        engine.configure()
        with pytest.raises(ProviderError, match=r"cannot reach .* at https://127\.0\.0\.1:1"):
            engine.create(CONFIG_MAP, "it", {"metadata": META})


def test_a_missing_kubeconfig_is_told_with_its_path(tmp_path):
    with Engine({"KUBECONFIG": str(tmp_path / "none")}) as engine:
        engine.configure()
        with pytest.raises(ProviderError, match=f"no usable kubeconfig .*{tmp_path / 'none'}"):
            engine.create(CONFIG_MAP, "it", {"metadata": META})


def test_the_kubeconfig_may_come_as_text(server, kubelet, namespace):
    with Engine({"KUBECONFIG": "/nowhere"}) as engine:
        engine.namespace = namespace
        engine.configure(kubeconfig=server.kubeconfig.read_text())
        assert engine.create(CONFIG_MAP, "it", {"metadata": META}).id == f"{namespace}/it"


# -- waiting


def test_a_deployment_is_awaited(engine):
    made = engine.create(DEPLOYMENT, "it", deployment())
    assert made.outputs["status"]["availableReplicas"] == 2


def test_a_service_waits_for_a_ready_endpoint(engine, kubelet):
    done = []
    wanted = service(selector={"run": "it"})
    waiting = threading.Thread(
        target=lambda: done.append(engine.create(SERVICE, "it", wanted, timeout=60))
    )
    waiting.start()
    time.sleep(1)
    assert not done, "there is no pod yet"
    engine.create(POD, "pod", pod())
    waiting.join(60)
    assert done[0].id == f"{engine.namespace}/it"


@pytest.mark.parametrize(
    "spec",
    [{}, {"clusterIP": "None", "selector": {"run": "nothing"}},
     {"type": "ExternalName", "externalName": "a.example", "selector": {"run": "nothing"}}],
    ids=["selectorless", "headless", "ExternalName"],
)  # fmt: skip
def test_a_service_without_endpoints_of_its_own_is_ready_at_once(engine, spec):
    assert engine.create(SERVICE, "it", service(**spec), timeout=2).id


def test_a_service_that_selects_nothing_says_so_and_is_kept(engine):
    with pytest.raises(InitFailedError, match="no pod has the labels it selects") as failed:
        engine.create(SERVICE, "it", service(selector={"run": "no"}), timeout=1)
    assert failed.value.id == f"{engine.namespace}/it"
    assert failed.value.outputs["metadata"]["uid"]


def test_a_load_balancer_without_an_address_says_so(engine):
    engine.create(POD, "pod", pod())
    wanted = service(type="LoadBalancer", selector={"run": "it"})
    with pytest.raises(InitFailedError, match="load balancer an address"):
        engine.create(SERVICE, "it", wanted, timeout=10)  # by then it has its endpoint


@pytest.mark.parametrize(
    ("token", "wanted", "words"),
    [
        (DEPLOYMENT, deployment(image="bad"), "ImagePullBackOff: no luck with bad"),
        (POD, pod(image="crash"), "CrashLoopBackOff: no luck with crash"),
        (POD, pod(image="nowhere"), "Unschedulable: 0/1 nodes are available"),
    ],
)
def test_the_wait_ends_early_where_it_is_hopeless(engine, token, wanted, words):
    with pytest.raises(InitFailedError, match=words) as failed:
        engine.create(token, "it", wanted, timeout=600)  # pytest's own limit would fail it
    assert failed.value.id == f"{engine.namespace}/it"
    assert "not ready within" not in str(failed.value)


def test_a_quota_that_forbids_the_pods_is_named(engine):
    quota = {"metadata": META, "spec": {"hard": {"pods": "0"}}}
    engine.create(CORE + "ResourceQuota", "quota", quota)
    with pytest.raises(InitFailedError, match=r"FailedCreate: .*exceeded quota"):
        engine.create(DEPLOYMENT, "it", deployment(), timeout=600)


def test_a_service_whose_pods_are_all_hopeless_does_not_wait_either(engine):
    engine.create(POD, "pod", skip_await(pod(image="bad")))
    with pytest.raises(InitFailedError, match="ImagePullBackOff") as failed:
        engine.create(SERVICE, "it", service(selector={"run": "it"}), timeout=600)
    assert "not ready within" not in str(failed.value)


def test_a_bad_image_is_mended_by_the_next_update(engine):
    with pytest.raises(InitFailedError) as failed:
        engine.create(DEPLOYMENT, "it", deployment(image="bad"), timeout=600)
    made = engine.read(DEPLOYMENT, "it", failed.value.id)
    made.inputs = failed.value.inputs
    mended = engine.update(made, deployment())
    assert mended.outputs["status"]["availableReplicas"] == 2


def test_annotations_rule_the_wait(engine):
    made = engine.create(DEPLOYMENT, "it", skip_await(deployment(image="bad")))
    engine.delete(made)
    wanted = service(selector={"run": "no"})
    wanted["metadata"] = {**META, "annotations": {"pulumi.com/timeoutSeconds": "1"}}
    with pytest.raises(InitFailedError, match="not ready within 1 s"):
        engine.create(SERVICE, "it", wanted)


def test_a_refresh_tells_what_is_not_ready_any_more(engine, server):
    made = engine.create(POD, "it", pod())
    assert engine.refresh(made).trouble == ""
    ready = {"type": "Ready", "status": "False"}
    path = f"/api/v1/namespaces/{engine.namespace}/pods/it/status"
    server.patch(path, {"status": {"conditions": [ready]}})
    assert "not ready" in engine.refresh(made).trouble


def test_a_deleted_object_ends_the_wait(engine, server):
    failures = []

    def create():
        try:
            engine.create(SERVICE, "it", service(selector={"run": "no"}), timeout=100)
        except InitFailedError as failed:
            failures.append(str(failed))

    waiting = threading.Thread(target=create)
    waiting.start()
    path = f"/api/v1/namespaces/{engine.namespace}/services/it"
    while server.get(path) is None:
        time.sleep(0.1)
    server.request("DELETE", path)
    waiting.join(60)
    assert "deleted by someone else" in failures[0]


def test_cancel_ends_the_wait_and_keeps_what_was_made(server, kubelet, namespace):
    failures = []
    with Engine({"KUBECONFIG": str(server.kubeconfig)}) as engine:
        engine.namespace = namespace
        engine.configure()

        def create():
            try:
                engine.create(SERVICE, "it", service(selector={"run": "no"}), timeout=500)
            except InitFailedError as failed:
                failures.append(failed)

        waiting = threading.Thread(target=create)
        waiting.start()
        while server.get(f"/api/v1/namespaces/{namespace}/services/it") is None:
            time.sleep(0.1)
        engine.cancel()
        waiting.join(60)
    assert "cancelled" in str(failures[0])
    assert failures[0].id == f"{namespace}/it"
