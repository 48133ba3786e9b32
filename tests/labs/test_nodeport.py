"""What lab nodeport reads: the web server's log, and addresses as patterns."""

import re
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from labs.nodeport.source import sources
from labs.nodeport.steps import _in, steps
from tests.unit.checks.world import topology

MARK = "l4lab-0a1b2c3d4e5f"
LOG = f"""\
192.168.128.21 - - [23/Nov/2026:19:45:56 +0000] "GET /?{MARK}&?1 HTTP/1.1" 200 244 "-" "x"
10.244.58.192 - - [23/Nov/2026:19:45:57 +0000] "GET /?{MARK}&?2 HTTP/1.1" 200 244 "-" "x"
192.168.128.1 - - [23/Nov/2026:19:45:58 +0000] "GET /?l4lab-ffffffffffff&?1 HTTP/1.1" 200 244
2026/11/23 19:45:59 [notice] 1#1: start worker process 7
192.168.128.1 - - [23/Nov/2026:19:45:59 +0000] "GET / HTTP/1.1" 200 244 "-" "{MARK}"
"""


def test_only_marked_requests_count():
    assert sources(LOG, MARK) == ["192.168.128.21", "10.244.58.192"]
    assert sources(LOG, "l4lab-other") == []


def test_a_mark_is_not_the_beginning_of_another():
    assert sources(LOG, MARK[:-1]) == []


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.244.0.0/16", "10.244.3.7", "10.245.3.7"),
        ("192.168.128.0/24", "192.168.128.1", "192.168.129.1"),
        ("10.0.0.0/8", "10.244.3.7", "11.244.3.7"),
    ],
)
def test_a_network_as_a_pattern(network, inside, outside):
    pattern = _in(IPv4Network(network))
    assert re.fullmatch(pattern, inside)
    assert not re.fullmatch(pattern, outside)


def test_the_row_of_the_tunnel_is_known_by_the_clusters_own_pod_network():
    course = topology()
    networks = replace(course.networks, pods=IPv4Network("172.20.0.0/16"))
    empty = course.control_plane.address
    [kernel] = [step for step in steps(replace(course, networks=networks)) if step.id == "kernel"]
    table = (
        f"TCP  {empty}:30380 rr\n  -> 172.20.3.7:80     Masq    1      0          0\n"
        "TCP  172.20.58.192:30380 rr\n  -> 172.20.3.7:80     Masq    1      0          0\n"
    )
    assert kernel.do[1].differs(0, table) is None
    assert kernel.do[1].differs(0, table.replace("172.20.58.192", "192.0.2.9"))
