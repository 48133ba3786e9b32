"""A class of two with a cluster each, side by side on this host: apart, green, red, reset, gone.

All of it by the command line, as a teacher types it: what does the work for a student is a process
of its own, and these tests' own is in another cluster's network by now.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from l4lab.state import paths_of
from tests.cluster.conftest import PROJECT
from tests.cluster.host import fingerprint, outside, processes

pytestmark = pytest.mark.long

NAME = "l4lab-each"
IDS = ("ann", "bob")
SETTINGS = f"""\
[cluster]
name = "{NAME}"
[machines.k8s-master01]
memory = 1536
[machines.k8s-node01]
memory = 1024
"""
# Lab nodeport is refused where a cluster is shared.
CLASS = """\
class: two
shape: each
labs: [clusterip, nodeport]
students: [{id: ann, name: 安娜}, {id: bob, name: Боб}]
limits: {at_once: 2}
"""


@dataclass
class Class:
    """The class, as its teacher sees it."""

    folder: Path

    def run(self, verb, *words, timeout=300):
        files = ["--config", self.folder / "l4lab.toml", "--file", self.folder / "classroom.yaml"]
        argv = [sys.executable, "-m", "l4lab", "class", verb, *files, *words]
        return outside(*argv, timeout=timeout)

    def told(self, verb, *words, timeout=300):
        """The exit code, and what was told of each student."""
        done = self.run(verb, *words, "--json", timeout=timeout)
        try:
            said = json.loads(done.stdout)["students"]
        except (ValueError, KeyError):
            pytest.fail(f"{verb}: exit code {done.returncode}\n{done.stdout}{done.stderr}"[-3000:])
        return done.returncode, {one["student"]: one for one in said}

    def well(self, verb, *words, timeout=300):
        code, told = self.told(verb, *words, timeout=timeout)
        assert {id_: one["note"] for id_, one in told.items() if not one["ok"]} == {}
        assert code == 0
        return told

    @property
    def paths(self):
        return paths_of(PROJECT, NAME)

    def state(self, student):
        return paths_of(PROJECT, f"{NAME}-{student}")

    def kubectl(self, student, *words):
        """What a student types, with the settings file that the class wrote."""
        file = self.state(student).own_settings
        done = outside(sys.executable, "-m", "l4lab", "kubectl", "--config", file, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def master(self, student):
        """The process of a student's control plane."""
        name = f"umid=k8s-master01 uml_dir={self.state(student).root}/"
        [pid] = [pid for pid, words in processes(name).items() if "linux" in words]
        return pid


@pytest.fixture(scope="module")
def klass(host_before, tmp_path_factory):
    del host_before  # it is to be taken before any machine is there
    made = Class(tmp_path_factory.mktemp("each"))
    (made.folder / "l4lab.toml").write_text(SETTINGS)
    (made.folder / "classroom.yaml").write_text(CLASS, encoding="utf-8")
    made.run("down")  # what a run that was cut off has left
    try:
        yield made
    finally:
        made.run("down")
        shutil.rmtree(made.paths.root, ignore_errors=True)


@pytest.fixture(scope="module")
def up(klass):
    return klass.well("up", timeout=900)


@pytest.fixture(scope="module")
def deployed(klass, up):
    del up
    return klass.well("deploy", "clusterip")


def test_more_machines_than_the_host_has_memory_for_are_refused(klass, tmp_path):
    big = tmp_path / "l4lab.toml"
    text = SETTINGS.replace(NAME, "l4lab-big").replace("1536", "100000000")
    big.write_text(text)
    files = ["--config", big, "--file", klass.folder / "classroom.yaml"]
    done = outside(sys.executable, "-m", "l4lab", "class", "up", *files)
    assert done.returncode == 3, done.stderr
    assert "2 clusters want 200002048 MiB of memory" in done.stderr
    assert "0 of them fit" in done.stderr
    assert not list(paths_of(PROJECT, "l4lab-big").root.parent.glob("l4lab-big*"))


