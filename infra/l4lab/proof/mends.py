"""Carries out what takes differences away."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from l4lab.command import CommandError, run
from l4lab.errors import MachineError
from l4lab.proof.model import Difference
from l4lab.state import Access

_PROGRAMS: Final = ("conntrack", "rm")
_DEADLINE: Final = 60.0  # seconds for one machine


def sweep(access: Access, last: Iterable[Difference], now: Iterable[Difference]) -> None:
    """Have the nodes drop what is left of what is gone: connections to Services, pods' logs.

    Kernels keep such connections for minutes; nobody can use them, and a new Service with the same
    address must not inherit them. kubelet clears logs once a minute (``ContainerGCPeriod`` in
    ``pkg/kubelet/kubelet.go``).

    Args:
        access: The cluster.
        last: What differed in the look before.
        now: What differs. Only what is in both is dropped: a pod that is made while a machine is
            looked at has logs there before it is among the objects.

    Raises:
        MachineError: A node does not answer.
    """
    words: dict[str, set[str]] = defaultdict(set)
    before = {(one.where, one.what) for one in last}
    for one in now:
        if one.mend and one.mend.argv[0] in _PROGRAMS and (one.where, one.what) in before:
            words[one.where].add(shlex.join(access.topology.as_root(one.where, one.mend.argv)))
    for name, commands in words.items():
        # Both fail where there is nothing any more: that is as wanted.
        script = "".join(f"{command}; " for command in sorted(commands))
        quiet = f"{{ {script}}} >/dev/null 2>&1; true"
        argv: list[str | Path] = ["ssh", "-F", access.paths.ssh_config, name, quiet]
        try:
            run(argv, timeout=_DEADLINE)
        except CommandError as failed:
            raise MachineError(failed.brief, failed.reason, "./l4lab status") from failed
