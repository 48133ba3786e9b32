"""The program of a plain ``pulumi up``: the lab that the stack's name says, and its checks."""

from __future__ import annotations

import os
from pathlib import Path

from l4lab import settings
from l4lab.checks import explain, run_lab
from l4lab.checks.declare import declared
from l4lab.checks.model import Check
from l4lab.cluster import Cluster
from l4lab.components.checked import Proof, Tell, declare
from l4lab.components.surroundings import given, surroundings
from l4lab.errors import CheckError, UsageError
from l4lab.lab import Lab, get_lab
from l4lab.state import Access

PROJECT = Path(__file__).resolve().parents[2]
CLUSTER = "L4LAB_CLUSTER"
"""The variable with the name of the cluster that a shell works on; set by ``l4lab env``."""
CONFIG = "L4LAB_CONFIG"


def run(stack: str) -> None:
    """Declare the lab of a stack, ``clusterip`` for ``clusterip`` and for ``clusterip.alice``.

    Raises:
        UsageError: There is no such lab or student, or the shell's cluster is not up.
        SettingsError: The settings file is wrong.
    """
    lab_name, _, student = stack.partition(".")
    lab = get_lab(PROJECT, lab_name)
    around = surroundings()
    if student:
        lab = lab.at(around.paths.place_of(student))
    with given(around.topology, around.paths, lab.place):
        _declare(lab)


def _declare(lab: Lab) -> None:
    name = os.environ.get(CLUSTER)
    if not name:
        reason = 'this shell knows no cluster of l4lab\'s; eval "$(./l4lab env)" makes it know'
        declare(lab.name, lab.program, why_not=reason)
        return
    access = _access(name)
    proof = Proof(
        names=tuple(check.id for check in declared(lab.checks, Check)),
        run=lambda tell: _prove(lab, access, tell),
        owed=access.paths.pulumi / f"{lab.stack}.unproved",
    )
    declare(lab.name, lab.program, proof=proof)


def _access(name: str) -> Access:
    named = os.environ.get(CONFIG)
    cluster = Cluster(PROJECT, settings.load(PROJECT / named if named else None, PROJECT))
    known = cluster.settings.topology.name
    if known != name:
        raise UsageError(
            f"this shell was prepared for cluster {name}",
            f"the settings name cluster {known}",
            'eval "$(./l4lab env)"',
        )
    return cluster.access()


def _prove(lab: Lab, access: Access, tell: Tell) -> str:
    report = run_lab(
        lab, access, exercises=False, on_result=lambda one: tell(f"{one.state} {one.id}")
    )
    if report.passed:
        return report.summary()
    red = [explain(result) for result in report.results if not result.green]
    raise CheckError("\n\n".join(["", *red, report.summary()]))
