"""What this host has and allows: read before anything is made, so that refusals come early."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from l4lab.machines import holder
from l4lab.topology import Machine

DISK_GIB = 4
"""Free disk that one cluster's copy-on-write disks may come to need."""
_FULL_MIB = 64  # a machine that writes fills this within seconds


@dataclass(frozen=True, kw_only=True)
class Free:
    """What a host has left for machines.

    Attributes:
        memory_mib: Memory.
        shared_mib: What fits into the file system where machines' memory lies.
        shared: That file system's folder.
        disk_gib: Disk.
        disk: The folder that was looked at for it.
    """

    memory_mib: int
    shared_mib: int
    shared: Path
    disk_gib: float
    disk: Path


def free(below: Path) -> Free:
    """What this host has left for machines whose disks are to lie below a folder."""
    disk = nearest(below)
    shared = memory_folder()
    return Free(
        memory_mib=available_memory_mib(),
        shared_mib=shutil.disk_usage(shared).free >> 20,
        shared=shared,
        disk_gib=shutil.disk_usage(disk).free / 2**30,
        disk=disk,
    )


def full_disks(*below: Path) -> list[tuple[Path, int]]:
    """Which of the file systems that machines live in are full, with the MiB that are left.

    Args:
        below: Folders that machines' files lie in, or will; their memory's is looked at too.
    """
    folders = (*map(nearest, below), memory_folder())
    usage = {one: shutil.disk_usage(one) for one in folders}
    # A file system may itself be as small as what is left on a full one.
    return [
        (folder, one.free >> 20)
        for folder, one in usage.items()
        if one.free >> 20 < min(_FULL_MIB, one.total >> 23)
    ]


def nearest(folder: Path) -> Path:
    """The folder itself, or where it is not made yet, the nearest one above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def available_memory_mib() -> int:
    """Memory of this host that new programs can have, in MiB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) >> 10
    return 0


def memory_folder() -> Path:
    """Where UML keeps machines' memory: a file system in memory, where there is one."""
    shared = Path("/dev/shm")  # noqa: S108  # files there are unlinked as soon as they are made
    return shared if os.access(shared, os.W_OK) else Path("/tmp")  # noqa: S108  # as above


def turned(processors: list[int], machines: int, neighbours: int) -> list[int]:
    """The processors in the order in which the next of several like clusters takes them.

    Else the busiest machine of each, the control plane, would be bound to the same processor.

    Args:
        processors: All there are.
        machines: How many machines each cluster has.
        neighbours: How many clusters come before.
    """
    count = len(processors)
    # Side by side; one further each time that this would begin where it began.
    around = count // math.gcd(count, machines)
    start = (neighbours * machines + neighbours // around) % count
    return [*processors[start:], *processors[:start]]


def namespace_obstacles() -> list[str]:
    """Try, in a child, what the holder will do."""
    flags = holder.CLONE_NEWNET | holder.CLONE_NEWPID | holder.CLONE_NEWNS
    if os.geteuid() != 0:
        flags |= holder.CLONE_NEWUSER
    found = []
    child = os.fork()
    if child == 0:
        try:
            holder.unshare(flags)
        except OSError as failed:
            os._exit(failed.errno or 1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        found.append(
            f"this user may not make namespaces ({os.strerror(status)}): be root, or "
            "allow them (kernel.unprivileged_userns_clone, a container's privileges)"
        )
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as failed:
        found.append(
            f"/dev/net/tun cannot be opened ({failed.strerror}): load the tun module, "
            "give the container that device, or be root"
        )
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to notice."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def bridge_is_up(pid: int) -> bool:
    """Whether the network namespace of ``pid`` has the lab's bridge."""
    with contextlib.suppress(OSError):
        return f"{holder.BRIDGE}:" in Path(f"/proc/{pid}/net/dev").read_text()
    return False


def speaks_ssh(machine: Machine) -> bool:
    """Whether an SSH server greets us there."""
    try:
        with socket.create_connection((str(machine.address), machine.port), timeout=1) as talk:
            return talk.recv(4) == b"SSH-"
    except OSError:
        return False


def memory_of(folder: Path) -> int | None:
    """Host memory of a machine: the resident set of its kernel's process, in MiB."""
    wanted = f"ubd0={folder / 'disk.cow'},".encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            # Some paths are quoted there.
            if wanted in (process / "cmdline").read_bytes().replace(b'"', b""):
                status = (process / "status").read_text()
                resident = next(x for x in status.splitlines() if x.startswith("VmRSS:"))
                return int(resident.split()[1]) >> 10
    return None
