"""A plain ``pulumi``: the real CLI, our language host's process, our provider's, the real API."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from l4lab import pulumi_cli, stack
from l4lab.retry import wait_for
from tests.provider.test_stack import MadeLab, program_of

pytestmark = pytest.mark.server


PROJECT = Path(__file__).parents[2]
MADE = """
import json
from pathlib import Path
from l4lab.components.checked import Proof, declare
from tests.provider.test_stack import program_of

here = Path(__file__).parent
options = json.loads((here / "options.json").read_text())

def prove(tell):
    tell("pass selector")
    with (here / "runs").open("a") as file:
        file.write("once\\n")
    if (here / "broken").exists():
        raise RuntimeError("FAIL balance: all answers came from one pod")
    return "2 pass"

proof = Proof(names=("selector", "balance"), run=prove, owed=here / "owed")
print("hello from the program")
declare("made", program_of(**options), proof=proof)
"""
ONCE = """
import time
from pathlib import Path
print("it runs")
Path(__file__).with_name("pid").write_text(str(__import__("os").getpid()))
time.sleep(600)
"""
FAULTY = """
import json
def read(text):
    return json.loads(text)
read("no json")
"""
SECRET = """
import os, pulumi
from pathlib import Path
word = pulumi.Config().require_secret("word")
assert b"hunter-two" not in Path("/proc/self/cmdline").read_bytes()
assert "hunter-two" not in str(os.environ)
word.apply(lambda text: print(f"it has {len(text)} letters"))
"""


class Plain:
    """A project of its own, and a shell in it that knows the cluster."""

    def __init__(self, folder, access, text):
        self.folder = folder
        (folder / "labs").mkdir(parents=True)
        (folder / "labs" / "__main__.py").write_text(text)
        (folder / "Pulumi.yaml").write_text((PROJECT / "Pulumi.yaml").read_text())
        plugins = folder / "bin"
        plugins.mkdir()
        for name, ours in pulumi_cli.missing_plugins(access.pulumi).items():
            (plugins / name).symlink_to(ours)
        self.environment = {
            **{key: value for key, value in os.environ.items() if key[:7] != "PULUMI_"},
            **pulumi_cli.user_environment(access),
            "PATH": os.pathsep.join([str(plugins), os.environ["PATH"]]),
        }
        self.pulumi = access.pulumi

    def start(self, *words):
        return subprocess.Popen(
            [self.pulumi, *words, "--color=never", "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words):
        process = self.start(*words)
        output, _ = process.communicate(timeout=200)
        return process.returncode, output

    def well(self, *words):
        status, output = self.run(*words)
        assert status == 0, output
        return output

    @property
    def labs(self):
        return self.folder / "labs"

    def options(self, **options):
        (self.labs / "options.json").write_text(json.dumps(options))

    @property
    def runs(self):
        path = self.labs / "runs"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def plain(access, tmp_path):
    return lambda text: Plain(tmp_path / "a project", access, text)


@pytest.fixture
def made(plain, namespace):
    project = plain(MADE)
    project.options(namespace=namespace)
    return project


def changes(output):
    """The lines below ``Resources:``, without what stayed."""
    lines = output.rpartition("Resources:\n")[2].partition("\n\n")[0].splitlines()
    return [line.strip() for line in lines if "unchanged" not in line]


def test_plain_up_preview_no_op_change_destroy(made, server, namespace):
    path = f"/api/v1/namespaces/{namespace}/services/web"
    made.well("stack", "init", "made")
    planned = made.well("preview", "-s", "made")
    assert "the 2 checks of lab made would run: selector, balance" in planned
    assert "hello from the program" in planned
    assert server.get(path) is None
    assert made.runs == 0, "a preview runs no check"

    up = made.well("up", "-s", "made", "--yes", "--skip-preview")
    assert "the 2 checks of lab made run now: selector, balance" in up
    assert "2 pass" in up
    assert "pass selector" in up
    assert changes(up) == ["+ 4 created"]
    assert server.get(path)["spec"]["clusterIP"] in up
    assert made.runs == 1

    again = made.well("up", "-s", "made", "--yes")
    assert changes(again) == []
    assert "nothing changed: the 2 checks of lab made are not run" in again
    assert made.runs == 1

    made.options(namespace=namespace, replicas=3)
    assert "would run: selector, balance" in made.well("preview", "-s", "made")
    more = made.well("up", "-s", "made", "--yes", "--skip-preview")
    assert changes(more) == ["~ 2 updated"]
    assert made.runs == 2

    assert "made" in made.well("stack", "ls")
    made.well("destroy", "-s", "made", "--yes")
    assert server.get(path) is None
    assert made.runs == 2


def test_what_was_changed_by_hand_is_mended_and_proved(made, server, namespace):
    made.well("stack", "init", "made")
    made.well("up", "-s", "made", "--yes", "--skip-preview")
    path = f"/api/v1/namespaces/{namespace}/services/web"
    server.patch(path, {"spec": {"selector": {"run": "wrong"}}})
    made.well("up", "-s", "made", "--yes", "--skip-preview")
    assert server.get(path)["spec"]["selector"] == {"run": "web"}
    assert made.runs == 2
    made.well("destroy", "-s", "made", "--yes")


def test_red_checks_turn_it_red_until_they_are_green(made):
    (made.labs / "broken").touch()
    made.well("stack", "init", "made")
    status, output = made.run("up", "-s", "made", "--yes", "--skip-preview")
    assert status != 0
    assert "FAIL balance: all answers came from one pod" in output

    status, output = made.run("up", "-s", "made", "--yes", "--skip-preview")
    assert status != 0, "nothing changed, and the lab is as broken as before"
    assert "FAIL balance" in output

    (made.labs / "broken").unlink()
    assert "2 pass" in made.well("up", "-s", "made", "--yes", "--skip-preview")
    made.well("up", "-s", "made", "--yes", "--skip-preview")
    assert made.runs == 3
    made.well("destroy", "-s", "made", "--yes")


@pytest.mark.parametrize("first", [pytest.param("l4lab", marks=pytest.mark.long), "pulumi"])
def test_deploy_and_plain_up_follow_each_other_without_a_difference(made, access, namespace, first):
    lab = MadeLab("made", program_of(namespace))

    def by_pulumi():
        return changes(made.well("up", "-s", "made", "--yes", "--skip-preview"))

    if first == "pulumi":
        made.well("stack", "init", "made")
        assert by_pulumi()
        assert not stack.deploy(lab, access).changed
        assert set(stack.deploy(lab, access).changes) == {"same"}
        made.well("destroy", "-s", "made", "--yes")
        assert stack.deploy(lab, access).changed
        stack.destroy(lab, access)
    else:
        assert stack.deploy(lab, access).changed
        assert by_pulumi() == []
        assert set(stack.deploy(lab, access).changes) == {"same"}
        assert by_pulumi() == []
        assert made.runs == 0, "nothing changed"
        stack.destroy(lab, access)
        assert made.run("up", "-s", "made", "--yes")[0] != 0, "the stack is gone"


def test_a_faulty_program_is_told_from_its_first_line_on(plain):
    project = plain(FAULTY)
    project.well("stack", "init", "made")
    status, output = project.run("preview", "-s", "made")
    assert status != 0
    told = output.partition("Program failed with an unhandled exception:")[2]
    assert "json.decoder.JSONDecodeError: Expecting value" in told
    assert 'read("no json")' in told
    assert "runpy" not in output
    assert "run_program" not in output


def test_a_folder_without_a_program_is_told(plain):
    project = plain("")
    (project.labs / "__main__.py").unlink()
    project.well("stack", "init", "made")
    status, output = project.run("preview", "-s", "made")
    assert status != 0
    assert "has no __main__.py" in output


def test_a_stack_of_no_lab_is_told_with_the_labs_there_are(plain):
    project = plain("")
    (project.labs / "__main__.py").unlink()
    project.labs.rmdir()
    project.labs.symlink_to(PROJECT / "labs")
    project.well("stack", "init", "clusterpi")
    status, output = project.run("preview", "-s", "clusterpi")
    assert status != 0
    assert "there is no lab 'clusterpi'" in output
    assert "clusterip" in output
    assert "Traceback" not in output


def test_settings_reach_the_program_and_nobody_else(plain):
    project = plain(SECRET)
    project.well("stack", "init", "made")
    project.well("config", "set", "--secret", "word", "hunter-two", "-s", "made")
    output = project.well("preview", "-s", "made")
    assert "it has 10 letters" in output


def test_ctrl_c_ends_the_program(plain):
    project = plain(ONCE)
    project.well("stack", "init", "made")
    process = project.start("up", "-s", "made", "--yes", "--skip-preview")
    path = project.labs / "pid"
    wait_for("the program", lambda: None if path.exists() else "no program", within=240)
    wait_for("its number", lambda: None if path.read_text() else "no number", within=60)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "it runs" in output
    program = Path("/proc", path.read_text())
    wait_for("its end", lambda: "it runs" if program.exists() else None, within=60)


@pytest.fixture
def host():
    """The language host by itself, and a way to ask it."""
    executable = PROJECT / "infra" / "language" / "pulumi-language-python"
    process = subprocess.Popen([executable, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)
    with grpc.insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}") as channel:
        yield channel
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.mark.parametrize("call", ["GenerateProgram", "Pack", "WhatTheNextEngineAsks"])
def test_what_it_cannot_do_it_says_by_name(host, call):
    ask = host.unary_unary(f"/pulumirpc.LanguageRuntime/{call}")
    with pytest.raises(grpc.RpcError) as refused:
        ask(b"", timeout=20)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert f"has no {call}: it runs programs and nothing else" in refused.value.details()


def info(**options):
    asked = language_pb2.ProgramInfo(root_directory="/nowhere", program_directory="/nowhere")
    asked.options.update(options)
    return asked


def test_it_says_which_python_runs_programs_and_what_that_has(host):
    stub = language_pb2_grpc.LanguageRuntimeStub(host)
    about = stub.About(language_pb2.AboutRequest(info=info()), timeout=20)
    assert about.version == ".".join(map(str, sys.version_info[:3]))
    request = language_pb2.GetProgramDependenciesRequest(info=info(), transitiveDependencies=True)
    answer = stub.GetProgramDependencies(request, timeout=60)
    assert "pulumi" in {one.name for one in answer.dependencies}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"virtualenv": "venv"}, "there is no virtual environment at /nowhere/venv"),
        ({"toolchain": "uv"}, "knows no toolchain 'uv'"),
    ],
)
def test_an_environment_it_cannot_use_is_told(host, options, told):
    stub = language_pb2_grpc.LanguageRuntimeStub(host)
    with pytest.raises(grpc.RpcError, match=told):
        stub.Run(language_pb2.RunRequest(info=info(**options)), timeout=20)
