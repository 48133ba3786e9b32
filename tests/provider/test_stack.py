"""The whole way: stack.py, the real Pulumi CLI, our provider's process, the real API server."""

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from l4lab import stack
from l4lab.errors import StackError
from l4lab.lab import Lab
from l4lab.state import lock

pytestmark = pytest.mark.server

PROJECT = Path(__file__).parents[2]
CHANGES = {"create", "update", "delete", "replace", "create-replacement", "delete-replaced"}


class MadeLab(Lab):
    """A lab whose program is given by the test; another process must be able to import it."""

    def __init__(self, name, program):
        super().__init__(Path(name))
        object.__setattr__(self, "given", program)

    @property
    def program(self):
        return self.given


def program_of(namespace, **options):
    return partial(declare, namespace, **options)


def declare(namespace, *, replicas=2, image="good", port=80, secret=None, selector="web"):
    import pulumi
    import pulumi_kubernetes as k8s

    labels = {"run": "web"}
    meta = {"name": "web", "namespace": namespace}
    soon = pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="60s"))
    k8s.apps.v1.Deployment(
        "web",
        metadata=meta,
        spec={
            "replicas": replicas,
            "selector": {"match_labels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
        opts=soon,
    )
    service = k8s.core.v1.Service(
        "web",
        metadata=meta,
        spec={"selector": {"run": selector}, "ports": [{"name": "http", "port": port}]},
        opts=soon,
    )
    if secret:
        made = k8s.core.v1.Secret(
            "key", metadata={"namespace": namespace}, string_data={"password": secret}
        )
        pulumi.export("key", made.data)
    pulumi.export("clusterIP", service.spec.cluster_ip)


def lab_of(namespace, **options):
    return MadeLab("made", program_of(namespace, **options))


def changes(outcome):
    return {action: count for action, count in outcome.changes.items() if action in CHANGES}


def test_up_again_change_destroy(access, server, kubelet, namespace):
    heard = []

    def hear(one):
        heard.append(one)
        if "not ready" in one:
            kubelet.paused = False

    kubelet.paused = True  # until the wait has been told
    first = stack.deploy(lab_of(namespace), access, on_event=hear)
    live = server.get(f"/api/v1/namespaces/{namespace}/services/web")
    assert first.outputs["clusterIP"] == live["spec"]["clusterIP"]
    assert changes(first) == {"create": 4}  # the stack itself, two objects, and the checks
    assert heard[0].startswith("create ")
    assert any(line.startswith("create Deployment web: started") for line in heard)
    assert any(line.startswith("create Deployment web: done") for line in heard)

    again = stack.deploy(lab_of(namespace), access)
    assert set(again.changes) == {"same"}
    assert not again.changed
    assert again.summary == "4 same"

    planned = stack.preview(lab_of(namespace, replicas=3), access)
    assert changes(planned) == {"update": 1}
    assert (
        server.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")["spec"]["replicas"] == 2
    )

    assert changes(stack.deploy(lab_of(namespace, replicas=3), access)) == {"update": 1}
    known = stack.status(lab_of(namespace), access)
    assert known.deployed
    assert set(known.resources) == {f"Deployment {namespace}/web", f"Service {namespace}/web"}

    stack.destroy(lab_of(namespace), access)
    assert server.get(f"/api/v1/namespaces/{namespace}/services/web") is None
    assert server.get(f"/api/v1/namespaces/{namespace}/pods")["items"] == []
    assert not stack.status(lab_of(namespace), access).deployed
    assert not stack.destroy(lab_of(namespace), access).changed, "nothing is left to destroy"


def test_deploy_mends_what_was_changed_and_deleted_by_hand(access, server, namespace):
    stack.deploy(lab_of(namespace), access)
    path = f"/api/v1/namespaces/{namespace}/services/web"
    server.patch(path, {"spec": {"selector": {"run": "wrong"}}})
    server.request("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    mended = stack.deploy(lab_of(namespace), access)
    assert mended.changed
    assert server.get(path)["spec"]["selector"] == {"run": "web"}
    assert server.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert not stack.deploy(lab_of(namespace), access).changed
    stack.destroy(lab_of(namespace), access)


def test_a_secret_is_in_no_file(access, server, namespace):
    stack.deploy(lab_of(namespace, secret="hunter-two"), access)
    encoded = "aHVudGVyLXR3bw=="
    for path in access.paths.root.rglob("*"):
        if path.is_file():
            text = path.read_text(errors="replace")
            assert "hunter-two" not in text, path
            assert encoded not in text, path
    stack.destroy(lab_of(namespace), access)


def test_a_hopeless_lab_is_told_by_its_reason_and_mended_by_the_next_deploy(
    access, server, namespace
):
    with pytest.raises(StackError) as caught:
        stack.deploy(lab_of(namespace, image="bad"), access)
    error = caught.value
    assert error.brief == "cannot deploy lab made: Deployment web"
    assert "ImagePullBackOff: no luck with bad" in error.reason
    assert "./l4lab deploy made" in error.resolution
    assert "ImagePullBackOff" in error.details.read_text()
    assert error.exit_code == 5
    known = stack.status(lab_of(namespace), access)
    assert any("ImagePullBackOff" in trouble for trouble in known.troubles)

    assert stack.deploy(lab_of(namespace), access).changed
    assert not stack.status(lab_of(namespace), access).troubles
    assert not stack.deploy(lab_of(namespace), access).changed
    stack.destroy(lab_of(namespace), access)


def test_destroy_takes_what_was_made_anew_by_hand(access, server, namespace):
    stack.deploy(lab_of(namespace), access)
    path = f"/api/v1/namespaces/{namespace}/services"
    found = server.get(f"{path}/web")
    server.request("DELETE", f"{path}/web")
    spec = {"selector": {"run": "other"}, "ports": [{"port": 80}]}
    server.request("POST", path, {**found, "metadata": {"name": "web"}, "spec": spec})
    stack.destroy(lab_of(namespace), access)
    assert server.get(f"{path}/web") is None


def test_a_half_deployed_lab_is_destroyed_whole(access, server, namespace):
    with pytest.raises(StackError):
        stack.deploy(lab_of(namespace, image="bad"), access)
    stack.destroy(lab_of(namespace), access)
    assert server.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web") is None
    assert server.get(f"/api/v1/namespaces/{namespace}/services/web") is None


def test_a_refused_resource_is_told_in_the_servers_words(access, namespace):
    with pytest.raises(StackError, match=r"spec\.ports\[0\]\.port: Invalid value: 70000") as caught:
        stack.deploy(lab_of(namespace, port=70000), access)
    assert caught.value.brief == "cannot deploy lab made: Service web"
    stack.destroy(lab_of(namespace), access)


def test_what_exists_already_is_not_taken(access, server, namespace):
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 1}]},
    }
    server.request("POST", f"/api/v1/namespaces/{namespace}/services", body)
    with pytest.raises(StackError, match="exists already") as caught:
        stack.deploy(lab_of(namespace), access)
    assert caught.value.brief == "cannot deploy lab made: Service web"
    stack.destroy(lab_of(namespace), access)
    assert server.get(f"/api/v1/namespaces/{namespace}/services/web"), "it is not ours"


