"""What a class costs: thirty students on one local cluster, from their namespaces to their reset.

Run it with the Python that ``./l4lab`` made for itself, with the bundle made (``./l4lab bundle``)::

    ~/.cache/l4lab/python/*/bin/python benchmarks/classroom.py [--students 30] [--json]

It makes the course's cluster, and types what a teacher would: ``class up``, ``deploy``, ``check``,
one student's ``reset``, all others' ``reset``, ``down``. Beside the seconds stands what each costs
a student, and against one student alone on the same cluster; and the memory of the cluster's
machines, which is that of the host. The exit code is 1 when a student failed anywhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "infra")]
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"

from l4lab.command import run  # noqa: E402  found only now

NAME = "benchmark-class"
LAB = "clusterip"
_UP = 1200  # seconds until the cluster is given up
_EACH = 120  # seconds that one student's turn may take


class Bench:
    """Rows in the order they were measured, and whether all went well."""

    def __init__(self, folder: Path, students: int, at_once: int) -> None:
        self.rows: dict[str, float] = {}
        self.failed: list[str] = []
        self.students = students
        self._config = folder / "l4lab.toml"
        self._config.write_text(f'[cluster]\nname = "{NAME}"\n')
        self._class = folder / "classroom.yaml"
        ids = [f"s{number:02}" for number in range(1, students + 1)]
        self._class.write_text(
            json.dumps(
                {
                    "class": "benchmark",
                    "labs": [LAB],
                    "students": ids,
                    "limits": {"at_once": at_once},
                }
            )
        )

    def l4lab(self, *words: str, timeout: float = _UP) -> dict[str, Any]:
        """Type a command; its answer as data."""
        argv = [str(PROJECT / "l4lab"), *words, "--config", str(self._config), "--quiet", "--json"]
        done = run(argv, timeout=timeout, check=False)
        if not done.stdout.strip():
            raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def of_class(self, title: str, *words: str, count: int | None = None) -> None:
        """Measure a command of the class, and note who failed."""
        count = self.students if count is None else count
        print(f"{title} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        said = self.l4lab(
            "class", *words, "--file", str(self._class), timeout=_UP + _EACH * self.students
        )
        self.rows[f"{title}, s"] = took = time.monotonic() - started
        print(f"{title}: {took:.1f} s", file=sys.stderr, flush=True)
        if count > 1:
            self.rows[f"{title}, s a student"] = took / count
        for one in said["students"]:
            if not one["ok"]:
                self.failed.append(f"{title}: {one['student']}: {one['note']}")
                print(self.failed[-1], file=sys.stderr, flush=True)

    def memory(self, when: str) -> None:
        """Note what the machines hold of the host's memory, in MiB."""
        machines = self.l4lab("status")["machines"]
        held = {name: float(one["memory_mib"] or 0) for name, one in machines.items()}
        self.rows[f"memory {when}, all machines, MiB"] = sum(held.values())
        for name, value in held.items():
            self.rows[f"memory {when}, {name}, MiB"] = value

    def measure(self) -> None:
        """All of it, on a cluster that is up."""
        self.memory("before the class")
        self.of_class("class up", "up")
        alone = ("--only", "s01")
        self.of_class("one student: deploy", "deploy", LAB, *alone, count=1)
        self.of_class("one student: check", "check", LAB, *alone, count=1)
        self.of_class("class deploy", "deploy", LAB)
        self.of_class("class check", "check", LAB)
        self.memory("with all labs")
        self.of_class("one student: reset with proof", "reset", *alone, count=1)
        self.of_class("class reset with proof", "reset")
        self.memory("after the reset")
        self.of_class("class down", "down")
        for verb in ("deploy", "check"):
            ours = self.rows[f"class {verb}, s a student"]
            self.rows[f"{verb}: a student of the class / one alone"] = (
                ours / self.rows[f"one student: {verb}, s"]
            )


def main() -> int:
    """Measure, and leave nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--students", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=2, help="students worked for at once")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    wishes = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), wishes.students, wishes.at_once)
        try:
            bench.l4lab("up")
            bench.measure()
        finally:
            with contextlib.suppress(SystemExit):
                bench.l4lab("down")
    rows = [f"{title:<52} {value:9.2f}" for title, value in bench.rows.items()]
    print(json.dumps(bench.rows, indent=2) if wishes.json else "\n".join(rows))
    for line in bench.failed:
        print(line)
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
