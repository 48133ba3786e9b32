"""The doctor looks, changes nothing, and says of each thing what was seen."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from l4lab import bundle, doctor, machines
from l4lab.bundle import Bundle
from l4lab.cluster import Cluster
from l4lab.settings import parse
from tests.unit.usage import Usage


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.setenv("L4LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(doctor, "available_memory_mib", lambda: 1 << 20)
    monkeypatch.setattr(doctor, "missing_packages", lambda _names: [])
    monkeypatch.setattr(doctor, "own_toolchain", lambda: None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 1 << 40))
    return Cluster(tmp_path, parse({}, "none"))


def examined(cluster):
    return {finding.what: finding for finding in doctor.examine(cluster)}


def test_a_host_that_can_do_all(cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "find", lambda _origin: Bundle(tmp_path))
    found = examined(cluster)
    assert all(finding.fine for finding in found.values())
    assert found["bundle"].seen == str(tmp_path)
    assert list(found) == ["processors", "memory", "driver fake", "bundle"]


def test_obstacles_of_the_driver(cluster):
    cluster.driver.hinders = ["no tun", "no room"]
    found = examined(cluster)["driver fake"]
    assert (found.fine, found.seen) == (False, "no tun; no room")


def test_memory(cluster, monkeypatch):
    monkeypatch.setattr(doctor, "available_memory_mib", lambda: 1000)
    found = examined(cluster)["memory"]
    assert (found.fine, found.seen) == (False, "1000 MiB free, the machines want 7424")
    cluster.driver.up(Bundle(cluster.project), lambda _text: None)
    assert examined(cluster)["memory"].fine  # they have theirs already


def test_what_a_build_of_the_bundle_needs(cluster, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 5 << 30))
    monkeypatch.setattr(doctor, "missing_packages", lambda _names: ["bison", "flex"])
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    found = examined(cluster)
    assert not found["disk for the build"].fine
    assert "5 GiB free" in found["disk for the build"].seen
    assert found["packages for the build"].seen == "missing, will be installed: bison flex"
    assert not found["packages for the build"].fine
    assert not found["root for the build"].fine
    assert "no, and root, images, disk must be made by root" in found["root for the build"].seen
    assert "./l4lab bundle --load FILE" in found["root for the build"].seen
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 0)
    assert examined(cluster)["packages for the build"].fine


def test_who_is_not_root_may_make_what_is_left(cluster, monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    for part in bundle.parts():
        if part.as_root:
            folder = bundle._cache().folder(part)
            folder.mkdir(parents=True)
            (folder / "manifest.json").touch()
    found = examined(cluster)["root for the build"]
    assert (found.fine, found.seen) == (True, "no, but what only root can make is there")


def test_for_given_hosts_there_is_less_to_make(tmp_path, cluster, monkeypatch):
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    origin = replace(cluster.settings.origin, local=False)
    given = Cluster(tmp_path, replace(cluster.settings, origin=origin))
    assert "no, and images must be made" in examined(given)["root for the build"].seen


def test_it_makes_nothing(cluster):
    before = sorted(cluster.project.rglob("*"))
    doctor.examine(cluster)
    assert sorted(cluster.project.rglob("*")) == before


def test_the_table_marks_what_is_not_fine():
    findings = [doctor.Finding("one", True, "good"), doctor.Finding("two", False, "bad")]
    assert doctor.render(findings).splitlines() == [
        "ok  one                      good",
        "NO  two                      bad",
    ]
    assert findings[1].to_json() == {"what": "two", "fine": False, "seen": "bad"}
