"""The smoke run over a fake cluster: order, what each failure leaves, the files, exit codes."""

from __future__ import annotations

import json
import os
import signal
import tarfile
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from l4lab import console
from l4lab import smoke as module
from l4lab.checks import CheckResult, LabReport, State
from l4lab.cli import main
from l4lab.cluster import Reset
from l4lab.commands import smoke as command
from l4lab.errors import MachineError, PlaybookError, StackError, UsageError
from l4lab.lab import get_lab
from l4lab.proof import Difference, Proof
from l4lab.settings import parse
from l4lab.smoke import smoke
from l4lab.state import paths_of, write_private
from tests.unit.test_cli import PROJECT

CLEAN = Proof(equal=7)
DIRTY = Proof(equal=6, differences=(Difference("k8s-node01", "link cali1", None, "UP"),))
WHOLE = [
    "up",
    "fingerprint before the labs",
    "clusterip: deploy",
    "clusterip: check",
    "clusterip: destroy",
    "proof that the labs are gone",
    "reset",
    "down",
]


class World:
    """A cluster of which only its name is real."""

    def __init__(self, project):
        self.settings = parse({"cluster": {"name": "smoke"}}, "none")
        self.paths = paths_of(project, "smoke")
        self.archive = project / "diagnostics.tar.gz"
        self.did = []
        self.fails = {}
        self.state = State.PASS
        self.left = CLEAN
        self.off = CLEAN
        self.made = None

    def _do(self, what):
        self.did.append(what)
        failure = self.fails.get(what)
        if isinstance(failure, BaseException):
            raise failure
        if failure:
            failure()

    def record(self):
        return self.made

    def up(self):
        write_private(self.paths.root / "secrets" / "mariadb_password", "sesame-opens")
        write_private(self.paths.logs / "site.log", "x" * 300_000 + "\nit was sesame-opens\n")
        write_private(self.paths.machines / "k8s-node01" / "console.log", "the last words\n")
        self._do("up")

    def enter(self):
        return SimpleNamespace()

    def reset(self):
        self._do("reset")
        return Reset(removed=(), proof=self.off)

    def down(self):
        self._do("down")

    def deploy(self, _cluster, lab):
        self._do(f"deploy {lab.name}")

    def destroy(self, _cluster, lab):
        self._do(f"destroy {lab.name}")

    def check(self, _cluster, lab, *, show):
        del show
        self._do(f"check {lab.name}")
        result = CheckResult(
            id="pods-answer",
            title="Pods answer",
            why="they must",
            kind="eventually",
            vantage="node k8s-node01",
            state=self.state,
            command="curl 10.244.1.2",
            expected="200",
            seen="200" if self.state is State.PASS else "refused",
            guide="labs/clusterip/README.md#pods",
        )
        return LabReport(lab=lab.name, results=(result,), seconds=1.0)

    def run(self, *labs, **options):
        chosen = [get_lab(PROJECT, name) for name in labs or ("clusterip",)]
        return smoke(self, chosen, archive=self.archive, **options)


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World(tmp_path)
    monkeypatch.setattr(module.actions, "deploy", made.deploy)
    monkeypatch.setattr(module.actions, "destroy", made.destroy)
    monkeypatch.setattr(module.actions, "check", made.check)
    monkeypatch.setattr(module, "settled", lambda _access, *, scope: scope)
    monkeypatch.setattr(module, "prove", lambda *_words, **_more: made.left)
    return made


def titles(done):
    return [stage.title for stage in done.stages]


def red(done):
    return {stage.title for stage in done.stages if stage.exit_code}


def test_all_green(world):
    done = world.run()
    assert titles(done) == WHOLE
    assert world.did == [
        "up",
        "deploy clusterip",
        "check clusterip",
        "destroy clusterip",
        "reset",
        "down",
    ]
    assert (done.exit_code, done.archive, done.kept) == (0, None, False)
    assert not world.archive.exists()


def test_a_cluster_that_is_there_is_left_alone(world):
    world.made = {"cluster": "smoke"}
    with pytest.raises(UsageError, match="there already"):
        world.run()
    assert world.did == []


