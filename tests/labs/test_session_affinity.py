"""What lab session-affinity reads: the kernel's memory of a client among its connections."""

import importlib

from l4lab.checks.ipvs import parse_connections

scene = importlib.import_module("labs.session-affinity.scene")

TABLE = """\
IPVS connection entries
pro expire state       source             virtual            destination
TCP 01:59  TIME_WAIT   192.168.128.1:38808 192.168.128.21:30382 10.244.85.215:80
TCP 00:14  ASSURED     192.168.128.1:0    192.168.128.21:30382 10.244.85.215:80
TCP 00:59  ASSURED     192.168.128.31:0   192.168.128.21:30382 10.244.58.208:80
"""


def test_a_client_is_found_by_its_address_and_not_by_its_connections():
    table = parse_connections(TABLE)
    entry = scene.remembered(table, "192.168.128.1")
    assert (entry.destination, entry.expires) == ("10.244.85.215:80", 14)
    assert scene.remembered(table, "192.168.128.31").destination == "10.244.58.208:80"


def test_an_address_that_only_begins_alike_is_another_client():
    assert scene.remembered(parse_connections(TABLE), "192.168.128.3") is None
    assert scene.remembered(parse_connections(TABLE)[:1], "192.168.128.1") is None
