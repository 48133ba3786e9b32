"""Local machines: each a User-Mode Linux process with a kernel, a disk and an address of its own.

No KVM and no container engine are needed, and nothing of the host is changed: the lab network is a
network namespace that one process holds (``holder.py``), and ending that process ends everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from l4lab.bundle import Bundle, cache_folder
from l4lab.command import run
from l4lab.errors import MachineError
from l4lab.machines import connect, disks, holder, host, keys, seed, standstill, uml
from l4lab.machines.driver import MachineStatus
from l4lab.progress import without_painters
from l4lab.retry import TimedOut, wait_for
from l4lab.state import Paths, read_json, write_json
from l4lab.topology import Machine, Topology

_SSH_DEADLINE = 120  # seconds from power-on; measured: about 6
_OFF_DEADLINE = 60  # seconds for a clean shutdown
_CONSOLE_LINES = 8


class LocalDriver:
    """Machines on this host, without KVM and without containers."""

    name = "local"
    owns = True
    neighbours = 0

    def __init__(self, topology: Topology, paths: Paths) -> None:
        """Make machines of ``topology``, with their state below ``paths``."""
        self.topology = topology
        self.paths = paths
        self.spec = paths.machines / "spec.json"
        self.record = paths.machines / "holder.json"

    def obstacles(self) -> list[str]:
        """Why this host cannot have these machines; empty when it can."""
        found = [
            f"the program {name} is missing: apt-get install {package}"
            for name, package in (("ip", "iproute2"), ("taskset", "util-linux"), ("mount", "mount"))
            if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        ]
        if os.uname().machine != "x86_64":
            found.append(f"the processor is {os.uname().machine}; the kernel is built for x86_64")
        found += host.namespace_obstacles()
        found += [
            f"{path} has {letters} in it, which the machines' kernel takes for something else: "
            f"{remedy}"
            for path, remedy in (
                (self.paths.machines, "move this folder to a path without"),
                (cache_folder(), "set L4LAB_CACHE to a folder without"),
            )
            if (letters := uml.unspeakable(path))
        ]
        if not self.running():
            found += self._room_obstacles()
        elif not all(self._runs(machine.name) for machine in self.topology.machines):
            found += standstill.obstacles(self.paths.machines)
        return found

    def _room_obstacles(self) -> list[str]:
        found = []
        wanted, free = self.topology.memory_mib, host.free(self.paths.root.parent)
        if wanted > free.memory_mib:
            found.append(
                f"the machines want {wanted} MiB of memory and {free.memory_mib} MiB are free: "
                "close programs, or set less memory in l4lab.toml"
            )
        if wanted > free.shared_mib:
            found.append(
                f"the machines' memory lies in {free.shared}, which has {free.shared_mib} MiB free "
                f"of {wanted}: make it larger (mount -o remount,size=...), or set less memory"
            )
        if free.disk_gib < host.DISK_GIB:
            found.append(
                f"{free.disk_gib:.1f} GiB of disk are free below {free.disk}; the machines may "
                f"need {host.DISK_GIB}"
            )
        return found

    def running(self) -> bool:
        """Whether the lab network is there."""
        return self._holder() is not None

    def _holder(self) -> int | None:
        record = read_json(self.record)
        if record:
            with contextlib.suppress(OSError, ValueError):
                if holder.start_time(record["pid"]) == record["start"] and not host.is_zombie(
                    record["pid"]
                ):
                    return int(record["pid"])
        return None

    def _runs(self, name: str) -> bool:
        folder = self.paths.machines / name
        started, ended = ((folder / file).exists() for file in ("started.json", "ended.json"))
        return started and not ended and self.running()

    def refuse_paused(self) -> None:
        """Say so where the machines stand still, for then there is nothing to wait for.

        Raises:
            MachineError: Their disk is nearly full; they go on by themselves once there is room.
        """
        if self._is_paused():
            raise standstill.refusal(self.paths.machines)

    def _is_paused(self) -> bool:
        # The mark of a holder that was killed says nothing.
        return standstill.is_marked(self.paths.machines) and self.running()

    def up(self, bundle: Bundle, doing: Callable[[str], None]) -> None:
        """Make and start the machines that do not run, until SSH answers on all.

        Raises:
            MachineError: The host cannot have them, one died, or did not answer in time.
        """
        self.refuse_paused()
        obstacles = self.obstacles()
        if obstacles:
            raise MachineError(
                "this host cannot have the machines", "; ".join(obstacles), "./l4lab doctor"
            )
        keys.ensure_key(self.paths.ssh / keys.CLIENT_KEY)
        keys.write_client_files(self.paths, self.topology, self.record)
        doing("writing disks")
        machines = [
            self._prepare(number, machine, bundle)
            for number, machine in enumerate(self.topology.machines)
        ]
        networks = self.topology.networks
        write_json(
            self.spec,
            {
                "gateway": f"{networks.gateway}/{networks.nodes.prefixlen}",
                "machines": machines,
            },
        )
        pid = self._holder()
        if pid:
            for machine in self.topology.machines:
                self._forget_end(machine)
            os.kill(pid, signal.SIGHUP)
        else:
            self._start_holder()
        self.enter()
        self._wait_for_ssh(doing)

    def _prepare(self, number: int, machine: Machine, bundle: Bundle) -> dict[str, Any]:
        folder = self.paths.machines / machine.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed.write(folder / "seed.tar", machine, topology=self.topology, paths=self.paths)
        processors = host.turned(
            sorted(os.sched_getaffinity(0)), len(self.topology.machines), self.neighbours
        )
        cpu = uml.processor(number, processors)
        tap = f"tap{number}"
        base = disks.base_of(machine.name, folder, bundle.disk, runs=self._runs(machine.name))
        shutil.rmtree(uml.scratch(folder), ignore_errors=True)
        uml.scratch(folder).mkdir()
        return {
            "name": machine.name,
            "folder": str(folder),
            "tap": tap,
            "environment": uml.environment(folder),
            "argv": uml.words(
                machine, cpu=cpu, kernel=bundle.kernel, folder=folder, base=base, tap=tap
            ),
        }

    def _forget_end(self, machine: Machine) -> None:
        """What an earlier life of the machine left must not be taken for its next one's end."""
        folder = self.paths.machines / machine.name
        if (folder / "ended.json").exists():
            (folder / "started.json").unlink(missing_ok=True)
            (folder / "ended.json").unlink()

    def _start_holder(self) -> None:
        self.record.unlink(missing_ok=True)
        for machine in self.topology.machines:
            for name in ("ended.json", "started.json"):
                (self.paths.machines / machine.name / name).unlink(missing_ok=True)
        log = self.paths.machines / "holder.log"
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        with log.open("ab") as output:
            started = subprocess.run(
                [sys.executable, "-I", holder.__file__, self.spec],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                timeout=30,
                env={**os.environ, "PATH": path},
                start_new_session=True,
            )
        if started.returncode != 0 or not self._holder():
            lines = log.read_text().strip().splitlines()
            raise MachineError(
                "the lab network could not be made",
                lines[-1] if lines else None,
                "./l4lab doctor",
                details=log,
            )

    def _wait_for_ssh(self, doing: Callable[[str], None]) -> None:
        waiting = {machine.name: machine for machine in self.topology.machines}

        def probe() -> str | None:
            for machine in list(waiting.values()):
                if host.speaks_ssh(machine):
                    del waiting[machine.name]
            doing(f"waiting for SSH of {', '.join(waiting)}")
            return f"no SSH on {', '.join(waiting)}" if waiting else None

        try:
            wait_for(
                "SSH on all machines",
                probe,
                within=_SSH_DEADLINE,
                every=0.1,
                meanwhile=self._refuse_dead,
            )
        except TimedOut as late:
            name = next(iter(waiting))
            raise MachineError(
                f"{name} does not answer",
                str(late),
                "./l4lab status",
                details=self.paths.machines / name / "console.log",
            ) from late

    def _refuse_dead(self) -> None:
        self.refuse_paused()
        if not self.running():
            raise MachineError(
                "the process that holds the lab network has died",
                self._last_lines(self.paths.machines / "holder.log"),
                "./l4lab up",
            )
        for status in self.status():
            # One without the note of its end is only not started yet.
            if not status.running and (self.paths.machines / status.name / "ended.json").exists():
                console = self.paths.machines / status.name / "console.log"
                raise MachineError(
                    f"{status.name} has died", status.note, "./l4lab up", details=console
                )

    def enter(self) -> None:
        """Move this process into the lab network.

        Raises:
            MachineError: The lab network is not there, the kernel refuses, or the machines stand
                still.
        """
        pid = self._holder()
        if pid is None:
            raise MachineError(
                "the machines are not up", "the lab network is not there", "./l4lab up"
            )
        self.refuse_paused()
        try:
            wait_for(
                "the lab network",
                lambda: None if host.bridge_is_up(pid) else "no bridge yet",
                within=15,
                every=0.05,
                meanwhile=self._refuse_dead_holder,
            )
            with without_painters():  # a plain user's process may have no other threads
                connect.enter(pid)
        except (TimedOut, OSError) as failed:
            raise MachineError(
                "cannot enter the lab network",
                str(failed),
                "./l4lab doctor",
                details=self.paths.machines / "holder.log",
            ) from failed

    def _refuse_dead_holder(self) -> None:
        if not self.running():
            log = self.paths.machines / "holder.log"
            raise MachineError(
                "the lab network could not be made",
                self._last_lines(log),
                "./l4lab doctor",
                details=log,
            )

    def status(self) -> list[MachineStatus]:
        """How each machine is."""
        pid = self._holder()
        still = standstill.note(self.paths.machines) if self._is_paused() else ""
        found = []
        for machine in self.topology.machines:
            folder = self.paths.machines / machine.name
            ended = read_json(folder / "ended.json")
            started = read_json(folder / "started.json")
            if pid and started and not ended:
                memory = host.memory_of(folder)
                found.append(
                    MachineStatus(name=machine.name, running=True, note=still, memory_mib=memory)
                )
                continue
            if pid and ended:
                how = ended["status"]
                what = f"killed by signal {-how}" if how < 0 else f"ended with status {how}"
                last = self._last_lines(folder / "console.log")
                note = f"{what}; console: {last}" if last else what
            elif not pid and started:
                note = "gone with the process that held the lab network"
            else:
                note = "kept disk" if (folder / "disk.cow").exists() else "not made"
            found.append(MachineStatus(name=machine.name, running=False, note=note))
        return found

    def _last_lines(self, path: Path) -> str:
        with contextlib.suppress(FileNotFoundError):
            lines = path.read_text(errors="replace").split("\n")
            return " | ".join([line.strip() for line in lines if line.strip()][-_CONSOLE_LINES:])
        return ""

    def down(self, *, keep_disks: bool = False) -> None:
        """End the machines; without ``keep_disks`` nothing of them is left.

        Raises:
            MachineError: The kernel did not end them in time; or their disks are to be kept, and
                they stand still, so that they cannot bring what they know to them.
        """
        pid = self._holder()
        if pid and keep_disks:
            self.refuse_paused()
            self._power_off()
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            try:
                wait_for(
                    "the end of the machines",
                    lambda: "still there" if self.running() else None,
                    within=30,
                    every=0.05,
                )
            except TimedOut as late:
                raise MachineError(
                    "the machines do not end", str(late), f"look at process {pid}"
                ) from late
        self.record.unlink(missing_ok=True)
        if keep_disks:
            (self.paths.machines / holder.PAUSED).unlink(missing_ok=True)
            for machine in self.topology.machines:
                (self.paths.machines / machine.name / "started.json").unlink(missing_ok=True)
        else:
            shutil.rmtree(self.paths.machines, ignore_errors=True)

    def _power_off(self) -> None:
        """Shut all machines down cleanly, side by side, so that their disks are whole."""

        def one(machine: Machine) -> None:
            # Forced: all processes get SIGTERM at once. In order, pods' scopes outlive containerd
            # by design, and systemd would wait for each of them.
            ssh = ["ssh", "-F", str(self.paths.ssh_config), machine.name]
            run([*ssh, "systemctl", "--force", "poweroff"], timeout=20, check=False)

        threads = [
            threading.Thread(target=one, args=(machine,)) for machine in self.topology.machines
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with contextlib.suppress(TimedOut):  # one that hangs is ended hard; ext4 has a journal
            wait_for(
                "shutdown",
                lambda: next((status.name for status in self.status() if status.running), None),
                within=_OFF_DEADLINE,
            )