def test_a_lab_without_its_machine_is_skipped(world):
    machines = {
        "k8s-master01": {"role": "control_plane", "address": "192.168.128.11"},
        "k8s-node01": {"role": "worker", "address": "192.168.128.21"},
    }
    world.settings = parse({"cluster": {"name": "smoke"}, "machines": machines}, "none")
    done = world.run("clusterip", "selectorless")
    assert "deploy selectorless" not in world.did
    [skipped] = [stage for stage in done.stages if stage.skipped]
    assert skipped.title == "selectorless"
    assert "role mariadb" in skipped.error
    assert done.exit_code == 0


def test_a_lab_that_was_asked_for_and_lacks_its_machine_builds_nothing(tmp_path):
    settings = tmp_path / "l4lab.toml"
    settings.write_text(
        """
        [machines.k8s-master01]
        role = "control_plane"
        address = "192.168.128.11"
        [machines.k8s-node01]
        role = "worker"
        address = "192.168.128.21"
        """
    )
    done = CliRunner().invoke(main, ["smoke", "--config", str(settings), "selectorless"])
    assert done.exit_code == UsageError.exit_code
    assert "needs a machine with role mariadb" in done.output


def test_a_red_check_goes_on_to_the_end(world):
    world.state = State.FAIL
    done = world.run("clusterip", "nodeport")
    assert red(done) == {"clusterip: check", "nodeport: check"}
    assert world.did[-4:] == ["check nodeport", "destroy nodeport", "reset", "down"]
    assert done.exit_code == 1


def test_the_archive_is_bounded_and_tells_no_secret(world):
    world.state = State.FAIL
    done = world.run()
    with tarfile.open(done.archive) as archive:
        texts = {
            entry.name: archive.extractfile(entry).read().decode() for entry in archive.getmembers()
        }
    assert sorted(texts) == [
        "diagnostics/logs/site.log",
        "diagnostics/machines/k8s-node01/console.log",
    ]
    log = texts["diagnostics/logs/site.log"]
    assert log.endswith("it was (struck out)\n")
    assert len(log) < 210_000
    assert world.archive.stat().st_mode & 0o777 == 0o600


def test_the_archive_as_a_whole_is_bounded(world, monkeypatch):
    monkeypatch.setattr(module, "_MAX_ARCHIVE", 1000)
    world.state = State.FAIL
    with tarfile.open(world.run().archive) as archive:
        assert archive.getnames() == ["diagnostics/machines/k8s-node01/console.log"]


@pytest.mark.parametrize(
    ("what", "failure", "code", "left_out"),
    [
        ("up", MachineError("no room"), 3, "fingerprint before the labs"),
        ("up", PlaybookError("no"), 4, "reset"),
        ("deploy clusterip", StackError("no"), 5, None),
        ("destroy clusterip", StackError("no"), 5, None),
        ("reset", PlaybookError("no"), 4, None),
        ("check clusterip", ZeroDivisionError("a defect"), 1, None),
    ],
)
def test_an_error_ends_the_machines_and_says_what_it_was(world, what, failure, code, left_out):
    world.fails[what] = failure
    done = world.run()
    assert world.did[-1] == "down"
    assert done.exit_code == code
    assert left_out not in titles(done)
    assert done.archive == world.archive


def test_a_lab_that_is_not_deployed_is_not_checked(world):
    world.fails["deploy clusterip"] = StackError("no")
    done = world.run()
    assert "check clusterip" not in world.did
    assert next(stage for stage in done.stages if stage.title == "clusterip: check").skipped


@pytest.mark.parametrize(
    ("field", "stage"), [("left", "proof that the labs are gone"), ("off", "reset")]
)
def test_what_is_left_behind_is_a_failure_that_names_it(world, field, stage):
    setattr(world, field, DIRTY)
    done = world.run()
    assert red(done) == {stage}
    assert done.exit_code == 1
    assert "link cali1" in done.render()


def test_a_failed_cluster_is_kept_on_demand(world):
    world.state = State.FAIL
    done = world.run(keep_on_failure=True)
    assert "down" not in world.did
    assert done.kept
    assert "still up" in done.render()


def test_a_green_cluster_is_never_kept(world):
    done = world.run(keep_on_failure=True)
    assert world.did[-1] == "down"
    assert not done.kept


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_takes_the_machines_down_too(world, number):
    world.fails["deploy clusterip"] = lambda: os.kill(os.getpid(), number)
    done = world.run(keep_on_failure=True)
    assert world.did == ["up", "deploy clusterip", "down"]
    assert done.exit_code == 130
    assert done.archive


