"""Which cluster each student gets with ``shape: each``, and every refusal."""

import tomllib
from pathlib import Path

import pytest

from l4lab.classroom.file import load
from l4lab.errors import SettingsError
from l4lab.place import COURSE
from l4lab.settings import parse, to_toml

PROJECT = Path(__file__).parents[3]
BASE = parse({"network": {"services": "10.20.0.0/16"}}, "l4lab.toml")
HOSTS = """\
[cluster]
driver = "ssh"
[machines.master]
role = "control_plane"
address = "192.168.128.{first}"
[machines.node]
role = "worker"
address = "192.168.128.{second}"
user = "admin"
port = 2222
[ssh]
identity = "keys/é \\"1\\""
jump = "root@bastion:22"
"""


@pytest.fixture
def read(tmp_path):
    """Reads a class of alice and bob in a folder of its own."""

    def reading(base=BASE, **changes):
        lines = {"class": "networks", "shape": "each", "labs": "[clusterip]"}
        lines = {**lines, "students": "[{id: alice, name: 爱丽丝}, bob]", **changes}
        file = tmp_path / "classroom.yaml"
        text = "\n".join(f"{key}: {value}" for key, value in lines.items())
        file.write_text(text, encoding="utf-8")
        return load(file, PROJECT, base, {})

    return reading


@pytest.fixture
def files(tmp_path):
    """Writes a settings file of a student."""

    def writing(student, text):
        file = tmp_path / "clusters" / f"{student}.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    return writing


def test_a_cluster_like_the_projects_for_each(read):
    found = read(labs="[nodeport, selectorless]", limits="{at_once: 3}")
    assert found.has_clusters
    assert found.limits.at_once == 3
    assert found.labs == ("nodeport", "selectorless"), "the whole cluster is the student's"
    assert [one.name for one in found.students] == ["爱丽丝", "bob"]
    for student in found.students:
        assert student.place == COURSE
        topology = student.settings.topology
        assert topology.name == f"l4lab-{student.id}"
        assert topology.machines == BASE.topology.machines
        assert topology.networks == BASE.topology.networks


def test_a_settings_file_for_each_may_give_hosts(read, files, tmp_path):
    files("alice", HOSTS.format(first=11, second=12))
    files("bob", '[cluster]\nname = "l4lab-bob"\nproxy = "nftables"\n')
    alice, bob = read(clusters="clusters/{id}.toml").students
    assert (alice.settings.driver, bob.settings.driver) == ("ssh", "local")
    assert alice.settings.topology.name == "l4lab-alice"
    assert alice.settings.topology.given.identity == tmp_path / "clusters" / 'keys/é "1"'
    assert bob.settings.proxy == "nftables"


def test_what_is_written_for_config_is_read_as_the_same(read, files):
    files("alice", HOSTS.format(first=11, second=12))
    files("bob", "")
    for student in read(clusters="clusters/{id}.toml").students:
        text = to_toml(student.settings)
        assert parse(tomllib.loads(text), "settings.toml") == student.settings


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"labs": "[nosuch]"}, "labs[1] is wrong|there is no lab 'nosuch'"),
        ({"limits": "{at_once: 2, pods: 6}"}, "limits.pods is wrong|is the student's|leave it out"),
        ({"limits": "{ports: 6}"}, "unknown key ports in limits"),
        ({"clsters": "x"}, "unknown key clsters"),
        ({"clusters": "all.toml"}, "clusters is wrong|a file for each student|clusters/{id}.toml"),
        ({"clusters": "7"}, "clusters is wrong|7 does not name"),
        ({"clusters": "none/{id}.toml"}, "clusters is wrong|there is no file|none/alice.toml"),
        ({"shape": "shared", "clusters": "c/{id}.toml"}, "clusters is wrong|share one|shape: each"),
        (
            {"students": f"[{'a' * 27}]"},
            f"students is wrong|l4lab-{'a' * 27}: 33 characters|32 at most",
        ),
    ],
)
def test_refusals(read, changes, told):
    with pytest.raises(SettingsError) as failed:
        read(**changes)
    for part in told.split("|"):
        assert part in str(failed.value)


def test_the_longest_id_that_fits(read):
    assert read(students=f"[{'a' * 26}]").students[0].settings.topology.name.endswith("a" * 26)


def test_one_set_of_hosts_is_no_cluster_for_each(read):
    base = parse(tomllib.loads(HOSTS.format(first=11, second=12)), "l4lab.toml")
    with pytest.raises(SettingsError, match="each student needs their own"):
        read(base)


def test_hosts_that_two_are_given(read, files):
    files("alice", HOSTS.format(first=11, second=12))
    files("bob", HOSTS.format(first=13, second=12))
    with pytest.raises(SettingsError, match="12 port 2222 is given to alice and to bob"):
        read(clusters="clusters/{id}.toml")


def test_a_students_file_that_is_wrong_or_names_another_cluster(read, files):
    files("alice", '[cluster]\nproxy = "ebpf"\n')
    with pytest.raises(SettingsError, match=r"alice\.toml: cluster\.proxy is wrong"):
        read(clusters="clusters/{id}.toml")
    files("alice", '[cluster]\nname = "mine"\n')
    with pytest.raises(SettingsError) as failed:
        read(clusters="clusters/{id}.toml")
    assert "alice.toml: cluster.name is wrong" in str(failed.value)
    assert "the cluster of alice l4lab-alice" in str(failed.value)
