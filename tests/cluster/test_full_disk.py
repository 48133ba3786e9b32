"""Machines whose disk fills up: they stand still, which is told, and lose nothing they write.

The cluster's state lies in a small file system in memory. The machines alone are enough: what
holds them still knows nothing of what runs on them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from l4lab import bundle
from l4lab.command import run
from l4lab.machines.holder import FULL, MIB, PAUSED, ROOM
from l4lab.machines.local import LocalDriver
from l4lab.retry import wait_for
from l4lab.settings import parse
from l4lab.state import paths_of
from tests.cluster.conftest import PROJECT
from tests.cluster.host import fingerprint, outside, processes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: must be root")

NAME = "l4lab-full"
NODE = "k8s-node01"
SETTINGS = f"""\
[cluster]
name = "{NAME}"
[machines.k8s-master01]
memory = 1536
[machines.{NODE}]
memory = 1024
"""
FREE = FULL + 100 * MIB  # before the machine writes
# More than is free: without anybody to stop it, its last writes would be refused.
WRITTEN = FREE + 50 * MIB
WRITE = f"head -c {WRITTEN} /dev/urandom | tee /var/tmp/big | sha256sum && sync"
# From the disk, not from the machine's memory.
READ = "echo 3 > /proc/sys/vm/drop_caches && sha256sum < /var/tmp/big"


class Small:
    """The machines of a cluster, and the file system that its state lies in."""

    def __init__(self, config):
        self.config = config
        config.write_text(SETTINGS)
        settings = {"k8s-master01": {"memory": 1536}, NODE: {"memory": 1024}}
        topology = parse({"cluster": {"name": NAME}, "machines": settings}, "tests").topology
        self.paths = paths_of(PROJECT, NAME)
        self.driver = LocalDriver(topology, self.paths)

    @property
    def root(self):
        return self.paths.root

    @property
    def mark(self):
        return self.paths.machines / PAUSED

    def mount(self):
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=700", NAME, self.root], timeout=30)

    def leave(self, free):
        """Have that many bytes free, by the size of the file system."""
        disk = os.statvfs(self.root)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        run(["mount", "-o", f"remount,size={used + free}", self.root], timeout=30)

    def end(self):
        self.driver.down()
        if self.root.is_mount():
            run(["umount", self.root], timeout=30)
        shutil.rmtree(self.root, ignore_errors=True)

    def l4lab(self, verb):
        return outside(sys.executable, "-m", "l4lab", verb, "--config", self.config, timeout=300)

    def ssh(self, command):
        # A session is to outlast a machine that stands still, for however long that is.
        argv = ["ssh", "-F", self.paths.ssh_config, "-o", "ServerAliveInterval=0", NODE, command]
        return list(map(str, argv))

    def kernels(self):
        """How the machines' kernels are, as letters of ps; stopped is T."""
        return "".join(
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            for pid, words in processes(f"uml_dir={self.root}/").items()
            if "linux" in words
        )

    def until_still(self):
        wait_for("the mark", lambda: None if self.mark.exists() else "none", within=300)
        wait_for(
            "all kernels to be stopped",
            lambda: None if self.kernels() == "TT" else self.kernels(),
            within=120,
        )


@pytest.fixture(scope="module")
def small(host_before, tmp_path_factory):
    del host_before  # it is to be taken before any machine is there
    made = Small(tmp_path_factory.mktemp("full") / "l4lab.toml")
    made.end()  # what a run that was cut off has left
    made.mount()
    try:
        made.driver.up(bundle.find(), lambda _text: None)
        yield made
    finally:
        made.end()


def test_machines_stand_still_on_a_full_disk_and_lose_nothing(small):
    holder = json.loads(small.driver.record.read_text())
    small.leave(FREE)
    with subprocess.Popen(
        small.ssh(WRITE), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as writing:
        try:
            small.until_still()
            said = small.l4lab("status")
            assert said.returncode == 0, said.stderr
            assert said.stdout.count("standing still: less than 256 MiB free") == 2
            refused = small.l4lab("up")
            assert refused.returncode == 3, refused.stdout + refused.stderr
            assert "the machines stand still" in refused.stderr
            assert str(small.paths.machines) in refused.stderr
            assert writing.poll() is None
            assert small.mark.exists()
            small.leave(ROOM + WRITTEN)
            written, _ = writing.communicate(timeout=600)
        finally:
            writing.kill()
    assert writing.returncode == 0
    assert not small.mark.exists()
    assert json.loads(small.driver.record.read_text()) == holder, "they went on by themselves"
    assert run(small.ssh(READ), timeout=300).stdout == written
    assert "standing still" not in small.l4lab("status").stdout


def test_down_of_machines_that_stand_still_leaves_nothing(small, host_before):
    small.leave(FULL - MIB)
    small.until_still()
    done = small.l4lab("down")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Nothing is left.\n"
    assert list(small.root.iterdir()) == []
    assert processes(f"{small.root}/") == {}
    small.end()
    after = fingerprint()
    for what, before in host_before.items():
        assert after[what] == before, what
