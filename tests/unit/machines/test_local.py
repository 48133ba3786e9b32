"""The local driver without machines: what it would start, what it refuses, what it tells."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple

import pytest

from l4lab.bundle import Bundle
from l4lab.bundle.disk import ROOT_DISK
from l4lab.errors import MachineError
from l4lab.machines import connect, holder, host, keys, local, seed, uml
from l4lab.settings import parse
from l4lab.state import paths_of, write_json
from tests.unit.usage import Usage


@pytest.fixture
def driver(tmp_path):
    return local.LocalDriver(parse({}, "none").topology, paths_of(tmp_path, "one"))


@pytest.fixture
def roomy(monkeypatch):
    """A host that has all there is to have."""
    monkeypatch.setattr(host, "namespace_obstacles", list)
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(1 << 50, 0, 1 << 50))
    monkeypatch.setattr(shutil, "which", lambda name, **_more: f"/usr/bin/{name}")


@pytest.fixture
def spec(driver, tmp_path, monkeypatch):
    """What the holder would be given, on a host of two processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {4, 7})
    keys.ensure_key(driver.paths.ssh / keys.CLIENT_KEY)
    keys.write_client_files(driver.paths, driver.topology, driver.record)
    return [
        driver._prepare(number, machine, Bundle(tmp_path / "bundle"))
        for number, machine in enumerate(driver.topology.machines)
    ]


# --- what is started ----------------------------------------------------------------------------


def test_each_machine_is_on_one_processor_and_the_control_plane_shares_none(spec):
    at = [machine["argv"].index("-c") + 1 for machine in spec]
    pins = [machine["argv"][here] for machine, here in zip(spec, at, strict=True)]
    assert pins == ["4", "7", "7", "7"]


@pytest.mark.parametrize(
    ("processors", "wanted"),
    [([3], [3, 3, 3, 3]), ([0, 1, 2], [0, 1, 2, 1]), ([0, 1, 2, 3, 4], [0, 1, 2, 3])],
)
def test_machines_are_spread_over_the_processors(processors, wanted):
    assert [uml.processor(number, processors) for number in range(4)] == wanted


def test_every_machine_has_its_own_name_tap_disk_and_identity(spec, driver, tmp_path):
    for number, (machine, wanted) in enumerate(zip(spec, driver.topology.machines, strict=True)):
        folder = driver.paths.machines / wanted.name
        words = machine["argv"]
        assert machine["name"] == wanted.name
        assert machine["tap"] == f"tap{number}"
        assert f"ubd0={folder}/disk.cow,{tmp_path}/bundle/disk/base.img" in words
        assert f"ubd1r={folder}/seed.tar" in words
        assert f"mem={wanted.memory_mib}M" in words
        assert set(ROOT_DISK) <= set(words)
        assert f"vec0:transport=tap,ifname=tap{number},depth=128,gro=1" in words
    identities = {next(w for w in m["argv"] if "machine_id" in w) for m in spec}
    assert len(identities) == len(spec)


def test_the_environment_holds_what_the_kernel_needs_and_no_more(spec, driver):
    for machine in spec:
        assert set(machine["environment"]) == {"HOME", "TMPDIR", "PATH"}
        assert machine["environment"]["TMPDIR"] == str(host.memory_folder())
        assert machine["environment"]["HOME"].startswith(str(driver.paths.machines))


def test_no_secret_is_in_what_any_user_may_read(spec, driver):
    said = json.dumps(spec)
    for path in driver.paths.ssh.rglob("*"):
        if path.is_file() and path.name != "config":
            words = [word for word in path.read_text().split() if len(word) > 30]
            assert words
            assert not [word for word in words if word in said]


def test_a_kept_disk_stays_on_the_base_it_was_made_on(spec, driver, tmp_path):
    first = driver.topology.machines[0]
    folder = driver.paths.machines / first.name
    (folder / "disk.cow").touch()
    again = driver._prepare(0, first, Bundle(tmp_path / "newer"))
    assert f"ubd0={folder}/disk.cow,{tmp_path}/bundle/disk/base.img" in again["argv"]
    (folder / "disk.cow").unlink()
    anew = driver._prepare(0, first, Bundle(tmp_path / "newer"))
    assert f"ubd0={folder}/disk.cow,{tmp_path}/newer/disk/base.img" in anew["argv"]


# --- the seed, and ssh --------------------------------------------------------------------------


