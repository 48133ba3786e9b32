"""The life of a cluster on hosts that somebody else made: what is refused, kept, given back."""

from __future__ import annotations

import json

import pytest
import yaml

from l4lab import machines
from l4lab.errors import UsageError
from l4lab.proof.kept import stack_file
from tests.unit.machines.fake import FakeDriver
from tests.unit.machines.test_demands import MACHINES

GIVEN = {"network": {"nodes": "192.168.9.0/24"}, "machines": MACHINES}


class FakeLocal(FakeDriver):
    name = "local"


class FakeHosts(FakeDriver):
    """Hosts that are there already: nothing of them is in the cluster's state."""

    name = "ssh"
    owns = False

    def up(self, bundle, doing):
        super().up(bundle, doing)
        for disk in self.paths.machines.glob("*/disk.cow"):
            disk.unlink()


@pytest.fixture
def drivers(monkeypatch, world):
    del world  # it has a driver of its own, which these stand for
    monkeypatch.setitem(machines.DRIVERS, "local", f"{__name__}:FakeLocal")
    monkeypatch.setitem(machines.DRIVERS, "ssh", f"{__name__}:FakeHosts")


@pytest.fixture
def given(world, drivers):
    """Makes the cluster on given hosts, with these settings beside the driver's name."""
    del drivers

    def cluster(**own):
        return world.cluster(**GIVEN, cluster={"driver": "ssh", **own})

    return cluster


def mode(cluster):
    text = cluster.paths.inventory.read_text()
    return yaml.safe_load(text)["all"]["vars"]["l4lab_proxy_mode"]


@pytest.mark.parametrize("verb", ["up", "down", "status", "access", "enter", "reset", "reset_plan"])
def test_the_default_settings_are_not_taken_for_those_of_given_hosts(world, given, verb):
    given().up()
    done = world.did()
    with pytest.raises(UsageError) as raised:
        getattr(world.cluster(), verb)()
    assert raised.value.brief == "cluster l4lab is on given hosts"
    assert raised.value.reason == (
        "it was made with driver ssh, and these settings say driver local"
    )
    assert raised.value.resolution.startswith("use --config FILE")
    assert world.did() == done
    assert given().record()["driver"] == "ssh"


def test_given_hosts_are_not_taken_for_local_machines(world, given):
    world.cluster().up()
    with pytest.raises(UsageError, match="is on local machines"):
        given().down()
    assert world.cluster().down()


def test_hosts_are_given_back_by_their_own_settings(world, given):
    cluster = given()
    cluster.up()
    assert cluster.down()
    assert [line for line in world.did() if ".yml" in line] == [
        "site.yml with inventory",
        "reset.yml with inventory",
        "leave.yml with inventory",
    ]
    assert not cluster.paths.root.exists()


def test_a_record_that_names_no_driver_fits(given):
    cluster = given()
    cluster.up()
    record = cluster.record()
    del record["driver"]
    cluster.paths.record.write_text(json.dumps(record))
    assert cluster.down()


def test_given_hosts_keep_the_proxy_mode_they_were_given(given):
    given().up()
    given().change_proxy("nftables")
    given().up()
    assert mode(given()) == "nftables"
    given(proxy="nftables").up()
    with pytest.raises(UsageError, match="have changed"):
        given(proxy="ipvs").up()


def test_a_cluster_that_was_taken_off_its_hosts_binds_the_next_one_to_nothing(given):
    given().up()
    given().change_proxy("nftables")
    kept = stack_file(given().paths, "clusterip")
    kept.write_text("{}")
    given().down(keep_disks=True)
    assert not kept.exists()
    given().up()
    assert mode(given()) == "ipvs"


def test_a_damaged_record_does_not_keep_down_away(world):
    cluster = world.cluster()
    cluster.up()
    cluster.paths.record.write_text("")
    assert cluster.down()
