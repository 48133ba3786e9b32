"""Lists read without kubectl are those that kubectl gives, from a real API server."""

import json

import pytest

from l4lab.checks.listing import Listing
from l4lab.command import run
from l4lab.retry import wait_for
from tests.provider.server import Server, free_port

KINDS = "deployments,pods,services,endpointslices"


@pytest.fixture
def kubeconfig(server, tmp_path):
    path = tmp_path / "kubeconfig"
    server.write_kubeconfig(path)
    return path


@pytest.fixture
def listing(kubeconfig):
    found = Listing(kubeconfig)
    yield found
    found.close()


def argv(namespace, kinds=KINDS):
    return ["kubectl", "get", kinds, "-n", namespace, "-o", "json"]


def by_name(text):
    return {(item["kind"], item["metadata"]["name"]): item for item in json.loads(text)["items"]}


def test_a_list_is_what_kubectl_says(server: Server, namespace, listing, kubeconfig):
    spec = {"ports": [{"port": 80}], "selector": {"run": "web"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    server.request("POST", f"/api/v1/namespaces/{namespace}/services", service)

    def lacks():
        result = listing.run([*argv(namespace), "--request-timeout=10s"], timeout=20)
        assert result.rc == 0, result.stderr
        found.update(by_name(result.stdout))
        kinds = {kind for kind, _ in found}
        return None if kinds == {"Service", "EndpointSlice"} else f"only {kinds}"

    found = {}
    wait_for("the Service and its EndpointSlice", lacks, within=60)
    words = [server.binaries / "kubectl", f"--kubeconfig={kubeconfig}", *argv(namespace)[1:]]
    assert found == by_name(run(words, timeout=60).stdout)


@pytest.mark.parametrize(
    "words",
    [
        ["kubectl", "get", "secrets", "-n", "default", "-o", "json"],
        ["kubectl", "get", "pods", "-A", "-o", "json"],
        ["kubectl", "get", "pods", "-n", "default", "-o", "json", "-l", "run=web"],
        ["kubectl", "delete", "pods", "-n", "default", "-o", "json"],
    ],
)
def test_what_is_no_such_list_is_left_to_kubectl(listing, words):
    assert listing.run(words, timeout=20) is None


def test_a_refusal_is_told_in_the_server_s_words(server: Server, kubeconfig):
    config = json.loads(kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "nobody"
    kubeconfig.write_text(json.dumps(config))
    result = Listing(kubeconfig).run(argv("default"), timeout=20)
    assert result.rc == 1
    assert "Unauthorized" in result.stderr


def test_a_server_that_is_away_is_told(kubeconfig):
    config = json.loads(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    kubeconfig.write_text(json.dumps(config))
    result = Listing(kubeconfig).run(argv("default"), timeout=20)
    assert result.rc == 1
    assert "refused" in result.stderr
