"""Ways into a running cluster: the process becomes ssh, kubectl, or a program in its network."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from typing import NoReturn

from l4lab.cluster import Cluster
from l4lab.command import typed_on
from l4lab.errors import UsageError


def ssh(cluster: Cluster, name: str, command: Sequence[str]) -> NoReturn:
    """Become an ssh client that is logged in to a machine.

    Raises:
        UsageError: There is no such machine, or the cluster is not up.
    """
    topology = cluster.settings.topology
    machine = topology.machine(name)
    if not machine:
        known = ", ".join(machine.name for machine in topology.machines)
        raise UsageError(
            f"there is no machine {name!r}", f"the machines are: {known}", "./l4lab status"
        )
    cluster.driver.enter()
    words = list(command)
    if words and machine.user != "root":
        # ssh gives its words to the user's shell as one line: root's is to read the same line.
        words = machine.as_root(["sh", "-c", shlex.quote(" ".join(words))])
    _become(["ssh", "-F", str(cluster.paths.ssh_config), name, *words])


def kubectl(cluster: Cluster, words: Sequence[str]) -> NoReturn:
    """Become the cluster's kubectl, as its administrator.

    Raises:
        UsageError: The cluster is not up.
    """
    access = cluster.enter()
    os.environ["KUBECONFIG"] = str(access.paths.kubeconfig)
    _become([str(access.kubectl), *words])


def execute(cluster: Cluster, command: Sequence[str]) -> NoReturn:
    """Become a program that runs inside the lab network.

    Raises:
        UsageError: The cluster is not up, or there is no such program.
    """
    access = cluster.enter()
    os.environ["KUBECONFIG"] = str(access.paths.kubeconfig)
    if not shutil.which(command[0]):
        raise UsageError(
            f"there is no program {command[0]!r} on this host",
            "exec runs programs of the host, inside the lab network",
            f"{typed_on('MACHINE', command)}, to run it on a machine",
        )
    _become(list(command))


def _become(argv: list[str]) -> NoReturn:
    os.execvp(argv[0], argv)  # noqa: S606  # no shell, on purpose
