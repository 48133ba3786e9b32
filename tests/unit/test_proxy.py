"""What of another mode is found on a node, and what is said of it."""

import json

from l4lab.checks.model import CannotMeasure
from l4lab.command import Result
from l4lab.proxy import clean, data, look_through, render
from tests.unit.checks.world import topology

OURS = """\
TCP  10.10.0.1:443 rr
  -> 192.168.128.11:6443          Masq    1      0          0
TCP  192.168.128.21:30380 rr
TCP  203.0.113.7:81 wrr
"""
NFTABLES = "table ip filter\ntable ip kube-proxy\n"
CHAINS = ":KUBE-KUBELET-CANARY - [0:0]\n:KUBE-FIREWALL - [0:0]\n:cali-INPUT - [0:0]\n"


class Nodes:
    def __init__(self, **parts):
        self.parts = {"mode": "nftables\n", "chains": CHAINS, "tables": NFTABLES} | parts
        self.dead = set()

    def run(self, vantage, argv, *, timeout):
        del timeout
        if vantage.name in self.dead:
            raise CannotMeasure(f"machine {vantage.name} cannot be reached")
        text = "".join(f"=== {name}\n{part}" for name, part in self.parts.items())
        return Result(argv=tuple(argv), rc=0, stdout=text, stderr="", seconds=0.0)


def left(**parts):
    return list(look_through(Nodes(**parts), topology())[0].left)


def test_a_node_with_the_rules_of_its_mode_only_is_clean():
    nodes = look_through(Nodes(), topology())
    assert clean(nodes, "nftables")
    assert not clean(nodes, "ipvs")
    assert render(nodes).endswith("3 nodes: clean")
    assert data(nodes)["clean"] is True
    json.dumps(data(nodes))


def test_all_that_mode_ipvs_keeps_is_found_and_nobody_elses():
    assert left(rows=OURS) == ["IPVS row TCP 10.10.0.1:443", "IPVS row TCP 192.168.128.21:30380"]
    assert left(links="1: lo: <UP>\n7: kube-ipvs0: <NOARP>\n8: kube-ipvs01: <UP>\n") == [
        "link kube-ipvs0"
    ]
    assert left(sets="KUBE-CLUSTER-IP\ncali40all-ipam-pools\n") == ["ipset KUBE-CLUSTER-IP"]
    assert left(chains=CHAINS + ":KUBE-SERVICES - [0:0]\n") == ["chain KUBE-SERVICES"]


def test_all_that_mode_nftables_keeps_is_found():
    ipvs = {"mode": "ipvs\n", "rows": OURS, "links": "7: kube-ipvs0: <NOARP>\n"}
    assert left(**ipvs) == ["nft table ip kube-proxy"]
    assert left(**ipvs, tables="table ip filter\n") == []


def test_what_is_left_and_who_is_silent_is_told():
    nodes = Nodes(rows=OURS)
    nodes.dead = {"k8s-node01"}
    found = look_through(nodes, topology())
    assert not clean(found)
    text = render(found)
    assert "left: IPVS row TCP 10.10.0.1:443" in text
    assert "k8s-node01 cannot be reached" in text
    assert "3 nodes, 0 of them clean" in text


def test_a_silent_proxy_is_not_clean():
    found = look_through(Nodes(mode=""), topology())
    assert not clean(found)
    assert "kube-proxy does not answer" in render(found)
