"""Hosts that are given: how they are reached, what is pinned, and how they are let go."""

from __future__ import annotations

import json
import subprocess

import pytest

from l4lab.cluster import Cluster
from l4lab.errors import MachineError
from l4lab.machines import ssh as module
from l4lab.machines.ssh import SshDriver
from l4lab.state import paths_of, write_private
from tests.unit.machines.test_demands import FINE, settings
from tests.unit.test_cli import PROJECT

# --- the driver ---------------------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path):
    def make(**ssh):
        return SshDriver(settings(**ssh).topology, paths_of(tmp_path / "a project", "one"))

    return make


def configured(driver, name):
    """What ssh itself makes of the configuration."""
    driver._write_config()
    said = subprocess.run(
        ["ssh", "-G", "-F", driver.paths.ssh_config, name],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    ).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


def test_ssh_understands_how_a_host_is_reached(driver):
    made = driver(identity="/keys/my key")
    for name in ("node", "192.168.9.21"):
        found = configured(made, name)
        assert (found["hostname"], found["user"], found["port"]) == (
            "192.168.9.21",
            "admin",
            "2222",
        )
        assert found["identityfile"] == "/keys/my key"
        assert found["identitiesonly"] == "yes"
        assert found["stricthostkeychecking"] in ("yes", "true")
        assert found["hostkeyalias"] == "node"
        assert "proxyjump" not in found
    assert made.paths.ssh_config.stat().st_mode & 0o777 == 0o600


def test_without_an_identity_ssh_s_own_keys_and_agent_are_used(driver):
    assert configured(driver(), "node")["identitiesonly"] == "no"


def test_a_jump_host_is_met_first(driver, monkeypatch):
    made = driver(jump="me@bastion:2200")
    met = []
    monkeypatch.setattr(made, "_pin", met.append)
    assert configured(made, "node")["proxyjump"] == "l4lab-jump"
    bastion = configured(made, "l4lab-jump")
    assert (bastion["hostname"], bastion["user"], bastion["port"]) == ("bastion", "me", "2200")
    assert "proxyjump" not in bastion
    assert met == ["l4lab-jump", "l4lab-jump"]


