"""l4lab's own tests: one pytest run, quick tests first, then those on real machines."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from l4lab import bundle
from l4lab.bundle.debian import ensure_packages
from l4lab.progress import Progress

# What tests on machines look at the host with, and make a disk with that is not l4lab's; l4lab
# itself needs none of it where a bundle was loaded.
_PACKAGES = ("iptables", "mmdebstrap", "nftables")


def run(project: Path, progress: Progress, words: Sequence[str], *, quick: bool) -> int:
    """Run the tests and return pytest's exit code (1 and above: not all passed).

    Args:
        project: The project's folder.
        progress: Shows the making of the bundle, which the tests on machines need.
        words: More words for pytest.
        quick: Only the tests that need no machines; the bundle's programs are used where they
            are there, and not built.
    """
    made = bundle.find() if quick else bundle.ensure(progress)
    if not quick:
        ensure_packages(_PACKAGES, bundle.cache_folder() / "packages.log")
    environment = dict(os.environ)
    if made:
        environment["L4LAB_SERVER_BIN"] = str(made.folder / "bin")
    options = [] if quick else ["--cluster"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *words],
        cwd=project,
        env=environment,
        check=False,
    )
    return 1 if done.returncode else 0
