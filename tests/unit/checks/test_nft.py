"""Reading kube-proxy's table of mode nftables, as ``nft -j`` of a real kernel prints it."""

from pathlib import Path

import pytest

from l4lab.checks.kernel import translated
from l4lab.checks.nft import parse

TABLE = Path(__file__).parent / "kube_proxy_table.json"
A, B, FAR = "10.244.1.5:80", "10.244.1.6:80", "10.244.2.6:80"


@pytest.fixture(scope="module")
def table():
    return parse(TABLE.read_text())


def backends(table, address, protocol="TCP"):
    return [one.address for one in table.rows[protocol, address].live]


def test_a_service_of_several_pods_draws_one_by_chance(table):
    assert backends(table, "10.10.3.4:80") == [A, FAR]
    chain = table.chains["TCP", "10.10.3.4:80"]
    assert table.drawn[chain] == 2
    assert table.rows["TCP", "10.10.3.4:80"].flags == ""


def test_a_service_of_one_pod_has_no_draw(table):
    assert backends(table, "10.10.0.1:443") == [A]
    assert table.drawn[table.chains["TCP", "10.10.0.1:443"]] == 0


def test_affinity_shows_its_seconds_and_the_clients_it_keeps(table):
    assert backends(table, "10.10.3.5:80") == [A, B]
    assert table.rows["TCP", "10.10.3.5:80"].flags == "persistent 30"
    (kept,) = table.remembered
    assert (kept.source, kept.virtual, kept.destination) == ("192.168.128.1:0", "10.10.3.5:80", A)
    assert 0 < kept.expires <= 30


def test_a_service_without_endpoints_is_there_without_backends(table):
    assert backends(table, "10.10.0.9:80") == []
    assert table.chains["TCP", "10.10.0.9:80"] == "reject-chain"


def test_a_node_port_is_taken_at_the_nodes_address(table):
    assert backends(table, "192.168.128.21:30380") == [A, FAR]
    assert [key for key in table.rows if key[1].endswith(":30380")] == [
        ("TCP", "192.168.128.21:30380")
    ]


def test_with_policy_local_and_no_pod_here_what_is_for_the_node_itself_does_not_count(table):
    assert backends(table, "192.168.128.21:30381") == []
    assert table.chains["TCP", "192.168.128.21:30381"] == ""


@pytest.mark.parametrize("text", ["", "no JSON", '{"nftables": [{"map": {"elem": []}}]}'])
def test_what_is_no_table_is_an_error(text):
    with pytest.raises((ValueError, KeyError)):
        parse(text)


def test_only_connections_whose_destination_was_rewritten_were_taken():
    found = translated(
        "tcp      6 118 TIME_WAIT src=192.168.128.11 dst=10.10.3.4 sport=21001 dport=80 "
        "src=10.244.2.6 dst=10.244.32.128 sport=80 dport=33871 [ASSURED] mark=0 use=1\n"
        "tcp      6 12 CLOSE_WAIT src=10.244.85.196 dst=192.168.128.11 sport=51520 dport=6443 "
        "src=192.168.128.11 dst=192.168.128.21 sport=6443 dport=40987 [ASSURED] mark=0 use=1\n"
        "udp      17 29 src=192.168.128.11 dst=10.10.3.6 sport=20001 dport=90 [UNREPLIED] "
        "src=10.244.1.5 dst=192.168.128.11 sport=9000 dport=20001 mark=0 use=1\n"
        "icmp     1 29 src=1.1.1.1 dst=2.2.2.2 type=8 code=0 id=1 src=2.2.2.2 dst=1.1.1.1 "
        "type=0 code=0 id=1 mark=0 use=1\n"
    )
    assert [(one.protocol, one.state, one.source, one.destination) for one in found] == [
        ("TCP", "TIME_WAIT", "192.168.128.11:21001", FAR),
        ("UDP", "", "192.168.128.11:20001", "10.244.1.5:9000"),
    ]