def test_seed_holds_address_names_and_keys_private_where_they_must_be(spec, driver, tmp_path):
    machine = driver.topology.machines[1]
    target = driver.paths.machines / machine.name / "seed.tar"
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as archive:
        modes = {entry.name: entry.mode for entry in archive}
        text = {name: archive.extractfile(name).read().decode() for name in modes}
    assert {name for name, mode in modes.items() if mode == 0o600} == {
        "etc/ssh/ssh_host_ed25519_key",
        "root/.ssh/authorized_keys",
    }
    assert set(modes.values()) == {0o600, 0o644}
    assert text["etc/l4lab/machine"].split() == [
        "ADDRESS=192.168.128.21",
        "PREFIX=24",
        "GATEWAY=192.168.128.1",
    ]
    assert text["etc/hostname"] == "k8s-node01\n"
    assert "192.168.128.11 k8s-master01\n" in text["etc/hosts"]
    assert "PRIVATE KEY" in text["etc/ssh/ssh_host_ed25519_key"]
    assert text["root/.ssh/authorized_keys"].startswith("ssh-ed25519 ")
    assert "PRIVATE" not in text["root/.ssh/authorized_keys"]


def test_seed_is_written_anew_over_a_half_written_one(spec, driver):
    machine = driver.topology.machines[0]
    target = driver.paths.machines / machine.name / "seed.tar"
    target.with_suffix(".new").write_text("half")
    target.with_suffix(".new").chmod(0o644)
    seed.write(target, machine, topology=driver.topology, paths=driver.paths)
    assert target.stat().st_mode & 0o777 == 0o600
    assert tarfile.is_tarfile(target)


def test_every_machine_has_a_host_key_of_its_own_and_it_is_pinned(spec, driver):
    known = (driver.paths.ssh / keys.KNOWN_HOSTS).read_text().splitlines()
    assert len({line.split()[2] for line in known}) == len(driver.topology.machines)
    for line, machine in zip(known, driver.topology.machines, strict=True):
        assert line.startswith(f"{machine.name},{machine.address} ssh-ed25519 ")


def test_keys_are_private_and_made_once(driver):
    path = driver.paths.ssh / keys.CLIENT_KEY
    first = keys.ensure_key(path)
    assert keys.ensure_key(path) == first
    assert path.stat().st_mode & 0o777 == 0o600


def test_ssh_itself_understands_the_configuration(spec, driver):
    done = subprocess.run(
        ["ssh", "-G", "-F", driver.paths.ssh_config, "k8s-node01"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    said = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    words = [sys.executable, "-I", connect.__file__, str(driver.record)]
    assert said["hostname"] == "192.168.128.21"
    assert said["user"] == "root"
    assert said["stricthostkeychecking"] in ("yes", "true")
    assert said["passwordauthentication"] == "no"
    assert said["proxyusefdpass"] == "yes"
    assert said["proxycommand"] == f"{shlex.join(words)} %h %p"
    assert said["userknownhostsfile"] == str(driver.paths.ssh / keys.KNOWN_HOSTS)


def test_ssh_goes_straight_where_there_is_no_lab_network(driver):
    keys.write_client_files(driver.paths, driver.topology, None)
    assert "Proxy" not in driver.paths.ssh_config.read_text()


# --- refusals -----------------------------------------------------------------------------------


def test_a_roomy_host_has_no_obstacles(driver, roomy):
    assert driver.obstacles() == []


def test_too_little_memory(driver, roomy, monkeypatch):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 1000)
    assert driver.obstacles() == [
        "the machines want 7424 MiB of memory and 1000 MiB are free: "
        "close programs, or set less memory in l4lab.toml"
    ]


def test_memory_file_system_too_small(driver, roomy, monkeypatch):
    small = {str(host.memory_folder()): 64 << 20}
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: Usage(0, 0, small.get(str(path), 1 << 50))
    )
    [text] = driver.obstacles()
    assert text.startswith(f"the machines' memory lies in {host.memory_folder()}, which has 64 MiB")
    assert "mount -o remount,size=" in text


def test_too_little_disk(driver, roomy, monkeypatch):
    full = str(host.memory_folder())
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: Usage(0, 0, 1 << 50 if str(path) == full else 1 << 30),
    )
    [text] = driver.obstacles()
    assert text.startswith("1.0 GiB of disk are free below ")
    assert text.endswith("the machines may need 4")


def test_which_disks_are_full(monkeypatch, tmp_path):
    left = {tmp_path: 3 << 20, host.memory_folder(): 1 << 30}
    size = dict.fromkeys(left, 8 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(size[path], 0, left[path]))
    assert host.full_disks(tmp_path / "not" / "made", tmp_path) == [(tmp_path, 3)]
    left[host.memory_folder()] = 0
    assert host.full_disks(tmp_path) == [(tmp_path, 3), (host.memory_folder(), 0)]
    # A container's /dev/shm is no larger than this, and empty.
    size[host.memory_folder()] = left[host.memory_folder()] = 64 << 20
    left[tmp_path] = 1 << 30
    assert host.full_disks(tmp_path) == []


