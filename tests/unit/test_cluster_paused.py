"""A cluster whose machines stand still: whoever needs them is told so at once."""

from __future__ import annotations

import pytest

from l4lab.errors import MachineError


@pytest.fixture
def cluster(world):
    made = world.cluster()
    made.up()
    return made


@pytest.mark.parametrize(
    "verb", ["up", "access", "enter", "reset", "reset_plan"], ids=lambda verb: verb
)
def test_commands_that_need_machines_are_refused_before_they_begin(world, cluster, verb):
    did = world.did()
    cluster.driver.still = True
    with pytest.raises(MachineError, match="the machines stand still"):
        getattr(cluster, verb)()
    assert world.did() == did
    cluster.driver.still = False
    getattr(cluster, verb)()


def test_a_playbook_ends_when_they_come_to_stand_still_and_up_goes_on(world, monkeypatch):
    cluster = world.cluster()
    snapshot = cluster._remember_machines

    def fills():
        snapshot()
        cluster.driver.still = True

    monkeypatch.setattr(cluster, "_remember_machines", fills)
    with pytest.raises(MachineError, match="the machines stand still"):
        cluster.up()
    assert world.did()[-1] == "site.yml with inventory"
    monkeypatch.setattr(cluster, "_remember_machines", snapshot)
    cluster.driver.still = False
    assert cluster.up().changed == 2


def test_they_can_be_taken_down(cluster):
    cluster.driver.still = True
    assert cluster.down()
    assert not cluster.paths.root.exists()
