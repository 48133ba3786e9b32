"""A plain user's way into a lab network: by a user namespace, while progress is shown."""

from __future__ import annotations

import ctypes
import io
import json
import os
import shutil
import signal
import socket
import tempfile
import traceback
from pathlib import Path

import pytest

from l4lab.machines import host
from l4lab.machines.local import LocalDriver, holder
from l4lab.progress import Progress
from l4lab.settings import parse
from l4lab.state import paths_of, write_json

_OBSTACLES = host.namespace_obstacles()
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="becomes a plain user: must be root"),
    pytest.mark.skipif(bool(_OBSTACLES), reason="; ".join(_OBSTACLES) or "none"),
]
NOBODY = 65534
PR_SET_DUMPABLE = 4  # from <sys/prctl.h>
GATEWAY = "192.168.128.1"


@pytest.fixture
def project():
    """A folder that a plain user may write to, below folders they may pass."""
    folder = Path(tempfile.mkdtemp(prefix="l4lab-plain-"))
    yield folder
    shutil.rmtree(folder)


def as_plain_user(work, said):
    """Do ``work`` in a process of nobody's; what it raised, or nothing.

    It is told by the file ``said``: a pipe would stay open for as long as what it started runs.
    """
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            # Who has changed users is a stranger to their own /proc, which a login never is.
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)
            work()
            said.write_text("")
        except BaseException:
            said.write_text(traceback.format_exc())
        os._exit(0)
    os.waitpid(child, 0)
    return said.read_text() if said.exists() else "it was ended"


def test_a_plain_user_enters_while_a_step_is_shown(project):
    paths = paths_of(project, "plain")
    paths.machines.mkdir(parents=True)
    for folder in (project, *paths.machines.relative_to(project).parents, paths.machines):
        os.chown(project / folder, NOBODY, NOBODY)
    driver = LocalDriver(parse({}, "none").topology, paths)

    def work():
        write_json(driver.spec, {"gateway": f"{GATEWAY}/24", "machines": []})
        with Progress(io.StringIO()).step("machines"):
            # The interpreter may lie where nobody may go: its second half is called instead.
            if os.fork() == 0:
                os._exit(holder.main(driver.spec))
            os.wait()
            driver.enter()
        with socket.create_server((GATEWAY, 0)):
            pass

    try:
        assert as_plain_user(work, project / "said") == ""
    finally:
        os.kill(json.loads(driver.record.read_text())["pid"], signal.SIGKILL)
    with pytest.raises(OSError, match="assign"), socket.create_server((GATEWAY, 0)):
        pass
