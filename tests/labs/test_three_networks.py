"""Lab three-networks: reading addresses, routes and pings as the programs print them."""

import importlib

import pytest

from l4lab.command import Result

scene = importlib.import_module("labs.three-networks.scene")

ADDRESSES = """[
 {"ifname":"lo","addr_info":[{"local":"127.0.0.1","prefixlen":8}]},
 {"ifname":"vec0","addr_info":[{"local":"192.168.128.21","prefixlen":24}]},
 {"ifname":"califed0931a318","addr_info":[]},
 {"ifname":"kube-ipvs0","addr_info":[{"local":"10.10.0.1","prefixlen":32},
                                     {"local":"10.10.0.10","prefixlen":32}]}]"""
TURNED_DOWN = """PING 10.10.33.32 (10.10.33.32) 56(84) bytes of data.
From 10.10.33.32 icmp_seq=1 Destination Port Unreachable
From 10.10.33.32 icmp_seq=2 Destination Port Unreachable

--- 10.10.33.32 ping statistics ---
2 packets transmitted, 0 received, +2 errors, 100% packet loss, time 212ms
"""
ANSWERED = """64 bytes from 10.10.33.32: icmp_seq=1 ttl=64 time=0.046 ms

2 packets transmitted, 2 received, 0% packet loss, time 201ms
"""


def test_each_address_is_told_with_its_interface():
    assert [str(one) for one in scene.read_bound(ADDRESSES)] == [
        "127.0.0.1/8 on lo",
        "192.168.128.21/24 on vec0",
        "10.10.0.1/32 on kube-ipvs0",
        "10.10.0.10/32 on kube-ipvs0",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[{"dst":"10.244.58.199","gateway":"10.244.58.192","dev":"vxlan.calico",'
            '"prefsrc":"10.244.85.192","flags":["onlink"]}]',
            "via 10.244.58.192 dev vxlan.calico",
        ),
        ('[{"dst":"10.244.85.203","dev":"califed0931a318"}]', "dev califed0931a318"),
        (
            '[{"type":"local","dst":"10.10.33.32","dev":"lo","prefsrc":"10.10.33.32"}]',
            "local, dev lo",
        ),
    ],
)
def test_a_route_is_told_by_where_it_leads(text, told):
    assert str(scene.read_route(text)) == told


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (TURNED_DOWN, "0 replies, Destination Port Unreachable"),
        (ANSWERED, "2 replies"),
        ("2 packets transmitted, 0 received, 100% packet loss", "0 replies"),
    ],
)
def test_pings_that_ended_alike_are_told_alike(out, told):
    result = Result(argv=("ping",), rc=0, stdout=out, stderr="", seconds=0.1)
    assert scene.ping_outcome(result) == told


def test_a_ping_that_did_not_run_says_why():
    text = "ping: no-such-host: Name or service not known"
    result = Result(argv=("ping",), rc=2, stdout="", stderr=text, seconds=0.1)
    assert scene.ping_outcome(result) == text
