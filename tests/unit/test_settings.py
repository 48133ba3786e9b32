"""What ``l4lab.toml`` may hold, and how each mistake is told."""

from __future__ import annotations

import tomllib

import pytest

from l4lab.errors import SettingsError
from l4lab.origin import MODULES
from l4lab.settings import load, parse, to_toml
from l4lab.topology import Role

MISTAKES = {
    "unknown section": ({"clutser": {}}, "unknown key clutser", "cluster, network, ssh, machines"),
    "unknown key": ({"cluster": {"nmae": "x"}}, "unknown key cluster.nmae", "name, driver, proxy"),
    "type": ({"cluster": {"name": 5}}, "cluster.name is wrong", "5 is not a text"),
    "name": ({"cluster": {"name": "My Lab"}}, "cluster.name is wrong", "'My Lab' is not a name"),
    "driver": ({"cluster": {"driver": "vmware"}}, "cluster.driver is wrong", "no 'vmware'"),
    "proxy": ({"cluster": {"proxy": "ebpf"}}, "cluster.proxy is wrong", "no 'ebpf'"),
    "network text": (
        {"network": {"pods": "10.244.0.0.0"}},
        "network.pods is wrong",
        "10.244.0.0.0",
    ),
    "host bits": ({"network": {"pods": "10.244.1.0/16"}}, "network.pods is wrong", "host bits"),
    "public": ({"network": {"pods": "8.8.0.0/16"}}, "network.pods is wrong", "not a private"),
    "small": ({"network": {"nodes": "192.168.1.0/29"}}, "network.nodes is wrong", "too small"),
    "large": ({"network": {"services": "10.0.0.0/8"}}, "network.services is wrong", "too large"),
    "overlap": (
        {"network": {"pods": "10.0.0.0/9", "services": "10.10.0.0/16"}},
        "network.pods is wrong",
        "overlap",
    ),
    "address outside": (
        {"machines": {"a": {"role": "worker", "address": "10.1.1.1", "memory": 2048}}},
        "machines.a.address is wrong",
        "not a host of 192.168.128.0/24",
    ),
    "gateway taken": (
        {"machines": {"a": {"role": "worker", "address": "192.168.128.1", "memory": 2048}}},
        "machines.a.address is wrong",
        "already the host's end",
    ),
    "key missing": (
        {"machines": {"a": {"role": "worker"}}},
        "machines.a.address is missing",
        "MiB",
    ),
    "role": (
        {"machines": {"a": {"role": "boss", "address": "192.168.128.5", "memory": 2048}}},
        "machines.a.role is wrong",
        "no 'boss'",
    ),
    "memory": (
        {"machines": {"k8s-node01": {"memory": 64}}},
        "machines.k8s-node01.memory",
        "64 MiB",
    ),
    "boolean": (
        {"machines": {"k8s-node01": {"memory": True}}},
        "machines.k8s-node01.memory",
        "True",
    ),
    "two outsides": (
        {
            "machines": {
                "k8s-master01": {},
                "k8s-node01": {},
                "a": {"role": "outside", "address": "192.168.128.41", "memory": 512},
                "b": {"role": "outside", "address": "192.168.128.42", "memory": 512},
            }
        },
        "machines is wrong",
        "2 have role outside",
    ),
    "maker": ({"bundle": {"from": "disk"}}, "bundle.from is wrong", "no 'disk'"),
    "mirrors": ({"bundle": {"mirrors": "http://a"}}, "bundle.mirrors is wrong", "not a list"),
    "mirror": ({"bundle": {"mirrors": [7]}}, "bundle.mirrors[1] is wrong", "7 is no mirror"),
    "mirror's address": (
        {"bundle": {"mirrors": ["https://a", "ftp://b"]}},
        "bundle.mirrors[2] is wrong",
        "'ftp://b' is not a mirror's address",
    ),
    "mirror's port": (
        {"bundle": {"mirrors": ["https://a:99999"]}},
        "bundle.mirrors[1] is wrong",
        "not a mirror's address",
    ),
    "mirror's secret": (
        {"bundle": {"mirrors": [{"cni": "https://me:word@a/v{version}"}]}},
        "bundle.mirrors[1].cni is wrong",
        "no user goes there",
    ),
    "mirror of what": (
        {"bundle": {"mirrors": [{"runc": "https://a"}]}},
        "unknown key bundle.mirrors[1].runc",
        "kubernetes, containerd, etcd, coredns, cni, pulumi",
    ),
    "version in a mirror": (
        {"bundle": {"mirrors": ["https://a/{version}"]}},
        "bundle.mirrors[1] is wrong",
        "not a mirror's address",
    ),
    "no control plane": ({"machines": {"k8s-node01": {}}}, "machines is wrong", "control_plane"),
    "no worker": ({"machines": {"k8s-master01": {}}}, "machines is wrong", "worker"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_named(name):
    raw, what, why = MISTAKES[name]
    with pytest.raises(SettingsError) as raised:
        parse(raw, "l4lab.toml")
    assert what in raised.value.brief
    assert why in raised.value.reason
    assert raised.value.exit_code == 2


def test_defaults_are_the_course():
    topology = parse({}, "none").topology
    assert [(m.name, str(m.address)) for m in topology.machines] == [
        ("k8s-master01", "192.168.128.11"),
        ("k8s-node01", "192.168.128.21"),
        ("k8s-node02", "192.168.128.22"),
        ("mariadb01", "192.168.128.31"),
    ]
    assert str(topology.networks.pods) == "10.244.0.0/16"
    assert str(topology.networks.services) == "10.10.0.0/16"
    assert str(topology.networks.dns) == "10.10.0.10"
    assert [m.name for m in topology.nodes] == ["k8s-master01", "k8s-node01", "k8s-node02"]


def test_machines_move_with_their_network():
    topology = parse({"network": {"nodes": "10.99.0.0/24"}}, "none").topology
    assert str(topology.control_plane.address) == "10.99.0.11"
    assert str(topology.networks.gateway) == "10.99.0.1"


def test_one_value_of_a_known_machine():
    raw = {"machines": {"k8s-master01": {"memory": 4096}, "k8s-node01": {}}}
    topology = parse(raw, "none").topology
    assert topology.control_plane.memory_mib == 4096
    assert topology.with_role(Role.MARIADB) == ()


def test_the_outside_is_a_machine_of_that_role_else_the_databases():
    assert parse({}, "none").topology.outside.name == "mariadb01"
    nodes = {"k8s-master01": {}, "k8s-node01": {}}
    assert parse({"machines": nodes}, "none").topology.outside is None
    other = {"role": "outside", "address": "192.168.128.41", "memory": 512}
    machines = {**nodes, "mariadb01": {}, "internet": other}
    assert parse({"machines": machines}, "none").topology.outside.name == "internet"


def test_a_bundle_is_from_modules_unless_said_otherwise():
    assert parse({}, "none").origin == MODULES
    assert (MODULES.maker, MODULES.mirrors) == ("modules", ())


def test_mirrors_are_addresses_of_all_or_of_some():
    some = {"cni": "http://b/v{version}/x/", "pulumi": "http://b/p"}
    raw = {"bundle": {"from": "auto", "mirrors": ["https://a:8443/r/", some]}}
    settings = parse(raw, "none")
    one, two = settings.origin.mirrors
    assert settings.origin.maker == "auto"
    assert one.address("cni", "1.2") == "https://a:8443/r/cni/v1.2/"
    assert two.address("cni", "1.2") == "http://b/v1.2/x/"
    assert two.address("pulumi", "3") == "http://b/p/"
    assert two.address("kubernetes", "1") is None
    assert parse(tomllib.loads(to_toml(settings)), "none") == settings


def test_missing_file_is_the_course(tmp_path):
    assert load(None, tmp_path) == parse({}, "l4lab.toml")


def test_named_file_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match="there is no file"):
        load(tmp_path / "no.toml", tmp_path)


def test_broken_toml_is_told(tmp_path):
    (tmp_path / "l4lab.toml").write_text("[cluster\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        load(None, tmp_path)
