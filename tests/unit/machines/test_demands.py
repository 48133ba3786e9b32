"""Hosts that are given: what the settings say of them, and what keeps one out of a cluster."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from l4lab.errors import SettingsError
from l4lab.machines import demands, given
from l4lab.settings import parse
from tests.unit.test_cli import PROJECT

MACHINES = {
    "master": {"role": "control_plane", "address": "192.168.9.11"},
    "node": {"role": "worker", "address": "192.168.9.21", "user": "admin", "port": 2222},
}
# A host on which nothing is wrong.
FINE = {
    "time": 1000.0,
    "uid": 0,
    "distribution": "debian 12",
    "architecture": "x86_64",
    "processors": 2,
    "uml": False,
    "memory_mib": 1980,
    "disk_mib": 9000,
    "cgroup2": True,
    "systemd": True,
    "swap": [],
    "missing_modules": [],
    "address_is_local": True,
    "routes": [["192.168.9.0/24", "eth0"]],
    "listening": [{"protocol": "tcp", "address": "*", "port": 22, "program": "sshd"}],
    "kubernetes": "absent",
    "runtimes": [],
    "remains": [],
    "theirs": [],
    "database": [],
    "firewalls": [],
}


def settings(machines=MACHINES, *, driver="ssh", **ssh):
    raw = {
        "cluster": {"name": "one", "driver": driver},
        "network": {"nodes": "192.168.9.0/24"},
        "machines": machines,
    }
    return parse({**raw, "ssh": ssh} if ssh else raw, "/etc/x/l4lab.toml")


def faults(name="node", *, known=False, asked=(999.0, 1001.0), **changes):
    topology = settings().topology
    machine = topology.machine(name)
    return demands.faults({**FINE, **changes}, machine, topology, asked=asked, known=known)


# --- settings -----------------------------------------------------------------------------------


def test_hosts_are_what_the_settings_say():
    topology = settings(identity="key", jump="me@bastion:2200", host_keys="~/known").topology
    master, node = topology.machines
    assert (master.user, master.port, master.memory_mib) == ("root", 22, 1536)
    assert (node.user, node.port, node.memory_mib) == ("admin", 2222, 1024)
    assert str(topology.given.identity) == "/etc/x/key"
    assert topology.given.host_keys.is_absolute()
    assert topology.given.host_keys.name == "known"


def test_the_first_address_of_their_network_may_be_a_host_s():
    machines = {**MACHINES, "node": {"role": "worker", "address": "192.168.9.1"}}
    assert str(settings(machines).topology.machines[1].address) == "192.168.9.1"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"machines": {}}, "machines is wrong"),
        ({"driver": "local", "identity": "x"}, "ssh is wrong"),
        ({"driver": "local", "machines": {"node": MACHINES["node"]}}, "key machines.node.user"),
        ({"jump": "two words"}, "ssh.jump is wrong"),
        ({"password": "x"}, "unknown key ssh.password"),
        ({"machines": {**MACHINES, "node": {**MACHINES["node"], "port": 0}}}, "node.port is wrong"),
        ({"machines": {**MACHINES, "node": {**MACHINES["node"], "user": "A b"}}}, "node.user"),
        ({"machines": {**MACHINES, "node": {"role": "worker"}}}, "node.address is missing"),
        ({"machines": {**MACHINES, "node": {"address": "192.168.9.4"}}}, "node.role is missing"),
    ],
)
def test_settings_that_cannot_be(wrong, told):
    with pytest.raises(SettingsError) as failed:
        settings(**wrong)
    assert told in failed.value.brief


# --- what is asked of a host --------------------------------------------------------------------


def test_a_fine_host_has_no_faults():
    assert faults() == []
    assert faults("master") == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"uid": 1000}, "admin may not use sudo without a password"),
        ({"distribution": "fedora 41"}, "it runs fedora 41; known are debian 12"),
        ({"architecture": "aarch64"}, "its processor is aarch64"),
        ({"systemd": False}, "systemd does not run it"),
        ({"memory_mib": 500}, "it has 500 MiB of memory, 870 are needed"),
        ({"time": 940.0}, "its clock is 59 s off ours"),
        ({"time": 1100.0}, "its clock is 99 s off ours"),
        ({"firewalls": ["ufw"]}, "a firewall is on (ufw)"),
        ({"address_is_local": False}, "192.168.9.21 is not an address of the host"),
        ({"routes": [["10.244.0.0/24", "tun0"]]}, "by tun0 overlaps network.pods 10.244.0.0/16"),
        ({"routes": [["10.0.0.0/8", "eth1"]]}, "overlaps network.services 10.10.0.0/16"),
        ({"cgroup2": False}, "kubelet needs cgroup v2"),
        ({"swap": ["/dev/sda2"]}, "kubelet refuses swap (/dev/sda2)"),
        ({"missing_modules": ["ip_vs", "vxlan"]}, "the kernel lacks ip_vs, vxlan"),
        ({"disk_mib": 900}, "900 MiB of disk are free in /var, 4096 are needed"),
        ({"runtimes": ["docker"]}, "services that l4lab did not make: docker"),
        ({"kubernetes": "foreign"}, "a Kubernetes cluster that l4lab did not make"),
        ({"kubernetes": "ours"}, "part of another cluster of l4lab"),
        (
            {"theirs": ["/usr/local/bin/kubectl", "/etc/containerd"]},
            "not of l4lab, and in its way: /usr/local/bin/kubectl, /etc/containerd; move them away",
        ),
        ({"remains": ["/var/lib/etcd"]}, "an older cluster left /var/lib/etcd"),
    ],
)
def test_each_fault_is_told(changes, told):
    found = faults(**changes)
    assert any(told in one for one in found), found


def test_all_faults_are_told_at_once():
    found = faults(swap=["/swap"], cgroup2=False, memory_mib=1, uid=7)
    assert len(found) == 4


def test_a_control_plane_needs_what_kubeadm_asks():
    assert faults("master", memory_mib=1500) == ["it has 1500 MiB of memory, 1700 are needed"]
    assert faults("master", processors=1) == [
        "it has one processor; kubeadm asks two of a control plane"
    ]
    assert faults("master", memory_mib=1500, processors=1, uml=True) == []


def listening(port, program="python3", *, protocol="tcp", address="*"):
    return [{"protocol": protocol, "address": address, "port": port, "program": program}]


@pytest.mark.parametrize(
    ("name", "socket", "told"),
    [
        ("node", listening(10250), ["port 10250/tcp is in use by python3; kubelet needs it"]),
        ("node", listening(10250, ""), ["port 10250/tcp is in use; kubelet needs it"]),
        ("node", listening(10249, address="127.0.0.1"), ["port 10249/tcp"]),
        ("node", listening(4789, "vpn", protocol="udp"), ["port 4789/udp is in use by vpn"]),
        ("master", listening(6443), ["port 6443/tcp is in use by python3; the API server"]),
        ("node", listening(6443), []),
        ("node", listening(4789), []),
        ("node", listening(10250, address="192.168.77.1"), []),
    ],
)
def test_ports_in_use(name, socket, told):
    found = faults(name, listening=socket)
    assert len(found) == len(told)
    assert all(one.startswith(start) for one, start in zip(found, told, strict=True))


def test_a_database_that_stayed_is_welcome():
    machines = {**MACHINES, "db": {"role": "mariadb", "address": "192.168.9.31"}}
    topology = settings(machines).topology
    (db,) = topology.databases

    def found(program):
        facts = {**FINE, "listening": listening(3306, program)}
        return demands.faults(facts, db, topology, asked=(999, 1001), known=False)

    assert found("mariadbd") == []
    assert found("mysqld") == ["port 3306/tcp is in use by mysqld; MariaDB needs it"]


def test_a_schema_or_user_of_the_labs_names_is_somebody_s_data():
    machines = {**MACHINES, "db": {"role": "mariadb", "address": "192.168.9.31"}}
    topology = settings(machines).topology
    (db,) = topology.databases
    names = ["schema lab", "user lab@192.168.9.0/255.255.255.0", "user lab@localhost"]
    facts = {**FINE, "database": names}
    assert demands.faults(facts, db, topology, asked=(999, 1001), known=False) == [
        f"its MariaDB has a {name} that l4lab did not make: rename or drop it" for name in names[:2]
    ]
    assert faults("node", database=names) == []


def test_our_own_cluster_is_no_fault():
    own = {
        "kubernetes": "ours",
        "listening": listening(10250, "kubelet"),
        "routes": [
            ["10.244.58.192/26", "vxlan.calico"],
            ["10.244.1.3/32", "cali0123"],
            ["10.244.1.0/26", "*"],
        ],
        "remains": ["/var/lib/kubelet", "kube-ipvs0"],
        "disk_mib": 900,
    }
    assert faults(known=True, **own) == []


# --- the look at a host -------------------------------------------------------------------------


def test_the_look_runs_alone_and_says_all_that_is_asked_for():
    done = subprocess.run(
        [sys.executable, "-I", "-", "127.0.0.1"],
        input=open(given.__file__).read(),  # noqa: SIM115, PTH123  # read at once
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(json.loads(done.stdout)) == set(FINE)


def test_kernel_s_numbers_are_read_as_addresses(monkeypatch):
    files = {
        "/proc/net/route": "Iface\tDestination\n"
        "eth0\t00000000\t0109A8C0\t0003\t0\t0\t0\t00000000\n"
        "eth0\t0009A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
        "/proc/net/tcp": "head\n"
        "0: 0100007F:2709 00000000:0000 0A 0:0 0:0 0 0 0 77\n"
        "1: 00000000:280A 00000000:0000 0A 0:0 0:0 0 0 0 78\n"
        "2: 1509A8C0:0016 0109A8C0:D431 01 0:0 0:0 0 0 0 79\n",
    }
    monkeypatch.setattr(given, "read", lambda path: files.get(str(path), ""))
    monkeypatch.setattr(given, "programs", lambda: {"78": "kubelet"})
    assert given.routes() == [["192.168.9.0/24", "eth0"]]
    assert given.listening() == [
        {"protocol": "tcp", "address": "127.0.0.1", "port": 9993, "program": ""},
        {"protocol": "tcp", "address": "*", "port": 10250, "program": "kubelet"},
    ]


def test_the_database_is_ours_where_its_configuration_is(tmp_path, monkeypatch):
    mark, schema = tmp_path / "60-l4lab.cnf", tmp_path / "lab"
    monkeypatch.setattr(given, "DATABASE_MARK", mark)
    monkeypatch.setattr(given, "DATABASE", str(schema))
    monkeypatch.setattr(given, "answer", lambda *_words: None)
    assert given.database() == []
    schema.mkdir()
    (schema / "db.opt").touch()
    assert given.database() == ["schema lab"]
    monkeypatch.setattr(given, "answer", lambda *_words: "user lab@%\n")
    assert given.database() == ["schema lab", "user lab@%"]
    mark.touch()
    assert given.database() == []


def test_the_database_s_names_are_the_role_s():
    role = PROJECT / "playbooks" / "roles" / "mariadb"
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    own = yaml.safe_load((role / "vars" / "main.yml").read_text())
    assert given.DATABASE.rpartition("/")[2] == defaults["mariadb_schema"]
    assert f"'{defaults['mariadb_user']}'" in given.DATABASE_USERS
    assert str(given.DATABASE_MARK) == own["mariadb_configuration"]


def test_programs_are_ours_where_the_host_was_noted(tmp_path, monkeypatch):
    note, folder, program, link = (tmp_path / name for name in ("found", "cni", "ctr", "kubectl"))
    monkeypatch.setattr(given, "NODE_NOTE", note)
    monkeypatch.setattr(given, "NODE_PATHS", tuple(map(str, (folder, program, link))))
    folder.mkdir()
    assert given.theirs() == []
    (folder / "bridge").touch()
    link.symlink_to("/nowhere")
    assert given.theirs() == [str(folder), str(link)]
    note.touch()
    assert given.theirs() == []


def test_what_is_closed_to_a_plain_user_is_no_end_of_the_look(monkeypatch):
    def closed(*_words, **_more):
        raise PermissionError

    for name in ("stat", "listdir", "lstat"):
        monkeypatch.setattr(given.os, name, closed)
    assert given.theirs() == []
    assert given.is_taken(given.DATABASE) is False
