"""The catalogue of breaks for real clusters names checks there are, and leaves none out."""

import pytest

from l4lab.checks import Check, declared
from labs.clusterip import checks
from tests.cluster.faults import BREAKS

IDS = {check.id for check in declared(checks, Check)}
# No break reaches these on a running cluster: they are seen red while the lab is not deployed.
ONLY_WITHOUT_THE_LAB = {"service-address", "pod-resolver"}


@pytest.mark.parametrize("fault", BREAKS, ids=str)
def test_a_break_names_checks_there_are_and_none_twice(fault):
    named = [fault.explains, *(fault.red - {fault.explains}), *fault.error, *fault.green]
    assert set(named) <= IDS
    assert len(named) == len(set(named))


def test_every_check_is_turned_red_by_some_break():
    red = {name for fault in BREAKS for name in (fault.explains, *fault.red)}
    assert IDS - red == ONLY_WITHOUT_THE_LAB


def test_names_of_breaks_are_unique():
    assert len({str(fault) for fault in BREAKS}) == len(BREAKS)
