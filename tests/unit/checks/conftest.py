import pytest

from l4lab.checks.runner import Runner
from l4lab.place import Place
from labs.clusterip import checks as clusterip_checks
from labs.clusterip import facts
from tests.unit.checks.world import Clock, World


class LabStandIn:
    """What the runner asks of a lab, around any module of checks."""

    def __init__(self, checks, *, name="clusterip"):
        self.name = name
        self.checks = checks
        self.facts = facts
        self.place = Place()
        self.namespace = self.place.namespace


@pytest.fixture
def world():
    return World()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def run(world, clock):
    """Runs checks (by default those of lab clusterip) against the world in memory."""

    def run(*, checks=clusterip_checks, only=None, exercises=False, on_result=None):
        runner = Runner(
            lab=LabStandIn(checks),
            reach=world,
            topology=world.topology,
            clock=clock,
            # Reads are shared by real time, which does not pass here.
            shared_seconds=0,
            on_result=on_result,
        )
        return runner.run(only=only, exercises=exercises)

    return run