def test_the_deadline_takes_the_machines_down_too(world, monkeypatch):
    timers = []
    monkeypatch.setattr(signal, "setitimer", lambda _which, seconds: timers.append(seconds))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]

    def time_runs_out():
        os.kill(os.getpid(), signal.SIGALRM)

    world.fails["check clusterip"] = time_runs_out
    done = world.run(minutes=30, keep_on_failure=True)
    assert world.did == ["up", "deploy clusterip", "check clusterip", "down"]
    assert done.interrupted == "the deadline of 30 minutes"
    assert done.exit_code == 1
    assert timers == [28 * 60, 0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == before


def test_a_teardown_that_fails_is_told(world):
    world.fails["down"] = MachineError("they do not end")
    done = world.run()
    assert red(done) == {"down"}
    assert done.exit_code == 3


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), MachineError("no")])
def test_diagnostics_that_fail_hide_nothing(world, monkeypatch, failure):
    def fails(*_words):
        raise failure

    monkeypatch.setattr(module, "_pack", fails)
    world.fails["deploy clusterip"] = StackError("the stack was refused")
    done = world.run()
    assert world.did[-1] == "down"
    assert red(done) == {"clusterip: deploy", "diagnostics"}
    assert (done.exit_code, done.archive) == (StackError.exit_code, None)
    assert "the stack was refused" in done.render()
    errors = ET.fromstring(done.to_junit()).iter("error")  # noqa: S314  # our own
    assert next(errors).get("message") == "the stack was refused"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["_pack", "down"])
def test_an_end_from_outside_while_it_ends_leaves_the_results(world, monkeypatch, where, number):
    def ends(*_words):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(module, "_pack", ends if where == "_pack" else lambda *_words: None)
    world.fails["down"] = ends if where == "down" else None
    world.state = State.FAIL
    done = world.run()
    assert world.did[-1] == "down"
    assert done.interrupted == "Ctrl-C"
    assert done.exit_code == 130
    assert done.to_junit()


def test_what_xml_cannot_say_is_not_written(world):
    world.fails["reset"] = PlaybookError("a task failed", "\x1b[31mred\x1b[0m \x00")
    root = ET.fromstring(world.run().to_junit())  # noqa: S314  # our own
    assert "?[31mred" in root.find(".//testcase[@name='reset']/error").text


def test_a_file_that_cannot_be_written_hides_no_other(world, monkeypatch, tmp_path):
    monkeypatch.setattr(console.Context, "cluster", world)
    monkeypatch.setattr(command.runs, "smoke", lambda *_words, **_more: world.run())
    world.fails["deploy clusterip"] = StackError("the stack was refused")
    page = tmp_path / "page.html"
    words = ["clusterip", "--json", "--junit", "/dev/full", "--html", str(page)]
    said = CliRunner().invoke(command.smoke, words)
    assert said.exit_code == StackError.exit_code
    data = json.loads(said.stdout)
    assert data["not_written"] == ["/dev/full: No space left on device"]
    assert data["stages"][2]["error"] == "the stack was refused"
    assert "the stack was refused" in page.read_text()


def test_junit_is_read_back(world):
    world.state = State.FAIL
    world.fails["reset"] = PlaybookError("a task failed", "disk full")
    root = ET.fromstring(world.run().to_junit())  # noqa: S314  # our own
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["l4lab.smoke", "l4lab.clusterip"]
    run = suites["l4lab.smoke"]
    assert [case.get("name") for case in run] == WHOLE
    assert (run.get("tests"), run.get("errors")) == ("8", "2")
    told = run.find("testcase[@name='reset']/error")
    assert told.get("message") == "a task failed"
    assert "disk full" in told.text
    assert suites["l4lab.clusterip"].get("failures") == "1"


def test_the_page_has_the_stages_and_the_labs(world):
    world.left = DIRTY
    done = world.run()
    html = done.to_html(world)
    assert "proof that the labs are gone" in html
    assert "link cali1" in html
    assert "Pods answer" in html
    assert "Not everything is green." in html
