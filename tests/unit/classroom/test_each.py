"""What is done for students who have a cluster each, once it is up."""

import json
from pathlib import Path

import pytest

from l4lab import actions, stack
from l4lab import reset as lab_reset
from l4lab.checks import CheckResult, LabReport, State
from l4lab.classroom import each, results
from l4lab.lab import get_lab
from l4lab.proof import Difference, Proof, kept
from l4lab.settings import parse
from l4lab.state import write_json
from tests.unit.classroom.conftest import everybody, notes

PROJECT = Path(__file__).parents[3]
LAB = get_lab(PROJECT, "clusterip")
DIFFERENCE = Difference(where="cluster", what="ConfigMap default/notes", before=None, after="x")


# --- deploy, check, status ----------------------------------------------------------------------


def report(state):
    return LabReport(
        lab="clusterip",
        seconds=1.0,
        results=(
            CheckResult(
                id="service-answers",
                title="it answers",
                why="w",
                kind="check",
                vantage="host",
                state=state,
                expected="HTTP 200",
                seen="nothing",
                guide="labs/clusterip/README.md#a",
                command="./l4lab ssh k8s-node01 curl http://10.10.0.1/",
                then="./l4lab kubectl get pods",
            ),
        ),
    )


def test_deploy_asks_each_students_cluster(klass, monkeypatch, tmp_path):
    def deploy(cluster, lab):
        assert lab == LAB
        name = cluster.settings.topology.name
        return stack.Outcome(
            stack=name, changes={"create": 4}, outputs={"a": name}, seconds=1.0, log=tmp_path
        )

    monkeypatch.setattr(actions, "deploy", deploy)
    found = {one.student: one for one in each.deploy(klass, everybody(klass), LAB)}
    assert found["bob"].note == "4 create"
    assert found["bob"].data["outputs"] == {"a": "l4lab-bob"}
    assert results.failed_last(klass.paths, "deploy-clusterip") == []


def test_check_keeps_what_it_found_where_a_shared_class_does(klass, monkeypatch):
    def check(cluster, _lab, *, exercises):
        assert not exercises
        ann = cluster.settings.topology.name == "l4lab-ann"
        return report(State.FAIL if ann else State.PASS)

    monkeypatch.setattr(actions, "check", check)
    ann, bob = each.check(klass, everybody(klass), LAB)
    assert (ann.ok, bob.ok) == (False, True)
    assert ann.note == "0 of 1 green; not green: service-answers"
    assert results.failed_last(klass.paths, "check-clusterip") == ["ann"]
    rows = results.rows(klass.paths, klass.classroom, everybody(klass))
    assert {row.student: row.state for row in rows} == {"ann": "fail", "bob": "pass"}
    [one] = results.kept(klass.paths, "ann", "clusterip")["results"]
    file = "--config .l4lab/l4lab-ann/settings.toml"
    assert one["next"] == f"./l4lab kubectl {file} get pods"
    assert one["command"].startswith(f"./l4lab ssh {file} k8s-node01 curl")


def test_status_tells_machines_nodes_labs_and_verdicts(klass, monkeypatch):
    def status(cluster):
        ann = cluster.settings.topology.name == "l4lab-ann"
        return {
            "cluster": cluster.settings.topology.name,
            "machines": {"m": {"running": True}, "n": {"running": ann}},
            "nodes": {"m": {"ready": True}},
            "labs": {"clusterip": "deployed", "headless": "not deployed"},
            "api": "answers",
        }

    monkeypatch.setattr(actions, "status", status)
    results.keep(klass.paths, "ann", report(State.PASS))
    ann, bob = each.status(klass, everybody(klass))
    assert ann.ok
    assert ann.note.startswith(
        "2 of 2 machines run, 1 of 1 nodes are ready; clusterip deployed, green at "
    )
    assert not bob.ok
    assert bob.note == "1 of 2 machines run, 1 of 1 nodes are ready; clusterip deployed"
    assert bob.next == "./l4lab class up --only bob"


def test_nothing_is_done_for_a_student_without_a_cluster(class_of):
    clusters = class_of("ann")
    for outcomes in (
        each.deploy(clusters, everybody(clusters), LAB),
        each.check(clusters, everybody(clusters), LAB),
        each.status(clusters, everybody(clusters)),
        each.reset(clusters, everybody(clusters)),
    ):
        [ann] = outcomes
        assert ann.note == "student ann has no cluster yet"
        assert ann.next == "./l4lab class up --only ann"


def test_a_cluster_is_reached_as_it_was_made(klass, class_of):
    """The project's settings have changed since; only ``up`` has anything to say about that."""
    other = parse({"network": {"services": "10.77.0.0/16"}}, "none")
    changed = class_of("ann", "bob", settings=other)
    ann = everybody(changed)[0]
    assert changed.made(ann).settings == everybody(klass)[0].settings
    [told] = each.up(changed, [ann])
    assert not told.ok
    assert "have changed" in told.note
    assert changed.made(ann).settings == everybody(klass)[0].settings


# --- reset, down --------------------------------------------------------------------------------


