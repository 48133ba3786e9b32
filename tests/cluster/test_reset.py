"""Resets on real machines, each proved: of a lab, of the cluster, and cut off on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from l4lab import actions, reset, stack
from l4lab.lab import get_lab
from l4lab.proof import Scope, compare, snapshot
from l4lab.retry import wait_for
from tests.cluster.conftest import PROJECT
from tests.cluster.hands import Hands
from tests.cluster.test_life import l4lab, nodes_ready


@pytest.fixture
def lab(no_lab):
    del no_lab
    return get_lab(PROJECT, "clusterip")


@pytest.fixture
def hands(access):
    return Hands(access)


def test_a_lab_is_reset_with_what_was_made_by_hand_in_its_place(cluster, access, lab, hands):
    actions.deploy(cluster, lab)
    hands.kubectl("run", "mine", "--image", lab.facts.IMAGE, "--labels", "run=my-nginx")
    hands.kubectl("create", "configmap", "notes")
    try:
        planned = reset.plan(cluster, lab)
        assert "./l4lab kubectl delete pod mine -n default" in planned.done
        did = reset.reset(cluster, lab)
        assert did.done == planned.done
        # What is not known to be the lab's is left alone, and told.
        assert [str(one) for one in did.proof.differences] == [
            "cluster: ConfigMap default/notes: is new"
        ]
        assert str(did.proof.differences[0].mend).endswith("delete configmap notes -n default")
    finally:
        hands.kubectl("delete", "configmap", "notes")
    assert reset.reset(cluster, lab).proof.clean


@pytest.mark.long
def test_a_step_is_reset_to_how_the_lab_was_deployed(cluster, access, lab, hands, config):
    stack.deploy(lab, access)
    try:
        hands.kubectl("scale", "deployment", lab.facts.DEPLOYMENT, "--replicas=0")
        hands.kubectl("delete", "service", lab.facts.SERVICE)
        hands.kubectl("run", "mine", "--image", lab.facts.IMAGE, "--labels", "run=my-nginx")
        told = l4lab(config, "status", "--json")
        gone = f"deployed, but missing: Service default/{lab.facts.SERVICE};"
        assert gone in json.loads(told.stdout)["labs"][lab.name]
        planned = reset.plan_step(cluster, lab)
        did = reset.reset_step(cluster, lab, ["ipvs-row", "balance"])
        assert sorted(did.done) == sorted(planned.done)
        assert set(did.done) == {
            "./l4lab kubectl delete pod mine -n default",
            f"create Service {lab.facts.SERVICE}",
            f"update Deployment {lab.facts.DEPLOYMENT}",
        }
        assert did.report.passed, did.report.render(False)
        assert reset.plan_step(cluster, lab).done == ()
    finally:
        hands.kubectl("delete", "pod", "mine", "--ignore-not-found")
        stack.destroy(lab, access)


def test_a_broken_fact_of_each_kind_is_seen_and_an_idle_cluster_is_equal(access, hands):
    before = snapshot(access, scope=Scope.cluster())
    node, database = hands.worker, hands.database
    hands.on(node, "ipvsadm", "-A", "-t", "203.0.113.7:81", "-s", "wrr")
    hands.on(node, "nft", "add", "table", "inet", "ours")
    hands.on(node, "ip", "route", "add", "blackhole", "203.0.113.8")
    hands.on(database, "mariadb", "-e", "CREATE DATABASE mine")
    try:
        found = compare(before, snapshot(access, scope=Scope.cluster()))
        assert {(one.where, one.what) for one in found.differences} == {
            (node, "IPVS TCP 203.0.113.7:81"),
            (node, "nft table inet ours"),
            (node, "route blackhole 203.0.113.8"),
            (database, "schema mine"),
        }
    finally:
        hands.on(node, "ipvsadm", "-D", "-t", "203.0.113.7:81")
        hands.on(node, "nft", "delete", "table", "inet", "ours")
        hands.on(node, "ip", "route", "del", "blackhole", "203.0.113.8")
        hands.on(database, "mariadb", "-e", "DROP DATABASE mine")
    proof = compare(before, snapshot(access, scope=Scope.cluster()))
    assert proof.clean, proof.render()


def test_a_cluster_is_reset_cut_off_and_all_and_interrupted_ups_converge(
    cluster, access, config, lab, hands
):
    node = hands.worker
    hands.on(node, "nft", "add", "table", "inet", "ours")
    stack.deploy(lab, access)
    try:
        assert interrupted(config, "reset", signal.SIGKILL, after=8) == -signal.SIGKILL
        did = cluster.reset()
        # What somebody else made there is not ours to flush.
        assert [(one.where, one.what) for one in did.proof.differences] == [
            (node, "nft table inet ours")
        ], did.proof.render()
    finally:
        hands.on(node, "nft", "delete", "table", "inet", "ours")
    assert cluster.reset().proof.clean
    assert interrupted(config, "up", signal.SIGINT, after=12) == 130
    assert interrupted(config, "up", signal.SIGKILL, after=25) == -signal.SIGKILL
    cluster.up()
    wait_for("three ready nodes", lambda: nodes_ready(access), within=120)
    assert cluster.up().changed == 0
    stack.destroy(lab, access)


def interrupted(config, verb, how, *, after):
    """Start a command as a person would, end it after a while, and return its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "l4lab", verb, "--config", config],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        time.sleep(after)  # somewhere in the middle: where, must not matter
        assert process.poll() is None
        process.send_signal(how)
        return process.wait(240)  # Ctrl-C has Ansible end what it is at
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
