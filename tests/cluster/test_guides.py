"""The walk through a guide and the watch of a lab, as a learner starts them."""

from __future__ import annotations

import json
import sys

import pytest

from l4lab import stack
from l4lab.lab import get_lab
from tests.cluster.conftest import PROJECT
from tests.cluster.host import outside

pytestmark = pytest.mark.usefixtures("no_lab")


@pytest.mark.long
def test_the_walk_deploys_runs_and_checks_where_nobody_is_asked(access, config):
    lab = get_lab(PROJECT, "headless")
    argv = [sys.executable, "-m", "l4lab", "lab", "--config", config, lab.name, "--yes"]
    try:
        walk = outside(*argv, cwd=PROJECT, timeout=900)
    finally:
        stack.destroy(lab, access)
    assert walk.returncode == 0, walk.stdout + walk.stderr
    assert "Lab headless is not deployed." in walk.stdout
    assert "Not as the guide says" not in walk.stdout
    for step in lab.steps(access.topology):
        for command in step.commands():
            assert f"\n$ {command.text}\n" in walk.stdout
        for name in step.checks:
            assert f"PASS  {name} " in walk.stdout


@pytest.mark.long
def test_watching_ends_when_all_is_green_and_at_its_deadline(bench, config):
    argv = [sys.executable, "-m", "l4lab", "check", "--config", config, "clusterip", "--json"]
    early = outside(*argv, "--watch", "--within", "1", timeout=120)
    assert early.returncode == 1, early.stdout + early.stderr
    assert json.loads(early.stdout)["passed"] is False
    bench.put("clusterip")
    late = outside(*argv, "--watch", "--within", "120", timeout=240)
    assert late.returncode == 0, late.stdout + late.stderr
    one = outside(*argv, "--step", "kernel", timeout=120)
    assert one.returncode == 0, one.stdout + one.stderr
    seen = {result["id"] for result in json.loads(one.stdout)["results"]}
    assert seen == {"proxy-mode", "ipvs-row", "ipvs-scheduler", "ipvs-masq", "kube-ipvs0"}
