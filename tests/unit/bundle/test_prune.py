"""Old bundles go from the cache, nothing that is still needed does."""

import pytest

from l4lab import actions, bundle
from l4lab.bundle import part
from l4lab.state import paths_of, write_json


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("L4LAB_CACHE", str(tmp_path))
    bundle.bundle_folder().mkdir(parents=True)
    for one in bundle.parts():
        bundle._cache().folder(one).mkdir(parents=True)
    return tmp_path / "bundle"


def tree(root):
    return {path for path in root.rglob("*") if path.is_dir()}


def test_what_the_catalogue_wants_stays(cache):
    before = tree(cache)
    assert bundle.prune([]) == []
    assert tree(cache) == before


def test_old_bundles_and_parts_go(cache):
    old = [cache / "0ld-bundle", cache / "parts" / "kernel-0ld", cache / "parts" / "disk-0ld.work"]
    for folder in old:
        (folder / "inside").mkdir(parents=True)
    assert sorted(bundle.prune([])) == sorted(old)
    assert [folder for folder in old if folder.exists()] == []


def test_a_bundle_that_a_disk_lies_over_stays(cache):
    base = cache / "0ld-bundle" / "disk" / "base.img"
    base.parent.mkdir(parents=True)
    assert bundle.prune([base]) == []
    assert base.parent.exists()


def test_the_bundle_of_a_cluster_without_disks_of_its_own_stays(cache, tmp_path):
    """Given hosts have none: only the record names the bundle, with the cluster's kubectl."""
    kept, old = cache / "0ld-bundle", cache / "0lder-bundle"
    for folder in (kept, old):
        (folder / "bin").mkdir(parents=True)
    write_json(paths_of(tmp_path, "hosts").record, {"driver": "ssh", "bundle": str(kept)})
    paths_of(tmp_path, "others").root.mkdir()
    assert actions.prune(tmp_path) == [old]
    assert (kept / "bin").is_dir()


def test_what_somebody_builds_right_now_stays(cache):
    working = cache / "parts" / "kernel-other.work"
    working.mkdir()
    with part.locked(cache / "parts" / "kernel-other.lock"):
        assert bundle.prune([]) == []
    assert bundle.prune([]) == [working]
