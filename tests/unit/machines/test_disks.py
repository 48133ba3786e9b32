"""A kept disk is only read over the very base disk that it was made over."""

from __future__ import annotations

import os

import pytest

from l4lab.errors import MachineError
from l4lab.machines import disks
from l4lab.state import paths_of, read_json, write_json

NAME = "k8s-node01"


@pytest.fixture
def paths(tmp_path):
    return paths_of(tmp_path, "one")


@pytest.fixture
def folder(paths):
    """A machine's folder, with a disk that was made over a base disk."""
    made = paths.machines / NAME
    made.mkdir(parents=True)
    (made / "disk.cow").touch()
    return made


@pytest.fixture
def base(tmp_path, folder):
    found = tmp_path / "base.img"
    found.write_bytes(b"one")
    os.utime(found, (1000.5, 1000.5))
    (folder / "disk.cow").unlink()
    assert disks.base_of(NAME, folder, found, runs=False) == found
    (folder / "disk.cow").touch()
    return found


def rebuilt(base):
    base.write_bytes(b"other")
    os.utime(base, (1000.5, 1000.5))


def again(base):
    base.write_bytes(b"two")
    os.utime(base, (2000, 2000))


def test_a_kept_disk_is_started_over_its_base_and_no_newer_one(paths, folder, base, tmp_path):
    newer = tmp_path / "newer.img"
    newer.write_bytes(b"newer")
    assert disks.base_of(NAME, folder, newer, runs=False) == base
    assert disks.bases(paths) == {base}
    os.utime(base, (1000.9, 1000.9))  # the kernel does not look at parts of a second
    assert disks.base_of(NAME, folder, newer, runs=False) == base


@pytest.mark.parametrize("change", [rebuilt, again], ids=["size", "time"])
def test_another_base_at_its_path_is_refused(folder, base, change):
    change(base)
    known = read_json(folder / "disk.json")
    with pytest.raises(MachineError) as raised:
        disks.base_of(NAME, folder, base, runs=False)
    assert raised.value.brief == f"the base disk under the kept disk of {NAME} is another now"
    assert raised.value.resolution == "./l4lab down, then ./l4lab up"
    assert read_json(folder / "disk.json") == known
    # A machine that runs has the old one open.
    assert disks.base_of(NAME, folder, base, runs=True) == base
    (folder / "disk.cow").unlink()
    assert disks.base_of(NAME, folder, base, runs=False) == base


def test_records_of_older_versions_go_on_as_before(folder, base):
    write_json(folder / "disk.json", {"base": str(base)})
    rebuilt(base)
    assert disks.base_of(NAME, folder, base.with_name("newer"), runs=False) == base
