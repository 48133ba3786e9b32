"""All objects of a real API server as facts: read, equal while nothing happens, and told apart."""

import base64
import json
import time

import pytest

from l4lab.proof import api, objects
from l4lab.retry import wait_for

pytestmark = pytest.mark.server
LOOKS = 3


@pytest.fixture
def kubeconfig(server, tmp_path):
    authority = base64.b64encode(server.certificate.read_bytes()).decode()
    cluster = {"server": server.url, "certificate-authority-data": authority}
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {"clusters": [{"cluster": cluster}], "users": [{"user": {"token": server.token}}]}
        )
    )
    return path


def facts(kubeconfig, without=()):
    found = objects.Objects(api.read(kubeconfig))
    passed = found.below(frozenset(without))
    living = found.living(without=passed)
    return {one.what: one.value for one in objects.facts(found, living, without=passed)}


def at_rest(kubeconfig):
    """The facts once nothing comes or goes: namespaces of other tests, what controllers make."""
    seen = []

    def moves():
        ending = [
            one["metadata"]["name"]
            for one in api.read(kubeconfig)
            if one["kind"] == "Namespace" and "deletionTimestamp" in one["metadata"]
        ]
        seen.append(facts(kubeconfig))
        if ending:
            return f"{', '.join(ending)} end"
        alike = len(seen) > LOOKS and all(one == seen[-1] for one in seen[-LOOKS:])
        return None if alike else "facts change"

    wait_for("an API server at rest", moves, within=240, every=1)
    return seen[-1]


def test_every_kind_is_read_and_what_is_made_comes_and_goes(server, namespace, kubeconfig):
    before = at_rest(kubeconfig)
    kinds = {what.split()[0] for what in before}
    assert {"ClusterRole", "Namespace", "Service", "FlowSchema", "APIService"} <= kinds
    assert kinds.isdisjoint(api.LEFT_OUT)
    assert facts(kubeconfig) == before
    path = f"/api/v1/namespaces/{namespace}/services"
    ports = [{"port": 80}]
    manifest = {"metadata": {"name": "proof"}, "spec": {"ports": ports}, "kind": "Service"}
    made = server.request("POST", path, {"apiVersion": "v1", **manifest})
    address = made["spec"]["clusterIP"]
    new = facts(kubeconfig).keys() - before.keys()
    assert new == {f"Service {namespace}/proof", f"IPAddress {address}"}
    # Its address came of it, and is passed over with it.
    assert facts(kubeconfig, without=[f"Service {namespace}/proof"]) == before
    server.request("DELETE", f"{path}/proof")
    deadline = time.monotonic() + 120
    while facts(kubeconfig) != before:  # the address goes a moment later
        assert time.monotonic() < deadline, facts(kubeconfig).keys() ^ before.keys()
        time.sleep(0.5)
