"""Progress goes to its stream only, one line a step, and never stands in the way of the work."""

from __future__ import annotations

import io
import os
import re
import threading

import pytest

from l4lab import progress as module
from l4lab.progress import Progress, Told, without_painters
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


def on_screen(text):
    """The lines a terminal shows after ``text``, by what Progress uses of its commands."""
    lines, row, column = [""], 0, 0
    for command in re.findall(r"\r|\n|\x1b\[\w|[^\r\n\x1b]+", text):
        if command == "\r":
            column = 0
        elif command == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif command == "\x1b[A":
            row -= 1
        elif command == "\x1b[K":
            lines[row] = lines[row][:column]
        else:
            lines[row] = lines[row][:column] + command + lines[row][column + len(command) :]
            column += len(command)
    return [line.split("  ")[0] for line in lines if line]


def test_steps_that_run_at_once_have_a_line_each_on_a_terminal():
    stream = Terminal()
    progress = Progress(stream)

    def shows(*lines):
        def differs():
            shown = on_screen(stream.getvalue())
            return None if shown == list(lines) else f"shown: {shown}"

        wait_for("the screen", differs, within=20, every=0.01)

    first, second = progress.step("first"), progress.step("second")
    first.__enter__()
    shows("· first")
    second.__enter__()
    shows("· first", "· second")
    progress.say("said")
    shows("said", "· first", "· second")
    first.__exit__(None, None, None)
    shows("said", "✓ first", "· second")
    second.__exit__(None, None, None)
    assert on_screen(stream.getvalue()) == ["said", "✓ first", "✓ second"]


@pytest.mark.parametrize("how", ["gone", "closed"])
def test_the_work_goes_on_when_nobody_reads_any_more(how):
    stream = Closed() if how == "gone" else io.StringIO()
    progress = Progress(stream)
    if how == "closed":
        stream.close()
    done = []
    with progress.step("machines"):
        progress.say("hello")
        done.append("work")
    assert done == ["work"]
    assert progress.quiet


# --- boards -------------------------------------------------------------------------------------


def test_off_a_terminal_a_board_prints_what_is_new():
    stream = io.StringIO()
    progress = Progress(stream)
    progress.board(["a is red", "b is red", "round 1"])
    progress.board(["b is red", "round 2"])
    assert stream.getvalue() == "a is red\nb is red\nround 1\nround 2\n"


def test_on_a_terminal_a_board_takes_the_place_of_the_last(monkeypatch):
    monkeypatch.setattr(
        module.shutil, "get_terminal_size", lambda *_, **__: os.terminal_size((10, 5))
    )
    stream = Terminal()
    progress = Progress(stream)
    progress.board(["0123456789abc", "b"])
    assert stream.getvalue().endswith("012345678\nb\n")
    stream.truncate(0)
    progress.board(["c"] * 9 + ["sum"])
    # Two lines up, the rest of the screen cleared, and no more lines than there are rows.
    assert stream.getvalue().lstrip("\0").endswith("\x1b[2A\x1b[Jc\nc\nsum\n")
    progress.board(["d"])
    assert stream.getvalue().endswith("\x1b[3A\x1b[Jd\n")


def test_a_quiet_board():
    stream = io.StringIO()
    Progress(stream, quiet=True).board(["a"])
    assert stream.getvalue() == ""


def test_who_is_told_hears_each_step_and_what_it_is_at():
    heard = []
    told = Told(heard.append)
    with told.step("machines") as step:
        wait_for("the title", lambda: None if heard else "nothing", within=20, every=0.01)
        step.doing = "writing disks"
        wait_for("the rest", lambda: None if len(heard) > 1 else "nothing", within=20, every=0.01)
    told.say("  master: its key")
    assert heard == ["machines", "machines: writing disks", "master: its key"]


# --- threads ------------------------------------------------------------------------------------


def test_no_thread_of_ours_runs_beside_what_must_be_alone():
    stream = io.StringIO()
    before = set(threading.enumerate())

    def ours():
        # Of those that other tests have left some may end meanwhile.
        return len(set(threading.enumerate()) - before)

    with Progress(stream).step("one"), Progress(stream).step("two"):
        assert ours() == 2
        with without_painters():
            assert ours() == 0
        assert ours() == 2
    assert ours() == 0


def test_a_forked_process_does_not_go_on_with_steps_of_its_parent():
    with Progress(io.StringIO()).step("one"):
        child = os.fork()
        if child == 0:
            with without_painters():
                pass
            os._exit(threading.active_count())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
