"""What is typed where kube-proxy runs in mode nftables, for every lab."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from l4lab.guide import LANGUAGES, render, sections
from l4lab.lab import find_labs
from l4lab.settings import parse
from l4lab.walk_words import of_ipvs
from labs.loadbalancer.pool import pool

LABS = find_labs(Path(__file__).parents[2])
TOPOLOGY = parse({}, "course").topology
OF_IPVS = re.compile(r"ipvs|\bipset\b")
CHANGES = re.compile(r"kubectl (patch|scale|delete|label)\b")
# The steps whose words or commands are of IPVS.
OF_IPVS_STEPS = {
    "clusterip": {"kernel", "counters", "balance", "delete-a-pod", "scale"},
    "externalname": {"kernel"},
    "headless": {"kernel"},
    "loadbalancer": {"kernel", "outside", "arp", "source", "source-ranges"},
    "nodeport": {
        *("kernel", "localhost", "counters", "local", "local-lost", "move-port", "scale"),
    },
    "selectorless": {
        *("slice", "kernel", "database-stopped", "wrong-port", "wrong-address", "moved"),
    },
    "service-fields": {
        *("port", "protocol", "app-protocol", "session-affinity", "course-example"),
    },
    "session-affinity": {"kernel", "spread", "memory", "forgotten", "switch-off"},
    "three-networks": {"cluster-address"},
    "udp-sctp": {
        *("rows", "entries", "balance", "sctp", "other-protocol", "nobody", "backend-gone"),
    },
}
ASKS = re.compile(r"\b(curl|socat|mariadb -h)\b")


def step(lab, name, mode):
    [found] = [one for one in LABS[lab].steps(TOPOLOGY) if one.id == name]
    return found.commands(mode)


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_nobody_asks_for_what_only_ipvs_has(lab):
    typed = [one.text for step in lab.steps(TOPOLOGY) for one in step.commands("nftables")]
    assert typed
    assert [text for text in typed if OF_IPVS.search(text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_a_walk_says_where_a_step_is_of_ipvs(lab, language):
    guide = sections(render(lab, TOPOLOGY, language))
    steps = lab.steps(TOPOLOGY)
    told = {one.id for one in steps if of_ipvs(one, guide[one.id], "nftables")}
    assert told == OF_IPVS_STEPS[lab.name]
    assert not any(of_ipvs(one, guide[one.id], "ipvs") for one in steps)


@pytest.mark.parametrize("lab", LABS.values(), ids=LABS)
def test_what_follows_a_change_may_be_asked_again(lab):
    """The commands that wait for the kernel ask IPVS, and are left out."""
    hasty = []
    for one in lab.steps(TOPOLOGY):
        changed = False
        for command in one.commands("nftables"):
            if CHANGES.search(command.text):
                changed = True
            elif command.within:
                changed = False
            elif changed and ASKS.search(command.text):
                hasty.append(command.text)
    assert hasty == []


@pytest.mark.parametrize(
    ("mode", "route", "promised"),
    [
        ("ipvs", "local 10.10.3.4 dev lo src 10.10.3.4 uid 0\n    cache <local>\n", True),
        ("ipvs", "10.10.3.4 via 192.168.128.1 dev eth0 src 192.168.128.11 uid 0\n", False),
        ("nftables", "10.10.3.4 via 192.168.128.1 dev eth0 src 192.168.128.11 uid 0\n", True),
        ("nftables", "local 10.10.3.4 dev lo src 10.10.3.4 uid 0\n    cache <local>\n", False),
    ],
)
def test_a_cluster_address_is_the_nodes_own_in_mode_ipvs_alone(mode, route, promised):
    commands = step("three-networks", "cluster-address", mode)
    [asked] = [one for one in commands if "ssh k8s-master01 ip route get" in one.text]
    assert (asked.differs(0, route) is None) == promised


@pytest.mark.parametrize(("mode", "promised"), [("ipvs", False), ("nftables", True)])
def test_a_node_may_not_send_by_a_protocol_that_the_service_has_not(mode, promised):
    [asked] = step("udp-sctp", "other-protocol", mode)
    said = "socat[9] E write(5, 0x55, 12): Operation not permitted\n"
    assert (asked.differs(1, said) is None) == promised
    assert asked.differs(1, "socat[9] E read(5, 0x55, 8192): Connection refused\n") is None


@pytest.mark.parametrize("name", ["sctp", "nobody"])
@pytest.mark.parametrize("said", ["Connection timed out", "Operation now in progress"])
def test_silence_over_sctp_has_two_names(name, said):
    asked = step("udp-sctp", name, "nftables")[-1]
    assert asked.differs(1, f"socat[9] E connect(5, AF=2 10.10.3.4:5300, 16): {said}\n") is None


def test_a_load_balancers_address_is_found_from_outside_in_mode_ipvs_alone():
    there = [
        one
        for name in ("outside", "arp", "source", "source-ranges")
        for one in step("loadbalancer", name, "nftables")
    ]
    [forgotten, asked] = there
    assert forgotten.text == "./l4lab exec ip neigh flush to $LB"
    assert "./l4lab exec curl" in asked.text
    assert asked.differs(0, "200\n")
    for code, why in ((7, "Failed to connect"), (28, "Connection timed out")):
        assert asked.differs(code, f"000\ncurl: ({code}) {why}\n") is None
    [entry] = step("loadbalancer", "kernel", "nftables")
    lab = LABS["loadbalancer"].facts
    given = pool(TOPOLOGY, lab.POOL_SIZE)[0]
    chain = f"external-7ZJ5QX2A-default/{lab.OPEN}/tcp/{lab.PORT_NAME}"
    assert entry.differs(0, f"\t\t     {given} . tcp . {lab.PORT} : goto {chain},\n") is None
