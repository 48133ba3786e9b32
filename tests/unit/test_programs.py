"""Every lab's program, run under Pulumi's mocks: what it declares, without a cluster."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime import rpc

from l4lab.components.surroundings import given, surroundings
from l4lab.errors import UsageError
from l4lab.lab import find_labs
from l4lab.settings import parse
from l4lab.state import Paths, write_private
from l4lab.topology import Role

PROJECT = Path(__file__).parents[2]
LABS = find_labs(PROJECT)

# Pulumi's mocks make event loops in threads of their own and leave them to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Recorder(pulumi.runtime.Mocks):
    def __init__(self):
        self.made = {}

    def new_resource(self, args):
        self.made[(args.typ.rsplit(":", 1)[-1], args.name)] = args.inputs
        return f"{args.name}-id", args.inputs

    def call(self, args):
        return {}


PASSWORD = "a-random-word"


@pytest.fixture
def cluster(tmp_path):
    """Topology and state of a cluster that has its secrets."""
    write_private(tmp_path / "secrets" / "mariadb_password", f"{PASSWORD}\n")
    return parse({}, "test").topology, Paths(tmp_path)


@pytest.fixture
def declared(cluster):
    def run(lab, *, around=cluster):
        recorder = Recorder()
        pulumi.runtime.set_mocks(recorder, project="l4lab", stack=lab.name, preview=False)
        with given(*around):
            pulumi.runtime.test(lab.program)()
        return recorder.made

    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    yield run
    loop.close()
    asyncio.set_event_loop(None)
    gc.collect()


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_a_program_declares_named_objects_in_the_labs_namespace(lab, declared):
    made = declared(lab)
    objects = {key: one for key, one in made.items() if "metadata" in one}
    assert objects
    for key, one in objects.items():
        assert one["metadata"]["name"], key
        assert one["metadata"]["namespace"] == lab.facts.NAMESPACE, key


def test_clusterip_declares_what_its_facts_say(declared):
    lab = LABS["clusterip"]
    facts, made = lab.facts, declared(lab)
    deployment = made[("Deployment", facts.DEPLOYMENT)]["spec"]
    template = deployment["template"]
    container = template["spec"]["containers"][0]
    service = made[("Service", facts.SERVICE)]["spec"]
    assert deployment["replicas"] == facts.REPLICAS
    assert deployment["selector"]["matchLabels"] == template["metadata"]["labels"] == facts.LABELS
    assert container["image"] == facts.IMAGE
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["ports"] == [{"containerPort": facts.CONTAINER_PORT}]
    assert template["spec"]["topologySpreadConstraints"][0]["topologyKey"] == (
        "kubernetes.io/hostname"
    )
    assert service["selector"] == facts.LABELS
    assert service["ports"] == [
        {
            "name": facts.PORT_NAME,
            "port": facts.PORT,
            "targetPort": facts.TARGET_PORT,
            "protocol": facts.PROTOCOL,
            "appProtocol": facts.APP_PROTOCOL,
        }
    ]
    client = made[("Pod", facts.CLIENT)]["spec"]["containers"][0]
    assert client["image"] == facts.CLIENT_IMAGE
    assert client["command"][0] == "sleep"


def test_selectorless_points_at_the_database_of_the_clusters_own_topology(declared, cluster):
    lab = LABS["selectorless"]
    machines = {
        "one": {"role": "control_plane", "address": "172.29.7.51", "memory": 2560},
        "two": {"role": "worker", "address": "172.29.7.52", "memory": 2048},
        "db": {"role": "mariadb", "address": "172.29.7.54", "memory": 768},
    }
    raw = {"network": {"nodes": "172.29.7.0/24"}, "machines": machines}
    made = declared(lab, around=(parse(raw, "test").topology, cluster[1]))
    facts = lab.facts
    for name in (facts.SERVICE, facts.CLASSIC):
        spec = made[("Service", name)]["spec"]
        assert "selector" not in spec
        assert [port["name"] for port in spec["ports"]] == [facts.PORT_NAME]
    piece = made[("EndpointSlice", facts.SLICE)]
    assert piece["metadata"]["labels"]["kubernetes.io/service-name"] == facts.SERVICE
    assert piece["endpoints"] == [{"addresses": ["172.29.7.54"]}]
    assert [port["name"] for port in piece["ports"]] == [facts.PORT_NAME]
    old = made[("Endpoints", facts.CLASSIC)]["subsets"]
    assert old[0]["addresses"] == [{"ip": "172.29.7.54"}]


def test_selectorless_hands_the_password_to_the_pod_as_a_secret_and_in_no_other_way(declared):
    lab = LABS["selectorless"]
    made = declared(lab)
    kept = made.pop(("Secret", lab.facts.CLIENT))
    # Mocks get a secret inside an envelope: proof that the engine keeps it encrypted.
    envelope = kept["stringData"]
    assert envelope[rpc._special_sig_key] == rpc._special_secret_sig
    assert PASSWORD in envelope["value"][lab.facts.OPTIONS_FILE]
    assert PASSWORD not in str(made)


def test_a_database_lab_on_a_cluster_without_a_database_says_what_lacks(cluster):
    machines = {
        "one": {"role": "control_plane", "address": "192.168.128.11", "memory": 2560},
        "two": {"role": "worker", "address": "192.168.128.21", "memory": 2048},
    }
    with (
        given(parse({"machines": machines}, "test").topology, cluster[1]),
        pytest.raises(UsageError, match="no machine with role mariadb"),
    ):
        surroundings().address_of(Role.MARIADB)


def test_a_plain_pulumi_finds_the_cluster_by_its_settings_file(tmp_path, monkeypatch):
    monkeypatch.delenv("L4LAB_CONFIG", raising=False)
    file = tmp_path / "class.toml"
    file.write_text('[cluster]\nname = "class-7"\n')
    monkeypatch.setenv("L4LAB_CONFIG", str(file))
    around = surroundings()
    assert around.topology.name == "class-7"
    assert around.paths.root == PROJECT / ".l4lab" / "class-7"
    with pytest.raises(UsageError, match="there is no mariadb password yet"):
        around.paths.kept_secret("mariadb_password")


HOST = """
import runpy, pulumi
class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        print(f"{args.typ} {args.name}\\n", end="", flush=True)
        return args.name, args.inputs
    def call(self, args):
        return {}
pulumi.runtime.set_mocks(Mocks(), project="l4lab", stack="clusterip", preview=False)
pulumi.runtime.test(lambda: runpy.run_path("labs", run_name="__main__") and None)()
"""


def test_a_language_host_finds_the_lab_by_the_stacks_name():
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", HOST],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "kubernetes:core/v1:Service my-nginx" in done.stdout, done.stderr
