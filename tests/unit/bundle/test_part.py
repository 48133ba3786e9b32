"""Parts are made once, whole or not at all, and damage is noticed."""

from __future__ import annotations

import contextlib
import io
import threading

import pytest

from l4lab import bundle
from l4lab.bundle.part import Part, PartCache, verify
from l4lab.errors import BundleError
from l4lab.origin import Origin
from l4lab.progress import Progress


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
    calls, inside = [], threading.Event()

    def slow(build):
        calls.append(1)
        inside.set()
        threading.Event().wait(0.3)
        fill(build)

    first = threading.Thread(target=cache.make, args=(part(slow), silent))
    first.start()
    assert inside.wait(5)
    said = []
    cache.make(part(slow), said.append)
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


def test_while_one_is_built_the_next_is_fetched(cache, monkeypatch):
    seen = []

    @contextlib.contextmanager
    def fetch(log):
        seen.append(f"begin with {log.name}")
        yield
        seen.append("end")

    def build(build):
        seen.append("build")
        fill(build)

    first = part(build, name="first", fetch=fetch)
    second = part(build, name="second", fetch=fetch)
    monkeypatch.setattr(bundle, "parts_of", lambda _origin: (first, second))
    monkeypatch.setattr(bundle, "_cache", lambda: cache)
    monkeypatch.setattr(bundle, "NEEDED_GIB", 0)
    monkeypatch.setattr(bundle, "_assemble", lambda _cache, _origin: seen.append("whole"))
    bundle._make(Progress(io.StringIO()), Origin(maker="modules"))
    assert seen == ["begin with second.fetch.log", "build", "end", "build", "whole"]
