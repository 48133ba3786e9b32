"""The lab network for real, with stand-ins for machines: it is made, entered, and leaves nothing.

A program takes the kernel's place: it gives the machine's address to the lab's bridge and greets
as an SSH server does. All but that is what a real cluster runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from l4lab.machines import connect, holder, host
from l4lab.retry import wait_for
from l4lab.state import write_json

_OBSTACLES = host.namespace_obstacles()
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace: must be root"),
    pytest.mark.skipif(bool(_OBSTACLES), reason="; ".join(_OBSTACLES) or "none"),
]
GATEWAY = "192.168.128.1"

KERNEL = """\
import socket, subprocess, sys, tarfile, time
from pathlib import Path
words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
with tarfile.open(words["ubd1r"]) as seed:
    facts = seed.extractfile("etc/l4lab/machine").read().decode()
address = facts.split("ADDRESS=")[1].split()[0]
disk = Path(words["ubd0"].split(",")[0])
disk.touch()
print("console of", words["umid"], flush=True)
while disk.with_name("mute").exists():
    time.sleep(0.1)
if disk.with_name("broken").exists():
    sys.exit("Kernel panic: told to")
subprocess.run(["ip", "address", "replace", address + "/32", "dev", "lab0"], check=True)
server = socket.create_server((address, 22))
while True:
    talk, _ = server.accept()
    talk.sendall(b"SSH-2.0-stand-in\\r\\n")
    talk.close()
"""

# Entering moves a process for good, so what enters is a process of its own.
LIFE = """\
import json, sys
from dataclasses import asdict
from pathlib import Path
from l4lab.bundle import Bundle
from l4lab.errors import MachineError
from l4lab.machines import local
from l4lab.settings import parse
from l4lab.state import paths_of
project, verb = Path(sys.argv[1]), sys.argv[2]
local._OFF_DEADLINE = 0.5
local.LocalDriver._room_obstacles = lambda self: []
driver = local.LocalDriver(parse({}, "none").topology, paths_of(project, "one"))
said = {}
try:
    if verb == "up":
        driver.up(Bundle(project / "bundle"), lambda text: None)
    else:
        driver.down(keep_disks=verb == "off")
except MachineError as failed:
    said = {"brief": failed.brief, "reason": failed.reason, "details": str(failed.details)}
print(json.dumps({**said, "machines": [asdict(one) for one in driver.status()]}))
"""


def inside(pid, script, *words):
    """Run Python in the lab network of process ``pid`` and return what it said."""
    enter = f"from l4lab.machines.connect import enter; enter({pid})\n"
    done = subprocess.run(
        [sys.executable, "-c", enter + textwrap.dedent(script), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def links():
    said = subprocess.run(
        ["ip", "-json", "link"], capture_output=True, text=True, timeout=20, check=True
    )
    return {link["ifname"] for link in json.loads(said.stdout)}


def users_of(network):
    """Processes that live in a network namespace."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "ns/net").readlink() == network:
                found.append(int(process.name))
    return found


def gone(pid):
    with contextlib.suppress(OSError):
        return host.is_zombie(pid)
    return True


@pytest.fixture
def lab(tmp_path):
    """A lab network without machines: the process that holds it, and its record."""
    spec = tmp_path / "spec.json"
    write_json(spec, {"gateway": f"{GATEWAY}/24", "machines": []})
    subprocess.run([sys.executable, "-I", holder.__file__, spec], timeout=30, check=True)
    record = tmp_path / "holder.json"
    pid = json.loads(record.read_text())["pid"]
    wait_for("the bridge", lambda: None if host.bridge_is_up(pid) else "none", within=20)
    yield pid, record
    if not gone(pid):
        os.kill(pid, signal.SIGKILL)


def test_the_lab_network_is_made_and_killing_its_holder_leaves_nothing(tmp_path):
    before = links()
    spec = tmp_path / "spec.json"
    write_json(spec, {"gateway": f"{GATEWAY}/24", "machines": []})
    subprocess.run([sys.executable, "-I", holder.__file__, spec], timeout=30, check=True)
    record = json.loads((tmp_path / "holder.json").read_text())
    pid = record["pid"]
    try:
        assert record["start"] == holder.start_time(pid)
        wait_for("the bridge", lambda: None if host.bridge_is_up(pid) else "none", within=20)
        network = Path(f"/proc/{pid}/ns/net").readlink()
        assert network != Path("/proc/self/ns/net").readlink()
        there = """
            import subprocess, sys
            sys.stdout.write(subprocess.check_output(["ip", "-json", "address"], text=True))
        """

        def address():
            found = {link["ifname"]: link for link in json.loads(inside(pid, there))}
            assert set(found) == {"lo", holder.BRIDGE}
            local = [one["local"] for one in found[holder.BRIDGE]["addr_info"]]
            return None if GATEWAY in local else str(found)

        wait_for("the bridge's address", address, within=20)
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_for("its end", lambda: None if gone(pid) else "there", within=20)
    wait_for("an empty namespace", lambda: str(users_of(network) or "") or None, within=20)
    assert links() == before


