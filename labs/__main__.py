"""What a plain ``pulumi up`` runs: the stack's name says which lab (``clusterip.alice`` too)."""

from __future__ import annotations

import sys
from pathlib import Path

import pulumi

PROJECT = Path(__file__).resolve().parents[1]
# The language host runs this folder as a program and knows nothing of the rest of the project.
sys.path[:0] = [str(PROJECT), str(PROJECT / "infra")]

from l4lab import plain_program  # noqa: E402  found only now
from l4lab.errors import L4labError  # noqa: E402  likewise

try:
    plain_program.run(pulumi.get_stack())
except L4labError as told:
    raise pulumi.RunError(str(told)) from told
