"""The Ansible module that applies objects and waits, as plain functions."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.roles.modules import load

ready = load("library/l4lab_kubernetes.py")


def node(name: str, status: str, message: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": status, "message": message}]},
    }


def test_each_node_says_what_it_lacks() -> None:
    nodes = {"items": [node("a", "True"), node("b", "False", "no network")]}
    assert ready.node_problems(nodes, ["a", "b", "c"], {}) == {
        "a": "",
        "b": "is not Ready: no network",
        "c": "is not there",
    }


def test_what_a_node_said_before_it_was_started_is_not_believed() -> None:
    nodes = {"items": [node("a", "True"), node("b", "True")]}
    for one, when in zip(nodes["items"], ("59", "00"), strict=True):
        one["status"]["conditions"][0]["lastHeartbeatTime"] = f"2026-11-25T06:10:{when}Z"
    booted = {"a": 1795587030, "b": 1795587030}  # 06:10:30
    assert ready.node_problems(nodes, ["a", "b"], booted) == {
        "a": "",
        "b": "has said nothing since it was started",
    }


def pod(owner: str, state: dict[str, Any], on: str = "a", phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{owner}-x", "ownerReferences": [{"name": owner}]},
        "spec": {"nodeName": on},
        "status": {"phase": phase, "containerStatuses": [{"state": state}]},
    }


OLD = {"running": {"startedAt": "2026-11-25T06:07:14Z"}}
NEW = {"running": {"startedAt": "2026-11-25T06:10:50Z"}}
ENDED = {"terminated": {"exitCode": 255, "startedAt": "2026-11-25T06:10:50Z"}}


@pytest.mark.parametrize(
    ("pods", "stale"),
    [
        ([pod("kube-proxy", NEW)], []),
        ([pod("kube-proxy", OLD)], ["kube-proxy-x"]),
        ([pod("kube-proxy", ENDED)], ["kube-proxy-x"]),
        ([pod("kube-proxy", ENDED, phase="Failed")], []),  # another has taken its place
        ([pod("kube-proxy", OLD, on="b")], []),  # of a machine that was never off
        ([pod("calico-node", OLD), pod("coredns-5b6845d888", OLD)], []),
    ],
)
def test_pods_that_are_only_remembered_are_not_ready(
    pods: list[dict[str, Any]], stale: list[str]
) -> None:
    booted = {"a": 1795587030, "b": 1795586000}
    assert ready.stale_pods({"items": pods}, "kube-proxy", booted) == stale


def test_the_pods_of_a_deployment_are_known_by_its_replica_set() -> None:
    pods = {"items": [pod("coredns-5b6845d888", OLD)]}
    assert ready.stale_pods(pods, "coredns", {"a": 1795587030}) == ["coredns-5b6845d888-x"]
    assert ready.stale_pods(pods, "core", {"a": 1795587030}) == []


@pytest.mark.parametrize(
    ("kind", "status", "problem"),
    [
        (
            "daemonsets",
            {"numberReady": 3, "updatedNumberScheduled": 3, "observedGeneration": 1},
            "",
        ),
        (
            "daemonsets",
            {"numberReady": 2, "updatedNumberScheduled": 3, "observedGeneration": 1},
            "2 of 3 pods are ready",
        ),
        ("daemonsets", {}, "its controller has not seen it yet"),
        ("deployments", {"readyReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1}, ""),
        (
            "deployments",
            {"readyReplicas": 2, "updatedReplicas": 1, "observedGeneration": 1},
            "1 of 2 pods are ready",
        ),
        ("deployments", {"observedGeneration": 1}, "0 of 2 pods are ready"),
    ],
)
def test_each_workload_says_what_it_lacks(kind: str, status: dict[str, int], problem: str) -> None:
    workload = {"metadata": {"generation": 1}, "spec": {"replicas": 2}, "status": status}
    assert ready.workload_problem(kind, workload, 3) == problem


class ScriptedApi(ready.Api):  # type: ignore[name-defined, misc]  # loaded by path
    """An API of two kinds that keeps objects, and answers first as it is told."""

    def __init__(self, *first: Exception) -> None:
        self.kinds = {}
        self.first = list(first)
        self.objects: dict[str, dict[str, Any]] = {}

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        if path == "/api/v1":
            return {
                "resources": [
                    {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
                    {"name": "pods/log", "kind": "Pod", "namespaced": True},
                ]
            }
        if method == "PATCH" and self.first:
            raise self.first.pop(0)
        path = path.partition("?")[0]
        before = self.objects.get(path)
        if method == "GET":
            if before is None:
                raise ready.RefusedError(404, "not found")
            return before
        assert body is not None
        version = int(before["metadata"]["resourceVersion"]) if before else 0
        version += before is None or before["data"] != body["data"]
        metadata = {**body["metadata"], "resourceVersion": str(version)}
        self.objects[path] = {**body, "metadata": metadata}
        return self.objects[path]


def settings(value: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"key": value},
        "metadata": {"name": "a", "namespace": "kube-system"},
    }


def test_an_apply_says_whether_it_changed_anything() -> None:
    api = ScriptedApi()
    assert api.apply(settings("1"), check=False) is True
    assert list(api.objects) == ["/api/v1/namespaces/kube-system/configmaps/a"]
    assert api.apply(settings("1"), check=False) is False
    assert api.apply(settings("2"), check=False) is True


def test_an_api_that_is_starting_is_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(ready, "EVERY", 0)
    api = ScriptedApi(ConnectionRefusedError(), ready.RefusedError(503, "starting"))
    deadline = time.monotonic() + 60
    assert ready.apply_patiently(api, settings("1"), check=False, deadline=deadline)
    assert api.first == []


def test_a_refusal_is_final() -> None:
    api = ScriptedApi(ready.RefusedError(422, "no such field"), ready.RefusedError(422, "again"))
    deadline = time.monotonic() + 60
    with pytest.raises(ready.RefusedError, match="no such field"):
        ready.apply_patiently(api, settings("1"), check=False, deadline=deadline)


def test_the_wait_for_an_api_that_never_answers_ends() -> None:
    api = ScriptedApi(*[ConnectionRefusedError("never")] * 9)
    with pytest.raises(ConnectionRefusedError):
        ready.apply_patiently(api, settings("1"), check=False, deadline=time.monotonic() - 1)


class ProxyApi:
    """kube-proxy's settings and pods, which take merge patches."""

    def __init__(self, mode: str) -> None:
        self.settings: dict[str, Any] = {
            "metadata": {"annotations": {}},
            "data": {"config.conf": f"kind: X\nmode: {mode}\nipvs:\n  mode: y\n"},
        }
        self.restarts: list[str] = []

    def get(self, path: str) -> dict[str, Any]:
        assert path == ready.PROXY
        return self.settings

    def request(self, method: str, path: str, body: dict[str, Any], *, merge: bool) -> None:
        assert (method, merge) == ("PATCH", True)
        if path == ready.PROXY_PODS:
            template = body["spec"]["template"]
            self.restarts.append(template["metadata"]["annotations"][ready.STARTED_WITH])
            return
        self.settings["data"].update(body.get("data", {}))
        kept = self.settings["metadata"]["annotations"]
        kept.update(body["metadata"]["annotations"])
        for gone in [key for key, value in kept.items() if value is None]:
            del kept[gone]


def test_the_proxy_in_its_mode_is_left_alone() -> None:
    api = ProxyApi("ipvs")
    assert ready.set_proxy_mode(api, "ipvs", check=False) == (False, False)
    assert api.restarts == []
    assert not ready.settle_proxy(api)


def test_a_change_of_the_proxys_mode_is_told_until_it_is_through() -> None:
    api = ProxyApi("ipvs")
    assert ready.set_proxy_mode(api, "nftables", check=True) == (True, True)
    assert api.restarts == []
    assert ready.set_proxy_mode(api, "nftables", check=False) == (True, True)
    assert "mode: nftables\nipvs:\n  mode: y\n" in api.settings["data"]["config.conf"]
    # Interrupted before it was through: the next run starts the pods with the same word again.
    assert ready.set_proxy_mode(api, "nftables", check=False) == (False, True)
    assert api.restarts == ["nftables", "nftables"]
    assert ready.settle_proxy(api)
    assert ready.set_proxy_mode(api, "nftables", check=False) == (False, False)


def test_settings_without_a_mode_are_refused() -> None:
    with pytest.raises(OSError, match="no line that names its mode"):
        ready.with_proxy_mode("kind: X\n", "ipvs")
