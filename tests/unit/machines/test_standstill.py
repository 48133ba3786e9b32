"""Machines stand still while their disk is nearly full, and go on when it is not."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l4lab.errors import MachineError
from l4lab.machines import holder, host, local, standstill
from l4lab.machines.holder import FULL, MIB, PAUSED, ROOM, Holder
from l4lab.retry import wait_for
from l4lab.settings import parse
from l4lab.state import paths_of, write_json
from tests.unit.machines.test_namespace import KERNEL, LIFE, Life
from tests.unit.usage import Usage

_OBSTACLES = host.namespace_obstacles()
really = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: must be root"),
    pytest.mark.skipif(bool(_OBSTACLES), reason="; ".join(_OBSTACLES) or "none"),
]
# A kernel of a machine has host processes for the programs that run on it.
MACHINE = ["sh", "-c", "sleep 600 & sleep 600"]


def states(group):
    """How the processes of a group are, as letters of ps; stopped is T."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == group:
            found.append(words[0])
    return "".join(sorted(found))


def until(group, wanted):
    wait_for(
        f"processes to be {wanted}",
        lambda: None if states(group) == wanted else states(group),
        within=20,
        every=0.02,
    )


# --- the guard of the holder --------------------------------------------------------------------


class Guarded:
    """A holder of real processes on a disk that has what it is told to have."""

    def __init__(self, folder):
        self.holder = Holder(folder / "spec.json")
        self.mark = folder / PAUSED
        self.free = ROOM

    def start(self):
        machine = subprocess.Popen(MACHINE, start_new_session=True)
        self.holder.running[machine.pid] = f"machine{machine.pid}"
        until(machine.pid, "SSS")
        return machine

    def has(self, free):
        self.free = free
        self.holder.guard()


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    made = Guarded(tmp_path)
    monkeypatch.setattr(holder, "free_bytes", lambda _folder: made.free)
    yield made
    for pid in made.holder.running:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_all_processes_of_all_machines_stop_and_go_on_where_there_is_clearly_room(guarded):
    one, two = guarded.start(), guarded.start()
    guarded.has(FULL)
    assert (states(one.pid), states(two.pid)) == ("SSS", "SSS")
    assert not guarded.mark.exists()
    guarded.has(FULL - 1)
    until(one.pid, "TTT")
    until(two.pid, "TTT")
    assert json.loads(guarded.mark.read_text())["free_mib"] == FULL // MIB - 1
    guarded.has(ROOM - 1)
    assert (states(one.pid), states(two.pid)) == ("TTT", "TTT")
    assert guarded.mark.exists()
    guarded.has(ROOM)
    until(one.pid, "SSS")
    until(two.pid, "SSS")
    assert not guarded.mark.exists()


def test_a_machine_that_is_started_meanwhile_stops_too(guarded):
    guarded.has(0)
    late = guarded.start()
    guarded.has(ROOM - 1)
    until(late.pid, "TTT")


def test_machines_stop_even_where_the_mark_finds_no_room_and_it_comes_later(guarded, monkeypatch):
    machine = guarded.start()
    whole = holder.write_whole

    def refused(_path, _record):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(holder, "write_whole", refused)
    with pytest.raises(OSError, match="no space left"):
        guarded.has(0)
    until(machine.pid, "TTT")
    monkeypatch.setattr(holder, "write_whole", whole)
    guarded.has(0)
    assert guarded.mark.exists()


def test_a_machine_that_stands_still_can_be_ended_and_its_end_is_noted_in_time(
    guarded, monkeypatch, tmp_path
):
    machine = guarded.start()
    name = guarded.holder.running[machine.pid]
    (tmp_path / name).mkdir()
    guarded.has(0)
    until(machine.pid, "TTT")
    os.killpg(machine.pid, signal.SIGKILL)
    os.waitid(os.P_PID, machine.pid, os.WEXITED | os.WNOWAIT)
    guarded.holder.reap()
    assert not guarded.holder.running
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", _no_room)
        with pytest.raises(OSError, match="no space left"):
            guarded.holder.note_ends()
    guarded.holder.note_ends()
    ended = json.loads((tmp_path / name / "ended.json").read_text())
    assert ended["status"] == -signal.SIGKILL


def _no_room(*_arguments):
    raise OSError(errno.ENOSPC, "no space left")


# --- what the driver says -----------------------------------------------------------------------


@pytest.fixture
def driver(tmp_path):
    made = local.LocalDriver(parse({}, "none").topology, paths_of(tmp_path, "one"))
    for machine in made.topology.machines:
        write_json(made.paths.machines / machine.name / "started.json", {"pid": 1})
    return made


def running(driver):
    write_json(driver.record, {"pid": os.getpid(), "start": holder.start_time(os.getpid())})


def paused(driver):
    write_json(driver.paths.machines / PAUSED, {"free_mib": 3, "at": 1.0})


