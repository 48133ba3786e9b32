"""The shell loop that gives addresses, run for real with a kubectl that keeps a file."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "labs" / "loadbalancer" / "allocate.sh"
CLASS = "test/class"
POOL = ("192.0.2.10", "192.0.2.11")

# Each watch prints the next list of events; where there is none left, the test may look.
KUBECTL = """
import json, os, pathlib, sys, time
folder = pathlib.Path(os.environ["WORLD"])
words = sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
services = json.loads((folder / "services").read_text())
if "--watch" in words:
    watches = json.loads((folder / "watches").read_text())
    if not watches:
        (folder / "idle").write_text(str(os.getpid()))
        time.sleep(600)
    print("\\n".join(watches.pop(0)))
    (folder / "watches").write_text(json.dumps(watches))
elif words[0] == "get":
    assert f"=='{os.environ['CLASS']}'" in words[-1] and "--sort-by" in " ".join(words)
    for one in services:
        if one["class"] == os.environ["CLASS"]:
            print(one["name"], one["address"], one["reason"], sep="|")
else:
    assert words[0] == "patch" and "--subresource=status" in words
    if (folder / "refuse").exists():
        (folder / "refuse").unlink()
        sys.exit("Error from server")
    status = json.loads(words[-1])["status"]
    (condition,) = status["conditions"]
    assert condition["type"] == os.environ["CONDITION"] and condition["lastTransitionTime"]
    assert condition["status"] == ("True" if status["loadBalancer"]["ingress"] else "False")
    for one in services:
        if one["name"] == words[2]:
            one["address"] = "".join(entry["ip"] for entry in status["loadBalancer"]["ingress"])
            one["reason"] = condition["reason"]
    (folder / "services").write_text(json.dumps(services))
"""


def service(name, *, address="", reason="", of=CLASS):
    return {"name": name, "class": of, "address": address, "reason": reason}


class World:
    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        kubectl = folder / "bin" / "kubectl"
        kubectl.write_text(f"#!{sys.executable}\n{KUBECTL}")
        kubectl.chmod(0o755)

    def run(self, services, *watches, refuse=False):
        """Run the loop until it waits for something to happen; the Services then."""
        (self.folder / "services").write_text(json.dumps(services))
        (self.folder / "watches").write_text(json.dumps(watches))
        if refuse:
            (self.folder / "refuse").touch()
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "WORLD": str(self.folder),
            "CLASS": CLASS,
            "POOL": " ".join(POOL),
            "CONDITION": "test/Condition",
        }
        idle = self.folder / "idle"
        loop = subprocess.Popen(["sh", SCRIPT], env=environment, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not (idle.exists() and idle.read_text()):
                assert loop.poll() is None, "the loop has ended"
                assert time.monotonic() < deadline, "the loop never came to rest"
                time.sleep(0.02)
        finally:
            loop.kill()
            loop.wait()
            if idle.exists():
                os.kill(int(idle.read_text()), 9)
        return json.loads((self.folder / "services").read_text())

    def calls(self, verb):
        lines = (self.folder / "calls").read_text().splitlines()
        words = [json.loads(line) for line in lines]
        return [one for one in words if one[0] == verb and "--watch" not in one]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_the_oldest_get_an_address_and_the_rest_is_told_why_not(world):
    asked = [service("a"), service("alien", of="somebody/else"), service("b"), service("c")]
    found = world.run(asked, [f"ADDED {CLASS}"])
    assert found == [
        service("a", address=POOL[0], reason="Given"),
        service("alien", of="somebody/else"),
        service("b", address=POOL[1], reason="Given"),
        service("c", reason="NoneLeft"),
    ]


def test_what_was_given_back_goes_to_the_one_that_waits(world):
    asked = [service("b", address=POOL[1], reason="Given"), service("c", reason="NoneLeft")]
    found = world.run(asked, ["DELETED "])
    assert found[1] == service("c", address=POOL[0], reason="Given")


def test_nobody_is_told_twice(world):
    held = [
        service(name, address=one, reason="Given") for name, one in zip("ab", POOL, strict=True)
    ]
    asked = [*held, service("c", reason="NoneLeft")]
    assert world.run(asked, [f"ADDED {CLASS}", "MODIFIED "]) == asked
    assert world.calls("patch") == []
    assert len(world.calls("get")) == 2


def test_a_start_reads_nothing_for_services_of_others(world):
    world.run([service("alien", of="")], ["ADDED ", "ADDED somebody/else"])
    assert world.calls("get") == []


def test_what_was_refused_is_tried_again_with_the_next_watch(world):
    found = world.run([service("a")], [f"ADDED {CLASS}"], [f"ADDED {CLASS}"], refuse=True)
    assert found == [service("a", address=POOL[0], reason="Given")]
    assert len(world.calls("patch")) == 2
