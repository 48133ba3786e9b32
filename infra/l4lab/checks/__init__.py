"""Proving that a deployed lab works: the same checks for the command line, Pulumi and pytest."""

from l4lab.checks.admission import Admission
from l4lab.checks.beside import side_by_side
from l4lab.checks.declare import check, declared, exercise
from l4lab.checks.look import Look, raise_if_stuck
from l4lab.checks.model import (
    API,
    DBHOST,
    HOST,
    NODES,
    CannotMeasure,
    Check,
    CheckResult,
    Exercise,
    Fault,
    Hop,
    Hopeless,
    NotHere,
    Seen,
    State,
    Traffic,
    Unmet,
    Vantage,
    Where,
)
from l4lab.checks.report import LabReport, explain, render_line
from l4lab.checks.runner import fitting_checks, mode_of_proxy, run_lab
from l4lab.checks.stage import Stage
from l4lab.checks.verbs import ONCE, Hold, consistently, eventually, never
from l4lab.checks.watch import PATIENCE, watch

__all__ = [
    "API",
    "DBHOST",
    "HOST",
    "NODES",
    "ONCE",
    "PATIENCE",
    "Admission",
    "CannotMeasure",
    "Check",
    "CheckResult",
    "Exercise",
    "Fault",
    "Hold",
    "Hop",
    "Hopeless",
    "LabReport",
    "Look",
    "NotHere",
    "Seen",
    "Stage",
    "State",
    "Traffic",
    "Unmet",
    "Vantage",
    "Where",
    "check",
    "consistently",
    "declared",
    "eventually",
    "exercise",
    "explain",
    "fitting_checks",
    "mode_of_proxy",
    "never",
    "raise_if_stuck",
    "render_line",
    "run_lab",
    "side_by_side",
    "watch",
]