def test_nothing_waits_for_machines_that_stand_still(driver, tmp_path):
    running(driver)
    driver.refuse_paused()
    paused(driver)
    with pytest.raises(MachineError) as raised:
        driver.refuse_paused()
    where = driver.paths.machines
    assert str(raised.value) == (
        "the machines stand still\n"
        f"  why:  less than 256 MiB free on the host's disk below {where}: "
        "what they write would be lost\n"
        "  next: free some space there, they go on once 512 MiB are free; "
        "then the same command again"
    )
    assert raised.value.exit_code == 3
    for verb in (
        driver.enter,
        lambda: driver.up(None, print),
        lambda: driver.down(keep_disks=True),
    ):
        with pytest.raises(MachineError, match="the machines stand still"):
            verb()
    notes = {status.note for status in driver.status()}
    assert notes == {
        "standing still: less than 256 MiB free on the host's disk; "
        f"free some below {where}, they go on once 512 MiB are free"
    }
    assert all(status.running for status in driver.status())


def test_the_mark_of_a_holder_that_is_gone_says_nothing(driver):
    paused(driver)
    driver.refuse_paused()
    assert not any("still" in status.note for status in driver.status())


def test_no_machine_is_started_beside_others_where_it_would_stop_at_once(driver, monkeypatch):
    left = {"free": ROOM - 1}
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _path: Usage(1 << 40, 0, left["free"]))
    monkeypatch.setattr(host, "namespace_obstacles", list)
    monkeypatch.setattr(host.shutil, "which", lambda name, **_more: name)
    running(driver)
    assert driver.obstacles() == []
    write_json(driver.paths.machines / "k8s-node01" / "ended.json", {"status": 1, "at": 1.0})
    assert driver.obstacles() == [
        f"511 MiB of disk are free below {driver.paths.machines}; "
        "no machine is started with less than 512"
    ]
    left["free"] = ROOM
    assert driver.obstacles() == []


# --- a whole life on a disk that fills ----------------------------------------------------------


class Disk:
    """A file system in memory whose size can be changed."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", folder], check=True)

    def leave(self, free):
        disk = os.statvfs(self.folder)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        size = f"remount,size={used + free}"
        subprocess.run(["mount", "-o", size, self.folder], check=True)

    def end(self):
        subprocess.run(["umount", "--lazy", self.folder], check=True)


@pytest.fixture
def disk(tmp_path):
    made = Disk(tmp_path / "disk")
    yield made
    made.end()


@pytest.fixture
def life(disk):
    kernel = disk.folder / "bundle" / "kernel" / "linux"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(f"#!{sys.executable} -I\n{KERNEL}")
    kernel.chmod(0o755)
    found = Life(disk.folder)
    yield found
    found("down")


def marked(life, *, wanted):
    mark = life.machines / PAUSED
    wait_for(
        "the mark" if wanted else "its end",
        lambda: None if mark.exists() == wanted else str(wanted),
        within=20,
        every=0.05,
    )


class TestLife:
    pytestmark = really

    def test_up_ends_at_once_where_machines_stand_still_and_goes_on_later(self, life, disk):
        assert life.running("up") == [True] * 4
        disk.leave(FULL - MIB)
        marked(life, wanted=True)
        said = life("up")
        assert said["brief"] == "the machines stand still"
        assert {one["running"] for one in said["machines"]} == {True}
        assert {one["note"] for one in said["machines"]} == {standstill.note(life.machines)}
        disk.leave(ROOM + MIB)
        marked(life, wanted=False)
        # SSH is answered by each of them again.
        assert life.running("up") == [True] * 4

    def test_an_up_that_waits_ends_when_machines_come_to_stand_still(self, life, disk):
        mute = life.machines / "k8s-node01" / "mute"
        mute.parent.mkdir(parents=True)
        mute.touch()
        waiting = subprocess.Popen(
            [sys.executable, "-c", LIFE, life.project, "up"], stdout=subprocess.PIPE, text=True
        )
        started = life.machines / "k8s-node01" / "started.json"
        wait_for("its start", lambda: None if started.exists() else "no", within=60)
        disk.leave(FULL - MIB)
        assert json.loads(waiting.communicate(timeout=60)[0])["brief"] == "the machines stand still"
        mute.unlink()
        disk.leave(ROOM + MIB)
        marked(life, wanted=False)
        assert life.running("up") == [True] * 4

    def test_a_killed_holder_leaves_no_machine_standing_still_for_ever(self, life, disk):
        life("up")
        disk.leave(FULL - MIB)
        marked(life, wanted=True)
        first = life.holder
        os.kill(first, signal.SIGKILL)
        wait_for("its end", lambda: "there" if _lives(first) else None, within=20)
        disk.leave(ROOM + MIB)
        assert life.running("up") == [True] * 4
        assert not (life.machines / PAUSED).exists()

    def test_down_ends_machines_that_stand_still(self, life, disk):
        life("up")
        disk.leave(FULL - MIB)
        marked(life, wanted=True)
        assert life.running("down") == [False] * 4
        assert not life.machines.exists()


def _lives(pid):
    try:
        return not host.is_zombie(pid)
    except OSError:
        return False
