"""One real cluster for all tests of this folder, made by the product itself and taken down after.

Its name is its own, so a cluster somebody works with is left alone.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from l4lab import stack
from l4lab.cluster import Cluster
from l4lab.lab import get_lab
from l4lab.progress import Progress
from l4lab.settings import parse
from tests.cluster.host import fingerprint

PROJECT = Path(__file__).parents[2]
NAME = "l4lab-test"


def pytest_collection_modifyitems(items):
    """Tests of one lab stand together: deploying and destroying it takes longer than most."""
    labs = [item for item in items if item.path.name == "test_labs.py"]
    order = list(dict.fromkeys(lab_of(item) for item in labs))
    labs.sort(key=lambda item: order.index(lab_of(item)))
    slots = [place for place, item in enumerate(items) if item.path.name == "test_labs.py"]
    for place, item in zip(slots, labs, strict=True):
        items[place] = item


def lab_of(item):
    return item.callspec.params["lab"]


@pytest.fixture(scope="session")
def host_before():
    """The host before any machine was made."""
    return fingerprint()


@pytest.fixture(scope="session")
def cluster(host_before):
    """The cluster, not yet up; ended when the tests are over."""
    found = Cluster(PROJECT, parse({"cluster": {"name": NAME}}, "tests"), Progress())
    found.down()
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


@pytest.fixture
def deployed(access):
    """Deploys labs by name; they are destroyed when the test is over."""
    with contextlib.ExitStack() as undo:

        def deploy(name):
            lab = get_lab(PROJECT, name)
            undo.callback(stack.destroy, lab, access)
            stack.deploy(lab, access)
            return lab

        yield deploy
