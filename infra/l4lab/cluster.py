"""A cluster's life: ``up``, ``down`` and ``reset`` as ordered steps, readable as a list.

Each step has a title, is safe to repeat, and leaves things so that the next ``up`` goes on from
there. On failure machines are kept: they are slow to make and tell what happened.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from l4lab import bundle as bundles
from l4lab import inventory
from l4lab.bundle import Bundle
from l4lab.certificate import refuse_expired
from l4lab.errors import MachineError, UsageError
from l4lab.machines import get_driver, refuse_other_driver
from l4lab.machines.disks import bases
from l4lab.machines.driver import MachineStatus
from l4lab.no_proxy import go_direct
from l4lab.playbook import PlaybookResult, TaskEvent, end_leftovers, run_playbook
from l4lab.progress import Progress, Step
from l4lab.proof import Fingerprint, Proof, Scope, compare, prove, snapshot
from l4lab.proof import read_json as read_fingerprint
from l4lab.proof.kept import forget_stacks, machines_file, remember_machines
from l4lab.settings import Settings
from l4lab.state import Access, forget, is_known, lock, paths_of, read_json, write_json
from l4lab.topology import Networks, Topology

_PLAYBOOK_DEADLINE = 900  # seconds; measured: about 50
_GIVEN_DEADLINE = 3600  # seconds, where a gigabyte goes to each host over whatever there is
_SETTLE_SECONDS = 15.0  # for sockets and processes that are on their way out


@dataclass(frozen=True)
class Reset:
    """What a reset did, or would do.

    Attributes:
        removed: What was, or would be, taken off the machines: one line a fact.
        proof: The comparison with the machines as they were; None if it was not made.
    """

    removed: tuple[str, ...]
    proof: Proof | None


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
        self._refuse_other_driver()
        self.driver.refuse_paused()
        self._refuse_other_shape()
        self._refuse_lost_base()
        self._check_host()
        bundle = bundles.ensure(self.progress, origin=self.settings.origin)
        with self._locked():
            proxy = self._proxy_to_keep()
            self._write_record(bundle, proxy=proxy)
            self._start_machines(bundle)
            inventory.write(self.settings, self.paths, bundle, proxy=proxy)
            self._remember_machines()
            return self._play("site.yml", "cluster")

    def _refuse_other_driver(self) -> None:
        made = None
        with contextlib.suppress(MachineError):  # a damaged record must not keep `down` away
            made = (self.record() or {}).get("driver")
        refuse_other_driver(self.driver, made, self.settings.topology.name)

    def _refuse_other_shape(self) -> None:
        """A cluster keeps the networks and machines it was made with; a reset one its machines."""
        record = self.record()
        if not record or not self._is_made():
            return
        shape = self._shape()
        if not _same_shape(record["shape"], shape, reset=record.get("reset", False)):
            raise UsageError(
                f"the settings of cluster {self.settings.topology.name} have changed",
                "its machines were made with other machines or networks",
                "first ./l4lab reset, which frees pod and service networks, or ./l4lab down, which "
                "frees all; then ./l4lab up",
            )

    def _proxy_to_keep(self) -> str:
        """kube-proxy's mode for ``up``: the settings' for a new cluster, its own for a running one.

        Raises:
            UsageError: The settings were changed to another mode than the cluster's.
        """
        wanted, record = self.settings.proxy, self.record() or {}
        kept = record.get("proxy")
        if not kept or record.get("reset") or not self._is_made():
            return wanted
        if wanted in (kept["mode"], kept["settings"]):
            return str(kept["mode"])
        raise UsageError(
            f"the settings of cluster {self.settings.topology.name} have changed",
            f"they say proxy mode {wanted}, the cluster runs in {kept['mode']}",
            f"./l4lab proxy {wanted}; or change the settings back",
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

    def _write_record(self, bundle: Bundle, *, proxy: str) -> None:
        made = (self.record() or {}).get("made", time.time())
        write_json(
            self.paths.record,
            {
                "cluster": self.settings.topology.name,
                "driver": self.driver.name,
                "bundle": str(bundle.folder),
                "made": made,
                "shape": self._shape(),
                # What the settings said counts too: only a change of theirs is worth a question.
                "proxy": {"mode": proxy, "settings": self.settings.proxy},
            },
        )

    def _start_machines(self, bundle: Bundle) -> None:
        with self.progress.step("machines") as step:

            def doing(text: str) -> None:
                step.doing = text

            self.driver.up(bundle, doing)
            step.note = ", ".join(machine.name for machine in self.settings.topology.machines)
        if not self.driver.owns:  # a person may want to compare the keys that were pinned
            for status in self.driver.status():
                self.progress.say(f"  {status.name}: {status.note}")

    def _remember_machines(self) -> None:
        """Before a cluster is built on machines, take the fingerprint to which reset brings them.

        Where there is a kubeconfig, it is too late.
        """
        if not self.paths.kubeconfig.exists():
            remember_machines(self._access(self.settings.topology))

    def _play(self, playbook: str, title: str) -> PlaybookResult:
        with self.progress.step(title) as step:
            result = run_playbook(
                playbook,
                self.paths,
                project=self.project,
                on_task=lambda event: _show_task(step, event),
                timeout=_PLAYBOOK_DEADLINE if self.driver.owns else _GIVEN_DEADLINE,
                meanwhile=self.driver.refuse_paused,
            )
            changed = sum(host.changed for host in result.hosts.values())
            step.note = f"{changed} changed" if changed else "nothing to change"
        return result

    # --- proxy ----------------------------------------------------------------------------------

    def change_proxy(self, mode: str) -> PlaybookResult:
        """Have kube-proxy run in another mode on all nodes, and take off what the former left.

        Raises:
            UsageError: The cluster is not up, or the settings name other machines or networks.
            PlaybookError: A task failed; the next ``up`` goes on with the change.
        """
        self.enter()
        self._refuse_other_shape()
        record = self.record() or {}
        bundle = Bundle(Path(record["bundle"]))
        with self._locked():
            self._write_record(bundle, proxy=mode)
            inventory.write(self.settings, self.paths, bundle, proxy=mode)
            return self._play("site.yml", f"proxy mode {mode}")

    # --- down, reset ----------------------------------------------------------------------------

    def down(self, *, keep_disks: bool = False) -> bool:
        """End the machines; without ``keep_disks`` forget the cluster altogether.

        What a class was found to have done is nobody's to forget here: its results stay.

        Returns:
            Whether there was anything to end.

        Raises:
            MachineError: The machines do not end.
            PlaybookError: The cluster cannot be taken off hosts that were given.
            LockedError: Another l4lab works on the cluster.
            UsageError: The settings name another driver than the cluster's.
        """
        if not is_known(self.paths):
            return False
        self._refuse_other_driver()
        with self._locked():
            end_leftovers(self.paths)
            if self.driver.owns:
                title = "machines off" if keep_disks else "machines and disks gone"
            else:
                self._give_back(keep_disks=keep_disks)
                title = "hosts let go"
            with self.progress.step(title):
                self.driver.down(keep_disks=keep_disks)
            if not keep_disks:
                forget(self.paths, last=self._lock)
        with contextlib.suppress(OSError):
            self.paths.root.rmdir()
            self.paths.root.parent.rmdir()  # only when no other cluster is in it
        return True

    def _give_back(self, *, keep_disks: bool) -> None:
        """Take the cluster off hosts that run on; without ``keep_disks`` all that it brought."""
        if not self.paths.inventory.exists():
            return  # nothing was ever changed on them
        self._play("reset.yml", "cluster off the hosts")
        self._forget_cluster()
        if not keep_disks:
            self._play("leave.yml", "hosts as they were found")

    def reset(self) -> Reset:
        """Take Kubernetes and the database's lab off the machines, which stay up, and prove it.

        Machines are compared with how they were before the cluster was built on them. What is not
        the cluster's is left alone, and told as a difference.

        Raises:
            PlaybookError: A task failed; the next reset goes on.
            UsageError: The cluster is not up.
        """
        with self._resetting() as access:
            kept = read_fingerprint(machines_file(self.paths))
            there = self._compared(access, kept, "machines before")
            self._play("reset.yml", "reset")
            self._forget_cluster()
            if kept is None or there is None:
                return Reset(removed=(), proof=None)
            with self.progress.step("compare with the machines as they were") as step:
                proved = prove(access, kept, scope=Scope.machines(), within=_SETTLE_SECONDS)
                step.note = f"{len(proved.differences)} differences"
        left = {str(one) for one in proved.differences}
        removed = tuple(str(one) for one in there.differences if str(one) not in left)
        return Reset(removed=removed, proof=proved)

    def _forget_cluster(self) -> None:
        """Machines stay, without a cluster: the next one may have other networks, another mode."""
        self.paths.kubeconfig.unlink(missing_ok=True)
        forget_stacks(self.paths)
        if record := self.record():
            write_json(self.paths.record, {**record, "reset": True})

    def reset_plan(self) -> Reset:
        """What ``reset`` would take off the machines, without doing it.

        Raises:
            UsageError: The cluster is not up.
        """
        with self._resetting() as access:
            there = self._compared(access, read_fingerprint(machines_file(self.paths)), "machines")
        return Reset(removed=tuple(map(str, there.differences)) if there else (), proof=None)

    @contextlib.contextmanager
    def _resetting(self) -> Iterator[Access]:
        """The running machines, and the networks that they were made with."""
        self.access()
        record = self.record() or {}
        networks = {name: IPv4Network(value) for name, value in record["shape"]["networks"].items()}
        with self._locked():
            self.driver.enter()
            made = replace(self.settings.topology, networks=Networks(**networks))
            yield self._access(made)

    def _compared(self, access: Access, kept: Fingerprint | None, title: str) -> Proof | None:
        if kept is None:
            return None
        with self.progress.step(title) as step:
            found = compare(kept, snapshot(access, scope=Scope.machines()))
            step.note = f"{len(found.differences)} facts of a cluster"
        return found

    # --- looking --------------------------------------------------------------------------------

    def record(self) -> dict[str, Any] | None:
        """What was written at ``up``, or None where the cluster was never made."""
        return read_json(self.paths.record)

    def status(self) -> list[MachineStatus]:
        """How each machine is; refused (``UsageError``) where it was made with another driver."""
        self._refuse_other_driver()
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
        self.driver.refuse_paused()
        return self._access(self.settings.topology)

    def _access(self, topology: Topology) -> Access:
        bundle = Bundle(Path((self.record() or {})["bundle"]))
        return Access(
            topology=topology, paths=self.paths, kubectl=bundle.kubectl, pulumi=bundle.pulumi
        )

    def enter(self) -> Access:
        """Let this process reach the running cluster, and say how.

        Raises:
            UsageError: The cluster is not up, or ``up`` did not end well.
            MachineError: A machine does not run, or the cluster's certificates have expired.
        """
        access = self.access()
        if not self.paths.kubeconfig.exists():
            raise UsageError(
                "the cluster is not up", "the last up did not come to its end", "./l4lab up"
            )
        refuse_expired(self.paths.kubeconfig)
        self.driver.enter()
        go_direct(access.topology.networks)
        return access

    # --- details --------------------------------------------------------------------------------

    def _shape(self) -> dict[str, Any]:
        topology = self.settings.topology
        return {
            "machines": {
                machine.name: [machine.role.value, str(machine.address)]
                for machine in topology.machines
            },
            "networks": {name: str(value) for name, value in asdict(topology.networks).items()},
        }

    def _is_made(self) -> bool:
        return self._has_disks() or (not self.driver.owns and self.paths.inventory.exists())

    def _has_disks(self) -> bool:
        return any(self.paths.machines.glob("*/disk.cow"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with lock(self._lock, f"cluster {self.settings.topology.name}"):
            yield


def _same_shape(made: dict[str, Any], wanted: dict[str, Any], *, reset: bool) -> bool:
    """Whether machines of one shape can serve another; after a reset only what they are counts."""
    if not reset:
        return all(made[part] == wanted[part] for part in wanted)
    return bool(
        made["machines"] == wanted["machines"]
        and made["networks"]["nodes"] == wanted["networks"]["nodes"]
    )


def _show_task(step: Step, event: TaskEvent) -> None:
    step.doing = f"{event.host}: {event.task}"
