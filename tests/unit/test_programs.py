"""Every lab's program, run under Pulumi's mocks: what it declares, without a cluster."""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pulumi
import pytest

from l4lab.lab import find_labs

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


@pytest.fixture
def declared():
    def run(lab):
        recorder = Recorder()
        pulumi.runtime.set_mocks(recorder, project="l4lab", stack=lab.name, preview=False)
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


HOST = """
import runpy, pulumi
class Mocks(pulumi.runtime.Mocks):
    def new_resource(self, args):
        print(f"{args.typ} {args.name}\\n", end="", flush=True)
        return args.name, args.inputs
    def call(self, args):
        return {}
pulumi.runtime.set_mocks(Mocks(), project="l4lab", stack="clusterip.alice", preview=False)
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
