"""Who may make which parts, and which of them given hosts need."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import replace

import pytest

from l4lab import bundle
from l4lab.bundle import from_modules, from_upstream
from l4lab.bundle.failures import NEEDED_GIB
from l4lab.bundle.part import Part
from l4lab.errors import BundleError
from l4lab.origin import MODULES, Origin
from l4lab.progress import Progress
from l4lab.settings import parse
from tests.unit.usage import Usage

HOSTS = Origin(local=False)
GIVEN = {
    "cluster": {"driver": "ssh"},
    "machines": {
        "a": {"role": "control_plane", "address": "192.168.128.11"},
        "b": {"role": "worker", "address": "192.168.128.12"},
    },
}


class World:
    """A bundle of three small parts, one of which only root can make."""

    def __init__(self):
        self.made, self.broken = [], None

    def parts(self, local):
        program = self.part("program")
        images = self.part("images", needs=(program,))
        return (program, images, *([self.part("disk", needs=(images,))] if local else []))

    def part(self, name, needs=()):
        def build(build):
            if name == self.broken:
                raise BundleError("no network")
            self.made.append(name)
            (build.out / name).write_text(name)

        return Part(name=name, inputs="1", build=build, needs=needs, as_root=name == "images")

    def ensure(self, origin=MODULES):
        return bundle.ensure(Progress(io.StringIO()), origin=origin)


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World()
    monkeypatch.setenv("L4LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle, "parts", lambda *, local: made.parts(local))
    monkeypatch.setattr(from_upstream, "parts_with", lambda _instead, *, local: made.parts(local))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return made


# --- root ---------------------------------------------------------------------------------------


def test_parts_whose_files_belong_to_root():
    by_root = {part.name for part in from_modules.parts() if part.as_root}
    assert by_root == {"root", "images", "disk"}


def test_who_makes_a_part_is_not_in_its_key(world):
    one = world.part("images")
    assert replace(one, as_root=False).key == one.key


def test_who_is_not_root_is_told_before_anything_is_built(world, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BundleError) as raised:
        world.ensure()
    assert world.made == []
    assert raised.value.brief == "parts of the bundle must be made by root: images"
    assert "sudo ./l4lab bundle" in raised.value.resolution
    assert "./l4lab bundle --load FILE" in raised.value.resolution


def test_who_is_not_root_makes_the_rest(world, monkeypatch):
    made = world.ensure()
    assert bundle.unmade() == []
    for one in world.parts(local=True)[::2]:
        bundle.remove(bundle._cache().folder(one))
    bundle.remove(made.folder)
    world.made.clear()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert world.ensure() == made
    assert sorted(world.made) == ["disk", "program"]


def test_a_cache_that_cannot_be_written_is_told(world, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("L4LAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BundleError, match="the bundle cannot be made") as raised:
        world.ensure()
    assert "L4LAB_CACHE" in raised.value.resolution


# --- given hosts --------------------------------------------------------------------------------


def test_the_driver_says_whether_machines_are_made():
    assert parse({}, "none").origin == MODULES
    assert parse(GIVEN, "none").origin == HOSTS


@pytest.mark.parametrize("maker", ["modules", "upstream"])
def test_given_hosts_have_kernel_and_disk(maker):
    full = {part.name: part.key for part in bundle.parts_of(Origin(maker=maker))}
    some = {part.name: part.key for part in bundle.parts_of(Origin(maker=maker, local=False))}
    assert set(full) - set(some) == {"kernel", "root", "disk"}
    assert some.items() <= full.items(), "the same parts: none is made twice"


def test_a_bundle_for_hosts_has_another_name_and_fewer_parts(world):
    made = world.ensure(HOSTS)
    assert world.made == ["program", "images"]
    assert bundle.find(HOSTS) == made
    assert bundle.find() is None
    full = world.ensure()
    assert world.made == ["program", "images", "disk"]
    assert full != made
    assert bundle.find(HOSTS) == made


@pytest.mark.parametrize("maker", ["modules", "auto"])
def test_hosts_take_a_bundle_with_more(world, maker):
    full = world.ensure()
    assert world.ensure(replace(HOSTS, maker=maker)) == full
    assert bundle.repair(Progress(io.StringIO()), origin=HOSTS) == full


def test_a_bundle_for_hosts_is_carried_and_kept(world, tmp_path):
    made = world.ensure(HOSTS)
    bundle.pack(made, tmp_path / "stick.tar")
    assert bundle.prune([]) == []
    bundle.remove(made.folder)
    assert bundle.load(tmp_path / "stick.tar") == made


# --- repair -------------------------------------------------------------------------------------


def contents():
    root = bundle.cache_folder() / "bundle"
    return {path: path.read_text() for path in root.rglob("*") if path.is_file()}


def damage(made, *names):
    for name in names:
        (made.folder / name).write_text(name.upper())


def repair():
    return bundle.repair(Progress(io.StringIO()))


def test_a_repair_makes_only_what_is_damaged(world):
    made = world.ensure()
    damage(made, "disk")
    world.made.clear()
    assert repair() == made
    assert world.made == ["disk"]
    assert (made.folder / "disk").read_text() == "disk"
    world.made.clear()
    assert repair() == made
    assert world.made == []


def test_a_repair_that_fails_keeps_what_is_there(world):
    made = world.ensure()
    damage(made, "images", "disk")
    before = contents()
    world.broken = "images"
    with pytest.raises(BundleError, match="no network"):
        repair()
    after = contents()
    assert before.items() <= after.items()
    world.broken = None
    assert repair() == made
    assert (made.folder / "images").read_text() == "images"


def test_a_loaded_bundle_is_not_given_up_for_parts_that_cannot_be_made(world, tmp_path):
    made = world.ensure()
    bundle.pack(made, tmp_path / "stick.tar")
    bundle.remove(bundle.cache_folder())
    bundle.load(tmp_path / "stick.tar")
    world.broken = "program"
    assert repair() == made, "it is whole"
    damage(made, "disk")
    with pytest.raises(BundleError, match="no network"):
        repair()
    assert (made.folder / "program").read_text() == "program"


# --- room on the disk ---------------------------------------------------------------------------


def test_a_build_from_nothing_takes_what_its_errors_say():
    assert bundle.needed_gib(from_modules.parts()) == NEEDED_GIB


def test_only_what_is_still_to_be_made_needs_room(world, monkeypatch):
    made = world.part
    monkeypatch.setattr(world, "part", lambda name, needs=(): replace(made(name, needs), gib=2.5))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 6 << 30))
    with pytest.raises(BundleError, match="too little disk") as told:
        world.ensure()
    assert "takes up to 8 GiB" in told.value.reason
    assert world.made == []
    world.ensure(HOSTS)  # without the disk
    assert world.made == ["program", "images"]
    world.ensure()
    assert world.made == ["program", "images", "disk"]
