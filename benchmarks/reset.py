"""Create, reset, create with other networks, again and again: is anything ever left?

Run it with the Python that ``./l4lab`` made for itself, with the bundle made (``./l4lab bundle``)::

    ~/.cache/l4lab/python/*/bin/python benchmarks/reset.py [--times 10] [--keep]

It makes a cluster of its own (three small machines), and then each time: brings it up with other
pod and service networks and the other proxy mode, deploys a lab, checks and resets it, takes the
fingerprint of the idle cluster twice, and resets the cluster. Each of the three comparisons has to
be empty, and the lab green. Times are in seconds; the exit code is 1 if that did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(PROJECT), str(PROJECT / "infra")]
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"

from l4lab import actions, reset  # noqa: E402  found only now
from l4lab.checks import run_lab  # noqa: E402  as above
from l4lab.cluster import Cluster  # noqa: E402  as above
from l4lab.lab import get_lab  # noqa: E402  as above
from l4lab.progress import Progress  # noqa: E402  as above
from l4lab.proof import Proof, Scope, compare, snapshot  # noqa: E402  as above
from l4lab.settings import parse  # noqa: E402  as above

NAME = "benchmark-reset"
_NETWORKS = (
    ("10.244.0.0/16", "10.10.0.0/16"),
    ("10.32.0.0/16", "10.96.0.0/16"),
    ("172.20.0.0/16", "172.16.0.0/16"),
)
_MACHINES = {
    "k8s-master01": {"role": "control_plane", "address": "192.168.128.11", "memory": 1536},
    "k8s-node01": {"role": "worker", "address": "192.168.128.21", "memory": 1024},
    "mariadb01": {"role": "mariadb", "address": "192.168.128.31", "memory": 384},
}


def cluster(name: str, turn: int) -> Cluster:
    """The cluster with the networks of this turn."""
    pods, services = _NETWORKS[turn % len(_NETWORKS)]
    settings = {
        "cluster": {"name": name, "proxy": ("ipvs", "nftables")[turn % 2]},
        "network": {"pods": pods, "services": services},
        "machines": _MACHINES,
    }
    return Cluster(PROJECT, parse(settings, "benchmark"), Progress())


@contextlib.contextmanager
def timed(times: dict[str, float], what: str) -> Iterator[None]:
    """Note how long the block takes."""
    started = time.monotonic()
    yield
    times[what] = time.monotonic() - started


def turn(name: str, number: int, times: dict[str, float]) -> list[Proof | None]:
    """One round; the comparisons that have to be empty."""
    made = cluster(name, number)
    with timed(times, "up"):
        made.up()
    access, lab = made.enter(), get_lab(PROJECT, "clusterip")
    with timed(times, "deploy"):
        actions.deploy(made, lab)
    with timed(times, "check"):
        green = run_lab(lab, access, exercises=False)
    if not green.passed:
        raise SystemExit(green.render(color=False))
    with timed(times, "reset of the lab"):
        of_lab = reset.reset(made, lab).proof
    with timed(times, "fingerprint"):
        before = snapshot(access, scope=Scope.cluster())
    time.sleep(5)
    idle = compare(before, snapshot(access, scope=Scope.cluster()))
    with timed(times, "reset of the cluster"):
        of_cluster = made.reset().proof
    return [of_lab, idle, of_cluster]


def main() -> int:
    """Run all rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--name", default=NAME, help="of the cluster that is made")
    parser.add_argument("--keep", action="store_true", help="leave the machines up at the end")
    wishes = parser.parse_args()
    clean = True
    try:
        for number in range(wishes.times):
            times: dict[str, float] = {}
            proofs = turn(wishes.name, number, times)
            clean = clean and all(proof is not None and proof.clean for proof in proofs)
            took = ", ".join(f"{what} {seconds:.1f}" for what, seconds in times.items())
            print(f"{number + 1}: {took}", flush=True)
            for proof in proofs:
                print(f"   {proof.render() if proof else 'not compared'}", flush=True)
    finally:
        if not wishes.keep:
            cluster(wishes.name, 0).down()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
