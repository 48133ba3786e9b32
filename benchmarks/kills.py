"""Kill something at a random moment of ``up`` or ``reset``, and see whether the next run converges.

Run it with the Python that ``./l4lab`` made for itself, with the bundle made (``./l4lab bundle``)::

    ~/.cache/l4lab/python/*/bin/python benchmarks/kills.py [--times 20] [--seed N] [--class]

It makes a cluster of its own (three small machines). Each time, ``up`` and ``reset`` in turn are
begun as a person would, and after a random part of the time they usually take, l4lab itself, a
machine or the API server is killed with SIGKILL. The same command again must then succeed: all
nodes Ready after ``up``, nothing different from before the cluster after ``reset``. What a class
has measured must still be there.

With ``--class`` it is one student's ``class reset`` that is hit, in a class of two with a lab each.
Again it must succeed (after an ``up``, where a machine was killed), with its proof; and the other
student's objects and grades must be the same as before. The exit code is 1 if any did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
_ANN, _BOB, _LAB = "ann", "bob", "clusterip"
_GRADE = {"student": _ANN, "kept": True}


@dataclass(frozen=True)
class Hit:
    """What is killed in which command, after so many of its usual seconds."""

    verb: str
    victim: str
    machine: str
    after: float
    usual: float

    @classmethod
    def at_random(cls, chance: random.Random, verb: str, usual: float) -> Hit:
        """Any of the victims at any moment."""
        victim, machine = chance.choice(_VICTIMS), chance.choice(_MACHINES)
        return cls(verb, victim, machine, chance.uniform(0.5, usual), usual)

    @property
    def who(self) -> str:
        """The victim's name."""
        return self.machine if self.victim == "machine" else self.victim


class Cluster:
    """The cluster, by its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = paths_of(PROJECT, NAME)
        self._config = folder / "l4lab.toml"
        self._config.write_text(SETTINGS)

    def argv(self, verb: str, *words: str) -> list[str]:
        """The words of a command."""
        words = (verb, *words)
        named = 2 if verb == "class" else 1  # what follows may be another program's
        options = ("--config", str(self._config), "--quiet")
        return [str(PROJECT / "l4lab"), *words[:named], *options, *words[named:]]

    def l4lab(self, verb: str, *words: str) -> Result:
        """Run a command to its end."""
        return run(self.argv(verb, *words), timeout=_LIMIT, check=False)

    def must(self, verb: str, *words: str) -> float:
        """Run a command that has to end well; its seconds."""
        done = self.l4lab(verb, *words)
        if not done.succeeded:
            raise SystemExit(f"{verb} {' '.join(words)}: {(done.stdout + done.stderr).strip()}")
        return done.seconds

    def killed(self, hit: Hit, verb: str, *words: str) -> int:
        """Begin a command and kill what is to be hit meanwhile; its exit code."""
        begun = subprocess.Popen(
            self.argv(verb, *words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            begun.wait(hit.after)
        if hit.victim == "l4lab":
            begun.kill()
        elif hit.victim == "machine":
            for pid in self._kernels(hit.machine):
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


def hit_cluster(cluster: Cluster, chance: random.Random, times: int) -> int:
    """Hit ``up`` and ``reset`` of the cluster in turn; how often something did not hold."""
    grade = cluster.paths.class_results / _ANN / f"{_LAB}.json"
    usual = {verb: cluster.must(verb) for verb in ("up", "reset")}
    grade.parent.mkdir(mode=0o700, parents=True)
    grade.write_text(json.dumps(_GRADE))
    bad = 0
    for number in range(1, times + 1):
        verb = ("up", "reset")[(number - 1) % 2]
        hit = Hit.at_random(chance, verb, usual[verb])
        code = cluster.killed(hit, verb)
        again = cluster.l4lab(verb)
        wrong = _wrong(cluster, verb) if again.succeeded else again.stderr.strip()
        if json.loads(grade.read_text()) != _GRADE:
            wrong += "; a grade is lost"
        bad += bool(wrong)
        _tell(number, hit, code, again, wrong)
    return bad


def _wrong(cluster: Cluster, verb: str) -> str:
    """What does not hold after a command that ended well; empty if all does."""
    if verb == "reset":
        # A cluster that is gone has no nodes; the command itself compared the machines.
        return "" if not cluster.paths.kubeconfig.exists() else "the kubeconfig is still there"
    until, last = time.monotonic() + 120, ""
    while time.monotonic() < until:
        last = cluster.l4lab("kubectl", "get", "nodes", "--no-headers").stdout
        states = [line.split()[1] for line in last.splitlines()]
        if states == ["Ready", "Ready"]:
            return ""
        time.sleep(1)
    return f"nodes: {last.strip()}"


def hit_class(cluster: Cluster, chance: random.Random, times: int) -> int:
    """Hit the reset of one student of two; how often something did not hold."""
    roster = cluster.folder / "classroom.yaml"
    roster.write_text(json.dumps({"class": NAME, "labs": [_LAB], "students": [_ANN, _BOB]}))
    whole = ("--file", str(roster))
    only_ann = (*whole, "--only", _ANN)
    cluster.must("up")
    for words in (("up",), ("deploy", _LAB), ("check", _LAB)):
        cluster.must("class", *words, *whole)
    usual = cluster.must("class", "reset", *only_ann)
    bad = 0
    for number in range(1, times + 1):
        cluster.must("class", "deploy", _LAB, *only_ann)
        before = _of_bob(cluster)
        hit = Hit.at_random(chance, "class reset", usual)
        code = cluster.killed(hit, "class", "reset", *only_ann)
        if hit.victim == "machine":
            cluster.must("up")
        again = cluster.l4lab("class", "reset", *only_ann)
        wrong = "" if again.succeeded else (again.stdout + again.stderr).strip()
        if _of_bob(cluster) != before:
            wrong += f"; {_BOB}'s objects or grades are others"
        bad += bool(wrong)
        _tell(number, hit, code, again, wrong)
    cluster.must("class", "down", *whole)
    return bad


def _of_bob(cluster: Cluster) -> dict[str, str]:
    """What the other student has: objects by kind and name, with their identity; and grades."""
    kinds = "deployments,pods,services,configmaps,secrets,resourcequotas,networkpolicies"
    said = cluster.l4lab("kubectl", "get", kinds, "-n", _BOB, "-o", "json").stdout
    found = {
        f"{one['kind']} {one['metadata']['name']}": one["metadata"]["uid"]
        for one in json.loads(said)["items"]
    }
    grades = cluster.paths.class_results / _BOB
    return found | {path.name: path.read_text() for path in grades.glob("*.json")}


def _tell(number: int, hit: Hit, code: int, again: Result, wrong: str) -> None:
    print(
        f"{number:2} {hit.verb:<5} {hit.who} killed after {hit.after:.1f} of {hit.usual:.0f} s: "
        f"exit code {code}, again {again.seconds:.0f} s: {wrong or 'converged'}",
        flush=True,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Kill and look, so many times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--class", dest="of_class", action="store_true", help="hit a class's reset")
    wishes = parser.parse_args(words)
    chance = random.Random(wishes.seed)  # noqa: S311  no secret
    print(f"seed {wishes.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        try:
            bad = (hit_class if wishes.of_class else hit_cluster)(cluster, chance, wishes.times)
        finally:
            cluster.l4lab("down")
            # The cluster's end would leave what a class has measured.
            shutil.rmtree(cluster.paths.class_results, ignore_errors=True)
    print(f"{wishes.times - bad} of {wishes.times} converged")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
