"""What the Tab key offers."""

from __future__ import annotations

import contextlib

import click

from l4lab import console, settings
from l4lab.errors import L4labError
from l4lab.lab import find_labs


def lab_names(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    """Labs whose names begin so."""
    return [name for name in find_labs(console.PROJECT) if name.startswith(start)]


def machine_names(_context: click.Context, _parameter: click.Parameter, start: str) -> list[str]:
    """Machines of the settings whose names begin so."""
    with contextlib.suppress(L4labError):  # the Tab key is no place for an error's text
        topology = settings.load(None, console.PROJECT).topology
        return [machine.name for machine in topology.machines if machine.name.startswith(start)]
    return []
