"""When a cluster is at rest: a fingerprint that is taken too early differs for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from l4lab.proof import Fingerprint, Objects, Scope, fingerprints
from l4lab.settings import parse
from l4lab.state import Access, paths_of

DNS = "IPVS TCP 10.10.0.10:53"
WRITTEN = "-s rr\nkube-system/coredns:53 -m -w 1"
EMPTY = "-s rr"


def item(kind, name, *, status=None, **spec):
    metadata = {"name": name, "namespace": "kube-system"}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": status or {}}


def objects(ready):
    return [
        item("Service", "kube-dns", clusterIP="10.10.0.10"),
        item("Deployment", "coredns", replicas=1, status={"readyReplicas": ready}),
        item("DaemonSet", "kube-proxy", status={"numberReady": 3, "desiredNumberScheduled": 3}),
    ]


class World:
    """Looks, one after the other; the last one stays."""

    def __init__(self, monkeypatch, tmp_path):
        self.looks = []
        self.taken = 0
        self.clock = 0.0
        self.access = Access(
            topology=parse({}, "none").topology,
            paths=paths_of(tmp_path, "l4lab"),
            kubectl=Path("k"),
            pulumi=Path("p"),
        )
        monkeypatch.setattr(fingerprints, "_look", self.look)
        monkeypatch.setattr(fingerprints.time, "sleep", lambda _seconds: None)
        monkeypatch.setattr(fingerprints.time, "monotonic", self.monotonic)

    def now(self):
        return self.looks[min(self.taken, len(self.looks)) - 1]

    def monotonic(self):
        self.clock += 1
        return self.clock

    def look(self, access, scopes):
        self.taken += 1
        rows, ready = self.now()
        facts = {node.name: dict(rows) for node in access.topology.nodes}
        found = [Fingerprint(scope=str(scope), taken=1.0, facts=facts) for scope in scopes]
        return found, Objects(objects(ready))

    def settle(self):
        found = fingerprints.settled(self.access, scope=Scope.cluster())
        return found.facts["k8s-node01"]


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "early",
    [({}, 1), ({DNS: EMPTY}, 1), ({DNS: EMPTY}, 0), ({DNS: WRITTEN}, 0)],
    ids=["no rules", "no backend yet", "nothing ready", "not ready any more"],
)
def test_two_equal_looks_are_not_enough(world, early):
    world.looks = [early, early, early, ({DNS: WRITTEN}, 1)]
    assert world.settle() == {DNS: WRITTEN}
    assert world.taken >= 4


def test_a_service_without_pods_elsewhere_is_no_reason_to_wait(world):
    world.looks = [({DNS: WRITTEN, "IPVS TCP 10.10.9.9:80": EMPTY}, 1)]
    world.settle()
    assert world.taken == 2


def test_the_last_look_counts_when_the_time_is_up(world):
    world.looks = [({DNS: EMPTY}, 0)]
    assert world.settle() == {DNS: EMPTY}
    assert world.clock >= 90


def test_what_gets_fewer_is_waited_for_anew_and_what_stays_is_not(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(fingerprints.time, "monotonic", lambda: clock[0])
    waiting = fingerprints.Patience(10)

    def over(now, count):
        clock[0] = now
        return waiting.over(count)

    assert not over(1, 5)
    assert not over(9, 4)  # one has gone: ten more from here
    assert not over(18, 6)  # more are no progress
    assert not over(19, 4)
    assert over(19.5, 4)
