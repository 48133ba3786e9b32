"""The command line: exit codes, what goes to which stream, and how each error is told."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from l4lab import actions, cli, console, machines
from l4lab.checks import CheckResult, LabReport, State
from l4lab.commands import labs
from l4lab.errors import (
    BundleError,
    CheckError,
    L4labError,
    LockedError,
    MachineError,
    PlaybookError,
    SettingsError,
    StackError,
    UsageError,
)
from l4lab.stack import Outcome

PROJECT = Path(__file__).parents[2]
LAB_VERBS = ["deploy", "check", "destroy", "lab"]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project of its own, with the real labs and a driver that makes no machines."""
    (tmp_path / "labs").symlink_to(PROJECT / "labs")
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.delenv("L4LAB_CONFIG", raising=False)
    return tmp_path


def l4lab(*words):
    return CliRunner().invoke(cli.main, words, prog_name="l4lab")


def raising(failed):
    def raises(*_words, **_more):
        raise failed

    return raises


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", LAB_VERBS)
def test_an_unknown_lab(verb):
    done = l4lab(verb, "nosuch")
    assert done.exit_code == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "error: there is no lab 'nosuch'"
    assert lines[1].startswith("  why:  the labs are: ")
    assert "clusterip" in lines[1]
    assert lines[2] == "  next: ./l4lab labs"


def test_an_unknown_verb():
    done = l4lab("upp")
    assert done.exit_code == 2
    assert "No such command 'upp'" in done.stderr
    assert done.stdout == ""


def test_no_verb_gives_help():
    done = l4lab()
    assert done.exit_code == 2
    assert "Start with: ./l4lab demo" in done.output


def test_version_and_help_of_every_verb():
    assert l4lab("--version").stdout == "l4lab 0.1.0\n"
    for verb in cli.main.list_commands(None):
        done = l4lab(verb, "--help")
        assert done.exit_code == 0
        assert "--json" in done.stdout


@pytest.mark.parametrize("verb", LAB_VERBS)
def test_labs_before_up(verb):
    done = l4lab(verb, "clusterip")
    assert done.exit_code == 2
    assert done.stderr == (
        "error: the cluster is not up\n  why:  it was not made yet\n  next: ./l4lab up\n"
    )


@pytest.mark.parametrize("words", [["kubectl", "get", "pods"], ["exec", "true"], ["reset"]])
def test_ways_in_before_up(words):
    done = l4lab(*words)
    assert done.exit_code == 2
    assert "the cluster is not up" in done.stderr


def test_an_unknown_machine():
    done = l4lab("ssh", "k8s-node07")
    assert done.exit_code == 2
    assert "there is no machine 'k8s-node07'" in done.stderr
    assert "k8s-node01" in done.stderr


def test_a_machine_that_is_not_up():
    assert l4lab("ssh", "k8s-node01").exit_code == 3


def test_bad_settings(project):
    (project / "l4lab.toml").write_text('[cluster]\nproxy = "ebpf"\n')
    done = l4lab("status")
    assert done.exit_code == 2
    assert "cluster.proxy is wrong\n  why:  there is no 'ebpf'" in done.stderr
    other = project / "other.toml"
    other.write_text("[cluster\n")
    assert "is not TOML" in l4lab("status", "--config", str(other)).stderr
    done = l4lab("status", "--config", str(project / "none.toml"))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "there is no file" in done.stderr


# --- results ------------------------------------------------------------------------------------


def test_status_before_up_is_a_result():
    done = l4lab("status")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "k8s-node01" in done.stdout
    data = json.loads(l4lab("status", "--json").stdout)
    assert data["machines"]["k8s-node01"]["running"] is False
    assert data["api"] is None


def test_labs_as_text_and_as_json():
    assert "clusterip" in l4lab("labs").stdout
    assert "clusterip" in json.loads(l4lab("labs", "--json").stdout)


