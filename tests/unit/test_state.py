"""State is private and whole; a lock names its holder and outlives nobody."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l4lab.errors import LockedError, MachineError
from l4lab.state import lock, paths_of, read_json, write_json, write_private

HOLD = """
import sys, time
from pathlib import Path
from l4lab.state import lock
with lock(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_private_files(tmp_path):
    path = tmp_path / "new" / "secret"
    write_private(path, "x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_secret_is_made_once(tmp_path):
    paths = paths_of(tmp_path, "one")
    first = paths.secret("password")
    assert len(first) >= 24
    assert paths.secret("password") == first
    assert paths_of(tmp_path, "two").secret("password") != first


@pytest.mark.parametrize("left", ["", '{"name": "l4', "\0\0\0"])
def test_what_a_crash_of_the_host_damaged_is_named(tmp_path, left):
    damaged = tmp_path / "cluster.json"
    damaged.write_text(left)
    with pytest.raises(MachineError, match=r"cannot read .*cluster\.json") as told:
        read_json(damaged)
    assert "delete it" in told.value.resolution


def test_json_round_trip(tmp_path):
    assert read_json(tmp_path / "none.json") is None
    write_json(tmp_path / "some.json", {"a": [1, "ü"]})
    assert read_json(tmp_path / "some.json") == {"a": [1, "ü"]}


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_living_holder_is_named(tmp_path, holder):
    with pytest.raises(LockedError) as raised, lock(tmp_path / "lock", "cluster x"):
        pass
    assert raised.value.brief == "cluster x is in use"
    assert f"process {holder.pid}:" in raised.value.reason


def test_a_dead_holder_is_taken_over(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with lock(tmp_path / "lock", "cluster x"):
        assert f"process {os.getpid()}:" in (tmp_path / "lock").read_text()


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), lock(tmp_path / "lock", "it"):
        raise KeyError
    with lock(tmp_path / "lock", "it"):
        pass


def full(*_words, **_more):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_nobody_from_a_lock_that_is_there(tmp_path, monkeypatch):
    with lock(tmp_path / "lock", "cluster x"):
        pass
    monkeypatch.setattr(os, "write", full)
    with lock(tmp_path / "lock", "cluster x"):
        with pytest.raises(LockedError) as raised, lock(tmp_path / "lock", "cluster x"):
            pass
        assert raised.value.reason == "held by another process"


def test_a_lock_that_cannot_be_made_on_a_full_disk_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(MachineError) as raised, lock(tmp_path / "lock", "cluster x"):
        pass
    assert raised.value.brief == "cluster x cannot be locked"
    assert raised.value.reason == f"{tmp_path / 'lock'}: No space left on device"
    assert raised.value.resolution == "free some disk, then the same command again"
    assert raised.value.exit_code == 3
