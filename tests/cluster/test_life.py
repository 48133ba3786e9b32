"""A cluster's life on real machines: again, killed, interrupted, kept, reset, and gone."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from l4lab import bundle
from l4lab.command import run
from l4lab.errors import MachineError
from l4lab.machines.local import LocalDriver
from l4lab.retry import wait_for
from l4lab.settings import parse
from l4lab.state import paths_of
from tests.cluster.conftest import NAME, PROJECT
from tests.cluster.host import fingerprint, outside, processes


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("life") / "l4lab.toml"
    path.write_text(f'[cluster]\nname = "{NAME}"\n')
    return path


def l4lab(config, verb, *words, timeout=600):
    """The command line, as a person at the host's terminal would type it."""
    argv = [sys.executable, "-m", "l4lab", verb, "--config", config, *words]
    return outside(*argv, timeout=timeout)


def nodes_ready(access):
    said = run(
        [access.kubectl, "--kubeconfig", access.paths.kubeconfig, "get", "nodes", "--no-headers"],
        timeout=120,
        check=False,
    )
    ready = [line for line in said.stdout.splitlines() if line.split()[1] == "Ready"]
    return None if len(ready) == 3 else said.stdout + said.stderr


def test_second_up_changes_nothing(cluster, access):
    result = cluster.up()
    assert {name: host.changed for name, host in result.hosts.items()} == {
        "k8s-master01": 0,
        "k8s-node01": 0,
        "k8s-node02": 0,
        "mariadb01": 0,
    }


def test_plain_ansible_playbook_works_from_the_host_s_own_network(access):
    done = outside(
        "ansible-playbook",
        "-i",
        access.paths.inventory,
        "playbooks/site.yml",
        cwd=PROJECT,
        timeout=300,
    )
    recap = re.findall(
        r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", done.stdout, re.M
    )
    assert sorted(recap) == [
        (name, "0", "0", "0") for name in ("k8s-master01", "k8s-node01", "k8s-node02", "mariadb01")
    ], done.stdout[-3000:]


def test_ways_in(access, config):
    assert l4lab(config, "ssh", "k8s-node01", "hostname").stdout == "k8s-node01\n"
    nodes = l4lab(config, "kubectl", "get", "nodes", "-o", "name").stdout.split()
    assert nodes == ["node/k8s-master01", "node/k8s-node01", "node/k8s-node02"]
    gateway = l4lab(config, "exec", "ip", "-br", "address", "show", "lab0").stdout
    assert "192.168.128.1/24" in gateway
    # The host itself has no way there: the lab is in a network namespace of its own.
    assert "192.168.128.1/" not in outside("ip", "-br", "address").stdout


def test_the_database_answers_on_its_host_and_to_its_user_only(access):
    password = (access.paths.root / "secrets" / "mariadb_password").read_text().strip()
    query = "SELECT CURRENT_USER(); SHOW DATABASES"
    ssh = ["ssh", "-F", access.paths.ssh_config]
    said = run(
        [*ssh, "k8s-node01", f"MYSQL_PWD=$(cat) mariadb -h 192.168.128.31 -u lab -N -e '{query}'"],
        timeout=120,
        input=password,
    )
    assert said.stdout.startswith("lab@")
    assert "lab" in said.stdout.split()
    assert "mysql" not in said.stdout.split()
    wrong = run(
        [*ssh, "k8s-node01", "MYSQL_PWD=wrong mariadb -h 192.168.128.31 -u lab -e 'SELECT 1'"],
        timeout=120,
        check=False,
    )
    assert "ERROR 1045" in wrong.stderr


def test_no_secret_is_in_an_argument_or_a_log(access):
    secrets = [path.read_text().strip() for path in (access.paths.root / "secrets").iterdir()]
    assert len(secrets) >= 2
    for secret in secrets:
        assert not processes(secret)
        for log in access.paths.logs.rglob("*"):
            if log.is_file():
                assert secret not in log.read_text(errors="replace"), log


def test_a_killed_machine_is_named_and_up_goes_on(cluster, access, config):
    (victim,) = [
        pid
        for pid, words in processes(f"umid=k8s-node02 uml_dir={access.paths.root}").items()
        if "linux" in words
    ]
    os.kill(victim, signal.SIGKILL)
    dead = {}

    def seen():
        dead.update({s.name: s.note for s in cluster.status() if not s.running})
        return None if dead else "all run"

    wait_for("the death to be noticed", seen, within=120)
    assert list(dead) == ["k8s-node02"]
    assert dead["k8s-node02"].startswith("killed by signal 9; console: ")
    with pytest.raises(MachineError, match="k8s-node02 does not run"):
        cluster.access()
    done = l4lab(config, "check", "clusterip")
    assert done.returncode == 3
    assert "k8s-node02 does not run" in done.stderr
    cluster.up()
    wait_for("three ready nodes", lambda: nodes_ready(access), within=120)


def test_another_cluster_beside_it(cluster, access, tmp_path):
    """Same addresses, other name, other state folder: neither knows of the other."""
    topology = parse(
        {
            "cluster": {"name": "other"},
            "machines": {
                "k8s-master01": {"memory": 1536},
                "k8s-node01": {"memory": 1024},
            },
        },
        "test",
    ).topology
    other = LocalDriver(topology, paths_of(tmp_path, "other"))
    try:
        other.up(bundle.find(), lambda _text: None)
        said = run(
            ["ssh", "-F", other.paths.ssh_config, "k8s-master01", "ls /etc/kubernetes"],
            timeout=120,
            check=False,
        )
        assert said.rc == 2, said  # a machine that never saw Kubernetes
        assert [status.running for status in other.status()] == [True, True]
    finally:
        other.down()
        cluster.driver.enter()
    # With six machines on a busy host a kubelet may have been too late to say that it lives.
    wait_for("three ready nodes", lambda: nodes_ready(access), within=120)
    assert not processes(str(tmp_path))


def test_kept_disks(cluster, access):
    cluster.down(keep_disks=True)
    assert [status.note for status in cluster.status()] == ["kept disk"] * 4
    result = cluster.up()
    assert result.changed == 0
    wait_for("three ready nodes", lambda: nodes_ready(access), within=120)


def test_down_leaves_nothing(cluster, access, host_before, config):
    root = access.paths.root
    assert processes(str(root))
    done = l4lab(config, "down")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Nothing is left.\n"
    assert not root.exists()
    assert processes(str(root)) == {}
    after = fingerprint()
    for what, before in host_before.items():
        assert after[what] == before, what
    shared = [path.name for path in Path("/dev/shm").iterdir() if "vm_file" in path.name]
    assert shared == []
    assert l4lab(config, "down").stdout == "There was nothing to end.\n"
    assert l4lab(config, "check", "clusterip").returncode == 2
