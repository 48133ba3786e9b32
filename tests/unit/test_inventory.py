"""The inventory: Ansible itself reads it, and finds every machine in its group."""

from __future__ import annotations

import json
import subprocess

import pytest

from l4lab.bundle import Bundle
from l4lab.inventory import inventory, write
from l4lab.settings import parse
from l4lab.state import paths_of


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """What Ansible makes of it, in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("a project")
    paths = paths_of(folder, "one")
    write(parse({}, "none"), paths, Bundle(folder / "bundle"))
    assert paths.inventory.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        ["ansible-inventory", "-i", paths.inventory, "--list"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=folder,
        env=None,
    )
    return paths, json.loads(done.stdout)


def test_groups(read):
    _, found = read
    assert found["control_plane"]["hosts"] == ["k8s-master01"]
    assert found["worker"]["hosts"] == ["k8s-node01", "k8s-node02"]
    assert found["mariadb"]["hosts"] == ["mariadb01"]
    assert found["outside"]["hosts"] == ["mariadb01"]
    assert sorted(found["nodes"]["children"]) == ["control_plane", "worker"]


def test_how_a_machine_is_reached(read):
    paths, found = read
    facts = found["_meta"]["hostvars"]["k8s-node02"]
    assert (facts["ansible_host"], facts["ansible_user"], facts["ansible_port"]) == (
        "192.168.128.22",
        "root",
        22,
    )
    assert facts["ansible_ssh_common_args"] == f"-F '{paths.ssh_config}'"


def test_what_the_roles_are_told(read):
    paths, found = read
    facts = found["_meta"]["hostvars"]["k8s-master01"]
    assert facts["l4lab_pod_network"] == "10.244.0.0/16"
    assert facts["l4lab_service_network"] == "10.10.0.0/16"
    assert facts["l4lab_node_network"] == "192.168.128.0/24"
    assert facts["l4lab_proxy_mode"] == "ipvs"
    assert facts["l4lab_local_machine"] is True
    assert facts["l4lab_kubeconfig"] == str(paths.kubeconfig)
    assert facts["l4lab_kubernetes_version"].startswith("1.")


def test_no_secret_is_in_it(tmp_path):
    paths = paths_of(tmp_path, "one")
    secret = paths.secret("password")
    assert secret not in json.dumps(inventory(parse({}, "none"), paths, Bundle(tmp_path)))


def groups(tmp_path, machines):
    settings = parse({"machines": machines}, "none")
    made = inventory(settings, paths_of(tmp_path, "one"), Bundle(tmp_path))
    return {name: list(group.get("hosts", [])) for name, group in made["all"]["children"].items()}


def test_a_cluster_without_a_database_has_empty_groups(tmp_path):
    found = groups(tmp_path, {"k8s-master01": {}, "k8s-node01": {}})
    assert found["mariadb"] == found["outside"] == []


def test_a_machine_of_that_role_plays_the_outside_and_the_database_does_not(tmp_path):
    outside = {"role": "outside", "address": "192.168.128.41", "memory": 512}
    nodes = {"k8s-master01": {}, "k8s-node01": {}}
    found = groups(tmp_path, {**nodes, "mariadb01": {}, "internet": outside})
    assert (found["outside"], found["mariadb"]) == (["internet"], ["mariadb01"])
