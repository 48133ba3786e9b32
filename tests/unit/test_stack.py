"""What surrounds Pulumi: its process, its environment, its words, and what is left of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from l4lab import engine_words, pulumi_cli, stack
from l4lab.errors import LockedError, StackError
from l4lab.lab import Lab
from l4lab.place import Place
from l4lab.pulumi_command import Cli
from l4lab.retry import wait_for
from l4lab.state import Access, Paths
from l4lab.topology import Networks, Topology

URN = "urn:pulumi:clusterip::l4lab::l4lab:labs:BackedService$kubernetes:core/v1:Service::my-nginx"


@pytest.fixture
def access(tmp_path):
    from ipaddress import IPv4Network

    networks = Networks(
        nodes=IPv4Network("192.168.128.0/24"),
        pods=IPv4Network("10.244.0.0/16"),
        services=IPv4Network("10.10.0.0/16"),
    )
    return Access(
        topology=Topology(name="t", machines=(), networks=networks),
        paths=Paths(tmp_path / "state"),
        kubectl=tmp_path / "kubectl",
        pulumi=tmp_path / "bin" / "pulumi",
    )


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# -- words


def test_a_urn_is_told_as_kind_and_name():
    assert engine_words.label(URN) == "Service my-nginx"
    assert engine_words.is_object(URN)


@pytest.mark.parametrize(
    "urn",
    [
        "urn:pulumi:a::l4lab::pulumi:pulumi:Stack::l4lab-a",
        "urn:pulumi:a::l4lab::pulumi:providers:kubernetes::default",
        "urn:pulumi:a::l4lab::l4lab:labs:BackedService::my-nginx",
        "",
    ],
)
def test_what_is_no_kubernetes_object_is_none(urn):
    assert not engine_words.is_object(urn)


def test_a_diagnostic_becomes_one_line():
    said = "<{%fg 1%}>1 error occurred:\n\t* Service a/b: no pod has its labels\n<{%reset%}>"
    assert engine_words.plain(said) == "Service a/b: no pod has its labels"


def test_the_last_error_of_a_command_is_its_reason():
    out = " code: 255\n stdout: \n stderr: x\nerror: could not lock\nerror: it is held\n"
    assert engine_words.last_words(out) == "it is held"
    assert engine_words.last_words("") == "pulumi said nothing"


# -- the process


def test_the_cli_inherits_no_setting_of_pulumis(tmp_path, monkeypatch):
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "the user's own")
    cli = Cli(program(tmp_path / "pulumi", "env; echo arguments: $*"))
    told = cli.run(["up"], str(tmp_path), {"PULUMI_HOME": "/x"}).stdout
    assert "PULUMI_CONFIG_PASSPHRASE" not in told
    assert "PULUMI_HOME=/x" in told
    assert "arguments: --non-interactive up" in told


def test_output_comes_line_by_line(tmp_path):
    lines, errors = [], []
    cli = Cli(program(tmp_path / "pulumi", "echo one; echo two; echo bad >&2"))
    cli.run([], str(tmp_path), {}, lines.append, errors.append)
    assert (lines, errors) == (["one", "two"], ["bad"])


def test_a_failure_is_pulumis_own_error(tmp_path):
    from pulumi.automation import ConcurrentUpdateError

    text = "echo 'error: the stack is currently locked by 1 lock(s)' >&2; exit 255"
    with pytest.raises(ConcurrentUpdateError):
        Cli(program(tmp_path / "pulumi", text)).run([], str(tmp_path), {})


def test_without_the_cli_the_next_step_is_named(tmp_path):
    with pytest.raises(StackError, match="there is no Pulumi CLI"):
        Cli(tmp_path / "pulumi")


INTERRUPTED = """
import sys
from pathlib import Path
from l4lab.pulumi_command import Cli
try:
    Cli(Path(sys.argv[1])).run([], sys.argv[2], {})
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_reaches_the_cli_once_and_its_end_is_awaited(tmp_path):
    saving = "trap 'echo INT >> told; echo saved > saved; exit 1' INT; : > ready\n"
    cli = program(tmp_path / "pulumi", saving + "while :; do sleep 0.05; done")
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, cli, tmp_path], start_new_session=True
    )
    ready = tmp_path / "ready"
    wait_for("the program", lambda: None if ready.exists() else "not yet", within=60, every=0.05)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the whole group
    assert child.wait(60) == 130
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert (tmp_path / "told").read_text() == "INT\n"


