"""The page about a cluster, written as a person would have it written."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

from l4lab.checks import Check, declared
from tests.cluster.test_life import l4lab

ELSEWHERE = re.compile(r"""(?:src|href)=["'](?!#|data:)|@import|url\((?!["']?(?:#|data:))""")


def test_one_page_holds_machines_checks_and_paths_and_needs_nothing_else(
    access, bench, config, tmp_path
):
    lab = bench.put("clusterip")
    # The page is of one look: on a busy machine a kernel may still be on its way.
    green = l4lab(config, "check", lab.name, "--watch", "--within", "180", "--json")
    assert green.returncode == 0, green.stdout
    html, junit = tmp_path / "report.html", tmp_path / "report.xml"
    done = l4lab(config, "report", "--html", html, "--junit", junit, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(done.stdout)
    page = html.read_text()
    assert not ELSEWHERE.findall(page)
    for machine in access.topology.machines:
        assert machine.name in page
        assert str(machine.address) in page
    [found] = data["labs"]
    assert found["lab"] == lab.name
    expected = {one.id for one in declared(lab.checks, Check) if one.mode in (None, "ipvs")}
    assert {name for step in found["steps"] for name in step["checks"]} == expected
    assert "other" not in {step["id"] for step in found["steps"]}
    for name in expected:
        assert name in page
    [path] = found["paths"]
    assert path["answered"]
    assert page.count("<svg") >= 2, "the topology, and the path to the Service"
    suite = ET.parse(junit).getroot()  # noqa: S314  # our own
    assert {case.get("name") for case in suite.iter("testcase")}
    assert not suite.findall(".//failure")
