"""kube-proxy's mode changed on a running cluster: labs green in the other, and nothing left."""

from __future__ import annotations

import json
import sys

import pytest

from l4lab import proxy
from l4lab.checks import Check, Exercise, declared, run_lab
from l4lab.checks.kernel import NFTABLES
from l4lab.lab import find_labs, get_lab
from l4lab.retry import wait_for
from l4lab.walk import in_mode
from tests.cluster.breaks import IN_NFTABLES, in_nftables
from tests.cluster.conftest import PROJECT
from tests.cluster.hands import Hands
from tests.cluster.host import outside
from tests.cluster.test_labs import breaks_of, told_and_mended
from tests.cluster.test_life import l4lab

# Told by a check that only mode nftables has.
SAMPLE = {"clusterip": ("session affinity",), "nodeport": ()}

# The tests after these go on with the one that is always there.
ALWAYS = "clusterip"
EACH_LAB = pytest.mark.parametrize(
    "name",
    [
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in find_labs(PROJECT)
            if name != ALWAYS
        ),
        ALWAYS,
    ],
    scope="module",  # so that one lab's tests come one after the other
)


def pytest_generate_tests(metafunc):
    if "fault" not in metafunc.fixturenames:
        return
    every = metafunc.config.getoption("--every-break")
    pairs = [
        (name, seen)
        for name in IN_NFTABLES
        for fault in breaks_of(get_lab(PROJECT, name), True)
        if (seen := in_nftables(name, fault)) and (every or fault.name in SAMPLE[name])
    ]
    metafunc.parametrize(("name", "fault"), pairs, ids=[f"{name}-{one}" for name, one in pairs])


@pytest.fixture(scope="module")
def nftables(cluster, access):
    """The cluster in mode nftables; in ipvs again when the tests are over."""
    cluster.change_proxy("nftables")
    try:
        yield access
    finally:
        cluster.change_proxy("ipvs")


def until_clean(access, mode):
    """A kube-proxy may be slow to say how it runs; what was left does not go by itself."""

    def unlike():
        found = proxy.look(access)
        return None if proxy.clean(found, mode) else proxy.render(found)

    wait_for(f"mode {mode} and nothing else", unlike, within=60, every=2)


def test_a_change_leaves_nothing_of_the_other_mode(nftables, config):
    until_clean(nftables, "nftables")
    assert [(node.node, node.mode, node.left, node.problem) for node in proxy.look(nftables)] == [
        (machine.name, "nftables", (), "") for machine in nftables.topology.nodes
    ]
    rows = outside("ssh", "-F", nftables.paths.ssh_config, "k8s-node01", "ipvsadm -Ln | tail -n +4")
    assert (rows.returncode, rows.stdout) == (0, "")
    told = l4lab(config, "proxy", "--json")
    assert told.returncode == 0, told.stdout
    assert {node["mode"] for node in json.loads(told.stdout)["nodes"]} == {"nftables"}


@EACH_LAB
def test_a_lab_is_green_in_mode_nftables(nftables, bench, name):
    lab = bench.put(name)
    report = run_lab(lab, nftables)
    assert report.passed, report.render(False)
    wanted = {
        item.id
        for kind in (Check, Exercise)
        for item in declared(lab.checks, kind)
        if item.mode in (None, NFTABLES)
    }
    assert {result.id for result in report.results} == wanted


@pytest.mark.long
@EACH_LAB
def test_the_walk_has_the_commands_and_checks_of_mode_nftables(nftables, bench, config, name):
    lab = bench.put(name)
    argv = [sys.executable, "-m", "l4lab", "lab", "--config", config, lab.name, "--yes"]
    walked = outside(*argv, cwd=PROJECT, timeout=900)
    assert walked.returncode == 0, walked.stdout + walked.stderr
    assert "kube-proxy runs in mode nftables here" in walked.stdout
    assert "Not as the guide says" not in walked.stdout, walked.stdout
    for step in in_mode(lab, nftables.topology, NFTABLES):
        for command in step.do:
            assert f"\n$ {command.text}\n" in walked.stdout
        for check in step.checks:
            assert f"PASS  {check} " in walked.stdout, walked.stdout


@pytest.mark.long
def test_a_step_has_the_checks_of_mode_nftables(nftables, bench, config):
    lab = bench.put("clusterip")
    one = l4lab(config, "check", lab.name, "--step", "kernel", "--json")
    assert one.returncode == 0, one.stdout
    assert {"proxy-mode", "nft-entry"} <= {one["id"] for one in json.loads(one.stdout)["results"]}


@pytest.mark.long
def test_a_break_is_told_in_mode_nftables_too(nftables, bench, name, fault):
    lab = bench.put(name)
    hands = Hands(nftables, lab.facts.NAMESPACE)
    with hands.reach:
        told_and_mended(lab, nftables, hands, fault)


def test_back_in_mode_ipvs_nothing_is_left_either(cluster, access):
    cluster.change_proxy("ipvs")
    until_clean(access, "ipvs")
    tables = outside("ssh", "-F", access.paths.ssh_config, "k8s-node01", "nft list tables")
    assert tables.returncode == 0
    assert "kube-proxy" not in tables.stdout
