"""The catalogue of breaks for real clusters names checks there are."""

import importlib
from collections import Counter
from pathlib import Path

import pytest

from l4lab.checks import Check, declared
from l4lab.lab import find_labs
from tests.cluster import catalogue

LABS = find_labs(Path(__file__).parents[3])
BREAKS = [
    (name, fault)
    for name in LABS
    for fault in importlib.import_module(f"tests.cluster.faults.{name.replace('-', '_')}").BREAKS
]


def ids(name):
    """The checks that hold in the mode that breaks are made in."""
    checks = declared(LABS[name].checks, Check)
    return {check.id for check in checks if check.mode in (None, "ipvs")}


@pytest.mark.parametrize(("name", "fault"), BREAKS, ids=str)
def test_a_break_names_checks_there_are_and_none_twice(name, fault):
    named = [fault.explains, *(fault.red - {fault.explains}), *fault.error, *fault.green]
    assert set(named) <= ids(name)
    assert len(named) == len(set(named))


def test_every_check_of_clusterip_is_turned_red_by_some_break():
    faults = [fault for name, fault in BREAKS if name == "clusterip"]
    red = {name for fault in faults for name in (fault.explains, *fault.red)}
    # No break reaches these on a running cluster: they are seen red while the lab is not deployed.
    assert ids("clusterip") - red == {"service-address", "pod-resolver"}


def test_names_of_a_labs_breaks_are_unique():
    assert [
        pair for pair, times in Counter((n, str(f)) for n, f in BREAKS).items() if times > 1
    ] == []


def test_the_table_in_the_documentation_is_of_these_breaks():
    assert catalogue.FILE.read_text() == catalogue.table()