def faulty():
    print("a program's own words")
    raise ValueError("no such port name")


def test_a_faulty_program_is_told_by_its_error(access):
    with pytest.raises(StackError, match="no such port name") as caught:
        stack.deploy(MadeLab("made", faulty), access)
    assert "a program's own words\n" in caught.value.details.read_text()


def dying():
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_process_that_dies_is_told(access):
    with pytest.raises(StackError, match="its process ended early: SIGSEGV") as caught:
        stack.deploy(MadeLab("made", dying), access)
    assert caught.value.resolution == "read the log, then: ./l4lab deploy made"
    with lock(access.paths.pulumi / "made.lock", "the stack"):
        pass  # it is free again


DEPLOYS = """
import pickle, sys
from tests.provider import test_stack as test
from l4lab import stack
stack.deploy(test.lab_of(sys.argv[2]), pickle.load(open(sys.argv[1], "rb")))
print(sorted(name for name in sys.modules if name in ("grpc", "pulumi")))
"""


def test_who_deploys_never_loads_grpc(access, namespace, tmp_path):
    (tmp_path / "access").write_bytes(pickle.dumps(access))
    argv = [sys.executable, "-c", DEPLOYS, tmp_path / "access", namespace]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    stack.destroy(lab_of(namespace), access)


def test_an_unreachable_api_is_told_with_its_address(access, server, namespace):
    server.write_kubeconfig(access.paths.kubeconfig, url="https://127.0.0.1:1")
    with pytest.raises(StackError, match=r"cannot reach the Kubernetes API at https://127"):
        stack.deploy(lab_of(namespace), access)


def test_without_a_cluster_nothing_is_begun(access, namespace):
    access.paths.kubeconfig.unlink()
    with pytest.raises(StackError, match="there is no cluster"):
        stack.deploy(lab_of(namespace), access)
    assert not access.paths.pulumi.exists()


def test_without_a_cli_it_says_so(access, namespace, tmp_path):
    bare = dataclasses.replace(access, pulumi=tmp_path / "pulumi")
    with pytest.raises(StackError, match="there is no Pulumi CLI"):
        stack.deploy(lab_of(namespace), bare)


def declare_config(name, namespace):
    import pulumi_kubernetes as k8s

    k8s.core.v1.ConfigMap(name, metadata={"name": name, "namespace": namespace})


def test_two_labs_at_once(access, server, namespace):
    def config(name):
        return MadeLab(name, partial(declare_config, name, namespace))

    done = []
    for name in ("one", "two"):
        stack.deploy(config(name), access)
        done.append(name)
    threads = [
        threading.Thread(target=lambda name=name: stack.destroy(config(name), access))
        for name in done
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    found = server.get(f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    assert {one["metadata"]["name"] for one in found} <= {"kube-root-ca.crt"}