def test_the_holder_ends_when_asked_to(lab):
    pid, _ = lab
    os.kill(pid, signal.SIGTERM)
    wait_for("its end", lambda: None if gone(pid) else "there", within=20)


def test_the_holder_ends_with_its_folder_but_not_where_it_is_only_moved(lab, tmp_path):
    pid, record = lab
    moved = record.parent.rename(tmp_path.with_name(f"{tmp_path.name} moved"))
    time.sleep(3 * holder._TICK)
    assert not gone(pid)
    shutil.rmtree(moved)
    wait_for("its end", lambda: None if gone(pid) else "there", within=20)


SERVER = """
    import socket, sys
    server = socket.create_server((sys.argv[1], 0))
    print(server.getsockname()[1], flush=True)
    talk, _ = server.accept()
    talk.sendall(b"hello from the lab")
"""


def test_ssh_is_given_a_connection_from_inside(lab):
    pid, record = lab
    enter = f"from l4lab.machines.connect import enter; enter({pid})\n"
    server = subprocess.Popen(
        [sys.executable, "-c", enter + textwrap.dedent(SERVER), GATEWAY],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        port = server.stdout.readline().strip()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            done = subprocess.run(
                [sys.executable, "-I", connect.__file__, record, GATEWAY, port],
                stdout=theirs,
                timeout=30,
                check=False,
            )
            assert done.returncode == 0
            ours.settimeout(10)
            _, handles, _, _ = socket.recv_fds(ours, 1, 1)
        with socket.socket(fileno=handles[0]) as talk:
            talk.settimeout(10)
            assert talk.getpeername() == (GATEWAY, int(port))
            assert talk.recv(100) == b"hello from the lab"
    finally:
        server.kill()
        server.wait(10)


def test_what_cannot_be_reached_is_said_in_one_line(lab):
    _, record = lab
    done = subprocess.run(
        [sys.executable, "-I", connect.__file__, record, GATEWAY, "9"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"l4lab: cannot reach {GATEWAY} port 9: ")
    assert done.stderr.endswith("see ./l4lab status\n")
    assert done.stderr.count("\n") == 1


# --- a whole life, with stand-ins ---------------------------------------------------------------


class Life:
    def __init__(self, project):
        self.project = project
        self.machines = project / ".l4lab" / "one" / "machines"

    def __call__(self, verb):
        done = subprocess.run(
            [sys.executable, "-c", LIFE, self.project, verb],
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def running(self, verb):
        return [machine["running"] for machine in self(verb)["machines"]]

    @property
    def holder(self):
        return json.loads((self.machines / "holder.json").read_text())["pid"]


@pytest.fixture
def life(tmp_path):
    kernel = tmp_path / "bundle" / "kernel" / "linux"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(f"#!{sys.executable} -I\n{KERNEL}")
    kernel.chmod(0o755)
    found = Life(tmp_path)
    yield found
    found("down")


def test_up_again_starts_only_what_does_not_run(life):
    before = links()
    assert life.running("up") == [True] * 4
    first = life.holder
    assert life.running("up") == [True] * 4
    assert life.holder == first
    # One dies, as a panic would end it; the others live on.
    started = life.machines / "k8s-node01" / "started.json"
    inner = json.loads(started.read_text())["pid"]
    inside_pid = next(
        pid
        for pid in users_of(Path(f"/proc/{first}/ns/net").readlink())
        if f"NSpid:\t{pid}\t{inner}\n" in Path(f"/proc/{pid}/status").read_text()
    )
    os.kill(inside_pid, signal.SIGKILL)
    ended = life.machines / "k8s-node01" / "ended.json"
    wait_for("the note of its end", lambda: None if ended.exists() else "none", within=20)
    assert json.loads(ended.read_text())["status"] == -signal.SIGKILL
    assert life.running("up") == [True] * 4
    assert life.holder == first
    assert not ended.exists()
    assert life.running("down") == [False] * 4
    assert gone(first)
    assert not life.machines.exists()
    assert links() == before


def test_machines_end_where_their_state_was_deleted(life):
    before = links()
    life("up")
    pid = life.holder
    network = Path(f"/proc/{pid}/ns/net").readlink()
    shutil.rmtree(life.project / ".l4lab")
    wait_for("its end", lambda: None if gone(pid) else "there", within=20)
    wait_for("the machines' end", lambda: str(users_of(network) or "") or None, within=20)
    assert links() == before
    assert life.running("up") == [True] * 4, "and there is room for others"


def test_a_machine_that_dies_at_its_start_is_named_with_its_last_words(life):
    folder = life.machines / "mariadb01"
    folder.mkdir(parents=True)
    (folder / "broken").touch()
    said = life("up")
    assert said["brief"] == "mariadb01 has died"
    assert said["reason"] == (
        "ended with status 1; console: console of mariadb01 | Kernel panic: told to"
    )
    assert said["details"] == str(folder / "console.log")
    # The others were kept; once it is mended, up goes on.
    (folder / "broken").unlink()
    assert life.running("up") == [True] * 4


def test_disks_are_kept_when_told_to(life):
    life("up")
    assert life.running("off") == [False] * 4
    assert (life.machines / "k8s-node01" / "disk.cow").exists()
    assert life.running("up") == [True] * 4
