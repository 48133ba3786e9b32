"""Parts are made once, whole or not at all, and damage is noticed."""

from __future__ import annotations

import errno
import re
import threading
from pathlib import Path

import pytest

from l4lab.bundle import golang
from l4lab.bundle import part as parts
from l4lab.bundle.part import Part, PartCache, locked, verify
from l4lab.command import run
from l4lab.errors import BundleError


def part(build, **changes):
    facts = {"name": "thing", "inputs": "1", "build": build, **changes}
    return Part(**facts)


def fill(build):
    (build.out / "file").write_text("content")


@pytest.fixture
def cache(tmp_path):
    return PartCache(tmp_path / "parts")


def silent(_text):
    pass


def test_made_once(cache):
    calls = []

    def count(build):
        calls.append(1)
        fill(build)

    one = part(count)
    assert cache.make(one, silent) == cache.make(one, silent)
    assert calls == [1]
    assert (cache.folder(one) / "file").read_text() == "content"


def test_key_follows_inputs_and_needs():
    need = part(fill, name="need")
    keys = {
        part(fill).key,
        part(fill, inputs="2").key,
        part(fill, needs=(need,)).key,
        part(fill, needs=(part(fill, name="need", inputs="2"),)).key,
    }
    assert len(keys) == 4


def test_interrupted_build_goes_on_in_its_work_folder(cache):
    def interrupted(build):
        (build.work / "kept").write_text("half")
        (build.out / "half").write_text("bad")
        raise KeyboardInterrupt

    def goes_on(build):
        assert (build.work / "kept").read_text() == "half"
        assert not (build.out / "half").exists()
        fill(build)

    with pytest.raises(KeyboardInterrupt):
        cache.make(part(interrupted), silent)
    assert not cache.ready(part(interrupted))
    folder = cache.make(part(goes_on), silent)
    assert [path.name for path in sorted(folder.iterdir())] == ["file", "manifest.json"]


def test_two_builds_at_once_make_it_once(cache):
    calls, said = [], []
    inside, told = threading.Event(), threading.Event()

    def slow(build):
        calls.append(1)
        inside.set()
        assert told.wait(60), "the other one waits, too"
        fill(build)

    def tell(text):
        said.append(text)
        told.set()

    first = threading.Thread(target=cache.make, args=(part(slow), silent))
    first.start()
    assert inside.wait(60)
    cache.make(part(slow), tell)
    first.join()
    assert calls == [1]
    assert said == ["waiting for another build of it"]


DAMAGE = {
    "changed": lambda path: path.write_text("CONTENT"),
    "cut": lambda path: path.write_text("con"),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_named(cache, how):
    folder = cache.make(part(fill), silent)
    verify(folder)
    DAMAGE[how](folder / "file")
    with pytest.raises(BundleError) as raised:
        verify(folder)
    assert raised.value.brief == "the bundle is damaged: file"
    assert raised.value.resolution == "./l4lab bundle --repair"


def refused(call):
    """What an error of the bundle says; every one says what to do."""
    with pytest.raises(BundleError) as raised:
        call()
    assert raised.value.exit_code == 3
    assert raised.value.resolution
    return raised.value


def test_a_program_that_fails_is_told_with_the_part_and_its_log(cache):
    def build(_build):
        run(["sh", "-c", "echo much; echo no such image >&2; exit 7"], timeout=20)

    failed = refused(lambda: cache.make(part(build), silent))
    assert failed.brief == "part thing of the bundle cannot be made"
    assert "exit code 7: no such image" in failed.reason
    assert failed.details == cache.root / "thing.log"
    assert "much\nno such image" in failed.details.read_text()


FULL = {
    "file": lambda: Path("/dev/full").write_text("x"),
    "program": lambda: run(
        ["sh", "-c", "head -c 1 /dev/zero >/dev/full; echo last >&2; exit 1"], timeout=20
    ),
}


@pytest.mark.parametrize("how", FULL)
def test_a_full_disk_is_told(cache, how):
    failed = refused(lambda: cache.make(part(lambda _build: FULL[how]()), silent))
    assert failed.brief == "part thing of the bundle cannot be made: the disk is full"
    assert re.search(rf"\d+ MiB are free below {cache.root}, .* up to 20 GiB", failed.reason)
    assert "L4LAB_CACHE" in failed.resolution


def test_a_lock_on_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    failed = refused(lambda: locked(tmp_path / "thing.lock").__enter__())
    assert failed.brief == "cannot lock thing.lock: the disk is full"


def test_a_lock_that_may_not_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    failed = refused(lambda: locked(tmp_path / "file" / "thing.lock").__enter__())
    assert failed.brief == "cannot lock thing.lock"


def test_what_is_made_anew_stays_until_the_new_one_is_whole(cache):
    def fails(_build):
        raise BundleError("no network", resolution="wait")

    def other(build):
        (build.out / "file").write_text("new")

    folder = cache.make(part(fill), silent)
    refused(lambda: cache.make(part(fails), silent, anew=True))
    assert (folder / "file").read_text() == "content"
    cache.make(part(other), silent, anew=True)
    assert (folder / "file").read_text() == "new"


def test_programs_write_for_a_moment_into_the_parts_own_folder(cache, monkeypatch):
    seen = {}

    def stream(argv, *, env, **_):
        seen.update(env)
        assert argv[1] == "build"
        (Path(env["TMPDIR"]) / "left").touch()

    monkeypatch.setattr(golang, "toolchain", lambda *_: "go")
    monkeypatch.setattr(golang, "stream", stream)
    one = golang.go_part("etcd")
    folder = cache.make(one, silent)
    working = folder.with_name(folder.name + ".work")
    assert seen["TMPDIR"] == seen["GOTMPDIR"] == str(working / "tmp")
    assert not working.exists()
    assert list(folder.iterdir()) == [folder / "manifest.json"]


def test_what_an_interrupted_build_wrote_for_a_moment_goes(cache):
    def interrupted(build):
        (Path(build.scratch["TMPDIR"]) / "left").touch()
        raise KeyboardInterrupt

    def goes_on(build):
        assert list(Path(build.scratch["TMPDIR"]).iterdir()) == []
        fill(build)

    with pytest.raises(KeyboardInterrupt):
        cache.make(part(interrupted), silent)
    cache.make(part(goes_on), silent)


def test_mounts_that_were_left_go_before_anything_is_deleted(tmp_path, monkeypatch):
    """A killed mmdebstrap leaves /sys and /dev of the host below its folder."""
    folder = tmp_path / "a b.work"
    (folder / "tmp").mkdir(parents=True)
    table = tmp_path / "mounts"
    below = [f"{tmp_path}/a\\040b.work/tmp/root/{name}" for name in ("sys", "sys/fs/cgroup")]
    lines = ["/", f"{tmp_path}/a\\040b.workers", *below]
    table.write_text("".join(f"none {point} none rw 0 0\n" for point in lines))
    taken = []

    def umount(argv, **_):
        assert folder.exists()
        taken.append(argv)

    monkeypatch.setattr(parts, "MOUNTS", table)
    monkeypatch.setattr(parts, "run", umount)
    parts.remove(folder)
    points = [f"{folder}/tmp/root/{name}" for name in ("sys/fs/cgroup", "sys")]
    assert taken == [["umount", "--lazy", point] for point in points]
    assert not folder.exists()
