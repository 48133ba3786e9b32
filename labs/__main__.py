"""What a plain ``pulumi up`` runs: the stack's name says which lab (``clusterip.alice`` too)."""

from __future__ import annotations

from pathlib import Path

import pulumi
from l4lab.lab import get_lab

get_lab(Path(__file__).resolve().parents[1], pulumi.get_stack().partition(".")[0]).program()
