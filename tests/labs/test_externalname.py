"""Lab externalname: what its readers make of programs' output, and its ties to the role outside."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from l4lab.checks import Fault, Hopeless, Unmet
from l4lab.checks.conntrack import read_conntrack
from l4lab.checks.network import read_curl
from l4lab.command import Result
from l4lab.topology import Role
from labs.externalname import facts, names, scene
from tests.unit.checks.world import topology

PROJECT = Path(__file__).parents[2]


class Somewhere:
    """A look that knows no more than the topology."""

    def __init__(self, topology):
        self.topology = topology


@pytest.fixture
def look():
    return Somewhere(topology())


def test_the_site_is_the_one_that_the_role_serves():
    defaults = yaml.safe_load((PROJECT / "playbooks/roles/outside/defaults/main.yml").read_text())
    assert f"www.{defaults['outside_domain']}" == facts.EXTERNAL_NAME
    assert facts.PLAYED


def test_a_chain_of_records_is_read_in_order():
    text = (
        ";; Got recursion not available from 10.10.0.10\n"
        "baidu.default.svc.cluster.local. 5 IN\tCNAME\twww.outside.test.\n"
        "www.outside.test.\t5\tIN\tCNAME\tsite.outside.test.\n"
        "site.outside.test.\t5\tIN\tA\t192.168.128.31\n"
    )
    assert names.read_dig(text) == [
        ("CNAME", "www.outside.test"),
        ("CNAME", "site.outside.test"),
        ("A", "192.168.128.31"),
    ]
    assert names.read_dig(";; communications error to 10.10.0.10#53: timed out\n") == []


def test_a_connection_tells_what_became_of_both_addresses():
    text = (
        "tcp      6 112 TIME_WAIT src=10.244.85.207 dst=10.10.3.4 sport=41892 dport=443 "
        "src=192.168.128.31 dst=192.168.128.21 sport=8443 dport=60997 [ASSURED] mark=0 use=1\n"
        "udp      17 5 src=10.244.1.2 dst=10.10.0.10 sport=4000 dport=53 [UNREPLIED] "
        "src=10.244.2.3 dst=10.244.1.2 sport=53 dport=4000 use=1\n"
        "icmp     1 5 src=10.244.1.2 dst=10.10.0.10 type=8 code=0 id=1\n"
    )
    tcp, udp = read_conntrack(text)
    assert (tcp.source, tcp.destination) == ("10.244.85.207:41892", "10.10.3.4:443")
    assert (tcp.answered_by, tcp.answered_to) == ("192.168.128.31:8443", "192.168.128.21:60997")
    assert udp.answered_by == "10.244.2.3:53"


def test_a_certificate_that_does_not_hold_is_a_fault_of_its_own():
    line = "60|000|0.003|10.244.1.2:40000||SSL: no alternative certificate subject name matches"
    (answer,) = read_curl(Result(argv=("curl",), rc=60, stdout=line, stderr="", seconds=0.1))
    assert answer.fault is Fault.CERTIFICATE
    assert "no alternative" in str(answer)


@pytest.mark.parametrize(
    "found",
    [[], ["10.10.0.1"], ["10.244.1.5"], ["192.168.128.21"], ["192.168.128.31", "192.0.2.1"]],
    ids=["none", "cluster address", "pod", "another host", "one too many"],
)
def test_only_the_site_is_the_site(look, found):
    with pytest.raises(Unmet) as raised:
        scene.must_be_the_site(look, found)
    assert "192.168.128.31" in raised.value.expected
    scene.must_be_the_site(look, ["192.168.128.31"])


def test_a_real_site_may_be_anywhere_but_in_the_cluster(look, monkeypatch):
    monkeypatch.setattr(facts, "PLAYED", False)
    scene.must_be_the_site(look, ["198.51.100.7", "203.0.113.9"])
    with pytest.raises(Unmet, match=r"10\.10\.0\.1"):
        scene.must_be_the_site(look, ["10.10.0.1"])


def test_a_cluster_without_an_outside_is_told(look):
    kept = tuple(one for one in look.topology.machines if one.role is not Role.MARIADB)
    look.topology = replace(look.topology, machines=kept)
    with pytest.raises(Hopeless, match="plays the outside"):
        scene.site_address(look)


def test_what_the_program_declares_is_named_alike_in_all_parts():
    breaks = importlib.import_module("tests.cluster.faults.externalname").BREAKS
    checks = importlib.import_module("labs.externalname.checks").CHECKS
    known = {check.id for check in checks}
    for one in breaks:
        assert {one.explains} | one.red | one.green | one.error <= known, one.name
