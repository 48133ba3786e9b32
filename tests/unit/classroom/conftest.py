"""A class with a cluster for each student, over clusters of a fake driver."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from l4lab.classroom import each
from l4lab.classroom.clusters import Clusters
from l4lab.classroom.model import EACH, Classroom, Limits, Student
from l4lab.machines import host
from l4lab.place import COURSE
from l4lab.proof import Fingerprint, kept

PROJECT = Path(__file__).parents[3]


def free(**changes):
    values = {"memory_mib": 1 << 20, "shared_mib": 1 << 20, "disk_gib": 1000.0}
    folders = {"shared": Path("/memory"), "disk": Path("/")}
    return host.Free(**{**values, **changes}, **folders)


@pytest.fixture
def roomy(monkeypatch):
    monkeypatch.setattr(host, "free", lambda _below: free())


@pytest.fixture
def taken(monkeypatch):
    """Fingerprints of clusters at rest: in which process, and of which cluster."""

    def settled(access, *, scope):
        (access.paths.root / "entered").write_text(str(os.getpid()))
        return Fingerprint(scope=str(scope), taken=1.0, facts={"api": {}})

    monkeypatch.setattr(kept, "settled", settled)


@pytest.fixture
def class_of(world, roomy, taken):
    """Makes a class on the fake driver's clusters."""
    (world.project / "labs").symlink_to(PROJECT / "labs")

    def making(*ids, settings=None):
        base = world.cluster()
        students = []
        for one in ids:
            wanted = settings or base.settings
            own = replace(wanted, topology=replace(wanted.topology, name=f"l4lab-{one}"))
            students.append(Student(id=one, name=one.title(), place=COURSE, settings=own))
        classroom = Classroom(
            name="test",
            students=tuple(students),
            labs=("clusterip",),
            limits=Limits(at_once=2),
            shape=EACH,
        )
        return Clusters(classroom=classroom, base=base, progress=base.progress)

    return making


@pytest.fixture
def klass(class_of):
    """Ann and bob, whose clusters are up."""
    made = class_of("ann", "bob")
    assert all(one.ok for one in each.up(made, made.classroom.students))
    return made


def everybody(clusters):
    return clusters.classroom.students


def notes(outcomes):
    return {one.student: (one.ok, one.note) for one in outcomes}
