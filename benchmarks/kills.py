"""Kill something at a random moment of ``up`` or ``reset``, and see whether the next run converges.

Run it with the Python that ``./l4lab`` made for itself, with the bundle made (``./l4lab bundle``)::

    ~/.cache/l4lab/python/*/bin/python benchmarks/kills.py [--times 20] [--seed N]

It makes a cluster of its own (three small machines). Each time, ``up`` and ``reset`` in turn are
begun as a person would, and after a random part of the time they usually take, l4lab itself, a
machine or the API server is killed with SIGKILL. The same command again must then succeed: all
nodes Ready after ``up``, nothing different from before the cluster after ``reset``. What a class
has measured must still be there. The exit code is 1 if any of that did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "infra")]
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"

from l4lab.command import Result, run  # noqa: E402  found only now
from l4lab.state import paths_of  # noqa: E402  as above

NAME = "benchmark-kills"
SETTINGS = f"""\
[cluster]
name = "{NAME}"
[machines.k8s-master01]
memory = 1536
[machines.k8s-node01]
memory = 1024
[machines.mariadb01]
memory = 384
"""
_MACHINES = ("k8s-master01", "k8s-node01", "mariadb01")
_VICTIMS = ("l4lab", "machine", "API server")
_LIMIT = 900  # seconds until a command is given up
_GRADE = {"student": "ann", "kept": True}


class Cluster:
    """The cluster, by its command line."""

    def __init__(self, folder: Path) -> None:
        self.paths = paths_of(PROJECT, NAME)
        self._config = folder / "l4lab.toml"
        self._config.write_text(SETTINGS)

    def argv(self, verb: str, *words: str) -> list[str]:
        """The words of a command."""
        return [str(PROJECT / "l4lab"), verb, "--config", str(self._config), "--quiet", *words]

    def l4lab(self, verb: str, *words: str) -> Result:
        """Run a command to its end."""
        return run(self.argv(verb, *words), timeout=_LIMIT, check=False)

    def killed(self, verb: str, victim: str, name: str, after: float) -> int:
        """Begin a command, kill something after so many seconds; its exit code."""
        begun = subprocess.Popen(
            self.argv(verb),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            begun.wait(after)
        if victim == "l4lab":
            begun.kill()
        elif victim == "machine":
            for pid in self._kernels(name):
                os.kill(pid, signal.SIGKILL)
        else:
            ssh = ["ssh", "-F", str(self.paths.ssh_config), "-o", "ConnectTimeout=5"]
            kill = "kill -9 $(pidof kube-apiserver)"
            run([*ssh, _MACHINES[0], kill], timeout=30, check=False)
        try:
            return begun.wait(_LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(begun.pid, signal.SIGKILL)
            begun.wait(30)
            return 124

    def _kernels(self, name: str) -> list[int]:
        wanted = f"umid={name} uml_dir={self.paths.root}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (folder / "cmdline").read_bytes().replace(b"\0", b" "):
                    found.append(int(folder.name))
        return found

    def wrong(self, verb: str) -> str:
        """What does not hold after a command that ended well; empty if all does."""
        if verb == "reset":
            # A cluster that is gone has no nodes; the command itself compared the machines.
            return "" if not self.paths.kubeconfig.exists() else "the kubeconfig is still there"
        until, last = time.monotonic() + 120, ""
        while time.monotonic() < until:
            last = self.l4lab("kubectl", "get", "nodes", "--no-headers").stdout
            states = [line.split()[1] for line in last.splitlines()]
            if states == ["Ready", "Ready"]:
                return ""
            time.sleep(1)
        return f"nodes: {last.strip()}"


def main(words: Sequence[str] | None = None) -> int:
    """Kill and look, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    wishes = parser.parse_args(words)
    chance = random.Random(wishes.seed)  # noqa: S311  no secret
    print(f"seed {wishes.seed}", flush=True)
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        grade = cluster.paths.classroom / "results" / "ann" / "clusterip.json"
        try:
            usual: dict[str, float] = {}
            for verb in ("up", "reset"):
                began = time.monotonic()
                done = cluster.l4lab(verb)
                usual[verb] = time.monotonic() - began
                if not done.succeeded:
                    raise SystemExit(f"{verb}: {done.stderr.strip()}")
            grade.parent.mkdir(mode=0o700, parents=True)
            grade.write_text(json.dumps(_GRADE))
            for number in range(1, wishes.times + 1):
                verb = ("up", "reset")[(number - 1) % 2]
                victim, name = chance.choice(_VICTIMS), chance.choice(_MACHINES)
                after = chance.uniform(0.5, usual[verb])
                code = cluster.killed(verb, victim, name, after)
                again = cluster.l4lab(verb)
                wrong = cluster.wrong(verb) if again.succeeded else again.stderr.strip()
                if json.loads(grade.read_text()) != _GRADE:
                    wrong += "; a grade is lost"
                bad += bool(wrong)
                who = name if victim == "machine" else victim
                print(
                    f"{number:2} {verb:<5} {who} killed after {after:.1f} of {usual[verb]:.0f} s: "
                    f"exit code {code}, again {again.seconds:.0f} s: {wrong or 'converged'}",
                    flush=True,
                )
        finally:
            cluster.l4lab("down")
            grade.unlink(missing_ok=True)
    print(f"{wishes.times - bad} of {wishes.times} converged")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
