"""Taking a cluster off its machines: order, proof, and what a failure leaves."""

from __future__ import annotations

import os

import pytest

from l4lab.errors import LockedError, PlaybookError, UsageError
from l4lab.state import lock


def test_reset_is_refused_while_another_works(world):
    cluster = world.cluster()
    cluster.up()
    # The lock belongs to the open file, so that a second holder can be this very process.
    with lock(cluster.paths.root / "lock", "it"), pytest.raises(LockedError) as raised:
        cluster.reset()
    assert f"process {os.getpid()}: " in raised.value.reason
    assert "reset.yml with inventory" not in world.did()


def test_reset_keeps_machines_and_forgets_the_kubeconfig(world):
    cluster = world.cluster()
    cluster.up()
    cluster.reset()
    assert world.did()[-2:] == ["reset.yml with inventory", "snapshot of machines 10.10.0.0/16"]
    assert all(status.running for status in cluster.status())
    with pytest.raises(UsageError):
        cluster.enter()


def test_reset_proves_that_machines_are_as_before_the_cluster(world):
    world.facts = {"link lo": "loopback"}
    cluster = world.cluster()
    cluster.up()
    cluster.up()  # a second one takes no fingerprint of a cluster
    assert sum("snapshot" in line for line in world.did()) == 1
    planned = cluster.reset_plan()
    assert "reset.yml with inventory" not in world.did()
    did = cluster.reset()
    assert did.removed == planned.removed
    assert did.removed[0] == "k8s-master01: ipset KUBE-CLUSTER-IP: is new: hash:ip,port"
    assert did.proof.render() == "clean: 4 facts equal"


def test_reset_tells_what_is_not_as_before(world):
    cluster = world.cluster()
    cluster.up()
    world.facts = {**world.facts, "nft table inet ours": "there"}
    did = cluster.reset()
    assert not did.proof.clean
    assert {one.what for one in did.proof.differences} == {"nft table inet ours"}
    assert not [line for line in did.removed if "ours" in line]


def test_a_cluster_that_was_there_before_fingerprints_cannot_be_compared(world):
    cluster = world.cluster()
    cluster.up()
    (cluster.paths.root / "proof" / "machines.json").unlink()
    cluster.up()
    assert cluster.reset_plan().removed == ()
    assert cluster.reset().proof is None


def test_after_a_reset_other_networks_are_welcome_but_not_other_machines(world):
    other = {"network": {"pods": "10.32.0.0/16", "services": "10.96.0.0/16"}}
    world.cluster().up()
    with pytest.raises(UsageError, match="have changed"):
        world.cluster(**other).up()
    # The settings may be changed before the reset: it knows what was made.
    world.cluster(**other).reset()
    assert world.did()[-1] == "snapshot of machines 10.10.0.0/16"
    with pytest.raises(UsageError, match="have changed"):
        world.cluster(network={"nodes": "192.168.128.0/23"}).up()
    world.cluster(**other).up()
    assert world.cluster(**other).record()["shape"]["networks"]["services"] == "10.96.0.0/16"
    with pytest.raises(UsageError, match="have changed"):
        world.cluster().up()


def test_an_interrupted_reset_frees_no_network_and_is_gone_on_with(world):
    cluster = world.cluster()
    cluster.up()
    world.failure = PlaybookError("no")
    with pytest.raises(PlaybookError):
        cluster.reset()
    with pytest.raises(UsageError, match="have changed"):
        world.cluster(network={"services": "10.96.0.0/16"}).up()
    world.failure = None
    assert cluster.reset().proof.clean
    world.cluster(network={"services": "10.96.0.0/16"}).up()
