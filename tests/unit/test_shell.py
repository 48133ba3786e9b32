"""The bash that stays: what it keeps, what it tells, and how it ends."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from l4lab.retry import wait_for
from l4lab.shell import Shell, ShellError


@pytest.fixture
def shell(tmp_path):
    with Shell(tmp_path, env={"GIVEN": "given"}) as shell:
        yield shell


def alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_variables_folder_and_functions_stay(shell, tmp_path):
    shell.run("A=$(echo 'a  b'); mkdir sub; cd sub; f() { echo f; }", timeout=10)
    assert (
        shell.run('echo "$A $GIVEN"; pwd; f', timeout=10).output
        == f"a  b given\n{tmp_path}/sub\nf\n"
    )


@pytest.mark.parametrize(
    ("text", "rc", "output"),
    [
        ("true", 0, ""),
        ("(exit 7)", 7, ""),
        ("printf no-newline", 0, "no-newline"),
        ("echo out; echo err >&2", 0, "out\nerr\n"),
        ("cat", 0, ""),
        ("cat <<END\nit's $((1 + 1))\nEND", 0, "it's 2\n"),
        ("printf '\\xff\\xe4\\xb8\\xad'", 0, "\ufffd中"),
        ("false | true", 0, ""),
        ("printf '\\nl4lab-\\n'", 0, "\nl4lab-\n"),
        ("seq 1 20000 | tail -c 60000 | wc -c", 0, "60000\n"),
    ],
)
def test_output_and_exit_code(shell, text, rc, output):
    said = shell.run(text, timeout=10)
    assert (said.rc, said.output) == (rc, output)


def test_much_output_and_bad_grammar(shell):
    assert shell.run("seq 1 100000", timeout=30).output.endswith("\n99999\n100000\n")
    assert shell.run("if", timeout=10).rc == 2
    assert shell.run("echo on", timeout=10).output == "on\n"


def test_output_is_told_as_it_comes(shell, tmp_path):
    os.mkfifo(tmp_path / "gate")
    told = []

    def open_gate(piece):
        if not told:
            (tmp_path / "gate").write_text("go\n")
        told.append(piece)

    # It can only end when its first line was told before its end.
    said = shell.run("echo first; read A <gate; printf $A", timeout=20, on_output=open_gate)
    assert "".join(told) == said.output == "first\ngo"


def test_a_command_that_does_not_end_is_ended_with_all_it_started(shell):
    with pytest.raises(ShellError) as raised:
        shell.run("sh -c 'echo $$; exec sleep 600' & echo begun; wait", timeout=1)
    assert raised.value.brief.startswith("no end within 1 s: sh -c")
    assert shell.ended
    with pytest.raises(ShellError, match="the shell has ended"):
        shell.run("true", timeout=1)


def test_what_ignores_the_wish_to_end_is_ended_all_the_same(shell):
    pid = int(shell.run("(trap '' TERM; exec sleep 600) & echo $!", timeout=10).output)
    assert alive(pid)
    started = time.monotonic()
    shell.end()
    assert time.monotonic() - started < 300, "it waited for the end of the sleep"
    wait_for("its end", lambda: "it lives" if alive(pid) else None, within=60)


def test_a_command_that_ends_the_shell(shell):
    with pytest.raises(ShellError) as raised:
        shell.run("echo bye; exit 3", timeout=10)
    assert raised.value.brief == "the shell was ended by: echo bye; exit 3"
    assert raised.value.reason == "bye"
    assert shell.ended


def test_a_shell_that_was_killed(shell):
    pid = int(shell.run("echo $$", timeout=10).output)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ShellError, match=r"the shell (has|was) ended"):
        shell.run("true", timeout=10)
    assert shell.ended


def test_words_before_bash(tmp_path):
    with Shell(tmp_path, before=["env", "BEFORE=1"]) as shell:
        assert shell.run("echo $BEFORE", timeout=10).output == "1\n"