# -- the environment


def test_our_provider_is_found_only_without_the_official_one(access, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "none"))
    ours = pulumi_cli.environment(access, tmp_path)["PATH"].split(":")
    assert ours[0] == str(pulumi_cli.PROVIDER)

    official = program(tmp_path / "official" / "pulumi-resource-kubernetes", "exit 0")
    monkeypatch.setenv("PATH", f"{official.parent}:/usr/bin:/bin")
    path = pulumi_cli.environment(access, tmp_path)["PATH"].split(":")
    assert str(pulumi_cli.PROVIDER) not in path


def test_an_installed_plugin_is_lent_to_our_own_home(access, tmp_path, monkeypatch):
    from importlib.metadata import version

    folder = f"resource-kubernetes-v{version('pulumi-kubernetes')}"
    program(tmp_path / "users" / "plugins" / folder / "pulumi-resource-kubernetes", "exit 0")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "users"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (home := tmp_path / "ours").mkdir()
    path = pulumi_cli.environment(access, home)["PATH"].split(":")
    assert str(pulumi_cli.PROVIDER) not in path
    assert (home / "plugins" / folder / "pulumi-resource-kubernetes").is_file()


def test_no_secret_is_in_the_environment(access, tmp_path):
    variables = pulumi_cli.environment(access, tmp_path)
    secret = Path(variables["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert secret.read_text()
    assert secret.stat().st_mode & 0o077 == 0
    assert secret.read_text() not in "".join(variables.values())


# -- what is left


def lock_file(access, **holder):
    path = access.paths.pulumi / ".pulumi/locks/organization/l4lab/clusterip/one.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"pid": 1, "hostname": os.uname().nodename, **holder}))
    return path


def test_the_lock_of_a_dead_process_is_taken_over(access):
    gone = subprocess.Popen(["true"])
    gone.wait()
    path = lock_file(access, pid=gone.pid)
    pulumi_cli.free_stale_lock(access, "clusterip")
    assert not path.exists()


def test_the_number_of_a_dead_process_may_be_given_to_another(access):
    path = lock_file(access, pid=os.getpid())  # lives, but is no Pulumi
    pulumi_cli.free_stale_lock(access, "clusterip")
    assert not path.exists()


def test_the_lock_of_a_living_cli_stays(access, tmp_path):
    sleeper = tmp_path / "pulumi"
    sleeper.write_bytes(Path("/bin/sleep").read_bytes())
    sleeper.chmod(0o755)
    living = subprocess.Popen([sleeper, "60"])
    try:
        # Between fork and exec the child still bears our name.
        name = Path(f"/proc/{living.pid}/comm")
        wait_for("exec", lambda: None if name.read_text() == "pulumi\n" else "fork", within=30)
        path = lock_file(access, pid=living.pid)
        with pytest.raises(LockedError, match=f"process {living.pid}"):
            pulumi_cli.free_stale_lock(access, "clusterip")
        assert path.exists()
    finally:
        living.kill()
        living.wait()


def test_the_lock_of_another_host_stays(access):
    lock_file(access, hostname="elsewhere")
    with pytest.raises(LockedError, match="on host elsewhere"):
        pulumi_cli.free_stale_lock(access, "clusterip")


def made(kind, name, **more):
    urn = f"urn:pulumi:clusterip::l4lab::kubernetes:core/v1:{kind}::{name}"
    inputs = {"metadata": {"namespace": "default", "name": name}}
    return {"urn": urn, "type": f"kubernetes:core/v1:{kind}", "inputs": inputs, **more}


def recovered(access, *, known, pending):
    """The resources of a state after a cut-off operation, as (kind, ID, what is said of it)."""
    from l4lab import stack_process

    latest = {"resources": known, "pending_operations": pending}
    path = pulumi_cli.checkpoint(access.paths, "clusterip")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 3, "checkpoint": {"stack": "s", "latest": latest}}))
    stack_process._recover(access.paths, "clusterip")
    assert "pending_operations" not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    kept = pulumi_cli.kept_state(access.paths, "clusterip")["resources"]
    return [(one["type"].rpartition(":")[2], one["id"], one.get("delete")) for one in kept]


def creating(one):
    return {"type": "creating", "resource": one}


