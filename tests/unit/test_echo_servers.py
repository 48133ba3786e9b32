"""The servers of an echo pod, run by a real shell with a socat that plays what was seen."""

import os
import signal
import subprocess

import pytest

from l4lab.components.echo import _SERVERS
from l4lab.retry import wait_for

# The first UDP server hears nobody, as one was seen to: two questions find no answer.
SOCAT = """#!/bin/sh
case "$*" in
*UDP4-RECVFROM*) echo >>started; exec sleep 600 ;;
*UDP4:127.0.0.1:*)
  [ -s started ] && [ -s answers/UDP.pid ] || exec cat
  echo >>asked
  [ $(wc -l <asked) -le 2 ] || cat ;;
*) exec sleep 600 ;;
esac
"""


@pytest.fixture
def pod(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "socat").write_text(SOCAT)
    (programs / "socat").chmod(0o755)
    script = _SERVERS.replace("/srv/answers", str(tmp_path / "answers")).replace(
        "sleep 5", "sleep 0.1"
    )
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "PORT": "5300"}
    with subprocess.Popen(
        ["sh", "-c", script], cwd=tmp_path, env=environment, start_new_session=True
    ) as shell:
        yield tmp_path
        os.killpg(shell.pid, signal.SIGKILL)


def lines(file):
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_udp_server_that_hears_nobody_is_begun_anew_and_then_left_alone(pod):
    def lacks():
        asked, started = lines(pod / "asked"), lines(pod / "started")
        return None if asked >= 6 and started >= 2 else f"asked {asked}, started {started}"

    wait_for("a second server and questions that it answers", lacks, within=60)
    assert lines(pod / "started") == 2