def test_two_clusters_with_the_same_addresses_that_know_nothing_of_each_other(klass, up):
    assert [up[student]["cluster"] for student in IDS] == [f"{NAME}-{one}" for one in IDS]
    for student in IDS:
        lines = klass.kubectl(student, "get", "nodes", "--no-headers", "-o", "wide").splitlines()
        seen = {line.split()[0]: (line.split()[1], line.split()[5]) for line in lines}
        assert seen == {
            "k8s-master01": ("Ready", "192.168.128.11"),
            "k8s-node01": ("Ready", "192.168.128.21"),
        }
    words = ("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert len({klass.kubectl(student, *words) for student in IDS}) == len(IDS)
    bound = {frozenset(os.sched_getaffinity(klass.master(student))) for student in IDS}
    assert len(bound) == min(len(IDS), len(os.sched_getaffinity(0)))
    again = klass.well("up", timeout=600)
    assert all(", 0 changed" in one["note"] for one in again.values()), again


def test_everybodys_lab_is_green_and_one_that_is_broken_is_red_for_that_one(klass, deployed):
    assert all(deployed[student]["changes"]["create"] for student in IDS)
    klass.well("check", "clusterip")
    change = json.dumps({"spec": {"selector": {"run": "nobody"}}})
    klass.kubectl("ann", "patch", "service", "my-nginx", "-p", change)
    code, found = klass.told("check", "clusterip")
    assert code == 1
    assert found["bob"]["ok"], found["bob"]["note"]
    assert not found["ann"]["ok"]
    assert "selector" in found["ann"]["red"]

    _, again = klass.told("check", "clusterip", "--failed")
    assert list(again) == ["ann"]
    status = klass.well("status")
    assert "clusterip deployed, red at " in status["ann"]["note"]
    assert "clusterip deployed, green at " in status["bob"]["note"]

    table = klass.folder / "class.csv"
    page = klass.folder / "class.html"
    klass.run("report", "--csv", table, "--html", page)
    assert "安娜" in page.read_text(encoding="utf-8")
    with table.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["lab"] == "clusterip"]
    states = {
        student: {row["state"] for row in rows if row["student"] == student} for student in IDS
    }
    assert states["bob"] <= {"pass", "skip"}
    assert "fail" in states["ann"]


def test_a_reset_takes_the_labs_off_and_proves_the_cluster(klass, deployed):
    del deployed
    klass.kubectl("ann", "create", "configmap", "notes")
    told = klass.well("reset", "--dry-run")
    assert "clusterip: delete Service default/my-nginx, of the stack" in told["ann"]["list"]
    assert "my-nginx" in klass.kubectl("ann", "get", "service", "-o", "name")

    code, found = klass.told("reset", timeout=600)
    assert code == 1
    assert found["bob"]["note"].startswith("clean: "), found["bob"]
    # What is not known to be a lab's is left alone, and told.
    differences = [f"{one['where']} {one['what']}" for one in found["ann"]["proof"]["differences"]]
    assert differences == ["cluster ConfigMap default/notes"]
    for student in IDS:
        assert "my-nginx" not in klass.kubectl(student, "get", "service", "-o", "name")

    klass.kubectl("ann", "delete", "configmap", "notes")
    mended = klass.well("reset", "--failed", timeout=600)
    assert list(mended) == ["ann"]
    assert mended["ann"]["note"].startswith("clean: ")


def test_down_leaves_the_results_and_nothing_else(klass, deployed, host_before):
    del deployed
    assert all(processes(str(klass.state(student).root)) for student in IDS)
    gone = klass.well("down")
    assert {one["note"] for one in gone.values()} == {"gone"}
    for student in IDS:
        assert not klass.state(student).root.exists()
        assert processes(f"{klass.state(student).root}/") == {}
    left = [path for path in klass.paths.root.rglob("*") if path.is_file()]
    assert sorted(left) == [
        klass.paths.class_results / student / "clusterip.json" for student in IDS
    ]
    after = fingerprint()
    for what, before in host_before.items():
        assert after[what] == before, what
    report = klass.run("report", "--html", klass.folder / "after.html", "--json")
    assert {row["student"] for row in json.loads(report.stdout)["rows"] if row["check"]} == set(IDS)
