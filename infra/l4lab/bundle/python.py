"""The packages of l4lab's own Python environment, for machines that reach no package index.

The launcher takes them from a packed bundle (``./l4lab bundle --load FILE``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from l4lab.bundle.part import Build, Part
from l4lab.command import stream

LOCK = Path(__file__).parents[3] / "requirements.lock"
_DEADLINE = 1200  # seconds; measured: about half a minute


def python_part() -> Part:
    """The part that holds ``python/*.whl``: what the lock file names, for this Python."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    inputs = f"{version}\n{LOCK.read_text()}\n1"
    return Part(name="python", inputs=inputs, build=_build, gib=0.5)


def _build(build: Build) -> None:
    wheels = build.out / "python"
    wheels.mkdir()
    stream(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--disable-pip-version-check",
            "--require-hashes",
            "--no-deps",
            "--only-binary=:all:",
            "--progress-bar=off",
            f"--requirement={LOCK}",
            f"--dest={wheels}",
        ],
        timeout=_DEADLINE,
        log=build.log,
        env=build.scratch,
        on_line=lambda line: build.doing(line.strip()[:70]),
    )
