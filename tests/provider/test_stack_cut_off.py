"""Operations on stacks that are cut off: Ctrl-C, kill -9, and what the next one knows."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from l4lab import stack
from l4lab.errors import LockedError
from l4lab.pulumi_cli import is_running
from l4lab.retry import wait_for
from tests.provider.test_stack import PROJECT, lab_of

pytestmark = pytest.mark.server


CHILD = """
import pickle, sys
from tests.provider import test_stack as test
from l4lab import stack
access = pickle.load(open(sys.argv[1], "rb"))
try:
    stack.deploy(test.lab_of(sys.argv[2], selector="nothing"), access)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def deploying(access, server, namespace, tmp_path):
    """A process that deploys a lab whose Service will not come up; both its objects are made."""
    (tmp_path / "access").write_bytes(pickle.dumps(access))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path / "access", namespace],
        cwd=PROJECT,
        start_new_session=True,
    )
    path = f"/api/v1/namespaces/{namespace}/services/web"
    wait_for("the Service", lambda: None if server.get(path) else "none", within=240, every=0.1)
    yield child
    if child.poll() is None:
        child.kill()
    child.wait(60)


def below(pid):
    """The processes that a process has started, by name."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if int(rest.split()[1]) == pid and rest.split()[0] != "Z":
            found[name] = int(status.parent.name)
    return found


def operation_of(child):
    """The operation's own process, and its CLI."""
    [operation] = below(child.pid).values()
    return operation, below(operation)["pulumi"]


def test_ctrl_c_keeps_what_was_made(access, server, namespace, deploying):
    time.sleep(1)
    os.killpg(deploying.pid, signal.SIGINT)
    assert deploying.wait(180) == 130
    known = stack.status(lab_of(namespace), access)
    assert f"Service {namespace}/web" in known.resources
    assert any("cancelled" in trouble for trouble in known.troubles)
    assert stack.deploy(lab_of(namespace), access).changed
    assert not stack.deploy(lab_of(namespace), access).changed
    stack.destroy(lab_of(namespace), access)


def test_kill_9_of_l4lab_alone_saves_what_was_made(access, namespace, deploying):
    operation, _ = operation_of(deploying)
    deploying.kill()
    deploying.wait(60)
    ended = Path(f"/proc/{operation}")
    wait_for("its end", lambda: "it runs" if ended.exists() else None, within=180, every=0.1)
    known = stack.status(lab_of(namespace), access)
    assert f"Service {namespace}/web" in known.resources
    assert not known.pending
    stack.destroy(lab_of(namespace), access)


def test_another_l4lab_waits_its_turn(access, namespace, deploying):
    with pytest.raises(LockedError, match=f"process {deploying.pid}"):
        stack.deploy(lab_of(namespace), access)


@pytest.mark.parametrize("verb", ["deploy", "destroy"])
def test_after_kill_9_the_next_one_knows_what_was_made(access, server, namespace, deploying, verb):
    operation, cli = operation_of(deploying)
    for process in (cli, operation, deploying.pid):
        os.kill(process, signal.SIGKILL)
    deploying.wait(60)
    wait_for("its end", lambda: "it runs" if is_running(cli) else None, within=60, every=0.1)
    assert stack.status(lab_of(namespace), access).pending
    if verb == "deploy":
        stack.deploy(lab_of(namespace), access)
        assert not stack.deploy(lab_of(namespace), access).changed
    stack.destroy(lab_of(namespace), access)
    assert server.get(f"/api/v1/namespaces/{namespace}/services/web") is None
    assert server.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web") is None
