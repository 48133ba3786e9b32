"""The life of a cluster over a full fake driver: order, records, locks, what a failure leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml

from l4lab.errors import LockedError, MachineError, PlaybookError, UsageError
from l4lab.origin import MODULES, Origin
from l4lab.state import paths_of

HOLD = """
import sys, time
from pathlib import Path
from l4lab.state import lock
with lock(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_up_is_bundle_record_machines_inventory_playbook(world):
    cluster = world.cluster()
    assert cluster.up().changed == 2
    assert world.did() == [
        "bundle",
        "up with record",
        "snapshot of machines 10.10.0.0/16",
        "site.yml with inventory",
    ]
    assert cluster.driver.entered
    titles = [line.split()[1] for line in world.shown.getvalue().splitlines()]
    assert titles == ["check", "machines", "cluster"]
    assert "2 changed" in world.shown.getvalue()


def test_the_record_says_what_was_made_and_keeps_its_date(world):
    cluster = world.cluster()
    cluster.up()
    first = cluster.record()
    assert (first["cluster"], first["driver"]) == ("l4lab", "fake")
    assert first["bundle"] == str(world.project / "bundle")
    assert first["shape"]["machines"]["k8s-node01"] == ["worker", "192.168.128.21"]
    assert first["shape"]["networks"]["services"] == "10.10.0.0/16"
    assert cluster.paths.record.stat().st_mode & 0o777 == 0o600
    cluster.up()
    assert cluster.record() == first


def test_the_bundle_is_the_one_of_the_settings(world):
    world.cluster().up()
    assert world.origin == MODULES
    world.cluster(bundle={"from": "upstream"}).up()
    assert world.origin == Origin(maker="upstream")


def test_the_record_is_there_even_when_machines_cannot_be_made(world, monkeypatch):
    cluster = world.cluster()

    def fails(_bundle, _doing):
        raise MachineError("no")

    monkeypatch.setattr(cluster.driver, "up", fails)
    with pytest.raises(MachineError):
        cluster.up()
    assert cluster.record()["cluster"] == "l4lab"
    assert cluster.down()
    assert "down keep_disks=False" in world.did()


def test_a_host_that_cannot_is_refused_before_anything_is_made(world):
    cluster = world.cluster()
    cluster.driver.hinders = ["too little memory", "no tun"]
    with pytest.raises(MachineError) as raised:
        cluster.up()
    assert raised.value.reason == "too little memory; no tun"
    assert world.did() == []
    assert not cluster.paths.root.exists()


CHANGES = {
    "network": {"network": {"services": "10.20.0.0/16"}},
    "machines": {
        "machines": {
            "k8s-master01": {},
            "k8s-node01": {"address": "192.168.128.99"},
        }
    },
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_made_cluster_keeps_its_shape(world, change):
    world.cluster().up()
    done = world.did()
    other = world.cluster(**change)
    with pytest.raises(UsageError) as raised:
        other.up()
    assert raised.value.brief == "the settings of cluster l4lab have changed"
    assert world.did() == done
    other.down()
    other.up()  # after down there is nothing that could be of another shape


def test_more_memory_is_no_other_shape(world):
    world.cluster().up()
    memory = {name: {} for name in ("k8s-master01", "k8s-node01", "k8s-node02", "mariadb01")}
    memory["k8s-node01"] = {"memory": 3000}
    world.cluster(machines=memory).up()


def test_disks_without_their_base_are_refused_and_down_still_works(world):
    cluster = world.cluster()
    cluster.up()
    machine = cluster.paths.machines / "k8s-node01"
    machine.mkdir(parents=True, exist_ok=True)
    (machine / "disk.cow").touch()
    (machine / "disk.json").write_text(f'{{"base": "{world.project / "gone" / "base.img"}"}}')
    done = world.did()
    with pytest.raises(UsageError) as raised:
        cluster.up()
    assert raised.value.brief == "the disks of cluster l4lab cannot be read any more"
    assert world.did() == done
    assert cluster.down()
    cluster.up()


def test_a_failed_playbook_keeps_the_machines_and_up_goes_on(world):
    cluster = world.cluster()
    world.failure = PlaybookError("site.yml failed", "k8s-node01: t: no")
    with pytest.raises(PlaybookError):
        cluster.up()
    assert all(status.running for status in cluster.status())
    assert "✗ cluster" in world.shown.getvalue()
    with pytest.raises(UsageError) as raised:
        cluster.enter()
    assert raised.value.reason == "the last up did not come to its end"
    world.failure = None
    cluster.up()
    assert cluster.enter().kubectl == world.project / "bundle" / "bin" / "kubectl"


@pytest.fixture
def other(world):
    """Another l4lab that works on the cluster."""
    path = world.cluster().paths.root / "lock"
    path.parent.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(10)


@pytest.mark.parametrize("verb", ["up", "down"])
def test_two_at_once_are_refused_and_the_other_is_named(world, other, verb):
    cluster = world.cluster()
    with pytest.raises(LockedError) as raised:
        getattr(cluster, verb)()
    assert raised.value.brief == "cluster l4lab is in use"
    assert f"process {other.pid}: " in raised.value.reason
    assert not [line for line in world.did() if line != "bundle"]
    # A dead holder is no holder.
    other.send_signal(signal.SIGKILL)
    other.wait(10)
    getattr(cluster, verb)()


def test_down_leaves_nothing(world):
    cluster = world.cluster()
    assert not cluster.down()
    cluster.up()
    (cluster.paths.root / "pulumi" / "deep").mkdir(parents=True)
    (cluster.paths.root / "link").symlink_to(cluster.paths.root / "pulumi")
    assert cluster.down()
    assert not (world.project / ".l4lab").exists()
    assert not cluster.down()


def test_down_keeps_what_a_class_was_found_to_have_done_and_nothing_else(world):
    cluster = world.cluster()
    results = cluster.paths.class_results
    for file in (results / "ann" / "clusterip.json", cluster.paths.classroom / "ann" / "lock"):
        file.parent.mkdir(parents=True)
        file.write_text("{}")
    assert not cluster.down(), "a class alone is no cluster"
    cluster.up()
    assert cluster.down()
    left = [path for path in cluster.paths.root.rglob("*") if path.is_file()]
    assert left == [results / "ann" / "clusterip.json"]
    assert sorted(cluster.paths.root.iterdir()) == [cluster.paths.classroom]
    assert not cluster.down()
    cluster.up()
    assert all(status.running for status in cluster.status())


def test_down_leaves_other_clusters_alone(world):
    one, two = world.cluster(), world.cluster(cluster={"name": "two"})
    one.up()
    two.up()
    one.down()
    assert not one.paths.root.exists()
    assert all(status.running for status in two.status())
    assert two.access().paths == paths_of(world.project, "two")


def test_down_with_kept_disks_can_be_gone_on_from(world):
    cluster = world.cluster()
    cluster.up()
    assert cluster.down(keep_disks=True)
    assert (cluster.paths.machines / "k8s-node01" / "disk.cow").exists()
    assert not any(status.running for status in cluster.status())
    with pytest.raises(MachineError):
        cluster.access()
    cluster.up()
    assert all(status.running for status in cluster.status())


def test_nothing_can_be_reached_before_up(world):
    cluster = world.cluster()
    for verb in (cluster.access, cluster.enter, cluster.reset, cluster.reset_plan):
        with pytest.raises(UsageError) as raised:
            verb()
        assert (raised.value.brief, raised.value.resolution) == (
            "the cluster is not up",
            "./l4lab up",
        )
    assert world.did() == []


def test_a_dead_machine_is_named(world):
    cluster = world.cluster()
    cluster.up()
    (cluster.paths.machines / "k8s-node02" / "on").unlink()
    with pytest.raises(MachineError) as raised:
        cluster.access()
    assert str(raised.value) == "k8s-node02 does not run\n  why:  off\n  next: ./l4lab up"


def test_the_record_is_json_that_others_can_read(world):
    cluster = world.cluster()
    cluster.up()
    assert json.loads(cluster.paths.record.read_text()) == cluster.record()


def test_a_running_cluster_keeps_the_proxy_mode_it_was_given(world):
    def mode(**settings):
        cluster = world.cluster(**settings)
        cluster.up()
        return yaml.safe_load(cluster.paths.inventory.read_text())["all"]["vars"][
            "l4lab_proxy_mode"
        ]

    nftables = {"cluster": {"proxy": "nftables"}}
    assert mode() == "ipvs"
    with pytest.raises(UsageError, match="have changed") as refused:
        world.cluster(**nftables).up()
    assert refused.value.resolution.startswith("./l4lab proxy nftables")
    world.cluster().change_proxy("nftables")
    assert world.did()[-1] == "site.yml with inventory"
    assert mode() == "nftables"
    assert mode(**nftables) == "nftables"
    # The settings have said nftables since: now ipvs is a change of theirs.
    with pytest.raises(UsageError, match="have changed"):
        world.cluster().up()
    world.cluster(**nftables).reset()
    assert mode() == "ipvs"


def test_a_change_of_the_proxy_mode_keeps_the_shape_too(world):
    world.cluster().up()
    done, record = world.did(), world.cluster().record()
    inventory = world.cluster().paths.inventory.read_text()
    with pytest.raises(UsageError, match="have changed"):
        world.cluster(**CHANGES["network"]).change_proxy("nftables")
    assert (world.did(), world.cluster().record()) == (done, record)
    assert world.cluster().paths.inventory.read_text() == inventory
