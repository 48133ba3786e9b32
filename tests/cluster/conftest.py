"""One real cluster for all tests of this folder, made by the product itself and taken down after.

Its name is its own, so a cluster somebody works with is left alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from l4lab import stack
from l4lab.cluster import Cluster
from l4lab.errors import L4labError
from l4lab.lab import get_lab
from l4lab.progress import Progress
from l4lab.settings import parse
from l4lab.shell import Shell
from tests.cluster.host import fingerprint, into_host

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
NAME = "l4lab-test"
LAST = ("test_life.py", "test_full_disk.py", "test_smoke.py", "test_each.py", "test_ssh.py")
# The lab that one of them needs is on the cluster by then.
AFTER = {"test_report.py": "test_path.py"}


def pytest_collection_modifyitems(items):
    """One lab's tests stand together, for deploying takes longer than most; ``down`` comes late.

    Only those come after it that make other machines, which have the host for themselves then.
    """
    order = {lab: rank for rank, lab in enumerate(dict.fromkeys(map(lab_of, items)))}
    order[None] = len(order)
    here = [item for item in items if item.path.parent == HERE]
    slots = [place for place, item in enumerate(items) if item.path.parent == HERE]
    here.sort(
        key=lambda item: (
            LAST.index(item.path.name) + 1 if item.path.name in LAST else 0,
            AFTER.get(item.path.name, item.path.name),
            item.path.name,
            order[lab_of(item)] if item.path.name == "test_labs.py" else 0,
        )
    )
    for place, item in zip(slots, here, strict=True):
        items[place] = item


def lab_of(item):
    """The name of the lab an item is for; None for what is for all of them, which comes last."""
    return item.callspec.params.get("lab") if hasattr(item, "callspec") else None


@pytest.fixture(scope="session")
def host_before():
    """The host before any machine was made."""
    return fingerprint()


@pytest.fixture(scope="session")
def cluster(host_before):
    """The cluster, not yet up; ended when the tests are over."""
    found = Cluster(PROJECT, parse({"cluster": {"name": NAME}}, "tests"), Progress())
    found.down()
    # What a class of a run that was cut off had found outlives its cluster.
    shutil.rmtree(found.paths.root, ignore_errors=True)
    yield found
    if not os.environ.get("L4LAB_KEEP"):
        found.down()


@pytest.fixture(scope="session")
def first_up(cluster):
    """What the first ``up`` did."""
    return cluster.up()


@pytest.fixture(scope="session")
def access(cluster, first_up):
    """What reaches the running cluster; from here on this process is in the lab network."""
    return cluster.enter()


class Bench:
    """The cluster with at most one lab on it, which stays from one test to the next."""

    def __init__(self, access):
        self.access = access
        self.lab = None

    def put(self, name):
        """That lab and no other; what is wrong with it now, an earlier test did."""
        if not self.lab or self.lab.name != name:
            self.clear()
            self.lab = get_lab(PROJECT, name)
            stack.deploy(self.lab, self.access)
        return self.lab

    def clear(self):
        if self.lab:
            stack.destroy(self.lab, self.access)
        self.lab = None


@pytest.fixture(scope="session")
def bench(access):
    bench = Bench(access)
    yield bench
    # Where it was reset or taken down by then, there is nothing left to destroy.
    with contextlib.suppress(L4labError):
        bench.clear()


@pytest.fixture
def no_lab(bench):
    """Nothing of an earlier test's lab is on the cluster."""
    bench.clear()


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("guides") / "l4lab.toml"
    path.write_text(f'[cluster]\nname = "{NAME}"\n')
    return path


@pytest.fixture
def shell(config):
    """One shell for all of a guide, in the host's own network, as a learner has it."""
    with Shell(PROJECT, env={"L4LAB_CONFIG": str(config)}, before=into_host()) as shell:
        yield shell