def test_down_of_nothing():
    done = l4lab("down")
    assert (done.exit_code, done.stdout) == (0, "There was nothing to end.\n")
    assert json.loads(l4lab("down", "--json").stdout) == {"was_there": False}


def test_results_go_to_stdout_and_progress_to_stderr(project):
    root = project / ".l4lab" / "l4lab"
    root.mkdir(parents=True)
    done = l4lab("down")
    assert done.stdout == "Nothing is left.\n"
    assert done.stderr.startswith("✓ machines and disks gone")
    root.mkdir(parents=True)
    done = l4lab("down", "--quiet", "--json")
    assert json.loads(done.stdout) == {"was_there": True}
    assert done.stderr == ""


def report(*states):
    return LabReport(
        lab="clusterip",
        seconds=1.0,
        results=tuple(
            CheckResult(
                id=f"check-{number}",
                title="it answers",
                why="w",
                kind="check",
                vantage="host",
                state=state,
                expected="HTTP 200",
                seen="nothing",
                guide="labs/clusterip/README.md#a",
            )
            for number, state in enumerate(states)
        ),
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.PASS], 0),
        ([State.PASS, State.FAIL], 1),
        ([State.PASS, State.ERROR], 1),
        ([State.SKIP], 1),
    ],
)
def test_the_exit_code_of_check_is_its_verdict(monkeypatch, states, code, project):
    monkeypatch.setattr(actions, "check", lambda *_words, **_more: report(*states))
    done = l4lab("check", "clusterip")
    assert done.exit_code == code
    assert "check-0" in done.stdout
    done = l4lab("check", "clusterip", "--json", "--junit", str(project / "out.xml"))
    assert done.exit_code == code
    assert json.loads(done.stdout)["passed"] is (code == 0)
    assert (project / "out.xml").read_text().count("<testcase") == len(states)


def test_options_of_check_are_handed_on(monkeypatch):
    seen = {}

    def check(_cluster, lab, *, only, exercises, show):
        seen.update(lab=lab.name, only=only, exercises=exercises, show=show)
        return report(State.PASS)

    monkeypatch.setattr(actions, "check", check)
    l4lab("check", "clusterip", "--only", "a", "--only", "b", "--no-exercises")
    assert seen == {"lab": "clusterip", "only": ("a", "b"), "exercises": False, "show": None}


def test_deploy_says_what_it_did_and_what_comes_next(monkeypatch):
    outcome = Outcome(
        stack="clusterip",
        changes={"create": 3},
        outputs={"address": "10.10.1.2"},
        seconds=1.0,
        log=Path("log"),
    )
    monkeypatch.setattr(actions, "deploy", lambda *_words: outcome)
    done = l4lab("deploy", "clusterip")
    assert done.stdout.splitlines() == [
        "clusterip: 3 create",
        "  address: 10.10.1.2",
        "next: ./l4lab check clusterip",
    ]
    data = json.loads(l4lab("deploy", "clusterip", "--json").stdout)
    assert data == {
        "stack": "clusterip",
        "changes": {"create": 3},
        "outputs": {"address": "10.10.1.2"},
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    done = l4lab("completion", shell)
    assert done.exit_code == 0
    assert "_L4LAB_COMPLETE" in done.stdout
    assert done.stderr == ""


def test_completion_of_an_unknown_shell():
    assert l4lab("completion", "csh").exit_code == 2


def complete(*words):
    return (
        CliRunner()
        .invoke(
            cli.main,
            [],
            prog_name="l4lab",
            env={
                "_L4LAB_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(["l4lab", *words]),
                "COMP_CWORD": str(len(words)),
            },
        )
        .stdout.split()
    )


def test_labs_and_machines_are_completed(project):
    assert complete("deploy", "clus") == ["plain,clusterip"]
    assert complete("ssh", "mar") == ["plain,mariadb01"]
    (project / "l4lab.toml").write_text("[broken")
    assert complete("ssh", "mar") == []


# --- errors -------------------------------------------------------------------------------------

CODES = {
    CheckError: 1,
    UsageError: 2,
    SettingsError: 2,
    LockedError: 2,
    BundleError: 3,
    MachineError: 3,
    PlaybookError: 4,
    StackError: 5,
}


def test_every_error_has_a_code():
    assert set(CODES) == {
        kind for kind in L4labError.__subclasses__() if kind.__module__.endswith("errors")
    }


@pytest.mark.parametrize(("kind", "code"), CODES.items(), ids=str)
def test_the_exit_code_belongs_to_the_error(monkeypatch, kind, code):
    failed = kind("it broke", "of age", "buy another", Path("some.log"))
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(failed))
    done = l4lab("up")
    assert done.exit_code == code
    assert done.stdout == ""
    assert done.stderr == (
        "error: it broke\n  why:  of age\n  next: buy another\n  log:  some.log\n"
    )


