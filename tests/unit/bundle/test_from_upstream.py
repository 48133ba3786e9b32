"""Parts from official releases: the tree of those from modules, and a name of their own."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from l4lab import bundle
from l4lab.bundle import from_modules, from_upstream, golang
from l4lab.bundle.from_upstream import PARTS, unpack, upstream_part
from l4lab.bundle.part import Part, PartCache, read_manifest, verify
from l4lab.bundle.releases import files_of_release, release_version
from l4lab.errors import BundleError
from l4lab.origin import MODULES, RELEASED, Mirror, Origin
from l4lab.progress import Progress
from tests.unit.bundle.mirror import archive, script

PLUGINS = {
    "bin/pulumi-language-python",
    "bin/pulumi-language-python-exec",
    "bin/pulumi-resource-kubernetes",
}


def silent(_text):
    pass


def from_(*mirrors, maker="upstream"):
    return Origin(maker=maker, mirrors=tuple(Mirror(everything=one.url) for one in mirrors))


@pytest.fixture
def make(tmp_path, limits):
    def made(name, origin):
        cache = PartCache(tmp_path / "parts")
        one = upstream_part(name, origin, first_use=tmp_path / "upstream.lock", limits=limits)
        return cache.make(one, silent)

    return made


@pytest.fixture
def released(mirror):
    for component in RELEASED:
        mirror.publish(component)
    return mirror


def places(component):
    """Where the part from modules has its programs, by its ``go.mod``."""
    text = (golang.TOOLS / component / "go.mod").read_text()
    block = re.search(r"^tool (?:\((.*?)^\)|(\S+)$)", text, re.DOTALL | re.MULTILINE)
    # Go names a program by its path, without the version at its end.
    paths = [re.sub(r"/v\d+$", "", path) for path in (block[1] or block[2]).split()]
    programs = [path.rpartition("/")[2] for path in paths]
    folder = "cni" if component == "cni" else "bin"
    return {golang._NAMES.get(f"{component}/{name}", f"{folder}/{name}") for name in programs}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_has_the_tree_of_the_one_from_modules(make, released, name):
    folder = make(name, from_(released))
    manifest = verify(folder, again=True)
    assert set(manifest["files"]) == places(name) | (PLUGINS if name == "pulumi" else set())
    for place in manifest["files"]:
        program = folder / place
        assert program.read_bytes() in [script(place.rpartition("/")[2]), script(_inside(place))]
        said = subprocess.run([program], capture_output=True, text=True, timeout=20, check=True)
        assert said.stdout.startswith("this is ")


def _inside(place):
    members = {
        there: name for one in RELEASED for f in files_of_release(one) for name, there in f.members
    }
    return members[place]


def test_a_part_tells_its_maker_its_mirror_and_what_proved_it(make, released):
    manifest = read_manifest(make("pulumi", from_(released)))
    assert manifest["maker"] == "upstream"
    keys = [files_of_release(name)[0].key for name in ("pulumi", "pulumi-kubernetes")]
    assert [one["file"] for one in manifest["releases"]] == keys
    for one in manifest["releases"]:
        assert one["sha256"] == hashlib.sha256(released.files[f"/{one['file']}"]).hexdigest()
        assert one["mirror"].startswith(f"{released.url}/pulumi")
        assert one["proved_by"] == one["mirror"]


def test_a_real_kubectl_comes_through_and_runs(make, released):
    made = bundle.find()
    if made is None:
        pytest.skip("no kubectl: the bundle is not built")
    content = made.kubectl.read_bytes()
    released.publish("kubernetes", {"kubectl": content})
    released.cut[f"/{_kubectl().key}"] = [len(content) // 3]
    folder = make("kubernetes", from_(released))
    argv = [folder / "bin" / "kubectl", "version", "--client"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert f"v{release_version('kubernetes')}" in said.stdout
    assert released.gets(f"/{_kubectl().key}")[1].range


def _kubectl():
    return next(file for file in files_of_release("kubernetes") if file.name == "kubectl")


def test_a_mirror_may_have_one_component_somewhere_else(make, mirror):
    mirror.publish("cni")
    number = release_version("cni")
    for path in list(mirror.files):
        mirror.files[path.replace(f"/cni/v{number}/", f"/net/{number}/x/")] = mirror.files.pop(path)
    some = Mirror(some=(("cni", f"{mirror.url}/net/{{version}}/x"),))
    folder = make("cni", Origin(maker="upstream", mirrors=(some,)))
    assert (folder / "cni" / "bridge").is_file()


def test_no_mirror_is_told_in_three_lines(make, mirror):
    with pytest.raises(BundleError) as raised:
        make("cni", from_(mirror))
    what, why, after = str(raised.value).splitlines()
    assert what == "no mirror answers for cni"
    assert f"{mirror.url.removeprefix('http://')}: HTTP 404" in why
    assert "Connection refused" in why, "the project's own address was asked, too"
    assert "mirror in [bundle]" in after
    assert "--from modules" in after


# --- archives -----------------------------------------------------------------------------------

TWO = replace(
    files_of_release("cni")[0], path="two.tgz", members=(("bin/a", "bin/a"), ("b", "cni/b"))
)


def unpacked(tmp_path, content):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "two.tgz").write_bytes(content)
    unpack(folder / "two.tgz", TWO, folder / "out")
    return {str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()}


def test_only_what_is_wanted_leaves_an_archive(tmp_path):
    content = archive({"bin/a": b"1", "b": b"2", "bin/other": b"3"})
    assert unpacked(tmp_path, content) == {"in/two.tgz", "in/out/bin/a", "in/out/cni/b"}


def test_a_link_is_no_program(tmp_path):
    with pytest.raises(BundleError, match="lacks bin/a"):
        unpacked(tmp_path, archive({"b": b"2"}, {"bin/a": "/etc/passwd"}))


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_what_is_no_archive_is_told(tmp_path, damage):
    whole = archive({"bin/a": bytes(range(256)) * 9, "b": b"2"})
    content = whole[: len(whole) // 2] if damage == "cut" else b"<html>"
    with pytest.raises(BundleError, match=r"cannot unpack two\.tgz"):
        unpacked(tmp_path, content)


# --- names --------------------------------------------------------------------------------------


def keys(origin):
    return {one.name: one.key for one in bundle.parts_of(origin)}


def test_keys_of_parts_from_modules_are_what_they_were():
    """Else everybody builds for twenty minutes what is there already."""
    for name in from_modules.COMPONENTS:
        folder = golang.TOOLS / name
        files = (folder / one for one in ("go.mod", "go.sum", "main.go"))
        pinned = "".join(one.read_text() for one in files if one.exists())
        flags = " ".join(["-s", "-w", *golang.stamps(name)])
        text = f"{name}\0{pinned}\n-gcflags=all=-dwarf=false\n{flags}\n2"
        assert keys(MODULES)[name] == hashlib.sha256(text.encode()).hexdigest()[:16]
    one = Part(name="a", inputs="1", build=silent)
    assert Part(name="b", inputs="2", build=silent, needs=(one,)).key == "f711ca4784b8e13e"


def test_keys_of_modules_know_nothing_of_upstream(table, mirror):
    before = keys(MODULES), bundle.bundle_folder()
    table["cni"]["files"].clear()
    assert (keys(from_(mirror, maker="modules")), bundle.bundle_folder(MODULES)) == before


def test_what_follows_from_a_release_has_another_key():
    modules, upstream = keys(MODULES), keys(Origin(maker="upstream"))
    assert list(modules) == list(upstream)
    differ = {name for name in modules if modules[name] != upstream[name]}
    assert differ == {*PARTS, "images", "disk"}
    assert bundle.bundle_folder() != bundle.bundle_folder(Origin(maker="upstream"))


def test_a_mirror_changes_no_key_and_a_pin_does(table, mirror):
    before = keys(Origin(maker="upstream"))
    assert keys(from_(mirror)) == before
    next(iter(table["cni"]["files"].values()))["sha256"] = "a" * 64
    after = keys(Origin(maker="upstream"))
    assert {name for name in before if before[name] != after[name]} == {"cni", "disk"}


def test_all_that_is_released_is_known(table):
    assert tuple(table) == RELEASED
    assert set(RELEASED) - {"pulumi-kubernetes"} == set(PARTS)


# --- a whole bundle -----------------------------------------------------------------------------


class World:
    """A bundle of a few components and nothing else, in a cache of its own."""

    def __init__(self):
        self.shown = io.StringIO()

    def ensure(self, origin=MODULES):
        return bundle.ensure(Progress(self.shown), origin=origin)

    def maker(self, made):
        return read_manifest(made.folder)["maker"]


@pytest.fixture
def world(tmp_path, monkeypatch, limits):
    def built(name):
        def build(build):
            build.out.joinpath("bin").mkdir()
            build.out.joinpath("bin", name).write_text("from modules")

        return Part(name=name, inputs="modules", build=build)

    def some(instead, *, local):
        names = (*PARTS, "calico", *(["kernel"] if local else []))
        return tuple(instead.get(name) or built(name) for name in names)

    monkeypatch.setenv("L4LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundle, "parts", lambda *, local: some({}, local=local))
    monkeypatch.setattr(from_upstream, "parts_with", some)
    monkeypatch.setattr(bundle, "needed_gib", lambda _parts: 0)
    monkeypatch.setattr(from_upstream, "LIMITS", limits)
    return World()


def test_a_bundle_from_upstream_tells_what_each_part_is(world, released):
    made = world.ensure(from_(released))
    parts = bundle.makers(made)
    assert {name: one["maker"] for name, one in parts.items()} == {
        **dict.fromkeys(PARTS, "upstream"),
        **dict.fromkeys(("calico", "kernel"), "modules"),
    }
    address = parts["cni"]["releases"][0]["mirror"]
    assert address == f"{released.url}/cni/v{release_version('cni')}/"
    assert world.maker(made) == "upstream"
    assert f"from {released.url.removeprefix('http://')}" in world.shown.getvalue()
    assert (bundle.cache_folder() / "bundle" / "upstream.lock").read_text().count("sha256 =") == 13


def test_modules_ask_nobody(world, released):
    made = world.ensure(from_(released, maker="modules"))
    assert world.maker(made) == "modules"
    assert released.asked == []
    assert world.ensure() == made
    assert bundle.find(Origin(maker="upstream")) is None


def test_auto_takes_upstream_where_it_answers(world, released):
    made = world.ensure(from_(released, maker="auto"))
    assert world.maker(made) == "upstream"


def test_auto_takes_modules_where_nothing_answers_and_says_so(world, released):
    released.dead = True
    made = world.ensure(from_(released, maker="auto"))
    assert world.maker(made) == "modules"
    said = world.shown.getvalue()
    assert f"none of {', '.join(RELEASED)}: made from modules" in said
    assert f"  cni: {released.url.removeprefix('http://')}: " in said


def test_auto_wants_all_releases(world, released):
    released.statuses[f"/{files_of_release('cni')[0].key}"] = 404
    assert world.maker(world.ensure(from_(released, maker="auto"))) == "modules"
    assert "none of cni: made" in world.shown.getvalue()


@pytest.mark.parametrize("maker", ["modules", "upstream"])
def test_auto_takes_what_is_there_and_asks_nobody(world, released, maker):
    made = world.ensure(from_(released, maker=maker))
    released.asked.clear()
    assert world.ensure(from_(released, maker="auto")) == made
    assert bundle.find(Origin(maker="auto")) == made
    assert released.asked == []


def test_repair_fetches_what_is_damaged(world, released):
    made = world.ensure(from_(released))
    program = made.folder / "bin" / "kubectl"
    good = program.read_bytes()
    program.write_bytes(good[:-1] + b"!")
    with pytest.raises(BundleError, match="is damaged"):
        world.ensure(from_(released))
    again = bundle.repair(Progress(world.shown), origin=from_(released))
    assert again == made
    assert program.read_bytes() == good
    assert bundle.makers(made)["kubernetes"]["releases"][0]["proved_by"] == "first use"


def test_a_bundle_of_either_maker_is_carried_and_kept(world, released, tmp_path):
    made = world.ensure(from_(released))
    other = world.ensure()
    bundle.pack(made, tmp_path / "stick.tar")
    assert bundle.prune([]) == []
    verify(other.folder)
    shutil.rmtree(made.folder)
    assert bundle.load(tmp_path / "stick.tar") == made
    assert bundle.find(Origin(maker="upstream")) == made
    assert (bundle.cache_folder() / "bundle" / "upstream.lock").stat().st_size > 0


def test_auto_does_not_hide_a_wrong_release(world, released):
    released.files[f"/{_kubectl().key}"] += b"!"
    with pytest.raises(BundleError, match="its SHA-256 is"):
        world.ensure(from_(released, maker="auto"))
