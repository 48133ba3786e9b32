"""An external address is nobody's own: which node takes it, the client learns by ARP."""

import json

import pytest

from l4lab.checks.model import Fault
from l4lab.path import Mark
from tests.unit.path.world import (
    CARDS,
    FAR,
    MASTER,
    NODE1,
    NODE2,
    PORT,
    TIMEOUT,
    bound,
    marks,
    row,
    rows,
    sent_on,
    service,
    slice_of,
)

LB, GATEWAY = "192.168.128.192", "192.168.128.1"
AT, SOURCE = f"{LB}:80", f"{GATEWAY}:{PORT}"
NOBODY = [{"dst": LB, "dev": "lab0", "state": ["FAILED"]}]


def at(card):
    return json.dumps([{"dst": LB, "dev": "lab0", "lladdr": card, "state": ["REACHABLE"]}])


@pytest.fixture
def world(world):
    """Lab loadbalancer as seen from outside: the node that answered ARP has no pod of it."""
    give(world)
    world.from_outside()
    world.set("host", f"route {LB}", json.dumps([{"dev": "lab0", "prefsrc": GATEWAY}]))
    world.set("host", f"neighbour {LB}", at(CARDS[MASTER]))
    for node in (MASTER, NODE1, NODE2):
        world.set(node, "address", bound("10.10.9.9", LB, node=node))
        world.set(node, "row", row(AT, f"{FAR}:80"))
    sent_on(world, AT, SOURCE)
    return world


def give(world, **spec):
    world.items["lb"] = service("lb", "10.10.9.9", type="LoadBalancer", **spec)
    world.items["lb"]["status"] = {"loadBalancer": {"ingress": [{"ip": LB}]}}
    world.items["lb-slice"] = slice_of("lb", {FAR: NODE1})


def test_the_node_is_the_one_that_answered_arp(world):
    path = world.follow("outside", AT)
    assert path.answered
    assert (path.node, path.backend, path.pod_node) == (MASTER, f"{FAR}:80", NODE1)
    assert rows(path, "route")["handled by"] == f"the kernel of {MASTER}"
    assert rows(path, "route")["ARP"].endswith(f"the card of {MASTER}")
    assert rows(path, "proxy")["connections"] == "0 before, 1 after"
    assert set(marks(path).values()) == {Mark.OK}


def test_a_client_that_had_to_ask_first_knows_the_node_afterwards(world):
    world.set("host", f"neighbour {LB}", ["[]", at(CARDS[MASTER])])
    path = world.follow("outside", AT)
    assert path.answered
    assert path.node == MASTER
    assert path.backend == f"{FAR}:80"
    assert "connections" not in rows(path, "proxy")


def test_a_client_that_is_kept_out_is_told_so(world):
    give(world, loadBalancerSourceRanges=["192.168.128.31/32"])
    world.nothing_came_back(TIMEOUT)
    path = world.follow("outside", AT)
    assert (path.death.hop, path.death.fault) == ("proxy", Fault.TIMEOUT)
    assert path.death.seen == f"{MASTER} took nothing from {GATEWAY} for {AT}"
    assert path.death.causes == (
        f"{GATEWAY} is not in loadBalancerSourceRanges of Service lb: 192.168.128.31/32",
    )
    assert path.death.then == "./l4lab kubectl describe service lb -n default"
    assert marks(path)["backend"] is Mark.UNREACHED


def test_a_client_of_the_ranges_is_not_said_to_be_kept_out(world):
    give(world, loadBalancerSourceRanges=["192.168.128.0/24"])
    world.nothing_came_back(TIMEOUT)
    assert "before the row does" in world.follow("outside", AT).death.causes[0]


def test_policy_local_on_a_node_without_a_pod_names_where_the_pods_are(world):
    give(world, externalTrafficPolicy="Local")
    world.nothing_came_back(TIMEOUT)
    world.set(MASTER, "row", row(AT))
    death = world.follow("outside", AT).death
    assert death.hop == "proxy"
    assert f"no pod of lb is on {MASTER}: they are on {NODE1}" in death.causes[0]
    assert death.then == "./l4lab kubectl get pods -n default -o wide"


@pytest.mark.parametrize(
    ("card", "holds", "cause"),
    [
        ("", False, "no node holds the address"),
        ("", True, "the nodes that hold the address keep silent"),
        ("02:00:00:00:00:99", True, "no node has the same address"),
    ],
)
def test_an_address_that_no_node_takes_dies_on_the_way(world, card, holds, cause):
    world.nothing_came_back(TIMEOUT)
    world.set("host", f"neighbour {LB}", at(card) if card else json.dumps(NOBODY))
    for node in (MASTER, NODE1, NODE2):
        world.set(node, "address", bound(*([LB] if holds else []), node=node))
    path = world.follow("outside", AT)
    assert (path.death.hop, path.death.fault) == ("route", Fault.TIMEOUT)
    assert cause in path.death.causes[0]
    assert path.death.then == f"./l4lab exec ip neigh show {LB}"
    assert marks(path)["proxy"] is Mark.UNREACHED


def test_an_answer_of_an_unknown_machine_leaves_gaps_and_no_empty_hops(world):
    world.set("host", f"neighbour {LB}", at("02:00:00:00:00:99"))
    path = world.follow("outside", AT)
    assert path.answered
    assert marks(path)["proxy"] is Mark.UNKNOWN
    assert marks(path)["backend"] is Mark.UNKNOWN
    assert "02:00:00:00:00:99" in rows(path, "backend")["not known"]
