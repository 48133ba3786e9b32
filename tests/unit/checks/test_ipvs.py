"""Reading ipvsadm's tables, in the shapes its versions print them."""

from l4lab.checks.ipvs import Counters, parse_connections, parse_stats, parse_table

TABLE = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.10.0.1:443 rr
  -> 192.168.128.11:6443          Masq    1      4          0         
TCP  10.10.3.4:80 rr persistent 10800
  -> 10.244.1.5:80                Masq    1      0          5         
  -> 10.244.2.6:80                Masq    0      0          5         
TCP  10.10.9.9:81 wrr
UDP  10.10.0.10:53 rr
  -> 10.244.1.2:53                Masq    1      0          8         
"""  # noqa: W291 (ipvsadm prints these)

STATS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.10.3.4:80                       10       60       50     4000    12000
  -> 10.244.1.5:80                       5       30       25     2000     6000
  -> 10.244.2.6:80                       5       30       25     2000     6000
TCP  10.10.0.1:443                     12K        0        0        0        0
"""

CONNECTIONS = """\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 01:57  TIME_WAIT   10.10.3.4:41234    10.10.3.4:80       10.244.1.5:80
UDP 04:57  UDP         192.168.128.21:5353 10.10.0.10:53      10.244.1.2:53
"""


def test_rows_with_scheduler_flags_and_backends():
    table = parse_table(TABLE)
    row = table["TCP", "10.10.3.4:80"]
    assert (row.scheduler, row.flags) == ("rr", "persistent 10800")
    assert [one.address for one in row.backends] == ["10.244.1.5:80", "10.244.2.6:80"]
    assert {one.forward for one in row.backends} == {"Masq"}


def test_a_backend_of_weight_0_is_on_its_way_out():
    row = parse_table(TABLE)["TCP", "10.10.3.4:80"]
    assert [one.address for one in row.live] == ["10.244.1.5:80"]


def test_a_row_without_backends_and_protocols_apart():
    table = parse_table(TABLE)
    assert table["TCP", "10.10.9.9:81"].backends == ()
    assert ("UDP", "10.10.0.10:53") in table
    assert ("TCP", "10.10.0.10:53") not in table


def test_an_empty_table():
    assert parse_table("\n".join(TABLE.splitlines()[:3])) == {}


def test_counters_exact_and_rounded():
    stats = parse_stats(STATS)
    assert stats["TCP", "10.10.3.4:80"] == Counters(10, {"10.244.1.5:80": 5, "10.244.2.6:80": 5})
    assert stats["TCP", "10.10.0.1:443"].total == 12_000


def test_what_moved_counts_a_new_backend_from_nothing():
    moved = Counters(10, {"a": 5, "b": 5}).since(Counters(6, {"a": 4}))
    assert moved == Counters(4, {"a": 1, "b": 5})


def test_connections():
    found = parse_connections(CONNECTIONS)
    assert [(one.source, one.destination) for one in found] == [
        ("10.10.3.4:41234", "10.244.1.5:80"),
        ("192.168.128.21:5353", "10.244.1.2:53"),
    ]
