"""The commands of a class: options, exit codes, and what needs no cluster."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from l4lab import cli, console, machines
from l4lab.classroom import Outcome, Student, each, verbs
from l4lab.commands import classroom
from l4lab.lab import get_lab
from l4lab.place import Place
from l4lab.state import paths_of, write_json

PROJECT = Path(__file__).parents[3]
FILE = """\
class: 网络
labs: [clusterip]
students: [{id: ann, name: 安娜}, {id: bob}, cy]
"""


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "labs").symlink_to(PROJECT / "labs")
    (tmp_path / "classroom.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.setitem(machines.DRIVERS, "local", "tests.unit.machines.fake:FakeDriver")
    monkeypatch.delenv("L4LAB_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def l4lab(*words):
    return CliRunner().invoke(cli.main, ["class", *words], prog_name="l4lab")


@pytest.fixture
def asked(monkeypatch):
    """Who ``up`` was done for; everybody but bob does well."""
    seen = []

    def up(_room, students):
        seen.append([one.id for one in students])
        return [
            Outcome(student=one.id, ok=one.id != "bob", seconds=1.0, note="done", next="try again")
            for one in students
        ]

    monkeypatch.setattr(verbs, "up", up)
    monkeypatch.setattr(classroom.Chosen, "room", None)
    return seen


def test_all_are_meant_without_only(asked):
    done = l4lab("up")
    assert done.exit_code == 1
    assert asked == [["ann", "bob", "cy"]]
    assert "up: 2 well, 1 failed" in done.stdout
    assert "next: try again" in done.stdout


def test_only_is_a_glob_and_repeatable(asked):
    assert l4lab("up", "--only", "a*", "--only", "c?").exit_code == 0
    assert asked == [["ann", "cy"]]
    refused = l4lab("up", "--only", "dan")
    assert refused.exit_code == 2
    assert "no student matches 'dan'" in refused.stderr


@pytest.fixture
def left(project):
    """Dave has a place, and was taken out of the file since."""
    place = Place(student="dave", namespace="dave", first_node_port=30470)
    write_json(paths_of(project, "l4lab").classroom / "dave" / "place.json", asdict(place))
    return Student(id="dave", name="dave", place=place)


def test_who_was_taken_out_of_the_file_is_named_and_taken_down_by_id(asked, left, monkeypatch):
    seen = []

    def noting(_room, students):
        seen.append(students[-1] if students[-1].id == "dave" else None)
        return []

    monkeypatch.setattr(verbs, "down", noting)
    monkeypatch.setattr(verbs, "status", noting)
    # Without being named dave may be in another class's file.
    done = l4lab("down")
    assert (done.exit_code, seen.pop()) == (0, None)
    assert "next: ./l4lab class down --only dave" in done.stdout
    for words in (["down", "--only", "d*"], ["status"], ["status", "--only", "dave"]):
        done = l4lab(*words)
        assert done.exit_code == 0, done.stderr
        assert "stays" not in done.stdout
    assert l4lab("down", "--only", "ann").exit_code == 0
    assert seen == [left, left, left, None]
    assert "no student matches 'dave'" in l4lab("up", "--only", "dave").stderr
    assert l4lab("up").exit_code == 1
    assert asked == [["ann", "bob", "cy"]]


def test_json(asked):
    data = json.loads(l4lab("up", "--only", "bob", "--json").stdout)
    assert data["failed"] == 1
    assert data["students"][0]["student"] == "bob"


def test_failed_asks_those_who_failed(asked, project):
    refused = l4lab("up", "--failed")
    assert refused.exit_code == 2
    assert "no class up yet" in refused.stderr
    last = paths_of(project, "l4lab").classroom / "last" / "up.json"
    write_json(last, {"failed": ["cy"]})
    assert l4lab("up", "--failed").exit_code == 0
    assert asked == [["cy"]]


def test_a_lab_of_the_class(project):
    assert "lab headless is not among the class's" in l4lab("deploy", "headless").stderr
    assert "there is no lab 'nosuch'" in l4lab("check", "nosuch").stderr


def test_before_the_cluster_is_up():
    for words in (["up"], ["deploy", "clusterip"], ["status"], ["reset"], ["down"]):
        done = l4lab(*words)
        assert done.exit_code == 2
        assert "the cluster is not up" in done.stderr


def test_without_a_file(project):
    (project / "classroom.yaml").unlink()
    assert "classroom.yaml" in l4lab("up").stderr


def test_a_report_of_a_class_that_was_not_checked(project):
    done = l4lab("report", "--csv", "class.csv", "--junit", "class.xml")
    assert done.exit_code == 1
    assert "安娜" in (project / "class-report.html").read_text(encoding="utf-8")
    assert (project / "class.csv").read_text(encoding="utf-8").count("not checked") == 3
    assert "testsuite" in (project / "class.xml").read_text(encoding="utf-8")


def test_cards(project):
    assert l4lab("cards", "--only", "ann").exit_code == 0
    page = project / "class-cards.html"
    assert "安娜" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o777 == 0o600


def test_help_of_every_command():
    for name in classroom.class_.commands:
        done = l4lab(name, "--help")
        assert done.exit_code == 0
        assert "--only" in done.stdout


def test_down_of_the_cluster_names_the_results_that_it_keeps(project):
    def down(*words):
        return CliRunner().invoke(cli.main, ["down", *words], prog_name="l4lab").stdout

    paths = paths_of(project, "l4lab")
    paths.class_results.mkdir(parents=True)
    paths.record.write_text("{}")
    told = f"The class's results are kept: {paths.class_results}\n"
    assert down() == f"Nothing is left.\n{told}"
    assert down() == f"There was nothing to end.\n{told}"
    assert json.loads(down("--json")) == {"was_there": False, "results": str(paths.class_results)}


# --- a cluster for each -------------------------------------------------------------------------


@pytest.fixture
def each_(project, monkeypatch):
    """The class has clusters; verbs only note who they are asked for. Nothing is entered."""
    (project / "classroom.yaml").write_text(f"shape: each\n{FILE}", encoding="utf-8")
    seen = []

    def noting(verb):
        def answer(clusters, students, *words, **options):
            ids = [one.id for one in students]
            seen.append((verb, ids, [word.name for word in words], options))
            assert clusters.paths == paths_of(project, "l4lab")
            return [Outcome(student=one, ok=True, seconds=1.0, note="done") for one in ids]

        return answer

    for verb in ("up", "deploy", "check", "status", "reset", "down"):
        monkeypatch.setattr(each, verb, noting(verb))
    return seen


def test_every_verb_asks_the_clusters_where_each_has_one(each_, project):
    write_json(paths_of(project, "l4lab").classroom / "last" / "up.json", {"failed": ["cy"]})
    for words in (
        ["up", "--failed"],
        ["deploy", "clusterip", "--only", "ann"],
        ["check", "clusterip", "--only", "ann", "--exercises"],
        ["status", "--only", "ann"],
        ["reset", "--lab", "clusterip", "--dry-run", "--only", "ann"],
        ["down", "--only", "ann"],
    ):
        assert l4lab(*words).exit_code == 0, words
    assert each_ == [
        ("up", ["cy"], [], {}),
        ("deploy", ["ann"], ["clusterip"], {}),
        ("check", ["ann"], ["clusterip"], {"exercises": True}),
        ("status", ["ann"], [], {}),
        ("reset", ["ann"], [], {"lab": get_lab(project, "clusterip"), "dry_run": True}),
        ("down", ["ann"], [], {}),
    ]


def test_cards_where_each_has_a_cluster(each_, project):
    done = l4lab("cards", "--json")
    assert done.exit_code == 0
    page = (project / "class-cards.html").read_text(encoding="utf-8")
    file = paths_of(project, "l4lab-ann").own_settings
    assert f"export L4LAB_CONFIG={file}" in page
    assert "l4lab-cy" in page
    assert "Namespace" not in page
    assert json.loads(done.stdout)["logins"] == str(project / ".l4lab" / "l4lab-STUDENT")


def test_a_report_where_each_has_a_cluster(each_, project):
    assert l4lab("report", "--csv", "class.csv").exit_code == 1
    assert (project / "class.csv").read_text(encoding="utf-8").count("not checked") == 3