def test_without_ssh_s_programs_it_is_said_what_to_install(driver, tmp_path, monkeypatch):
    made = driver()
    write_private(made.known, "x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError) as raised:
        made.status()
    assert raised.value.brief == "cannot run ssh-keygen"
    assert raised.value.resolution.startswith("apt-get install openssh-client")


def a_key(folder, name):
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
    subprocess.run(words, check=True, timeout=20)
    return " ".join((folder / f"{name}.pub").read_text().split()[:2])


def test_given_keys_are_taken_under_our_names(driver, tmp_path):
    one, other = a_key(tmp_path, "one"), a_key(tmp_path, "other")
    known = tmp_path / "known"
    known.write_text(f"192.168.9.11 {one}\n[192.168.9.21]:2222 {other}\nelse {one}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, timeout=20)
    made = driver(host_keys=str(known))
    made._write_config()
    assert made.known.read_text() == f"master {one}\nnode {other}\n"


def test_a_host_without_a_given_key_is_named(driver, tmp_path):
    known = tmp_path / "known"
    known.write_text(f"192.168.9.11 {a_key(tmp_path, 'one')}\n")
    with pytest.raises(MachineError, match="has no key of node"):
        driver(host_keys=str(known))._write_config()


def test_files_that_are_not_there_are_told_before(driver):
    assert driver(identity="/no/key", host_keys="/no/known").obstacles() == [
        "ssh.identity: there is no file /no/key",
        "ssh.host_keys: there is no file /no/known",
    ]


def result(stdout="", *, rc=0, stderr=""):
    return module.Result(argv=("ssh",), rc=rc, stdout=stdout, stderr=stderr, seconds=0.1)


def test_up_tells_one_list_a_host_and_remembers_only_good_ones(driver, monkeypatch):
    made = driver()
    now = module.time.time
    answers = {
        "master": result(rc=255, stderr="admin@x: Permission denied (publickey).\n"),
        "node": result(json.dumps({**FINE, "time": now(), "swap": ["/s"], "uid": 1000})),
    }
    monkeypatch.setattr(made, "_ssh", lambda name, _command, **_more: answers[name])
    with pytest.raises(MachineError) as failed:
        made.up(None, lambda _text: None)
    assert failed.value.brief == "2 of 2 hosts cannot be part of the cluster"
    master, node = failed.value.reason.splitlines()
    assert master == (
        "master: root@192.168.9.11 port 22 cannot be reached: "
        "admin@x: Permission denied (publickey)."
    )
    assert node.strip().startswith("node: admin may not use sudo without a password; kubelet ref")
    assert not made.record.exists()

    monkeypatch.setattr(module, "api_faults", lambda _machine: [])
    fine = {name: result(json.dumps({**FINE, "time": now()})) for name in answers}
    monkeypatch.setattr(made, "_ssh", lambda name, _command, **_more: fine[name])
    made.up(None, lambda _text: None)
    assert json.loads(made.record.read_text()) == {"hosts": ["master", "node"]}


def test_a_host_without_python_and_a_changed_key_are_told(driver, monkeypatch):
    made = driver()
    answers = {
        "master": result(rc=127),
        "node": result(rc=255, stderr="Host key verification failed.\n"),
    }
    monkeypatch.setattr(made, "_ssh", lambda name, _command, **_more: answers[name])
    with pytest.raises(MachineError) as failed:
        made.up(None, lambda _text: None)
    assert "master: python3 is missing: apt-get install python3" in failed.value.reason
    assert f"not the key that is pinned in {made.known}" in failed.value.reason


def test_silence_of_the_api_port_is_told_and_a_refusal_is_an_answer(monkeypatch):
    machine = settings().topology.control_plane

    def failing(error):
        def connect(*_words, **_more):
            raise error

        monkeypatch.setattr(module.socket, "create_connection", connect)
        return module.api_faults(machine)

    assert failing(ConnectionRefusedError()) == []
    (told,) = failing(TimeoutError("timed out"))
    assert told.startswith("its port 6443 cannot be reached from here (timed out)")


def test_the_pinned_keys_are_shown(driver, tmp_path, monkeypatch):
    made = driver()
    write_private(made.known, f"master {a_key(tmp_path, 'one')}\n")
    monkeypatch.setattr(made, "_answers", lambda machine: machine.name == "master")
    master, node = made.status()
    assert master.note.startswith("host key SHA256:")
    assert master.note.endswith("(ED25519)")
    assert (node.running, node.note) == (False, "SSH does not answer")


# --- its cluster --------------------------------------------------------------------------------


@pytest.fixture
def played(monkeypatch):
    names = []
    monkeypatch.setattr(Cluster, "_play", lambda _self, playbook, _title: names.append(playbook))
    return names


@pytest.mark.parametrize(
    ("keep", "books"), [(False, ["reset.yml", "leave.yml"]), (True, ["reset.yml"])]
)
def test_down_takes_the_cluster_off_hosts(tmp_path, played, keep, books):
    cluster = Cluster(tmp_path, settings())
    write_private(cluster.paths.inventory, "all: {}\n")
    write_private(cluster.paths.kubeconfig, "x\n")
    assert cluster.down(keep_disks=keep)
    assert played == books
    assert not cluster.paths.kubeconfig.exists()
    assert cluster.paths.root.exists() == keep


def test_down_leaves_hosts_alone_that_were_never_touched(tmp_path, played):
    cluster = Cluster(tmp_path, settings())
    write_private(cluster.paths.record, "{}\n")
    assert cluster.down()
    assert played == []
    assert not cluster.paths.root.exists()


def test_the_playbook_exists():
    assert (PROJECT / "playbooks" / "leave.yml").is_file()