@pytest.fixture
def labs_reset(klass, monkeypatch):
    """Ann has lab clusterip; what a reset of it does, and that nothing is left."""
    write_json(kept.stack_file(klass.state(everybody(klass)[0]), LAB.stack), {})
    asked = klass.base.project / "asked"

    def did(what, proof):
        def answer(cluster, lab):
            with asked.open("a") as file:
                file.write(f"{what} {lab.name} of {cluster.settings.topology.name}\n")
            return lab_reset.LabReset(("./l4lab kubectl delete service my-nginx",), proof)

        return answer

    monkeypatch.setattr(lab_reset, "reset", did("reset", Proof(7)))
    monkeypatch.setattr(lab_reset, "plan", did("plan", None))
    monkeypatch.setattr(each, "prove", lambda *_, **__: Proof(9))
    return asked


def test_a_reset_takes_the_labs_off_and_proves_the_whole_cluster(klass, labs_reset):
    ann, bob = each.reset(klass, everybody(klass))
    assert labs_reset.read_text() == "reset clusterip of l4lab-ann\n"
    assert (ann.ok, ann.note) == (True, "clean: 9 facts equal")
    assert (bob.ok, bob.note, bob.lines) == (True, "clean: 9 facts equal", ())
    file = ".l4lab/l4lab-ann/settings.toml"
    assert ann.lines == (f"clusterip: ./l4lab kubectl --config {file} delete service my-nginx",)
    assert ann.data["proof"]["clean"] is True
    assert results.failed_last(klass.paths, "reset") == []


def test_what_a_reset_finds_beside_the_labs_is_told(klass, labs_reset, monkeypatch):
    def prove(access, *_, **__):
        ann = access.topology.name == "l4lab-ann"
        return Proof(9, (DIFFERENCE,) if ann else ())

    monkeypatch.setattr(each, "prove", prove)
    ann, bob = each.reset(klass, everybody(klass))
    assert (ann.ok, bob.ok) == (False, True)
    assert "ConfigMap default/notes" in "\n".join([ann.note, *ann.lines])
    assert results.failed_last(klass.paths, "reset") == ["ann"]


def test_one_lab_is_compared_with_the_cluster_before_it(klass, labs_reset):
    [ann] = each.reset(klass, everybody(klass)[:1], lab=LAB)
    assert (ann.ok, ann.note) == (True, "clean: 7 facts equal")
    assert results.failed_last(klass.paths, "reset") is None


def test_a_dry_run_only_tells(klass, labs_reset):
    ann, bob = each.reset(klass, everybody(klass), dry_run=True)
    assert labs_reset.read_text() == "plan clusterip of l4lab-ann\n"
    assert (ann.note, bob.note) == ("1 things to do", "0 things to do")
    assert "proof" not in ann.data
    assert results.failed_last(klass.paths, "reset") is None


def test_without_a_fingerprint_nothing_is_proved(klass, labs_reset):
    kept.stack_file(klass.state(everybody(klass)[0]), each.CLEAN).unlink()
    ann, bob = each.reset(klass, everybody(klass))
    assert (ann.ok, bob.ok) == (False, True)
    assert "there is no fingerprint to compare with" in ann.note


def test_down_leaves_the_results_and_nothing_else(klass):
    results.keep(klass.paths, "ann", report(State.PASS))
    assert notes(each.down(klass, everybody(klass)[:1])) == {"ann": (True, "gone")}
    assert all(one.running for one in klass.made(everybody(klass)[1]).status())
    assert results.failed_last(klass.paths, "up") == []
    assert notes(each.down(klass, everybody(klass))) == {
        "ann": (True, "there was none"),
        "bob": (True, "gone"),
    }
    here = klass.base.project / ".l4lab"
    left = [path.relative_to(here) for path in here.rglob("*") if path.is_file()]
    assert left == [Path("l4lab/class/results/ann/clusterip.json")]
    rows = results.rows(klass.paths, klass.classroom, everybody(klass))
    assert [row.state for row in rows] == ["pass", "not checked"]
    each.up(klass, everybody(klass))
    rows = results.rows(klass.paths, klass.classroom, everybody(klass))
    assert {row.state for row in rows} == {"not checked"}, "it is another class"
    results.keep(klass.paths, "ann", report(State.PASS))
    each.up(klass, everybody(klass)[1:])
    assert results.kept(klass.paths, "ann", "clusterip")["passed"], "it is the same class"


def test_down_of_a_class_without_results_leaves_nothing(klass):
    each.down(klass, everybody(klass))
    assert not (klass.base.project / ".l4lab").exists()


def test_the_classs_own_name_is_another_cluster(world, klass):
    """``./l4lab up`` and ``down`` beside the class touch nobody's cluster."""
    klass.base.up()
    assert klass.base.down()
    assert all(one.running for one in klass.made(everybody(klass)[0]).status())
    assert json.loads(klass.state(everybody(klass)[0]).owner.read_text())["student"] == "ann"


def test_commands_are_told_as_they_must_be_typed(klass):
    ann = everybody(klass)[0]
    typed = klass.as_typed("./l4lab up; ./l4lab down; ./l4lab kubectl get x; ./l4lab class up", ann)
    assert typed == (
        "./l4lab class up --only ann; ./l4lab class down --only ann; "
        "./l4lab kubectl --config .l4lab/l4lab-ann/settings.toml get x; ./l4lab class up"
    )
