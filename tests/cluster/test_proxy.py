"""kube-proxy's mode changed on a running cluster: labs green in the other, and nothing left."""

from __future__ import annotations

import json

import pytest

from l4lab import proxy
from l4lab.checks import Check, declared, run_lab
from tests.cluster.host import outside
from tests.cluster.test_life import l4lab


@pytest.fixture(scope="module")
def nftables(cluster, access):
    """The cluster in mode nftables; in ipvs again when the tests are over."""
    cluster.change_proxy("nftables")
    try:
        yield access
    finally:
        cluster.change_proxy("ipvs")


def test_a_change_leaves_nothing_of_the_other_mode(nftables, config):
    assert [(node.node, node.mode, node.left, node.problem) for node in proxy.look(nftables)] == [
        (machine.name, "nftables", (), "") for machine in nftables.topology.nodes
    ]
    rows = outside("ssh", "-F", nftables.paths.ssh_config, "k8s-node01", "ipvsadm -Ln | tail -n +4")
    assert (rows.returncode, rows.stdout) == (0, "")
    told = l4lab(config, "proxy", "--json")
    assert told.returncode == 0, told.stdout
    assert {node["mode"] for node in json.loads(told.stdout)["nodes"]} == {"nftables"}


@pytest.mark.parametrize("name", ["clusterip", "nodeport"])
def test_a_lab_is_green_in_mode_nftables(nftables, deployed, name):
    lab = deployed(name)
    report = run_lab(lab, nftables)
    assert report.passed, report.render(False)
    modes = {check.id: check.mode for check in declared(lab.checks, Check)}
    ran = {result.id for result in report.results}
    assert {modes[check] for check in ran if check in modes} == {None, "nftables"}


def test_back_in_mode_ipvs_nothing_is_left_either(cluster, access):
    cluster.change_proxy("ipvs")
    assert proxy.clean(proxy.look(access), "ipvs")
    tables = outside("ssh", "-F", access.paths.ssh_config, "k8s-node01", "nft list tables")
    assert tables.returncode == 0
    assert "kube-proxy" not in tables.stdout
