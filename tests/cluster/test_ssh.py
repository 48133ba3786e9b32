"""Hosts that l4lab did not make: plain Debian with nothing but SSH, used and given back.

The control plane is root's on port 22; the worker belongs to a user with sudo, on another port.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from l4lab import actions
from l4lab.cluster import Cluster
from l4lab.command import run
from l4lab.errors import MachineError, UsageError
from l4lab.lab import get_lab
from l4lab.machines import connect
from l4lab.machines.local import LocalDriver
from l4lab.progress import Progress
from l4lab.retry import wait_for
from l4lab.settings import parse
from l4lab.state import paths_of
from tests.cluster.conftest import PROJECT
from tests.cluster.hostprint import HOSTPRINT, unlike
from tests.cluster.plain import plain_disk

NETWORK = "192.168.129.0/24"
MASTER = {"role": "control_plane", "address": "192.168.129.11", "memory": 1536}
NODE = {"role": "worker", "address": "192.168.129.21", "memory": 1024}
# What an admin does before handing a host over. Root uses kubectl for another cluster.
ADMIN = """\
set -e
useradd --create-home --shell /bin/bash admin
mkdir -m 700 ~admin/.ssh
cp ~root/.ssh/authorized_keys ~admin/.ssh/
chown -R admin: ~admin/.ssh
echo 'admin ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/admin
su - admin -c 'sudo -n true'
mkdir -m 700 ~root/.kube
printf 'apiVersion: v1\\nkind: Config\\n' > ~root/.kube/config
"""
# Swap is on, and somebody uses kubelet's port, leaves the remains of a cluster and has a kubectl.
SPOIL = """\
set -e
dd if=/dev/zero of=/swap bs=1M count=16 status=none
chmod 600 /swap; mkswap -q /swap; swapon /swap
mkdir -p /var/lib/etcd/member
ln -s /bin/true /usr/local/bin/kubectl
systemd-run --quiet --unit=squatter python3 -m http.server 10250
"""
MEND = "swapoff /swap; rm -r /swap /var/lib/etcd /usr/local/bin/kubectl; systemctl stop squatter"


@dataclass
class Hosts:
    """Two machines that somebody else made."""

    driver: LocalDriver
    folder: Path

    def ssh(self, name, command, *, timeout=300, text=None):
        words = ["ssh", "-F", self.driver.paths.ssh_config, name, command]
        return run(words, timeout=timeout, input=text)

    def settings(self, name, **changes):
        """Settings with driver ssh; ``changes`` are for the [ssh] section."""
        machines = {
            "master": dict(MASTER),
            "node": {**NODE, "user": "admin", "port": 2222},
        }
        memory = changes.pop("memory", None)
        for machine in machines.values():
            machine["memory"] = memory or machine["memory"]
        raw = {
            "cluster": {"name": name, "driver": "ssh"},
            "network": {"nodes": NETWORK},
            "ssh": {"identity": str(self.driver.paths.ssh / "id_ed25519"), **changes},
            "machines": machines,
        }
        return parse(json.loads(json.dumps(raw)), str(self.folder / "l4lab.toml"))

    def cluster(self, name, **changes):
        return Cluster(PROJECT, self.settings(name, **changes), Progress())

    def until_booted(self, name):
        """SSH answers before all services run, which count among what a host is like."""

        def boots():
            said = self.ssh(name, "systemctl is-system-running || true").stdout.strip()
            return None if said in {"running", "degraded"} else said or "no word"

        wait_for(f"the end of the boot of {name}", boots, within=300, every=1)

    def prints(self):
        return {
            name: json.loads(self.ssh(name, "python3 -I -", text=HOSTPRINT).stdout)
            for name in ("master", "node")
        }


@pytest.fixture(scope="module")
def hosts(host_before, tmp_path_factory, pytestconfig):
    """The machines; this process is in their network until they end."""
    del host_before  # it is to be taken before any machine is there
    folder = tmp_path_factory.mktemp("given")
    raw = {
        "cluster": {"name": "given"},
        "network": {"nodes": NETWORK},
        "machines": {"master": MASTER, "node": NODE},
    }
    driver = LocalDriver(parse(raw, "hosts").topology, paths_of(folder, "given"))
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    found = Hosts(driver, folder)
    try:
        driver.up(plain_disk(pytestconfig.getoption("--hosts-suite")), lambda _text: None)
        for name in ("master", "node"):
            found.ssh(name, ADMIN)
            found.until_booted(name)
        yield found
    finally:
        driver.down()
        # Tests that come after are where this process was before.
        assert ctypes.CDLL(None, use_errno=True).setns(own, connect.CLONE_NEWNET) == 0
        os.close(own)


@pytest.fixture(scope="module")
def cluster(hosts):
    made = hosts.cluster("given")
    yield made
    made.down()


@pytest.fixture(scope="module")
def before(hosts):
    return hosts.prints()


@pytest.fixture(scope="module")
def up(cluster, before):
    del before
    return cluster.up()


def test_preflight_tells_all_that_is_wrong_and_changes_nothing(hosts, before):
    """Several faults on one host, another on the other, all in one answer."""
    wrong = hosts.cluster("wrong", memory=4096)
    hosts.ssh("node", SPOIL)
    try:
        with pytest.raises(MachineError) as failed:
            wrong.up()
    finally:
        hosts.ssh("node", MEND)
        wrong.down()
    assert failed.value.brief == "2 of 2 hosts cannot be part of the cluster"
    told = dict(line.strip().split(": ", 1) for line in failed.value.reason.splitlines())
    for part in (
        r"it has \d+ MiB of memory, 3481 are needed",
        r"kubelet refuses swap \(/swap\)",
        r"an older cluster left /var/lib/etcd",
        r"port 10250/tcp is in use by python3; kubelet needs it",
        r"not of l4lab, and in its way: /usr/local/bin/kubectl; move them away",
    ):
        assert re.search(part, told["node"]), (part, told)
    assert re.fullmatch(r"it has \d+ MiB of memory, 3481 are needed", told["master"])
    after = hosts.prints()
    assert {name: unlike(before[name], after[name]) for name in before} == {
        "master": {},
        "node": {},
    }


def test_a_key_that_is_not_the_given_one_is_refused(hosts, tmp_path):
    other = tmp_path / "other"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], timeout=20)
    kind, key, *_ = other.with_suffix(".pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"192.168.129.11 {kind} {key}\n[192.168.129.21]:2222 {kind} {key}\n")
    wrong = hosts.cluster("wrong", host_keys=str(known))
    try:
        with pytest.raises(MachineError, match="2 of 2") as failed:
            wrong.up()
    finally:
        wrong.down()
    assert failed.value.reason.count("Host key verification failed") == 2


def test_a_jump_host_is_gone_through(hosts):
    """The node's own address is reached from the master: its sshd says who came."""
    through = hosts.cluster("jump", jump="root@192.168.129.11")
    try:
        through.driver.up(None, lambda _text: None)
        said = run(
            ["ssh", "-F", through.paths.ssh_config, "node", "echo $SSH_CONNECTION"], timeout=120
        )
        assert said.stdout.split()[0] == "192.168.129.11"
        assert [status.running for status in through.driver.status()] == [True, True]
    finally:
        through.down()


