"""The plan of a lab's reset: its stack, and what is its own of what was made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from l4lab import actions, pulumi_cli, stack
from l4lab import reset as module
from l4lab.command import Result
from l4lab.errors import MachineError, UsageError
from l4lab.lab import get_lab
from l4lab.progress import Progress
from l4lab.proof import Fingerprint, Proof, write_json
from l4lab.proof.kept import missing, objects_of, others, remember_before, stack_file
from l4lab.settings import parse
from l4lab.state import Access, paths_of

PROJECT = Path(__file__).parents[2]
LABELS = {"run": "my-nginx"}


def item(kind, name, *, labels=None, space="default", above=None, **spec):
    metadata = {"name": name, "uid": f"{kind}-{name}", "namespace": space, "labels": labels or {}}
    if above:
        metadata["ownerReferences"] = [{"kind": "x", "name": "x", "uid": above, "controller": True}]
    return {"kind": kind, "metadata": metadata, "spec": spec}


STACK = [
    item("Deployment", "my-nginx", labels=LABELS),
    item("Service", "my-nginx", labels=LABELS, clusterIP="10.10.3.4"),
]
LIVE = [*STACK, item("Pod", "my-nginx-1", labels=LABELS, above="Deployment-my-nginx")]


class World:
    """A cluster of objects; commands are only noted."""

    def __init__(self, project, monkeypatch):
        self.paths = paths_of(project, "l4lab")
        self.access = Access(
            topology=parse({}, "none").topology,
            paths=self.paths,
            kubectl=Path("kubectl"),
            pulumi=Path("pulumi"),
        )
        self.progress = Progress(quiet=True)
        self.items = []
        self.ran = []
        self.proof = Proof(7)
        self.lab = get_lab(PROJECT, "clusterip")
        monkeypatch.setattr(module, "read_objects", lambda _kubeconfig: self.items)
        monkeypatch.setattr(module, "run", self.run)
        monkeypatch.setattr(module, "prove", lambda *_, **__: self.proof)
        monkeypatch.setattr(module.stack, "destroy", self.destroy)

    def enter(self):
        return self.access

    def run(self, argv, **_options):
        self.ran.append([str(word) for word in argv])
        return Result(argv=(), rc=0, stdout="", stderr="", seconds=0)

    def destroy(self, lab, _access, *, on_event):
        on_event("gone")
        self.ran.append(["destroy", lab.stack])

    def deployed(self, stack, *items, pending=()):
        def resource(one):
            space, name = one["metadata"]["namespace"], one["metadata"]["name"]
            token = f"kubernetes:core/v1:{one['kind']}"
            return {
                "urn": f"urn:pulumi:{stack}::l4lab::{token}::{name}",
                "type": token,
                "inputs": {"metadata": {"namespace": space, "name": name}},
            }

        made = [{**resource(one), "id": f"default/{one['metadata']['name']}"} for one in items]
        begun = [{"resource": resource(one), "type": "creating"} for one in pending]
        path = pulumi_cli.checkpoint(self.paths, stack)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {"resources": made, "pending_operations": begun}
        path.write_text(json.dumps({"checkpoint": {"latest": state}}))

    def before(self, *things):
        facts = {"cluster": dict.fromkeys(things, "x")}
        write_json(
            stack_file(self.paths, "clusterip"),
            Fingerprint(scope="cluster", taken=1.0, facts=facts),
        )


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(tmp_path, monkeypatch)


def kubectl_lines(done):
    return [line for line in done if "kubectl" in line]


def test_the_real_run_does_what_the_dry_run_lists(world):
    world.deployed("clusterip", *STACK)
    world.items = [*LIVE, item("Pod", "mine", labels=LABELS)]
    world.before()
    planned = module.plan(world, world.lab)
    assert world.ran == []
    assert planned.done == (
        "delete Deployment default/my-nginx, of the stack",
        "delete Service default/my-nginx, of the stack",
        "./l4lab kubectl delete pod mine -n default",
        "./l4lab ssh k8s-master01 conntrack -D --orig-dst 10.10.3.4",
        "./l4lab ssh k8s-node01 conntrack -D --orig-dst 10.10.3.4",
        "./l4lab ssh k8s-node02 conntrack -D --orig-dst 10.10.3.4",
    )
    did = module.reset(world, world.lab)
    assert did.done == planned.done
    assert did.proof.clean
    assert world.ran[0] == ["destroy", "clusterip"]
    assert " ".join(world.ran[1]).endswith(
        "delete pod mine -n default --ignore-not-found --timeout=60s"
    )
    assert [words[3:] for words in world.ran[2:]] == [
        [name, "conntrack -D --orig-dst 10.10.3.4"]
        for name in ("k8s-master01", "k8s-node01", "k8s-node02")
    ]


def test_what_runs_on_a_machine_is_roots_whoever_logs_in(world):
    topology = world.access.topology
    own = tuple(
        replace(machine, user="admin") if machine.name == "k8s-node01" else machine
        for machine in topology.machines
    )
    world.access = replace(world.access, topology=replace(topology, machines=own))
    world.deployed("clusterip", *STACK)
    world.items = LIVE
    module.reset(world, world.lab)
    assert [words[3:] for words in world.ran[1:]] == [
        ["k8s-master01", "conntrack -D --orig-dst 10.10.3.4"],
        ["k8s-node01", "sudo -n -- conntrack -D --orig-dst 10.10.3.4"],
        ["k8s-node02", "conntrack -D --orig-dst 10.10.3.4"],
    ]


def test_a_machine_that_says_no_is_told_with_what_to_do(world, monkeypatch):
    world.deployed("clusterip", *STACK)
    world.items = LIVE
    late = Result(argv=(), rc=124, stdout="", stderr="", seconds=120)
    monkeypatch.setattr(module, "run", lambda *_words, **_options: late)
    with pytest.raises(MachineError) as raised:
        module.reset(world, world.lab)
    assert raised.value.reason == "exit code 124"
    assert raised.value.resolution == "mend it, then the same reset again"


def test_only_what_is_the_labs_own_is_deleted(world):
    world.deployed("nodeport", item("Deployment", "web", labels=LABELS))
    world.items = [
        item("Deployment", "web", labels=LABELS),  # of another lab
        item("Pod", "web-1", labels=LABELS, above="Deployment-web"),
        item("Service", "my-nginx", space="other"),  # in another place
        item("ConfigMap", "notes"),  # neither name nor label
        item("Service", "my-nginx"),  # was there before
        item("Pod", "made", labels=LABELS),
    ]
    world.before("Service default/my-nginx")
    assert kubectl_lines(module.plan(world, world.lab).done) == [
        "./l4lab kubectl delete pod made -n default"
    ]


def test_a_name_is_the_labs_with_its_kind_only(world):
    world.lab = get_lab(PROJECT, "nodeport")
    container = world.lab.facts.CONTAINER
    world.items = [
        item("Deployment", container),  # called like the container of the lab's pods
        item("ConfigMap", world.lab.facts.SERVICE),
        item("Service", world.lab.facts.OFFERED),
    ]
    assert kubectl_lines(module.plan(world, world.lab).done) == [
        f"./l4lab kubectl delete service {world.lab.facts.OFFERED} -n default"
    ]


def test_a_stack_that_was_cut_off_counts_with_what_it_had_begun(world):
    world.deployed("clusterip", STACK[0], pending=[STACK[1]])
    assert objects_of(world.paths, "clusterip") == [
        "Deployment default/my-nginx",
        "Service default/my-nginx",
    ]
    assert others(world.paths, "nodeport") == set(objects_of(world.paths, "clusterip"))
    world.items = [STACK[0]]
    assert module.plan(world, world.lab).done == (
        "delete Deployment default/my-nginx, of the stack",
    )


def test_the_fingerprint_goes_with_a_clean_reset_only(world):
    world.before()
    file = stack_file(world.paths, "clusterip")
    world.proof = Proof(7, ("a difference",))
    module.reset(world, world.lab)
    assert file.exists()
    world.proof = Proof(7)
    module.reset(world, world.lab)
    assert not file.exists()
    assert module.reset(world, world.lab).proof is None


def test_no_fingerprint_is_taken_once_a_part_of_the_lab_is_there(world, monkeypatch):
    from l4lab.proof import kept

    facts = {"cluster": {"Deployment default/my-nginx": "x"}}
    found = Fingerprint(scope="cluster", taken=1.0, facts=facts)
    monkeypatch.setattr(kept, "settled", lambda *_, **__: found)
    world.deployed("clusterip", STACK[0])
    assert not remember_before(world.access, "clusterip")
    # The state may know a lab that went with its cluster.
    found.facts["cluster"].clear()
    assert remember_before(world.access, "clusterip")
    assert not remember_before(world.access, "clusterip")


# --- a step -------------------------------------------------------------------------------------


@pytest.fixture
def changed(world, monkeypatch):
    """The lab deployed, one of its objects changed and one made by hand."""
    world.deployed("clusterip", *STACK)
    world.items = [*LIVE, item("Pod", "mine", labels=LABELS)]
    outcome = stack.Outcome(
        stack="clusterip",
        changes={"update": 1},
        outputs={},
        seconds=1,
        log=Path("log"),
        steps=("update Service my-nginx",),
    )
    monkeypatch.setattr(module.stack, "preview", lambda *_words: outcome)

    def deploy(lab, _access, *, on_event):
        on_event("update")
        world.ran.append(["deploy", lab.stack])
        return outcome

    def run_lab(_lab, _access, *, only, exercises):
        world.ran.append(["check", *only, exercises])
        return world.report

    world.report = SimpleNamespace(summary=lambda: "2 of 2 green")
    monkeypatch.setattr(module.stack, "deploy", deploy)
    monkeypatch.setattr(module, "run_lab", run_lab)
    return world


def test_a_steps_reset_does_what_the_dry_run_lists_and_looks_at_its_checks(changed):
    planned = module.plan_step(changed, changed.lab)
    assert changed.ran == []
    assert planned.report is None
    assert planned.done == (
        "./l4lab kubectl delete pod mine -n default",
        "update Service my-nginx",
    )
    did = module.reset_step(changed, changed.lab, ["balance"])
    assert did.done == planned.done
    assert did.report is changed.report
    assert "delete pod mine" in " ".join(changed.ran[0])
    assert changed.ran[1:] == [["deploy", "clusterip"], ["check", "balance", False]]


def test_a_step_of_a_lab_that_is_not_deployed_is_refused(world):
    for function in (module.plan_step, lambda *words: module.reset_step(*words, ["balance"])):
        with pytest.raises(UsageError, match="lab clusterip is not deployed") as raised:
            function(world, world.lab)
        assert raised.value.resolution == "./l4lab deploy clusterip"
    assert world.ran == []


# --- what is missing ----------------------------------------------------------------------------


def test_what_was_deleted_by_hand_is_missing(world):
    slices = item("Endpoints", "my-nginx")  # of a kind that is never read
    world.deployed("clusterip", *STACK, slices)
    assert missing(world.paths, "clusterip", LIVE) == []
    assert missing(world.paths, "clusterip", STACK[:1]) == ["Service default/my-nginx"]


def test_the_status_names_what_is_missing_of_a_lab(world, monkeypatch):
    world.deployed("clusterip", *STACK)
    world.project = PROJECT
    monkeypatch.setattr(actions, "read_objects", lambda _kubeconfig: world.items)
    world.items = LIVE
    assert actions.labs_of(world, world.access)["clusterip"] == "deployed"
    assert actions.labs_of(world, world.access)["headless"] == "not deployed"
    world.items = []
    assert actions.labs_of(world, world.access)["clusterip"] == (
        "deployed, but missing: Deployment default/my-nginx, Service default/my-nginx; "
        "mend: ./l4lab deploy clusterip"
    )

    def silent(_kubeconfig):
        raise MachineError("the cluster's objects cannot be read", "refused")

    monkeypatch.setattr(actions, "read_objects", silent)
    assert actions.labs_of(world, world.access)["clusterip"] == "deployed"
