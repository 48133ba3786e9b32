"""What l4lab remembers of a cluster: one private folder, written before the first change is made.

``down`` and ``reset`` work from it, also after a crash. Everything in it is mode 0600 or 0700.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4lab.errors import FULL_DISK, LockedError, MachineError, UsageError
from l4lab.place import Place
from l4lab.topology import Topology

FOLDER = ".l4lab"


@dataclass(frozen=True)
class Paths:
    """Where the parts of one cluster's state lie, below ``.l4lab/CLUSTER/``."""

    root: Path

    @property
    def record(self) -> Path:
        """The record of what was made (JSON)."""
        return self.root / "cluster.json"

    @property
    def ssh(self) -> Path:
        """SSH key, pinned host keys and client configuration."""
        return self.root / "ssh"

    @property
    def ssh_config(self) -> Path:
        """Configuration for ``ssh -F``: knows every machine by name, from any network."""
        return self.ssh / "config"

    @property
    def inventory(self) -> Path:
        """The Ansible inventory."""
        return self.root / "inventory.yml"

    @property
    def kubeconfig(self) -> Path:
        """The cluster administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def machines(self) -> Path:
        """Disks and consoles of local machines."""
        return self.root / "machines"

    @property
    def logs(self) -> Path:
        """Logs of playbooks, stacks and checks."""
        return self.root / "logs"

    @property
    def pulumi(self) -> Path:
        """Pulumi's file backend."""
        return self.root / "pulumi"

    @property
    def stack_work(self) -> Path:
        """Where stacks have their settings, such as ``Pulumi.clusterip.yaml``."""
        return self.pulumi / "work"

    @property
    def stack_link(self) -> Path:
        """What ``Pulumi.yaml`` names as that place: a link, beside all clusters of the project."""
        return self.root.parent / ".stack-settings"

    @property
    def classroom(self) -> Path:
        """What is remembered of a class: a folder for each student, results, the last runs."""
        return self.root / "class"

    @property
    def class_results(self) -> Path:
        """What the checks of a class found: it outlives the cluster."""
        return self.classroom / "results"

    @property
    def own_settings(self) -> Path:
        """The whole settings of a cluster that a class made for one student, for ``--config``."""
        return self.root / "settings.toml"

    @property
    def owner(self) -> Path:
        """Which class made this cluster, and for which student (JSON)."""
        return self.root / "student.json"

    def place_of(self, student: str) -> Place:
        """The place of a student of the class.

        Raises:
            UsageError: The class has no such student.
        """
        record = read_json(self.classroom / student / "place.json")
        if record is None:
            raise UsageError(f"the class has no student {student!r} here", None, "./l4lab class up")
        return Place(**record)

    def secret(self, name: str) -> str:
        """A random secret of this cluster, made at first use and kept in a private file."""
        path = self.root / "secrets" / name
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        value = secrets.token_urlsafe(24)
        write_private(path, value)
        return value

    def kept_secret(self, name: str) -> str:
        """A secret that a playbook has made for this cluster.

        Raises:
            UsageError: It was not made yet.
        """
        path = self.root / "secrets" / name
        try:
            return path.read_text().strip()
        except FileNotFoundError as missing:
            raise UsageError(
                f"there is no {name.replace('_', ' ')} yet", f"{path} does not exist", "./l4lab up"
            ) from missing


@dataclass(frozen=True, kw_only=True)
class Access:
    """All that checks and stacks need to reach a running cluster."""

    topology: Topology
    paths: Paths
    kubectl: Path
    """The kubectl that fits the cluster, from the bundle."""
    pulumi: Path
    """The Pulumi CLI, from the bundle."""


def paths_of(project: Path, cluster: str) -> Paths:
    """The state of cluster ``cluster`` of the project in folder ``project``."""
    return Paths(project / FOLDER / cluster)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all, making its folders with mode 0700."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """What ``path`` holds, or None where there is no such file.

    Raises:
        MachineError: It cannot be read, or a crash of the host has damaged it.
    """
    try:
        loaded: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failed:
        raise MachineError(
            f"cannot read {path}",
            str(failed),
            "if it is damaged, delete it; ./l4lab down removes what there is without it, too",
        ) from failed
    return loaded


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write ``value`` as a private JSON file, whole or not at all."""
    write_private(path, json.dumps(value, indent=2) + "\n")


def is_known(paths: Paths) -> bool:
    """Whether there is a state of the cluster; what is kept of a class alone is none."""
    root = paths.root
    return root.exists() and {one.name for one in root.iterdir()} != {paths.classroom.name}


def forget(paths: Paths, *, last: Path) -> None:
    """Delete a cluster's state, but for the results of a class.

    Args:
        paths: The state.
        last: The lock, which goes last: nobody else may begin while something is left.
    """
    kept = paths.class_results
    entries = list(paths.root.iterdir())
    if kept.is_dir():
        entries.remove(paths.classroom)
        entries += paths.classroom.iterdir()
    for entry in entries:
        if entry in (last, kept):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    last.unlink(missing_ok=True)
    link = paths.stack_link
    if link.is_symlink() and link.readlink().is_relative_to(paths.root):
        link.unlink()


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """Hold ``path`` as a lock while the block runs.

    The kernel frees it when its holder dies, so a dead holder is taken over without asking.

    Raises:
        LockedError: A living process holds it; the text names the process.
        MachineError: The file cannot be made: the disk is full, or the folder not ours.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = path.open("a+")
    except OSError as failed:
        raise MachineError(
            f"{what} cannot be locked",
            f"{path}: {failed.strerror or failed}",
            "free some disk, then the same command again" if failed.errno in FULL_DISK else None,
        ) from failed
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(
                f"{what} is in use", f"held by {holder}", "wait for it to end, then try again"
            ) from None
        file.truncate(0)
        # Who holds it is told to others only. Where there is no room for that it is held all the
        # same: ``down`` is what makes room. Not by the file's buffer, which would try again.
        with contextlib.suppress(OSError):
            os.write(file.fileno(), f"process {os.getpid()}: {_command_line()}".encode())
        yield
        file.truncate(0)


def _command_line() -> str:
    words = Path("/proc/self/cmdline").read_bytes().split(b"\0")
    return b" ".join(words).decode(errors="replace").strip()
