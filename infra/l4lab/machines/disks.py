"""The base disks that machines' copy-on-write disks lie over."""

from __future__ import annotations

from pathlib import Path

from l4lab.state import Paths, read_json


def bases(paths: Paths) -> set[Path]:
    """The base disks without which the cluster's kept disks cannot be read."""
    records = [read_json(path) for path in paths.machines.glob("*/disk.json")]
    kept = [record for record in records if record]
    return {Path(record["base"]) for record in kept}
