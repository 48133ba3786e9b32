"""Holds the lab network: the first process of a network and a process namespace of its own.

Run as ``python -I holder.py SPEC``: it only uses the standard library. Everything of the lab lives
in its namespaces: bridge, taps, machines. When it ends, however it ends, the kernel ends every
machine and removes every link with it; nothing on the host was changed.

SPEC (JSON) is what should be there. SIGHUP reads it again and starts the machines that do not run;
SIGTERM ends everything, and so does the removal of SPEC's folder: nobody else would know of it. A
machine that ends leaves ``NAME/ended.json`` with its exit status.

Machines do not outlast a write that the host's disk refuses. So while that disk is nearly full they
all stand still, which the file ``paused`` beside SPEC tells, and they go on once there is room.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# From <linux/sched.h>
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

BRIDGE = "lab0"

MIB = 1 << 20
# With less than FULL free on their disk machines are stopped, and let go on with ROOM. FULL is not
# nearer to nothing because what is free is only seen twice a second, and goes down after that, too:
# the host has yet to find a place for some of what it was given to write. ROOM is so far above that
# machines do not go on only to be stopped by what they had waiting.
FULL = 256 * MIB
ROOM = 512 * MIB
PAUSED = "paused"
_TICK = 0.5  # seconds between two looks at disk and folder


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since boot: with the pid, it names one process."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[19])  # field 22 of proc(5), counted after the name


def write_whole(path: Path, record: dict[str, Any]) -> None:
    """Write a record so that whoever reads it meanwhile sees all of it or nothing."""
    working = path.with_suffix(".new")
    working.write_text(json.dumps(record))
    working.replace(path)


def free_bytes(folder: Path) -> int:
    """What a plain user can still write to the file system of a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def unshare(flags: int) -> None:
    """Give this process namespaces of its own.

    Raises:
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(spec_path: Path) -> int:
    """Make the namespaces, leave a record, and stay as their first process."""
    # A holder that was killed took its machines with it, and left this.
    spec_path.with_name(PAUSED).unlink(missing_ok=True)
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        unshare(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS)
    else:
        # A plain user is root in a namespace of their own, and nowhere else.
        unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    wait, go = os.pipe()
    child = os.fork()
    if child:
        # The record is complete before the child makes anything.
        record = {"pid": child, "start": start_time(child)}
        write_whole(spec_path.with_name("holder.json"), record)
        os.write(go, b"x")
        return 0
    os.close(go)
    if not os.read(wait, 1):
        return 1  # our parent died before the record was there
    os.setsid()
    Holder(spec_path).run()
    return 0


class Holder:
    """The first process of the namespaces."""

    def __init__(self, spec_path: Path) -> None:
        self.spec_path = spec_path
        self.running: dict[int, str] = {}
        self.taps: set[str] = set()
        self.ended: dict[str, dict[str, Any]] = {}
        self.still = False

    def run(self) -> None:
        """Bring up the network, then start, reap and restart machines until told to end.

        It also ends once the spec's folder is removed; one that is only moved stays the same.
        """
        folder = os.open(self.spec_path.parent, os.O_RDONLY)
        signals = {signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        for number in signals:
            # The first process of a namespace only gets the signals it has a handler for.
            signal.signal(number, lambda *_: None)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
        spec = self.read()
        self.ip(
            "link set lo up",
            f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0",
            f"address add {spec['gateway']} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )
        self.converge()
        # A folder always has a link to itself until it is removed; some file systems count none.
        while os.fstat(folder).st_nlink or self.spec_path.exists():
            received = signal.sigtimedwait(signals, _TICK)
            told = received.si_signo if received else None
            if told == signal.SIGTERM:
                return
            self.reap()  # first: a machine that just ended is to be started again too
            # What a full disk does not take is written the next time.
            with contextlib.suppress(OSError):
                self.note_ends()
            if told == signal.SIGHUP:
                self.converge()
            if self.running or self.still:
                with contextlib.suppress(OSError):
                    self.guard()

    def guard(self) -> None:
        """Have the machines stand still while their disk is nearly full.

        Raises:
            OSError: The disk cannot be looked at, or takes no mark yet; machines were stopped.
        """
        mark = self.spec_path.with_name(PAUSED)
        free = free_bytes(self.spec_path.parent)
        before, self.still = self.still, free < (ROOM if self.still else FULL)
        if self.still:
            self.send(signal.SIGSTOP)  # each time: one may have been started meanwhile
            if not mark.exists():
                write_whole(mark, {"free_mib": free // MIB, "at": time.time()})
        else:
            if before:
                self.send(signal.SIGCONT)
            mark.unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all processes of all machines.

        A machine leads a process group, in which all that its kernel starts on the host stays.
        """
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def read(self) -> dict[str, Any]:
        """The spec as it is now."""
        spec: dict[str, Any] = json.loads(self.spec_path.read_text())
        return spec

    def ip(self, *lines: str) -> None:
        """Change links and addresses, all lines in one process."""
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)

    def converge(self) -> None:
        """Start every machine of the spec that does not run."""
        for machine in self.read()["machines"]:
            if machine["name"] in self.running.values():
                continue
            tap = machine["tap"]
            if tap not in self.taps:
                self.ip(
                    f"tuntap add {tap} mode tap",
                    f"link set {tap} master {BRIDGE}",
                    f"link set {tap} up",
                )
                self.taps.add(tap)
            folder = Path(machine["folder"])
            (folder / "ended.json").unlink(missing_ok=True)
            with (folder / "console.log").open("ab") as console:
                process = subprocess.Popen(
                    machine["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=console,
                    stderr=subprocess.STDOUT,
                    env=machine["environment"],
                    start_new_session=True,
                    # The mask is inherited. There are no threads here that could be in the way.
                    preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, set()),  # noqa: PLW1509
                )
            self.running[process.pid] = machine["name"]
            self.ended.pop(machine["name"], None)
            write_whole(folder / "started.json", {"pid": process.pid})

    def reap(self) -> None:
        """Collect every process that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.running.pop(pid, None)
            if name:
                self.ended[name] = {"status": os.waitstatus_to_exitcode(status), "at": time.time()}

    def note_ends(self) -> None:
        """Leave a note beside every machine that ended.

        Raises:
            OSError: The disk takes none; what is not noted yet is kept for the next time.
        """
        for name, how in list(self.ended.items()):
            write_whole(self.spec_path.parent / name / "ended.json", how)
            del self.ended[name]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
