"""``class up`` with a cluster for each student: what it makes, and what it refuses before that."""

import os

import pytest

from l4lab.classroom import each, results
from l4lab.classroom.clusters import fitting
from l4lab.errors import MachineError, PlaybookError, UsageError
from l4lab.machines import host
from l4lab.proof import kept
from l4lab.settings import load, parse
from l4lab.state import read_json, write_json
from tests.unit.classroom.conftest import everybody, free, notes
from tests.unit.machines.fake import LOG

ROOM = 7424  # MiB of the usual cluster


def test_up_makes_a_cluster_for_each_beside_the_others(world, klass):
    assert sorted(world.did()) == sorted(
        [
            "bundle",  # once before all of them, and once by each
            *["bundle", "up with record", "snapshot of machines 10.10.0.0/16"] * 2,
            *["site.yml with inventory"] * 2,
        ]
    )
    assert not klass.base.record(), "the class's own name is only a name"
    for student in everybody(klass):
        state = klass.state(student)
        assert state.root.name == f"l4lab-{student.id}"
        assert load(state.own_settings, world.project) == student.settings
        assert state.own_settings.stat().st_mode & 0o777 == 0o600
        assert read_json(state.owner) == {"class_of": "l4lab", "student": student.id}
        assert kept.stack_file(state, each.CLEAN).is_file()
        # A process enters one cluster's network for good: the one that asks must not.
        assert int((state.root / "entered").read_text()) != os.getpid()
    assert results.failed_last(klass.paths, "up") == []
    assert [klass.wanted(one).driver.neighbours for one in everybody(klass)] == [0, 1]


def test_what_fails_for_one_stops_nobody_and_can_be_asked_again(world, class_of, monkeypatch):
    clusters = class_of("ann", "bob")
    run = world.run_playbook

    def fails_for_ann(playbook, paths, **more):
        if paths.root.name == "l4lab-ann":
            raise PlaybookError("site.yml failed", "no", "first ./l4lab reset, then ./l4lab up")
        return run(playbook, paths, **more)

    monkeypatch.setattr("l4lab.cluster.run_playbook", fails_for_ann)
    ann, bob = each.up(clusters, everybody(clusters))
    assert (ann.ok, bob.ok) == (False, True)
    assert ann.next == (
        "first ./l4lab reset --config .l4lab/l4lab-ann/settings.toml, "
        "then ./l4lab class up --only ann"
    )
    assert results.failed_last(clusters.paths, "up") == ["ann"]
    monkeypatch.setattr("l4lab.cluster.run_playbook", run)
    assert [one.ok for one in each.up(clusters, everybody(clusters)[:1])] == [True]
    assert results.failed_last(clusters.paths, "up") == []


def test_a_fingerprint_that_cannot_be_taken_is_told(class_of, monkeypatch):
    def settled(_access, *, scope):
        raise MachineError("node01 cannot be read", str(scope))

    monkeypatch.setattr(kept, "settled", settled)
    clusters = class_of("ann")
    [ann] = each.up(clusters, everybody(clusters))
    assert ann.ok
    assert "reset will not be able to compare: node01 cannot be read" in ann.note


@pytest.mark.parametrize(
    ("left", "told", "fit"),
    [
        ({"memory_mib": 2 * ROOM}, "want 22272 MiB of memory, and 14848 are free", 2),
        ({"memory_mib": ROOM - 1}, "and 7423 are free", 0),
        ({"shared_mib": 3 * ROOM - 1}, "and 22271 are free in /memory", 2),
        ({"disk_gib": 11.9}, "want 12 GiB of disk, and 11 are free below /", 2),
    ],
)
def test_more_than_the_host_holds_is_refused_before_anything_is_changed(
    class_of, monkeypatch, left, told, fit
):
    monkeypatch.setattr(host, "free", lambda _below: free(**left))
    clusters = class_of("ann", "bob", "cy")
    with pytest.raises(MachineError) as failed:
        each.up(clusters, everybody(clusters))
    assert failed.value.reason.startswith("3 clusters ")
    assert f"{told}: {fit} of them fit" in failed.value.reason
    assert ("class up --only" in failed.value.resolution) == bool(fit)
    assert not (clusters.base.project / LOG).exists()
    assert not (clusters.base.project / ".l4lab").exists()


def test_as_many_as_fit_to_the_last_byte(class_of, monkeypatch):
    left = free(memory_mib=2 * ROOM, shared_mib=2 * ROOM, disk_gib=8.0)
    monkeypatch.setattr(host, "free", lambda _below: left)
    clusters = class_of("ann", "bob")
    clusters.refuse_too_many(everybody(clusters))
    assert fitting([5, 5, 1], 9) == 1
    assert fitting([], 0) == 0


def test_clusters_that_are_up_have_their_part_and_keep_it(klass, class_of, monkeypatch):
    more = class_of("ann", "bob", "cy")
    # The fake's machines have taken nothing yet: all of it is still theirs to take.
    monkeypatch.setattr(host, "free", lambda _below: free(memory_mib=3 * ROOM - 1))
    more.refuse_too_many(everybody(more)[:2])
    with pytest.raises(MachineError) as failed:
        more.refuse_too_many(everybody(more))
    assert "1 clusters want 7424 MiB of memory, and 7423 are free" in failed.value.reason


def test_given_hosts_need_no_memory_of_this_one(class_of, monkeypatch):
    machines = {
        "master": {"role": "control_plane", "address": "192.168.128.11"},
        "node": {"role": "worker", "address": "192.168.128.21"},
    }
    given = parse({"cluster": {"driver": "ssh"}, "machines": machines}, "none")
    monkeypatch.setattr(host, "free", lambda _below: free(memory_mib=0, disk_gib=0.0))
    clusters = class_of("ann", settings=given)
    clusters.refuse_too_many(everybody(clusters))


def test_a_cluster_that_is_not_the_classs_is_left_alone(world, class_of):
    mine = world.cluster(cluster={"name": "l4lab-ann"})
    mine.up()
    clusters = class_of("ann", "bob")
    for verb in (each.up, each.down):
        found = notes(verb(clusters, everybody(clusters)))
        assert not found["ann"][0]
        assert found["ann"][1].startswith("cluster l4lab-ann is not the class's")
        assert found["bob"][0]
    assert all(status.running for status in mine.status())


def test_who_has_a_place_on_a_shared_cluster_gives_it_back_first(class_of):
    clusters = class_of("ann")
    write_json(
        clusters.paths.classroom / "ann" / "place.json",
        {"student": "ann", "namespace": "ann", "first_node_port": 30400},
    )
    with pytest.raises(UsageError, match="a place on a shared cluster"):
        each.up(clusters, everybody(clusters))