def test_what_was_begun_is_taken_into_the_state_by_its_name(access):
    known = [made("Service", "a", id="default/a")]
    begun = [
        creating(made("Secret", "b", inputs={"metadata": {"name": "b", "namespace": "x"}})),
        {"type": "updating", "resource": made("Service", "a", id="default/a")},
        {"type": "deleting", "resource": made("Service", "a", id="default/a")},
        creating({**made("x", "y"), "urn": "urn:pulumi:a::l4lab::l4lab:labs:Proof::checks"}),
    ]
    assert recovered(access, known=known, pending=begun) == [
        ("Service", "default/a", None),
        ("Secret", "x/b", None),
    ]


@pytest.mark.parametrize("mark", [{"pendingReplacement": True}, {}])
def test_the_begun_one_takes_the_place_of_one_of_its_name(access, mark):
    after = made("Service", "c", id="default/c")
    known = [made("Service", "a", id="default/a", outputs={"metadata": {"uid": "old"}}, **mark)]
    found = recovered(access, known=[*known, after], pending=[creating(made("Service", "a"))])
    assert found == [("Service", "default/a", None), ("Service", "default/c", None)]
    [kept, _] = pulumi_cli.kept_state(access.paths, "clusterip")["resources"]
    assert "uid" not in kept["outputs"]["metadata"], "it is another object"


def test_one_of_another_name_goes_after_its_successor_has_come(access):
    old = made("Pod", "a", id="default/a-1")
    new = made("Pod", "a", inputs={"metadata": {"name": "a-2", "namespace": "default"}})
    after = made("Service", "c", id="default/c")
    assert recovered(access, known=[old, after], pending=[creating(new)]) == [
        ("Pod", "default/a-2", None),
        ("Pod", "default/a-1", True),
        ("Service", "default/c", None),
    ]


@pytest.mark.parametrize(
    ("name", "then"),
    [
        ("clusterip", "./l4lab reset clusterip"),
        ("clusterip.ann", "./l4lab class reset --only ann"),
    ],
)
def test_a_damaged_state_names_the_reset_of_its_place(access, name, then):
    path = pulumi_cli.checkpoint(access.paths, name)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(StackError) as caught:
        pulumi_cli.kept_state(access.paths, name)
    assert f"then {then}: it finds" in caught.value.resolution


def test_what_a_killed_operation_left_for_its_own_time_is_removed(access):
    folder = pulumi_cli.scratch(access.paths, "clusterip")
    assert folder.stat().st_mode & 0o077 == 0
    (folder / "deep").mkdir()
    (folder / "deep" / "state").write_text("a password")
    assert list(pulumi_cli.scratch(access.paths, "clusterip").iterdir()) == []


def test_before_up_there_is_nothing_to_deploy_to(access):
    with pytest.raises(StackError, match="there is no cluster") as caught:
        stack.deploy(Lab(Path("labs/clusterip")), access)
    assert caught.value.resolution == "./l4lab up"


def test_the_status_of_what_was_never_deployed_needs_no_cli(access):
    assert not stack.status(Lab(Path("labs/clusterip")), access).deployed


@pytest.mark.parametrize(
    ("reason", "then"),
    [
        ('namespaces "ann" not found', "./l4lab class up, then: AGAIN"),
        ("cannot reach the Kubernetes API at https://a: refused", "./l4lab status"),
        ("Deployment a/b: pod b-1, container c: ImagePullBackOff: no", "describe pod b-1 says"),
        ("pod b-1: Unschedulable: 0/1 nodes", "kubectl -n ann describe pod b-1 says more"),
        ("no pod has the labels it selects (run=x)", "mend it, then: AGAIN"),
        ("failed to allocate a nodePort: range is full", "free one, then: AGAIN"),
        ("Pod a/b not gone within 60 s: held by x.y/z", "remove what holds it, or wait; then: AG"),
        ("the stack is currently locked by 1 lock(s)", "the other pulumi has ended, then: AGAIN"),
    ],
)
def test_a_refusal_names_what_to_do(reason, then):
    place = Place(student="ann", namespace="ann")
    assert then in engine_words.next_step(reason, place, again="AGAIN")


def test_a_refusal_is_told_without_what_the_engine_packs_it_in():
    packed = "kubernetes:v1:Secret resource 'a': property data value {map[a:b c]} has a problem: no"
    assert engine_words.plain(packed) == "no"
