"""A bundle is carried in one file: whole, sparse, and only where it fits."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from l4lab import bundle
from l4lab.bundle import Bundle
from l4lab.bundle.part import files_of, verify, write_manifest
from l4lab.errors import BundleError

HOLE = 64 << 20


@pytest.fixture
def made(tmp_path, monkeypatch):
    folder = tmp_path / "here" / "bundle-1"
    (folder / "disk").mkdir(parents=True)
    with (folder / "disk" / "base.img").open("wb") as disk:
        disk.write(b"start")
        disk.seek(HOLE)
        disk.write(b"end")
    write_manifest(folder, {"bundle": "bundle-1"}, files_of(folder))
    target = tmp_path / "there" / "bundle-1"
    monkeypatch.setattr(bundle, "bundle_folder", lambda *_: target)
    return Bundle(folder)


def test_round_trip(made, tmp_path):
    file = tmp_path / "stick.tar"
    bundle.pack(made, file)
    assert file.stat().st_size < HOLE / 8
    loaded = bundle.load(file)
    assert loaded.disk.read_bytes() == made.disk.read_bytes()
    assert loaded.disk.stat().st_blocks * 512 < HOLE / 8
    verify(loaded.folder, again=True)
    assert bundle.find() == loaded


def test_a_full_stick_is_told(made):
    with pytest.raises(BundleError) as raised:
        bundle.pack(made, Path("/dev/full"))
    assert raised.value.brief == "cannot write /dev/full: the disk is full"
    assert re.search(r"the bundle takes \d+ MiB", raised.value.reason)


def test_another_bundle_is_refused(made, tmp_path, monkeypatch):
    bundle.pack(made, tmp_path / "stick.tar")
    monkeypatch.setattr(bundle, "bundle_folder", lambda *_: tmp_path / "there" / "bundle-2")
    with pytest.raises(BundleError, match="holds another bundle"):
        bundle.load(tmp_path / "stick.tar")


@pytest.mark.parametrize("keep", [0.1, 0.4])
def test_a_cut_file_is_refused_and_leaves_nothing(made, tmp_path, keep):
    file = tmp_path / "stick.tar"
    bundle.pack(made, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(BundleError):
        bundle.load(file)
    assert bundle.find() is None
    assert list((tmp_path / "there").iterdir()) == []


def test_a_changed_file_is_refused(made, tmp_path):
    with tarfile.open(tmp_path / "stick.tar", "w") as archive:
        (made.folder / "disk" / "base.img").write_bytes(b"other")
        archive.add(made.folder, arcname=made.folder.name)
    with pytest.raises(BundleError, match="is damaged"):
        bundle.load(tmp_path / "stick.tar")
    assert bundle.find() is None