def test_errors_as_json_go_to_stdout_and_are_told_to_people_too(monkeypatch):
    failed = StackError("it broke", "of age", details=Path("some.log"))
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(failed))
    done = l4lab("up", "--json")
    assert done.exit_code == 5
    assert json.loads(done.stdout) == {
        "error": "it broke",
        "reason": "of age",
        "resolution": None,
        "details": "some.log",
        "exit_code": 5,
        "full_disks": [],
    }
    assert done.stderr.startswith("error: it broke\n")


def test_a_stack_trace_only_when_asked_for(monkeypatch):
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(MachineError("it broke")))
    assert "Traceback" not in l4lab("up").stderr
    assert l4lab("up", "-v").stderr.count("Traceback") == 1


def test_an_interruption(monkeypatch):
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(KeyboardInterrupt()))
    done = l4lab("up")
    assert done.exit_code == 130
    assert done.stdout == ""
    assert done.stderr == "\ninterrupted; the same command goes on from here\n"


def test_a_full_disk(monkeypatch):
    failed = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/disk")
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(failed))
    monkeypatch.setattr(console.host, "full_disks", lambda *_below: [(Path("/somewhere"), 3)])
    done = l4lab("up")
    assert done.exit_code == 3
    assert done.stderr == (
        "error: the system refused: No space left on device\n"
        "  why:  /somewhere/disk\n"
        "  disk: /somewhere has 3 MiB left: free some, then the same command again\n"
    )
    assert json.loads(l4lab("up", "--json").stdout)["full_disks"] == [
        "/somewhere has 3 MiB left: free some, then the same command again"
    ]
    monkeypatch.setattr(console.host, "full_disks", lambda *_below: [])
    assert l4lab("up").stderr.endswith("  next: free some disk\n")


def test_a_broken_pipe_within_the_work_is_an_error(monkeypatch):
    # Such as a connection to a machine that died: nothing that may end as success.
    failed = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    monkeypatch.setattr(console.cluster.Cluster, "up", raising(failed))
    done = l4lab("up")
    assert done.exit_code == 3
    assert "Broken pipe" in done.stderr


RED = """
import sys
from l4lab import actions, cli
from tests.unit.test_cli import State, report
actions.check = lambda *words, **more: report(State.PASS, State.FAIL)
cli.main(sys.argv[1:], prog_name="l4lab")
"""


@pytest.mark.parametrize(("closed", "words"), [("stdout", []), ("stderr", ["none"])])
def test_a_reader_that_has_gone_changes_no_exit_code(closed, words):
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writing}
    argv = [sys.executable, "-c", RED, "check", *(words or ["clusterip"])]
    done = subprocess.run(argv, **streams, cwd=PROJECT, timeout=60, check=False)
    os.close(writing)
    assert done.returncode == (2 if words else 1)
    assert {done.stdout, done.stderr} == {None, b""}


def test_a_finished_check_is_shown_where_somebody_watches(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    context = console.Context(config=None, as_json=False, verbose=False, quiet=False)
    show = labs.show_check(context)
    show(report(State.FAIL).results[0])
    assert stream.getvalue().endswith("fail check-0\n")
