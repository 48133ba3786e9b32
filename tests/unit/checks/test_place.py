"""Checks in a student's namespace: what they look at, what they say, what they leave alone."""

import pytest

from l4lab.checks import Look, State, Unmet, Vantage, Where, exercise
from l4lab.checks.model import API
from l4lab.checks.reach import SharedReads
from l4lab.checks.runner import Runner
from l4lab.place import Place
from tests.unit.checks.conftest import LabStandIn

ALICE = Place(student="alice", namespace="alice", first_node_port=30400)


@exercise(id="cut", title="t", why="w", expect="e", anchor="a")
def cut(stage):
    """Would stop a service of a machine."""
    stage.change_machine(API, ["true"], back=["true"])
    raise AssertionError("it was done")


class OnlyThat:
    CUT = cut


@pytest.fixture
def lab():
    made = LabStandIn(OnlyThat)
    made.place, made.namespace = ALICE, ALICE.namespace
    return made


def test_a_machine_that_a_class_shares_is_left_alone(lab, world, clock):
    runner = Runner(lab=lab, reach=world, topology=world.topology, clock=clock)
    [result] = runner.run().results
    assert result.state is State.SKIP
    assert "shares the machines" in result.seen


def test_commands_are_told_as_they_are_typed_there(world, clock):
    from labs.clusterip import checks

    made = LabStandIn(checks)
    made.place, made.namespace = ALICE, ALICE.namespace
    world.deployed = False
    runner = Runner(lab=made, reach=world, topology=world.topology, clock=clock, shared_seconds=0)
    results = runner.run(only=["endpoints"], exercises=False).results
    typed = [seen.command for seen in results[0].trace if " kubectl " in seen.command]
    assert typed
    assert all(text.startswith("./l4lab kubectl -n alice get ") for text in typed)


@pytest.mark.parametrize(
    ("namespace", "client"), [("default", "client"), ("alice", "alice/client")]
)
def test_the_path_from_a_students_pod_names_the_namespace(world, clock, namespace, client):
    from labs.clusterip import names

    world.service["selector"] = {"run": "other"}
    world.sync()
    pod = Look(
        reach=world,
        shared=SharedReads(world, max_age=0),
        vantage=Vantage(Where.POD, "client"),
        topology=world.topology,
        namespace=namespace,
        lab="clusterip",
        clock=clock,
    )
    with pytest.raises(Unmet) as raised:
        names.short_names.function(pod)
    assert raised.value.then.startswith(f"./l4lab path {client} my-nginx")
