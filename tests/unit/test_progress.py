"""Progress goes to its stream only, one line a step, and never stands in the way of the work."""

from __future__ import annotations

import io
import re

import pytest

from l4lab import progress as module
from l4lab.progress import Progress
from l4lab.retry import wait_for


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Closed(io.StringIO):
    """Whoever read it has gone."""

    def write(self, _text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


def test_a_step_is_one_line_with_its_time_and_note():
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.step("machines") as step:
        step.note = "four of them"
    assert re.fullmatch(r"✓ machines +\d+\.\d s  four of them\n", stream.getvalue())
    [(title, seconds)] = progress.timeline
    assert title == "machines"
    assert seconds >= 0


def test_a_failed_step_says_so_and_lets_the_error_through():
    stream = io.StringIO()
    progress = Progress(stream)
    with pytest.raises(KeyboardInterrupt), progress.step("machines"):
        raise KeyboardInterrupt
    assert stream.getvalue().startswith("✗ machines")
    assert [title for title, _ in progress.timeline] == ["machines"]


def test_quiet_says_nothing_but_keeps_the_times():
    stream = io.StringIO()
    progress = Progress(stream, quiet=True)
    with progress.step("machines"):
        progress.say("hello")
    assert stream.getvalue() == ""
    assert len(progress.timeline) == 1


def test_without_a_terminal_there_are_signs_of_life(monkeypatch):
    monkeypatch.setattr(module, "_HEARTBEAT", 0.01)
    stream = io.StringIO()
    with Progress(stream).step("machines") as step:
        step.doing = "waiting for SSH"
        wait_for(
            "a sign", lambda: None if "waiting for SSH" in stream.getvalue() else "no", within=20
        )
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].startswith("✓ machines")


def test_a_terminal_line_is_redrawn_and_never_wider_than_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    with Progress(stream).step("machines") as step:
        step.doing = "x" * 500
        wait_for("the line", lambda: None if "xx" in stream.getvalue() else "none", within=20)
    lines = stream.getvalue().split("\r\x1b[K")
    assert max(len(line) for line in lines if not line.endswith("\n")) < 60
    assert lines[-1].startswith("✓ machines")
    assert stream.getvalue().count("\n") == 1


def test_the_work_goes_on_when_nobody_reads_any_more():
    progress = Progress(Closed())
    done = []
    with progress.step("machines"):
        progress.say("hello")
        done.append("work")
    assert done == ["work"]
    assert progress.quiet
