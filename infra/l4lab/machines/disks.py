"""The base disks that machines' copy-on-write disks lie over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from l4lab.errors import MachineError
from l4lab.state import Paths, read_json, write_json

_RECORD = "disk.json"


def bases(paths: Paths) -> set[Path]:
    """The base disks without which the cluster's kept disks cannot be read."""
    records = [read_json(path) for path in paths.machines.glob(f"*/{_RECORD}")]
    kept = [record for record in records if record]
    return {Path(record["base"]) for record in kept}


def base_of(name: str, folder: Path, newest: Path, *, runs: bool) -> Path:
    """The base disk of a machine, which is remembered: a kept disk has the one it was made over.

    Args:
        name: The machine's name.
        folder: Where its files lie.
        newest: The base disk for one that has no disk yet.
        runs: Whether the machine runs, and so has its base open, whatever became of the file.

    Raises:
        MachineError: What lies there now is not what the kept disk was made over.
    """
    record = read_json(folder / _RECORD)
    if not record or not (folder / "disk.cow").exists():
        write_json(folder / _RECORD, {"base": str(newest), **_identity(newest)})
        return newest
    base = Path(record["base"])
    # Records of older versions tell no more than the path.
    known = {key: record[key] for key in ("size", "mtime") if key in record}
    if known and not runs and known != _identity(base):
        raise MachineError(
            f"the base disk under the kept disk of {name} is another now",
            f"{base} was made anew since; the kept disk cannot be read over it",
            "./l4lab down, then ./l4lab up",
        )
    return base


def _identity(base: Path) -> dict[str, Any]:
    """By what the kernel knows a base disk again: it refuses one of another size or time."""
    try:
        found = base.stat()
    except FileNotFoundError:
        return {}
    return {"size": found.st_size, "mtime": found.st_mtime_ns // 10**9}
