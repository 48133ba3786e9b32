"""The smoke run for real: one lab on a cluster of its own, which is gone afterwards."""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ET

from l4lab.settings import load
from l4lab.state import paths_of
from tests.cluster.conftest import PROJECT
from tests.cluster.host import outside, processes

SETTINGS = """\
[cluster]
name = "l4lab-smoke"
[machines.k8s-master01]
memory = 1536
[machines.k8s-node01]
memory = 1024
"""


def test_one_lab_from_nothing_to_nothing(host_before, tmp_path):
    del host_before  # it is to be taken before any machine is there
    config = tmp_path / "smoke.toml"
    config.write_text(SETTINGS)
    junit, html, archive = (tmp_path / name for name in ("smoke.xml", "smoke.html", "why.tar.gz"))
    files = ["--junit", junit, "--html", html, "--diagnostics", archive]
    words = ["smoke", "clusterip", "--config", config, "--json", *files]
    done = outside(sys.executable, "-m", "l4lab", *words, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert said["labs"] == {"clusterip": True}
    assert not archive.exists()

    root = ET.parse(junit).getroot()  # noqa: S314  # our own
    stages, lab = root
    assert [case.get("name") for case in stages] == [stage["title"] for stage in said["stages"]]
    assert [suite.get("name") for suite in root] == ["l4lab.smoke", "l4lab.clusterip"]
    assert not root.findall(".//failure")
    assert not root.findall(".//error")
    assert len(lab.findall("testcase")) > 10
    assert "All labs are green." in html.read_text()

    state = paths_of(PROJECT, load(config, PROJECT).topology.name).root
    assert not state.exists()
    assert not processes(str(state))
