"""What is kept of a failed run: complete enough, without secrets, bounded."""

import base64
import json
import stat

import pytest

from l4lab.checks import CannotMeasure, CheckResult, Fault, State, diagnosis
from l4lab.checks.model import Observation
from l4lab.command import Result


@pytest.mark.parametrize(
    "secret",
    [
        "eyJhbGciOiJSUzI1NiIs.eyJpc3MiOiJrdWJlcm5l.c2lnbmF0dXJlLWhlcmU",
        "client-key-data: LS0tLS1CRUdJTiBQ",
        "password=123456",
        '"token": "abcdefghijklm"',
        "Authorization: Bearer abcdefghijkl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "kubeadm join --token abcdef.0123456789abcdef",
    ],
)
def test_secrets_are_struck_out(secret):
    text = diagnosis.redacted(f"before\n{secret}\nafter")
    value = secret.split()[-1].split("=")[-1].strip('"')
    assert value not in text
    assert "MIIE" not in text
    assert text.startswith("before")
    assert text.endswith("after")


def test_ordinary_text_stays_as_it_is():
    text = "TCP  10.10.3.4:80 rr\n  -> 10.244.1.5:80   Masq 1 0 5\nnode k8s-node01.example\n"
    assert diagnosis.redacted(text) == text


def test_files_are_cut():
    assert len(diagnosis.redacted("x" * 1_000_000)) < 250_000


def traced(stdout):
    seen = Observation(
        at=0.0,
        vantage="api",
        command="kubectl get secret",
        argv=("kubectl", "get", "secret"),
        rc=0,
        stdout=stdout,
        stderr="",
        seconds=0.1,
    )
    result = CheckResult(
        id="one",
        title="",
        why="",
        kind="check",
        vantage="api",
        state=State.PASS,
        expected="",
        seen="",
        guide="",
        trace=(seen,) * 400,
    )
    return [json.loads(line) for line in diagnosis.trace_lines([result]).splitlines()]


def test_a_trace_without_its_secrets_is_still_json():
    lines = traced('{\n  "password": "geheim",\n  "token": "geheim",\n  "other": 1\n}')
    assert len(lines) == 400
    assert lines[0]["argv"] == ["kubectl", "get", "secret"]
    assert "geheim" not in str(lines)
    assert '"other": 1' in lines[0]["stdout"]


def test_a_long_trace_says_what_it_leaves_out():
    lines = traced("x" * 16_000)
    assert 0 < len(lines) - 1 == 400 - lines[-1]["left_out"]


PACKETS = b"\xd4\xc3\xb2\xa1 and more"


class Reach:
    def __init__(self):
        self.asked = []

    def run(self, vantage, argv, *, timeout):
        if vantage.name == "k8s-node02":
            raise CannotMeasure("no way to k8s-node02", final=True)
        if "tcpdump" in argv[-1]:
            packets = base64.b64encode(PACKETS if vantage.name == "k8s-node01" else b"").decode()
            return Result(argv=tuple(argv), rc=124, stdout=packets, stderr="", seconds=5)
        self.asked.append((str(vantage), argv[0]))
        text = f"{vantage}: {' '.join(argv)[:30]} token: geheim\n"
        return Result(argv=tuple(argv), rc=0, stdout=text, stderr="", seconds=0)


@pytest.fixture
def gather(run, world, tmp_path):
    world.scheduler["k8s-node01"] = "wrr"

    def gather(results=None, reach=None):
        return diagnosis.gather(
            reach or Reach(),
            topology=world.topology,
            namespace="default",
            lab="clusterip",
            results=results or run(only=["ipvs-scheduler"]).results,
            logs=tmp_path,
        )

    return gather


def test_every_part_of_the_way_is_in_the_bundle(gather):
    folder = gather()
    names = {file.name for file in folder.iterdir()}
    assert {
        "events.txt",
        "describe.txt",
        "endpointslices.json",
        "kube-proxy.log",
        "coredns.log",
        "k8s-node01.txt",
        "failures.txt",
        "trace.jsonl",
        "replay.sh",
        "index.html",
    } <= names
    assert not any(name.endswith(".pcap") for name in names), "nothing failed over the network"
    assert "wrr" in (folder / "failures.txt").read_text()
    assert "ipvsadm -Ln" in (folder / "replay.sh").read_text()
    assert "no way to k8s-node02" in (folder / "k8s-node02.txt").read_text()
    assert not any("geheim" in file.read_text() for file in folder.iterdir())
    assert stat.S_IMODE((folder / "events.txt").stat().st_mode) == 0o600


def test_what_passed_the_nodes_is_kept_while_the_request_is_made_again(gather):
    seen = Observation(
        at=0.0,
        vantage="pod client",
        command="./l4lab kubectl exec client -- curl http://10.10.3.4/?a&b",
        argv=("curl", "http://10.10.3.4/?a&b"),
        rc=28,
        stdout="",
        stderr="",
        seconds=2.0,
    )
    red = CheckResult(
        id="short-names",
        title="a <b> title",
        why="",
        kind="check",
        vantage="pod client",
        state=State.FAIL,
        fault=Fault.TIMEOUT,
        expected="",
        seen="password: geheim",
        guide="labs/x/README.md#a",
        trace=(seen,),
    )
    reach = Reach()
    folder = gather([red], reach)
    assert (folder / "k8s-node01.pcap").read_bytes() == PACKETS
    assert stat.S_IMODE((folder / "k8s-node01.pcap").stat().st_mode) == 0o600
    assert [file.name for file in folder.glob("*.pcap")] == ["k8s-node01.pcap"]
    assert ("pod client", "curl") in reach.asked
    page = (folder / "index.html").read_text()
    assert '<a href="k8s-node01.pcap">' in page
    assert "curl http://10.10.3.4/?a&amp;b" in page
    assert "a &lt;b&gt; title" in page
    assert "geheim" not in page


def test_only_the_newest_bundles_are_kept(gather, tmp_path):
    for day in range(10, 20):
        (tmp_path / f"checks-clusterip-202001{day}-000000").mkdir()
    newest = gather()
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 5
    assert kept[-1] == newest
