"""What learners get wrong: told in clear words, and `destroy` cleans up all the same.

Through stack.py, the real Pulumi CLI and our provider, on a real API server.
"""

import dataclasses
from functools import partial

import pytest

from l4lab import pulumi_cli, stack
from l4lab.errors import StackError
from l4lab.state import Paths
from tests.provider.bad import Space, refusal
from tests.provider.server import Server
from tests.provider.test_stack import MadeLab, declare_config, lab_of

pytestmark = pytest.mark.server


# --- a Service that was edited into something odd -----------------------------------------------

ODD = {
    "ExternalName": {"type": "ExternalName", "externalName": "a.example", "clusterIP": ""},
    "NodePort": {
        "type": "NodePort",
        "sessionAffinity": "ClientIP",
        "ports": [{"name": "other", "port": 81, "nodePort": 30999}, {"name": "b", "port": 82}],
    },
    "LoadBalancer": {
        "type": "LoadBalancer",
        "externalIPs": ["192.168.128.99"],
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "internalTrafficPolicy": "Local",
        "externalTrafficPolicy": "Local",
        "publishNotReadyAddresses": True,
        "selector": {"run": "nothing"},
    },
}


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(odd, id=kind, marks=pytest.mark.long if kind == "NodePort" else [])
        for kind, odd in ODD.items()
    ],
)
def test_a_service_that_was_edited(access, space, odd):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    before = space.spec()
    space.edit(**odd)
    assert space.spec()["type"] == odd["type"]
    assert stack.preview(lab, access).changed
    assert stack.deploy(lab, access).changed
    after = space.spec()
    if odd["type"] == "ExternalName":  # it had given its address back
        for spec in (before, after):
            assert spec.pop("clusterIP").startswith("10.10.")
            assert spec.pop("clusterIPs")
    assert after == before
    assert not stack.deploy(lab, access).changed
    space.edit(**odd)
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_service_that_was_made_anew_without_an_address(access, server, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    server.request("DELETE", space.service)
    spec = {"clusterIP": "None", "selector": {"run": "web"}, "ports": [{"name": "a", "port": 1}]}
    space.post("services", {"metadata": {"name": "web"}, "spec": spec})
    assert stack.deploy(lab, access).changed
    assert space.spec()["clusterIP"].startswith("10.10.")
    assert [port["port"] for port in space.spec()["ports"]] == [80]
    assert not stack.deploy(lab, access).changed
    stack.destroy(lab, access)
    assert space.is_empty()


# --- node ports ---------------------------------------------------------------------------------


def declare_node_port(namespace, node_port=None):
    import pulumi_kubernetes as k8s

    port = {"port": 80, **({"node_port": node_port} if node_port else {})}
    meta = {"name": "web", "namespace": namespace}
    k8s.core.v1.Service("web", metadata=meta, spec={"type": "NodePort", "ports": [port]})
    declare_config("settings", namespace)


def node_port_lab(space, node_port=None):
    return MadeLab("made", partial(declare_node_port, space.name, node_port))


def take(space, name, node_port=None):
    port = {"port": 80, **({"nodePort": node_port} if node_port else {})}
    body = {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [port]}}
    return space.post("services", body)


def test_a_node_port_that_another_service_has(access, server, space):
    take(space, "theirs", 31999)
    lab = node_port_lab(space, 31999)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == "cannot deploy lab made: Service web"
    assert "31999: provided port is already allocated" in error.reason
    assert "get services -A" in error.resolution
    stack.destroy(lab, access)
    assert server.get(f"{space.path}/configmaps/settings") is None
    assert server.get(f"{space.path}/services/theirs"), "it is not ours"
    server.request("DELETE", f"{space.path}/services/theirs")
    stack.deploy(lab, access)
    stack.destroy(lab, access)


@pytest.fixture(scope="module")
def narrow(server, tmp_path_factory):
    """An API server with two node ports for all."""
    options = ("--service-node-port-range=30380-30381",)
    running = Server(tmp_path_factory.mktemp("narrow"), server.binaries, options)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def test_no_node_port_is_free(access, narrow):
    narrow.write_kubeconfig(access.paths.kubeconfig)
    space = Space(narrow, "default")
    for name in ("one", "two"):
        take(space, name)
    lab = node_port_lab(space)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == "cannot deploy lab made: Service web"
    assert "range is full" in error.reason
    assert "get services -A" in error.resolution
    stack.destroy(lab, access)
    assert narrow.get(f"{space.path}/configmaps/settings") is None
    narrow.request("DELETE", f"{space.path}/services/one")
    stack.deploy(lab, access)
    stack.destroy(lab, access)


# --- names and folders --------------------------------------------------------------------------


def test_a_folder_of_many_letters(access, server, space, tmp_path):
    paths = Paths(tmp_path / "我的 实验 #1? 50%25 (a&b) 'c'" / ".l4lab" / "l4lab")
    paths.root.mkdir(mode=0o700, parents=True)
    server.write_kubeconfig(paths.kubeconfig)
    there = dataclasses.replace(access, paths=paths)
    lab = lab_of(space.name, secret="hunter-two")
    stack.deploy(lab, there)
    assert pulumi_cli.checkpoint(paths, "made").is_file()
    assert not stack.deploy(lab, there).changed
    stack.destroy(lab, there)
    assert space.is_empty()


@pytest.mark.parametrize("name", ["我的 配置", "my config", "My_Config"])
def test_an_object_s_name_that_is_none(access, server, space, name):
    lab = MadeLab("made", partial(declare_config, name, space.name))
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.brief == f"cannot deploy lab made: ConfigMap {name}"
    assert "RFC 1123" in error.reason
    stack.destroy(lab, access)


# --- images -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "states"),
    [
        ("no.example/nothing:1", ("ErrImagePull", "ImagePullBackOff")),
        ("我的 镜像", ("InvalidImageName", "InvalidImageName")),
    ],
)
def test_an_image_that_does_not_exist(access, kubelet, space, image, states):
    first, then = states
    heard = []

    def hear(line):
        heard.append(line)
        if first in line:
            kubelet.trouble[image] = then

    kubelet.trouble[image] = first
    try:
        lab = lab_of(space.name, image=image)
        with pytest.raises(StackError) as caught:
            stack.deploy(lab, access, on_event=hear)
    finally:
        del kubelet.trouble[image]
    assert any(first in line for line in heard)
    assert f"{then}: no luck with {image}" in caught.value.reason
    assert "not ready within" not in caught.value.reason, "it was told at once"
    assert "./l4lab kubectl" in caught.value.resolution
    stack.destroy(lab, access)
    assert space.is_empty()
