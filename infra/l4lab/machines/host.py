"""What this host has and allows: read before anything is made, so that refusals come early."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from l4lab.machines import holder
from l4lab.topology import Machine


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
    wanted = str(folder / "disk.cow").encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError):
            if b"ubd0=" + wanted in (process / "cmdline").read_bytes():
                status = (process / "status").read_text()
                resident = next(x for x in status.splitlines() if x.startswith("VmRSS:"))
                return int(resident.split()[1]) >> 10
    return None
