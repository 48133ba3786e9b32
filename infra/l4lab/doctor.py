"""What this machine can and cannot do, and why."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from typing import Any

from l4lab import bundle
from l4lab.bundle.debian import missing_packages
from l4lab.bundle.golang import own_toolchain
from l4lab.cluster import Cluster
from l4lab.errors import L4labError
from l4lab.machines.host import available_memory_mib, nearest
from l4lab.origin import Origin


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what, whether it is fine, what was seen or is to be done."""

    what: str
    fine: bool
    seen: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def examine(cluster: Cluster) -> list[Finding]:
    """Look at everything this host needs; changes nothing."""
    obstacles = cluster.driver.obstacles()
    topology = cluster.settings.topology
    wanted = topology.memory_mib
    found = [
        Finding("processors", fine=True, seen=str(len(os.sched_getaffinity(0)))),
        Finding(
            "memory",
            wanted <= available_memory_mib() or _is_up(cluster),
            f"{available_memory_mib()} MiB free, the machines want {wanted}",
        ),
        Finding(
            f"driver {cluster.driver.name}",
            not obstacles,
            "; ".join(obstacles) or "this host can have the machines",
        ),
    ]
    made = bundle.find(cluster.settings.origin)
    if made:
        found.append(Finding("bundle", fine=True, seen=str(made.folder)))
    else:
        found += _can_build(cluster.settings.origin)
    return found


def _is_up(cluster: Cluster) -> bool:
    return any(status.running for status in cluster.status())


def _can_build(origin: Origin) -> list[Finding]:
    parent = nearest(bundle.cache_folder())
    free = shutil.disk_usage(parent).free / 2**30
    may_install = os.geteuid() == 0
    todo = bundle.unmade(origin)
    needed = bundle.needed_gib(todo)
    by_root = bundle.only_by_root(todo)
    whose = "yes" if may_install else "no, but what only root can make is there"
    if by_root:
        whose = f"no, and {', '.join(by_root)} must be made by root: {bundle.BY_ROOT}"
    missing = missing_packages({name for part in todo for name in part.packages})
    try:
        go = own_toolchain()
        toolchain = f"{go}" if go else "none new enough; one comes from the Python index"
    except L4labError as failed:
        toolchain = failed.brief
    return [
        Finding(
            "bundle",
            fine=True,
            seen="not made yet: ./l4lab bundle (20 to 45 minutes on two cores), or --load",
        ),
        Finding(
            "disk for the build",
            free >= needed,
            f"{free:.0f} GiB free below {parent}, the build takes up to {needed}",
        ),
        Finding(
            "packages for the build",
            not missing or may_install,
            f"missing, will be installed: {' '.join(missing)}" if missing else "all there",
        ),
        Finding("Go for the build", fine=True, seen=toolchain),
        Finding(
            "root for the build",
            not by_root,
            whose,
        ),
    ]


def render(findings: list[Finding]) -> str:
    """The findings as a table for a person."""
    return "\n".join(
        f"{'ok ' if finding.fine else 'NO '} {finding.what:<24} {finding.seen}"
        for finding in findings
    )
