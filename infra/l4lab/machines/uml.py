"""How a machine's kernel, User-Mode Linux, is started: its words and its environment."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from l4lab.bundle.disk import ROOT_DISK
from l4lab.machines import host
from l4lab.topology import Machine

_PLAIN = re.compile(r"[A-Za-z0-9_./,@%+=-]*")
# A disk's two files are separated by one of the first two, and a quote cannot be quoted.
_UNSPEAKABLE = re.compile(r"""[,:"]""")


def unspeakable(path: Path) -> str:
    """The letters in a path that keep the kernel from a file there; empty when it can have it."""
    return " and ".join(dict.fromkeys(_UNSPEAKABLE.findall(str(path))))


def words(
    machine: Machine, *, cpu: int, kernel: Path, folder: Path, base: Path, tap: str
) -> list[str]:
    """What a machine is started with.

    Args:
        machine: The machine.
        cpu: The host processor it is bound to.
        kernel: The kernel's program.
        folder: Where the machine's files lie.
        base: The disk below its copy-on-write disk.
        tap: Its network device on the host.
    """
    # The cluster's state is two folders up: machines of the same name are others there.
    whose = f"{folder.parents[1]}/{machine.name}"
    identity = hashlib.sha256(whose.encode()).hexdigest()[:32]
    return [
        # One CPU each: a system call is a hand-over between two host processes, and across CPUs it
        # costs six times as much.
        shutil.which("taskset") or "taskset",
        "-c",
        str(cpu),
        str(kernel),
        f"umid={machine.name}",
        # Read from this very word, so it is not for quoting.
        f"uml_dir={scratch(folder)}/",
        _word("ubd0", f"{folder / 'disk.cow'},{base}"),
        _word("ubd1r", f"{folder / 'seed.tar'}"),
        *ROOT_DISK,
        f"mem={machine.memory_mib}M",
        f"vec0:transport=tap,ifname={tap},depth=128,gro=1",
        "con=null",
        "con0=null,fd:1",
        "seccomp=on",
        f"systemd.hostname={machine.name}",
        f"systemd.machine_id={identity}",
        # The labs are about IPv4; a second family doubles what kube-proxy has to write.
        "ipv6.disable=1",
        "net.ifnames=0",
        "panic=-1",
        "loglevel=4",
    ]


def environment(folder: Path) -> dict[str, str]:
    """What the kernel finds in its environment: it must have a home, or it panics."""
    return {
        "HOME": str(scratch(folder)),
        # Here it keeps the machine's memory.
        "TMPDIR": str(host.memory_folder()),
        "PATH": os.environ.get("PATH", os.defpath),
    }


def scratch(folder: Path) -> Path:
    """A machine's folder that its kernel empties at a clean shutdown: nothing else goes there."""
    return folder / "uml"


def processor(number: int, processors: list[int]) -> int:
    """The host processor for the machine at place ``number`` of the topology.

    The control plane comes first and does most of the work: it has the first processor to itself
    where there are two or more, and the others share the rest.
    """
    if number == 0 or len(processors) == 1:
        return processors[0]
    others = processors[1:]
    return others[(number - 1) % len(others)]


def _word(name: str, value: str) -> str:
    """A word as it must be for the kernel to find ``value``.

    The kernel makes one line of all words and takes it apart again at what is a space to it, which
    a byte of many a letter is; double quotes keep a value together.
    """
    return f"{name}={value}" if _PLAIN.fullmatch(value) else f'{name}="{value}"'
