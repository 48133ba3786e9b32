"""A cluster's life: ``up``, ``down`` and ``reset`` as ordered steps, readable as a list.

Each step has a title, is safe to repeat, and leaves things so that the next ``up`` goes on from
there. On failure machines are kept: they are slow to make and tell what happened.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from l4lab import bundle as bundles
from l4lab import inventory
from l4lab.bundle import Bundle
from l4lab.errors import MachineError, UsageError
from l4lab.machines import get_driver
from l4lab.machines.disks import bases
from l4lab.machines.driver import MachineStatus
from l4lab.playbook import PlaybookResult, TaskEvent, end_leftovers, run_playbook
from l4lab.progress import Progress, Step
from l4lab.settings import Settings
from l4lab.state import Access, lock, paths_of, read_json, write_json

_PLAYBOOK_DEADLINE = 900  # seconds; measured: about 50


@dataclass
class Cluster:
    """One cluster of the project, whether it is up or not."""

    project: Path
    settings: Settings
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.paths = paths_of(self.project, self.settings.topology.name)
        self.driver = get_driver(self.settings, self.paths)
        self._lock = self.paths.root / "lock"

    # --- up -------------------------------------------------------------------------------------

    def up(self) -> PlaybookResult:
        """Bring the cluster up, or go on from where an earlier ``up`` ended.

        Raises:
            L4labError: A step failed; the machines that run are kept.
        """
        self._refuse_other_shape()
        self._refuse_lost_base()
        self._check_host()
        bundle = bundles.ensure(self.progress)
        with self._locked():
            self._write_record(bundle)
            self._start_machines(bundle)
            inventory.write(self.settings, self.paths, bundle)
            return self._play("site.yml", "cluster")

    def _refuse_other_shape(self) -> None:
        """A running cluster keeps the networks and machines it was made with."""
        record = self.record()
        if record and record["shape"] != self._shape() and self._has_disks():
            raise UsageError(
                f"the settings of cluster {self.settings.topology.name} have changed",
                "its machines were made with other machines, networks or proxy mode",
                "./l4lab down, then ./l4lab up; or change the settings back",
            )

    def _refuse_lost_base(self) -> None:
        """Kept disks are worthless without the base disk they were made over."""
        lost = [base for base in bases(self.paths) if not base.exists()]
        if lost and self._has_disks():
            raise UsageError(
                f"the disks of cluster {self.settings.topology.name} cannot be read any more",
                f"the bundle they were made with is gone: {lost[0]}",
                "./l4lab down, then ./l4lab up",
            )

    def _check_host(self) -> None:
        with self.progress.step("check this host"):
            obstacles = self.driver.obstacles()
            if obstacles:
                raise MachineError(
                    "this host cannot have the machines", "; ".join(obstacles), "./l4lab doctor"
                )

    def _write_record(self, bundle: Bundle) -> None:
        made = (self.record() or {}).get("made", time.time())
        write_json(
            self.paths.record,
            {
                "cluster": self.settings.topology.name,
                "driver": self.driver.name,
                "bundle": str(bundle.folder),
                "made": made,
                "shape": self._shape(),
            },
        )

    def _start_machines(self, bundle: Bundle) -> None:
        with self.progress.step("machines") as step:

            def doing(text: str) -> None:
                step.doing = text

            self.driver.up(bundle, doing)
            step.note = ", ".join(machine.name for machine in self.settings.topology.machines)

    def _play(self, playbook: str, title: str) -> PlaybookResult:
        with self.progress.step(title) as step:
            result = run_playbook(
                playbook,
                self.paths,
                project=self.project,
                on_task=lambda event: _show_task(step, event),
                timeout=_PLAYBOOK_DEADLINE,
            )
            changed = sum(host.changed for host in result.hosts.values())
            step.note = f"{changed} changed" if changed else "nothing to change"
        return result

    # --- down, reset ----------------------------------------------------------------------------

    def down(self, *, keep_disks: bool = False) -> bool:
        """End the machines; without ``keep_disks`` forget the cluster altogether.

        Returns:
            Whether there was anything to end.

        Raises:
            MachineError: The machines do not end.
            LockedError: Another l4lab works on the cluster.
        """
        if not self.paths.root.exists():
            return False
        with self._locked():
            with self.progress.step("machines off" if keep_disks else "machines and disks gone"):
                end_leftovers(self.paths)
                self.driver.down(keep_disks=keep_disks)
            if not keep_disks:
                self._forget()
        with contextlib.suppress(OSError):
            self.paths.root.rmdir()
            self.paths.root.parent.rmdir()  # only when no other cluster is in it
        return True

    def _forget(self) -> None:
        """Delete the state, the lock last: nobody else may begin while something is left."""
        for entry in self.paths.root.iterdir():
            if entry == self._lock:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        self._lock.unlink(missing_ok=True)
        link = self.paths.stack_link
        if link.is_symlink() and link.readlink().is_relative_to(self.paths.root):
            link.unlink()

    def reset(self) -> PlaybookResult:
        """Take Kubernetes and the database's lab off the machines, which stay up.

        Raises:
            PlaybookError: A task failed.
            UsageError: The cluster is not up.
        """
        self.access()
        with self._locked():
            self.driver.enter()
            result = self._play("reset.yml", "reset")
            self.paths.kubeconfig.unlink(missing_ok=True)
        return result

    # --- looking --------------------------------------------------------------------------------

    def record(self) -> dict[str, Any] | None:
        """What was written at ``up``, or None where the cluster was never made."""
        return read_json(self.paths.record)

    def status(self) -> list[MachineStatus]:
        """How each machine is."""
        return self.driver.status()

    def access(self) -> Access:
        """What reaches the running cluster.

        Raises:
            UsageError: The cluster is not up.
        """
        record = self.record()
        if not record or not self.paths.inventory.exists():
            raise UsageError("the cluster is not up", "it was not made yet", "./l4lab up")
        dead = [status for status in self.status() if not status.running]
        if dead:
            raise MachineError(f"{dead[0].name} does not run", dead[0].note, "./l4lab up")
        bundle = Bundle(Path(record["bundle"]))
        return Access(
            topology=self.settings.topology,
            paths=self.paths,
            kubectl=bundle.kubectl,
            pulumi=bundle.pulumi,
        )

    def enter(self) -> Access:
        """Let this process reach the running cluster, and say how.

        Raises:
            UsageError: The cluster is not up, or ``up`` did not end well.
        """
        access = self.access()
        if not self.paths.kubeconfig.exists():
            raise UsageError(
                "the cluster is not up", "the last up did not come to its end", "./l4lab up"
            )
        self.driver.enter()
        return access

    # --- details --------------------------------------------------------------------------------

    def _shape(self) -> dict[str, Any]:
        topology = self.settings.topology
        return {
            "proxy": self.settings.proxy,
            "machines": {
                machine.name: [machine.role.value, str(machine.address)]
                for machine in topology.machines
            },
            "networks": {name: str(value) for name, value in asdict(topology.networks).items()},
        }

    def _has_disks(self) -> bool:
        return any(self.paths.machines.glob("*/disk.cow"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with lock(self._lock, f"cluster {self.settings.topology.name}"):
            yield


def _show_task(step: Step, event: TaskEvent) -> None:
    step.doing = f"{event.host}: {event.task}"
