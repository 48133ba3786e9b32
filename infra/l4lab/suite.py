"""l4lab's own tests: quick ones first, side by side, then those on real machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from l4lab import bundle
from l4lab.bundle.debian import ensure_packages
from l4lab.progress import Progress

# What tests on machines look at the host with, and make a disk with that is not l4lab's; l4lab
# itself needs none of it where a bundle was loaded.
_PACKAGES = ("iptables", "mmdebstrap", "nftables")
_CLUSTER = "tests/cluster"
# Each starts an API server of its own, of 700 MiB.
_MOST_WORKERS: Final = 4
# In pytest's own order (_pytest/terminal.py).
_KINDS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings", "error")
# Of pytest.ExitCode: OK, TESTS_FAILED, NO_TESTS_COLLECTED. After all others it makes no sense to go
# on: it was interrupted (by ``-x``, too, where processes work side by side) or used wrongly.
_RAN: Final = frozenset({0, 1, 5})


@dataclass(frozen=True)
class SuiteResult:
    """How the tests ended."""

    passed: bool
    closing: str
    """One line like pytest's own, for all tests; empty where pytest has printed it."""


def run(project: Path, progress: Progress, words: Sequence[str], *, quick: bool) -> SuiteResult:
    """Run the tests: the quick ones in several processes, then those on machines in one.

    Where ``words`` name files or tests, all runs in one process, in the order given there.

    Args:
        project: The project's folder.
        progress: Shows the making of the bundle, which the tests on machines need.
        words: More words for pytest.
        quick: Only the tests that need no machines; the bundle's programs are used where they
            are there, and not built.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; pytest has tidied up.
    """
    made = bundle.find() if quick else bundle.ensure(progress)
    if not quick:
        ensure_packages(_PACKAGES, bundle.cache_folder() / "packages.log")
    environment = dict(os.environ)
    if made:
        environment["L4LAB_SERVER_BIN"] = str(made.folder / "bin")
    chosen = any((project / word.partition("::")[0]).exists() for word in words)
    if chosen:
        options = [] if quick else ["--cluster"]
        return SuiteResult(_pytest(project, [*options, *words], environment) == 0, "")
    # One more than there are cores: many of these tests wait for a server most of their time.
    workers = min((os.cpu_count() or 1) + 1, _MOST_WORKERS)
    side_by_side = [f"--numprocesses={workers}", "--dist=worksteal"]
    phases = [[*side_by_side, f"--ignore={_CLUSTER}", *words]]
    if not quick:
        phases.append(["--cluster", "--verbose", "--durations=30", *words, _CLUSTER])
    began = time.monotonic()
    counts: Counter[str] = Counter()
    codes = []
    with tempfile.TemporaryDirectory(prefix="l4lab-tests-") as folder:
        for number, phase in enumerate(phases):
            tally = Path(folder) / f"{number}.json"
            codes.append(_pytest(project, phase, {**environment, "L4LAB_TALLY": str(tally)}))
            if tally.exists():
                counts.update(json.loads(tally.read_text()))
            if codes[-1] not in _RAN:
                break
    passed = set(codes) <= _RAN - {1} and 0 in codes
    return SuiteResult(passed, _closing(counts, time.monotonic() - began))


def _pytest(project: Path, words: Sequence[str], environment: Mapping[str, str]) -> int:
    argv = [sys.executable, "-m", "pytest", *words]
    with subprocess.Popen(argv, cwd=project, env=environment) as process:
        interrupted = None
        while True:
            try:
                code = process.wait()
            except KeyboardInterrupt as pressed:
                # The terminal gave it to pytest as well, which takes its machines down first.
                interrupted = pressed
            else:
                break
    if interrupted:
        raise interrupted
    return code


def _closing(counts: Mapping[str, int], seconds: float) -> str:
    said = [f"{counts[kind]} {kind}" for kind in _KINDS if counts.get(kind)]
    long = f" ({timedelta(seconds=int(seconds))})"
    return f" {', '.join(said) or 'no tests ran'} in {seconds:.2f}s{long} ".center(80, "=")
