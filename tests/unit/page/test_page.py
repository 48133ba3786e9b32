"""The report page: whole, self-contained, and honest about what is red."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from l4lab import report
from l4lab.checks import Fault, LabReport, State
from l4lab.checks.model import CheckResult, Observation
from l4lab.lab import get_lab
from l4lab.page import LabPart, Page, PodAt, ServiceAt, StepPart, render
from l4lab.page.picture import draw
from l4lab.path import Hop, Mark, PacketPath
from l4lab.path.snapshot import Snapshot
from l4lab.progress import Progress
from l4lab.settings import parse

PROJECT = Path(__file__).parents[3]
TOPOLOGY = parse({}, "").topology
VOID = {"meta", "br", "link", "img", "hr"}


def result(id, state=State.PASS, **rest):
    return CheckResult(
        id=id,
        title=f"title of {id}",
        why="because",
        kind="check",
        vantage=rest.pop("vantage", "api"),
        state=state,
        expected="all well",
        seen=rest.pop("seen", "it is"),
        guide="labs/x/README.md#one",
        **rest,
    )


def observed(text, command="./l4lab kubectl get pods"):
    return Observation(
        at=0, vantage="api", command=command, argv=(), rc=0, stdout=text, stderr="", seconds=0.1
    )


def page(*results, paths=()):
    found = LabReport(lab="clusterip", results=results, seconds=2.5)
    step = StepPart(id="one", heading="Step one", results=results)
    lab = LabPart(title="Lab title", report=found, steps=(step,), paths=paths)
    return Page(
        topology=TOPOLOGY,
        made="today",
        proxy="ipvs",
        version="v1.37.2",
        labs=(lab,),
        pods=(PodAt(name="web-1", address="10.244.1.2", machine="k8s-node01", ready=True),),
        services=(
            ServiceAt(
                name="web",
                type="ClusterIP",
                address="10.10.1.1",
                ports=("80 TCP",),
                backends=("10.244.1.2:80",),
            ),
        ),
    )


class Reader(HTMLParser):
    """Holds open tags against closed ones, and gathers what is asked of the network."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.wrong = []
        self.asked = []
        self.classes = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.classes.append((tag, values.get("class", ""), "open" in values))
        self.asked += [values[name] for name in ("src", "href") if name in values]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.classes.append((tag, dict(attrs).get("class", ""), False))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


PATH = PacketPath(
    client="k8s-node02",
    target="default/web",
    protocol="TCP",
    hops=(Hop(id="client", title="client", place="k8s-node02", mark=Mark.OK),),
    answer="HTTP 200",
)


def test_it_is_well_formed_and_asks_nothing_of_a_network():
    reader = read(render(page(result("a"), paths=(PATH,))))
    assert reader.wrong == []
    assert reader.open == []
    assert [url for url in reader.asked if not url.startswith("#")] == []
    assert not any(tag == "script" for tag, _, _ in reader.classes)


def test_what_is_red_is_open_and_explained_and_what_is_green_is_closed():
    bad = result("b", State.FAIL, seen="TIMEOUT", fault=Fault.TIMEOUT, then="./l4lab status")
    text = render(page(result("a"), bad))
    details = [(style, opened) for tag, style, opened in read(text).classes if tag == "details"]
    assert details == [("pass", False), ("fail", True)]
    assert "Not everything is green" in text
    assert "next      ./l4lab status" in text
    assert "All labs are green" in render(page(result("a")))


def test_a_check_shows_its_worst_vantage():
    text = render(page(result("a", vantage="node 1"), result("a", State.FAIL, vantage="node 2")))
    details = [style for tag, style, _ in read(text).classes if tag == "details"]
    assert details == ["fail"]
    assert text.count("title of a") >= 1


def test_what_commands_print_cannot_become_part_of_the_page():
    nasty = result("a", seen="<script>x</script>", trace=(observed("<b>&amp;</b>"),))
    text = render(page(nasty))
    assert "<script>x" not in text
    assert "&lt;script&gt;x" in text
    assert "<b>" not in text


def test_secrets_are_taken_out_of_the_evidence():
    secret = observed("token: eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl")
    assert "eyJhbGciOiJSUzI1NiJ9" not in render(page(result("a", State.FAIL, trace=(secret,))))


@pytest.mark.parametrize(("state", "longest"), [(State.PASS, 3_000), (State.FAIL, 60_000)])
def test_evidence_is_bounded(state, longest):
    empty = len(render(page(result("a", state))))
    trace = tuple(observed("x" * 50_000) for _ in range(50))
    assert len(render(page(result("a", state, trace=trace)))) - empty < longest


def test_the_picture_is_xml_and_has_every_machine_pod_and_service():
    found = page(result("a"))
    picture = draw(TOPOLOGY, found.pods, found.services)
    text = " ".join(ET.fromstring(picture).itertext())  # noqa: S314  # our own
    for machine in TOPOLOGY.machines:
        assert machine.name in text
        assert str(machine.address) in text
    assert "web-1" in text
    assert "web (ClusterIP)  10.10.1.1 80 TCP  ->  10.244.1.2:80" in text


def test_the_mode_is_the_one_kube_proxy_runs_in(monkeypatch):
    lab = get_lab(PROJECT, "clusterip")
    cluster = SimpleNamespace(
        enter=lambda: SimpleNamespace(topology=TOPOLOGY),
        progress=Progress(quiet=True),
        settings=parse({"cluster": {"proxy": "ipvs"}}, ""),
    )
    told = LabReport(lab=lab.name, results=(result("a"),), seconds=1.0)
    monkeypatch.setattr(report, "run_lab", lambda *_words, **_more: told)
    monkeypatch.setattr(report, "_names", lambda *_words: set())
    monkeypatch.setattr(report, "_look", lambda _access: (Snapshot(services=(), pods=()), "v1"))
    monkeypatch.setattr(report, "mode_of_proxy", lambda *_words: "nftables")
    assert report.measure(cluster, [lab], paths=False).proxy == "nftables"


def test_a_guide_that_the_cluster_cannot_have_costs_no_result():
    bare = replace(TOPOLOGY, machines=TOPOLOGY.nodes)
    told = LabReport(lab="selectorless", results=(result("slice", State.FAIL),), seconds=1.0)
    found = report.lab_part(get_lab(PROJECT, "selectorless"), bare, told)
    assert [(step.heading, step.results) for step in found.steps] == [(report.OTHER, told.results)]


def test_results_stand_in_the_order_of_the_guide_and_none_is_lost():
    lab = get_lab(PROJECT, "clusterip")
    steps = lab.steps(TOPOLOGY)
    first = next(step for step in steps if step.checks)
    last = next(step for step in reversed(steps) if step.checks)
    results = (result(last.checks[0]), result(first.checks[0]), result("stranger"))
    found = report.lab_part(lab, TOPOLOGY, LabReport(lab="clusterip", results=results, seconds=1.0))
    assert [step.id for step in found.steps] == [first.id, last.id, "other"]
    assert all(step.heading for step in found.steps)
