"""The public entry: what it leaves in the cluster's logs, and that it tidies up."""

import errno
import json
from contextlib import contextmanager
from pathlib import Path

import pytest

from l4lab.checks import run_lab, runner
from l4lab.lab import get_lab
from l4lab.state import Access, Paths

LAB = get_lab(Path(__file__).parents[3], "clusterip")


@pytest.fixture
def access(monkeypatch, world, tmp_path):
    closed = []

    @contextmanager
    def reach(_access, *, namespace):
        assert namespace == LAB.facts.NAMESPACE
        yield world
        closed.append(True)

    monkeypatch.setattr(runner, "LiveReach", reach)
    yield Access(
        topology=world.topology,
        paths=Paths(tmp_path),
        kubectl=Path("kubectl"),
        pulumi=Path("pulumi"),
    )
    assert closed


def test_a_green_run_keeps_its_trace_and_no_bundle(access):
    report = run_lab(LAB, access, only=["ipvs-scheduler"])
    assert report.passed
    assert report.diagnosis is None
    lines = (access.paths.logs / "checks-clusterip.jsonl").read_text().splitlines()
    assert {json.loads(line)["check"] for line in lines} == {"ipvs-scheduler"}
    assert any("ipvsadm -Ln" in json.loads(line)["command"] for line in lines)


def test_a_red_run_names_its_bundle(access, world):
    world.scheduler["k8s-node01"] = "wrr"
    told = []
    report = run_lab(LAB, access, only=["ipvs-scheduler"], patience=0.0, on_result=told.append)
    assert not report.passed
    assert len(told) == 3
    assert report.diagnosis.parent == access.paths.logs
    assert str(report.diagnosis) in report.render(False)
    assert json.loads(report.to_json())["diagnosis"] == str(report.diagnosis)


def test_evidence_that_cannot_be_kept_hides_nothing_that_was_found(access, world, monkeypatch):
    world.scheduler["k8s-node01"] = "wrr"

    def full(*_words, **_more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runner, "write_private", full)
    report = run_lab(LAB, access, only=["ipvs-scheduler"], patience=0.0)
    assert report.red == ("ipvs-scheduler",)
    assert report.diagnosis is None
    assert "No space left" in json.loads(report.to_json())["undiagnosed"]
    assert report.render(False).endswith(
        "evidence was not kept: OSError: [Errno 28] No space left on device"
    )
