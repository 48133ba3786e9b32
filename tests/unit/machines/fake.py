"""A full driver whose machines are only files: what a cluster does with it can be seen."""

from __future__ import annotations

import shutil

from l4lab.errors import MachineError
from l4lab.machines.driver import MachineStatus

LOG = "fake-driver.log"
"""What was asked of the driver, a line each, beside the cluster's state."""


class FakeDriver:
    name = "fake"
    owns = True
    neighbours = 0

    def __init__(self, topology, paths):
        self.topology = topology
        self.paths = paths
        self.hinders = []
        self.entered = False
        self.still = False

    def _told(self, line):
        log = self.paths.root.parent.parent / LOG
        with log.open("a") as file:
            file.write(line + "\n")

    def _on(self, name):
        return self.paths.machines / name / "on"

    def obstacles(self):
        return list(self.hinders)

    def up(self, bundle, doing):
        record = "with" if self.paths.record.exists() else "without"
        self._told(f"up {record} record")
        for machine in self.topology.machines:
            doing(f"starting {machine.name}")
            folder = self.paths.machines / machine.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "disk.cow").touch()
            self._on(machine.name).touch()
        self.enter()

    def enter(self):
        if not any(status.running for status in self.status()):
            raise MachineError("the machines are not up", "none runs", "./l4lab up")
        self.entered = True

    def refuse_paused(self):
        if self.still:
            raise MachineError("the machines stand still", "told to", "the same command again")

    def status(self):
        return [
            MachineStatus(
                name=machine.name,
                running=self._on(machine.name).exists(),
                note="" if self._on(machine.name).exists() else "off",
            )
            for machine in self.topology.machines
        ]

    def down(self, *, keep_disks=False):
        self._told(f"down keep_disks={keep_disks}")
        if keep_disks:
            for machine in self.topology.machines:
                self._on(machine.name).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.paths.machines, ignore_errors=True)
