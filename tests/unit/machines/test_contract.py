"""What every driver promises, for every driver there is."""

from __future__ import annotations

import inspect

import pytest

from l4lab import machines
from l4lab.errors import MachineError, UsageError
from l4lab.machines.driver import Driver, MachineStatus
from l4lab.machines.local import LocalDriver
from l4lab.machines.ssh import SshDriver
from l4lab.settings import DRIVERS, Settings, parse
from l4lab.state import paths_of
from tests.unit.machines.fake import FakeDriver
from tests.unit.machines.test_demands import MACHINES

MAKERS = [LocalDriver, FakeDriver]
# The last makes nothing: its hosts may well run before ``up`` and do so after ``down``.
DRIVER_CLASSES = [*MAKERS, SshDriver]
# What a settings file must say for a driver beside its name.
NEEDED = {"ssh": {"network": {"nodes": "192.168.9.0/24"}, "machines": MACHINES}}
MEMBERS = ["obstacles", "up", "enter", "refuse_paused", "status", "down"]


@pytest.fixture(params=MAKERS, ids=lambda kind: kind.__name__)
def driver(request, tmp_path):
    settings = parse({}, "none")
    return request.param(settings.topology, paths_of(tmp_path, "one"))


def test_every_registered_driver_is_under_this_contract(tmp_path):
    assert tuple(machines.DRIVERS) == DRIVERS
    for name in machines.DRIVERS:
        settings = parse({"cluster": {"driver": name}, **NEEDED.get(name, {})}, "none")
        made = machines.get_driver(settings, paths_of(tmp_path, "one"))
        assert type(made) in DRIVER_CLASSES
        assert made.name == name


def test_an_unknown_driver_is_answered_with_the_known_ones(tmp_path):
    good = parse({}, "none")
    settings = Settings(driver="vmware", proxy=good.proxy, topology=good.topology)
    with pytest.raises(UsageError) as raised:
        machines.get_driver(settings, paths_of(tmp_path, "one"))
    assert raised.value.reason == "the drivers are: local, ssh"


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("kind", DRIVER_CLASSES, ids=lambda kind: kind.__name__)
def test_members_are_called_alike(kind, member):
    wanted = inspect.signature(getattr(Driver, member)).parameters.values()
    there = inspect.signature(getattr(kind, member)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in there] == [
        (p.name, p.kind, p.default) for p in wanted
    ]


def test_obstacles_are_texts(driver):
    assert all(isinstance(text, str) and text for text in driver.obstacles())


def test_status_before_up_names_all_machines_in_order(driver):
    found = driver.status()
    assert all(isinstance(status, MachineStatus) and status.note for status in found)
    assert [(status.name, status.running) for status in found] == [
        (machine.name, False) for machine in driver.topology.machines
    ]


def test_there_is_nothing_to_enter_before_up(driver):
    with pytest.raises(MachineError) as raised:
        driver.enter()
    assert raised.value.resolution == "./l4lab up"


def test_nothing_stands_still_before_up(driver):
    driver.refuse_paused()


@pytest.mark.parametrize("keep_disks", [False, True])
def test_down_of_nothing_leaves_nothing_and_can_be_repeated(driver, keep_disks):
    driver.down(keep_disks=keep_disks)
    driver.down(keep_disks=keep_disks)
    assert not driver.paths.machines.exists()
