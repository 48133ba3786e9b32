"""What a reset has nodes drop, and that it never guesses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from l4lab.command import Result
from l4lab.proof import Fingerprint, compare, mends
from l4lab.settings import parse
from l4lab.state import Access, paths_of

LOGS = "/var/log/pods/default_client_2905fa92-767a-4453-ada7-8ce235b5e942"
LEFT = {
    f"file {LOGS}/": "there",
    "conntrack tcp to gone Service 10.10.0.7:80": "there",
    "IPVS UDP 203.0.113.7:81": "-s wrr",
}


def differences(**facts):
    nothing = Fingerprint(scope="cluster", taken=1.0, facts={})
    return compare(nothing, Fingerprint(scope="cluster", taken=2.0, facts=facts)).differences


@pytest.fixture
def ran(monkeypatch):
    done = []

    def run(argv, **_options):
        done.append([str(word) for word in argv[3:]])
        return Result(argv=(), rc=0, stdout="", stderr="", seconds=0)

    monkeypatch.setattr(mends, "run", run)
    return done


@pytest.fixture
def access(tmp_path):
    topology = parse({}, "none").topology
    return Access(
        topology=topology, paths=paths_of(tmp_path, "l4lab"), kubectl=Path("k"), pulumi=Path("p")
    )


def test_logs_and_connections_of_what_is_gone_are_dropped_and_nothing_else(ran, access):
    left = differences(**{"k8s-node01": LEFT})
    mends.sweep(access, left, left)
    assert ran == [
        [
            "k8s-node01",
            f"{{ conntrack -D -p tcp --orig-dst 10.10.0.7; rm -r {LOGS}; }} >/dev/null 2>&1; true",
        ]
    ]


def test_it_is_root_who_drops_them_whoever_logs_in(ran, access):
    own = tuple(replace(machine, user="admin") for machine in access.topology.machines)
    given = replace(access, topology=replace(access.topology, machines=own))
    left = differences(**{"k8s-node01": LEFT})
    mends.sweep(given, left, left)
    [[name, script]] = ran
    assert name == "k8s-node01"
    assert "{ sudo -n -- conntrack -D" in script
    assert f"; sudo -n -- rm -r {LOGS};" in script


def test_what_only_the_last_look_saw_is_left_alone(ran, access):
    mends.sweep(access, (), differences(**{"k8s-node01": LEFT}))
    elsewhere = differences(**{"k8s-node02": LEFT})
    mends.sweep(access, elsewhere, differences(**{"k8s-node01": LEFT}))
    assert ran == []
