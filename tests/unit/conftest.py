"""A cluster over a full fake driver."""

from __future__ import annotations

import io

import pytest

from l4lab import cluster as module
from l4lab import machines
from l4lab.bundle import Bundle
from l4lab.cluster import Cluster
from l4lab.no_proxy import NAMES
from l4lab.playbook import HostStats, PlaybookResult, TaskEvent
from l4lab.progress import Progress
from l4lab.proof import Fingerprint, fingerprints, kept
from l4lab.settings import parse
from tests.unit.machines.fake import LOG


class World:
    """A project with a fake driver, a bundle of nothing, and a playbook that only notes its run."""

    def __init__(self, project):
        self.project = project
        self.log = project / LOG
        self.shown = io.StringIO()
        self.failure = None
        self.facts = {}
        """What machines hold, by what; the same on all of them."""

    def cluster(self, **settings):
        return Cluster(self.project, parse(settings, "none"), Progress(self.shown))

    def did(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def tell(self, line):
        with self.log.open("a") as file:
            file.write(line + "\n")

    def ensure(self, _progress, *, origin):
        self.origin = origin
        self.tell("bundle")
        return Bundle(self.project / "bundle")

    def run_playbook(self, playbook, paths, *, project, on_task, timeout, meanwhile):
        self.tell(f"{playbook} {'with' if paths.inventory.exists() else 'without'} inventory")
        assert project == self.project
        assert timeout > 0
        on_task(TaskEvent(host="a", play="p", task="t", status="start", started=0.0))
        meanwhile()
        if self.failure:
            raise self.failure
        if playbook == "reset.yml":
            self.facts = {what: value for what, value in self.facts.items() if "KUBE" not in what}
        if playbook == "site.yml":
            self.facts = {**self.facts, "ipset KUBE-CLUSTER-IP": "hash:ip,port"}
            paths.kubeconfig.write_text("kubeconfig")
        return PlaybookResult(
            playbook=playbook,
            hosts={"a": HostStats(ok=3, changed=2)},
            tasks=(),
            seconds=1.0,
            log=paths.logs / "log",
        )

    def snapshot(self, access, *, scope):
        self.tell(f"snapshot of {scope} {access.topology.networks.services}")
        facts = {machine.name: self.facts for machine in access.topology.machines}
        return Fingerprint(scope=str(scope), taken=1.0, facts=facts)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Whoever enters a cluster changes these for good."""
    for name in NAMES:
        monkeypatch.setenv(name, "")


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path)
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.setattr(module.bundles, "ensure", made.ensure)
    monkeypatch.setattr(module, "run_playbook", made.run_playbook)
    for part in (module, fingerprints, kept):
        monkeypatch.setattr(part, "snapshot", made.snapshot)
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.0)
    return made