def test_missing_program_and_wrong_processor(driver, roomy, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name, **_more: None if name == "ip" else name)
    monkeypatch.setattr(os, "uname", lambda: namedtuple("U", "machine")("aarch64"))
    assert driver.obstacles() == [
        "the program ip is missing: apt-get install iproute2",
        "the processor is aarch64; the kernel is built for x86_64",
    ]


def test_running_machines_need_no_room_of_their_own(driver, roomy, monkeypatch):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 0)
    monkeypatch.setattr(driver, "_holder", os.getpid)
    assert driver.obstacles() == []


def test_up_refuses_before_anything_is_made(driver, roomy, monkeypatch, tmp_path):
    monkeypatch.setattr(host, "available_memory_mib", lambda: 0)
    with pytest.raises(MachineError) as raised:
        driver.up(Bundle(tmp_path), lambda _text: None)
    assert raised.value.resolution == "./l4lab doctor"
    assert not driver.paths.root.exists()


# --- whose process it is, and how machines are --------------------------------------------------


def test_a_recycled_process_number_is_not_our_holder(driver):
    start = holder.start_time(os.getpid())
    write_json(driver.record, {"pid": os.getpid(), "start": start})
    assert driver.running()
    write_json(driver.record, {"pid": os.getpid(), "start": start - 1})
    assert not driver.running()
    driver.down()  # which must leave this very process alone
    assert not driver.record.exists()


def test_a_holder_that_only_waits_to_be_collected_is_gone(driver):
    child = subprocess.Popen(["sleep", "60"])
    write_json(driver.record, {"pid": child.pid, "start": holder.start_time(child.pid)})
    assert driver.running()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and left a zombie
    assert not driver.running()
    child.wait()
    assert not driver.running()


def _lived(driver, name, *, ended=None, console=""):
    folder = driver.paths.machines / name
    write_json(folder / "started.json", {"pid": 1})
    (folder / "console.log").write_text(console)
    if ended is not None:
        write_json(folder / "ended.json", {"status": ended, "at": 0})


def test_status_of_dead_machines_tells_how_and_what_they_said_last(driver, monkeypatch):
    monkeypatch.setattr(driver, "_holder", os.getpid)
    boot = "".join(f"line {number}\n\n" for number in range(20))
    _lived(driver, "k8s-master01")
    _lived(driver, "k8s-node01", ended=1, console=boot + "Kernel panic: no root")
    _lived(driver, "k8s-node02", ended=-9)
    found = {status.name: status for status in driver.status()}
    assert found["k8s-master01"].running
    lines = " | ".join(f"line {number}" for number in range(13, 20))
    assert found["k8s-node01"].note == (
        f"ended with status 1; console: {lines} | Kernel panic: no root"
    )
    assert found["k8s-node02"].note == "killed by signal 9"
    assert found["mariadb01"].note == "not made"


def test_status_after_the_holder_was_killed(driver):
    _lived(driver, "k8s-node01")
    (driver.paths.machines / "mariadb01").mkdir()
    (driver.paths.machines / "mariadb01" / "disk.cow").touch()
    found = {status.name: status for status in driver.status()}
    assert not any(status.running for status in found.values())
    assert found["k8s-node01"].note == "gone with the process that held the lab network"
    assert found["mariadb01"].note == "kept disk"


def test_down_keeps_disks_only_when_told_to(driver):
    _lived(driver, "k8s-node01")
    disk = driver.paths.machines / "k8s-node01" / "disk.cow"
    disk.touch()
    driver.down(keep_disks=True)
    assert disk.exists()
    assert [status.note for status in driver.status()].count("kept disk") == 1
    driver.down()
    assert not driver.paths.machines.exists()


@pytest.mark.parametrize(("count", "machines"), [(2, 2), (2, 4), (4, 4), (64, 4), (3, 2)])
def test_control_planes_of_like_clusters_share_processors_evenly(count, machines):
    """As many clusters as there are processors have one each for their busiest machine."""
    processors = list(range(count))
    clusters = [host.turned(processors, machines, place) for place in range(count)]
    assert all(sorted(one) == processors for one in clusters)
    assert clusters[0] == processors, "the first is as one alone"
    assert sorted(uml.processor(0, one) for one in clusters) == processors
    if 2 * machines <= count:
        two = [uml.processor(n, one) for one in clusters[:2] for n in range(machines)]
        assert two == processors[: 2 * machines], "side by side where there is room"
