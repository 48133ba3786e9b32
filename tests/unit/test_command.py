"""Programs are run with a deadline, and every failure is told alike."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from l4lab.command import CommandError, end_streams, run, stream
from l4lab.retry import wait_for


def test_result():
    done = run(["sh", "-c", "echo out; echo err >&2"], timeout=10)
    assert (done.rc, done.stdout, done.stderr, done.last_line) == (0, "out\n", "err\n", "err")


def test_failure_carries_the_last_words():
    with pytest.raises(CommandError) as raised:
        run(["sh", "-c", "echo why >&2; exit 3"], timeout=10)
    assert raised.value.reason == "exit code 3: why"
    assert raised.value.result.rc == 3


def test_deadline():
    with pytest.raises(CommandError) as raised:
        run(["sleep", "30"], timeout=0.2)
    assert raised.value.result.rc == 124


def test_missing_program():
    with pytest.raises(CommandError, match="cannot run no-such-program"):
        run(["no-such-program"], timeout=10)


def test_input_and_environment():
    done = run(
        ["sh", "-c", "cat; echo $L4LAB_TEST"], timeout=10, input="in ", env={"L4LAB_TEST": "set"}
    )
    assert done.stdout == "in set\n"


def test_stream_tells_lines_and_keeps_a_log(tmp_path):
    lines = []
    stream(
        ["sh", "-c", "echo a; echo b >&2"], timeout=10, log=tmp_path / "log", on_line=lines.append
    )
    assert lines == ["a", "b"]
    assert (tmp_path / "log").read_text().endswith("a\nb\n")


def test_stream_ends_the_whole_session_at_its_deadline(tmp_path):
    # The grandchild holds the pipe: only ending the session as a whole lets stream return.
    script = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & wait"
    with pytest.raises(CommandError, match="failed after"):
        stream(["sh", "-c", script], timeout=4, log=tmp_path / "log")
    assert_ends(int((tmp_path / "pid").read_text()))


def assert_ends(pid):
    def lives():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        return f"process {pid} outlives its session"

    wait_for("its end", lives, within=60)


def test_streams_of_other_threads_can_be_ended(tmp_path):
    pid, log = tmp_path / "pid", tmp_path / "log"
    script = f"sh -c 'echo $$ > {pid}; exec sleep 300' & wait"
    with ThreadPoolExecutor(1) as pool:
        streamed = pool.submit(stream, ["sh", "-c", script], timeout=300, log=log)
        wait_for("it to run", lambda: None if pid.exists() and pid.read_text() else "no", within=20)
        end_streams()
        with pytest.raises(CommandError):
            streamed.result(20)
    assert_ends(int(pid.read_text()))