def test_up_to_green_checks_and_a_second_up_changes_nothing(cluster, up, hosts):
    assert up.changed > 0
    assert cluster.up().changed == 0
    keys = {status.name: status.note for status in cluster.status()}
    assert all(note.startswith("host key SHA256:") for note in keys.values())

    def unready():
        data = actions.status(cluster)
        found = {name: node["ready"] for name, node in data["nodes"].items()}
        return None if found == {"master": True, "node": True} else f"{found}, {data['api']}"

    wait_for("two ready nodes", unready, within=120)
    lab = get_lab(PROJECT, "clusterip")
    actions.deploy(cluster, lab)
    report = actions.check(cluster, lab, exercises=False)
    assert report.passed, report.render(color=False)
    actions.destroy(cluster, lab)


def test_a_cluster_on_the_hosts_keeps_others_away(hosts, up):
    del up
    other = hosts.cluster("wrong")
    try:
        with pytest.raises(MachineError) as failed:
            other.up()
    finally:
        other.down()
    assert failed.value.reason.count("part of another cluster of l4lab") == 2


def test_other_settings_are_refused_while_the_hosts_are_in_use(cluster, up, hosts):
    del up
    settings = hosts.settings("given")
    changed = parse(
        {
            "cluster": {"name": "given", "driver": "ssh"},
            "network": {"nodes": NETWORK, "pods": "10.99.0.0/16"},
            "machines": {"master": MASTER, "node": NODE},
        },
        "test",
    )
    assert settings.topology.networks != changed.topology.networks
    with pytest.raises(UsageError, match="have changed"):
        Cluster(PROJECT, changed, Progress()).up()
    assert cluster.status()


def test_down_leaves_the_hosts_as_they_were_found(cluster, up, hosts, before):
    del up
    assert cluster.down()
    assert not cluster.paths.root.exists()
    after = hosts.prints()  # over the hosts' own SSH, which must still answer
    found = {name: unlike(before[name], after[name]) for name in before}
    assert found == {"master": {}, "node": {}}, json.dumps(found, indent=1)


def test_the_hosts_run_on(hosts):
    assert subprocess.run(
        ["ssh", "-F", hosts.driver.paths.ssh_config, "node", "systemctl", "is-system-running"],
        capture_output=True, text=True, check=False, timeout=120,
    ).stdout.strip() in {"running", "degraded"}  # fmt: skip
