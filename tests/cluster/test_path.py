"""The way of one connection on a real cluster: hop by hop where it is answered, and where it dies.

With every break the path must name the hop where a packet really ended.
"""

import json
import time

import pytest

from l4lab.checks import Fault
from l4lab.path import Mark, to_svg, to_text, trace
from labs.clusterip import facts
from labs.loadbalancer import facts as balanced
from tests.cluster.faults import clusterip
from tests.cluster.hands import Hands, attempts

BREAKS = {str(fault): fault for fault in clusterip.BREAKS}
# A break must first be noticed by every kernel, and a rule for one pod meets every second probe.
ATTEMPTS = 8

LOCAL = "path-local"
NODE_PORT = 30399


@pytest.fixture
def lab(bench):
    return bench.put("clusterip")


@pytest.fixture
def hands(access, lab):
    hands = Hands(access)
    with hands.reach:
        yield hands


@pytest.fixture
def local(hands):
    """A NodePort Service that wants pods on the node that was asked."""
    port = {"port": facts.PORT, "nodePort": NODE_PORT, "appProtocol": "http"}
    spec = {"type": "NodePort", "externalTrafficPolicy": "Local", "selector": facts.LABELS}
    made = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": LOCAL},
        "spec": {**spec, "ports": [port]},
    }
    hands.kubectl("create", "-f", "-", stdin=json.dumps(made))
    yield LOCAL
    hands.kubectl("delete", "service", LOCAL)


def rows(path, hop):
    return dict(next(one for one in path.hops if one.id == hop).rows)


def traced(access, client, target, wanted):
    """Trace until the path is as wanted; the last one."""
    for _ in attempts(ATTEMPTS):
        path = trace(access, client, target)
        if wanted(path):
            break
        time.sleep(1)
    return path


def answered(path):
    return path.answered


def moved(path):
    said = rows(path, "proxy").get("connections", "0 before, 0 after")
    before, _, after = said.partition(" before, ")
    return int(after.removesuffix(" after")) - int(before)


def counted(path):
    """Answered, and seen everywhere on its way: on a busy machine a counter may come too late."""
    unseen = {Mark.UNKNOWN, Mark.UNREACHED}
    return path.answered and unseen.isdisjoint(hop.mark for hop in path.hops) and moved(path) >= 1


def dies(*, hop):
    return lambda path: path.death is not None and path.death.hop == hop


def test_a_pod_reaches_the_service_and_keeps_its_address(access, lab, hands):
    path = traced(access, facts.CLIENT, facts.SERVICE, counted)
    assert path.answered, to_text(path, color=False)
    client = hands.json("pod", facts.CLIENT)
    pods = hands.json("pods", "-l", f"run={facts.LABELS['run']}")["items"]
    assert path.pod in {pod["metadata"]["name"] for pod in pods}
    assert rows(path, "answer")["X-Served-By"] == path.pod
    assert rows(path, "dns")["asks"].startswith(str(access.topology.networks.dns))
    assert path.node == client["spec"]["nodeName"]
    assert path.masqueraded is False
    assert path.source.startswith(client["status"]["podIP"] + ":")
    assert moved(path) >= 1
    assert {hop.mark for hop in path.hops} == {Mark.OK}
    assert to_svg(path).startswith("<svg ")


def test_a_node_reaches_the_service_masqueraded(access, lab, hands):
    path = traced(access, hands.far, facts.SERVICE, counted)
    assert path.answered, to_text(path, color=False)
    assert path.node == hands.far
    assert path.masqueraded is True
    assert rows(path, "wire")["tunnel"].startswith("vxlan.calico")
    assert f"on {path.pod_node}" in rows(path, "wire")
    assert moved(path) >= 1


def test_from_outside_the_cluster_address_dies_at_the_route(access, lab):
    path = traced(access, "outside", facts.SERVICE, dies(hop="route"))
    assert path.death is not None
    assert path.death.hop == "route", to_text(path, color=False)
    assert path.death.fault in (Fault.UNREACHABLE, Fault.TIMEOUT)


def test_a_pod_is_reached_directly_without_a_row(access, lab, hands):
    address = hands.pod_addresses(facts.LABELS)[0]
    path = traced(access, hands.worker, f"{address}:{facts.CONTAINER_PORT}", answered)
    assert path.answered, to_text(path, color=False)
    assert "proxy" not in {hop.id for hop in path.hops}


@pytest.mark.parametrize(
    ("target", "hop", "fault", "cause"),
    [
        ("no-such-service", "dns", Fault.DNS, "there is no Service no-such-service"),
        (f"{facts.SERVICE}:{facts.PORT + 1}", "proxy", Fault.REFUSED, f"no port {facts.PORT + 1}"),
    ],
)
def test_a_target_that_is_not_there(access, lab, target, hop, fault, cause):  # noqa: PLR0917
    path = traced(access, facts.CLIENT, target, dies(hop=hop))
    assert path.death, to_text(path, color=False)
    assert (path.death.hop, path.death.fault) == (hop, fault), to_text(path, color=False)
    assert cause in path.death.causes[0]


@pytest.mark.parametrize(
    ("fault", "client", "hop", "kinds", "cause"),
    [
        pytest.param(
            "wrong targetPort",
            facts.CLIENT,
            "backend",
            (Fault.REFUSED,),
            "nothing in pod ",
            marks=pytest.mark.long,
        ),
        ("wrong selector", facts.CLIENT, "proxy", (Fault.REFUSED,), "no pod has the labels"),
        pytest.param(
            "kube-proxy stopped on a node, its row gone",
            "worker",
            "proxy",
            # A node with a web server of its own takes what no row translates.
            (Fault.REFUSED, Fault.WRONG_BACKEND),
            "is stopped or hangs",
            marks=pytest.mark.long,
        ),
        ("a firewall rule on a node", "far", "wire", (Fault.TIMEOUT,), "l4lab_break out"),
        pytest.param(
            "CoreDNS at 0",
            facts.CLIENT,
            "dns",
            (Fault.DNS,),
            "CoreDNS has no ready pod",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_break_is_told_at_its_hop(access, lab, hands, fault, client, hop, kinds, cause):  # noqa: PLR0917
    broken = BREAKS[fault]
    place = getattr(hands, client, client)
    try:
        broken.apply(hands)
        path = traced(
            access,
            place,
            facts.SERVICE,
            lambda path: (
                path.death
                and path.death.hop == hop
                and path.death.fault in kinds
                and cause in path.death.causes[0]
            ),
        )
    finally:
        broken.undo(hands)
    assert path.death, to_text(path, color=False)
    assert path.death.hop == hop, to_text(path, color=False)
    assert path.death.fault in kinds, to_text(path, color=False)
    assert cause in path.death.causes[0]
    again = traced(access, place, facts.SERVICE, answered)
    assert again.answered, to_text(again, color=False)


def test_a_node_port_of_policy_local_dies_on_a_node_without_a_pod(access, local, hands):
    path = traced(
        access,
        "outside",
        f"{hands.far}:{NODE_PORT}",
        lambda path: path.death and "TrafficPolicy is Local" in path.death.causes[0],
    )
    assert path.death, to_text(path, color=False)
    assert path.death.hop in ("proxy", "nat"), to_text(path, color=False)
    assert "externalTrafficPolicy is Local" in path.death.causes[0], to_text(path, color=False)
    _, _, client, target = path.death.then.split()
    at_home = traced(access, client, target, answered)
    assert at_home.answered, to_text(at_home, color=False)
    assert at_home.masqueraded is False


@pytest.mark.long
def test_a_route_into_the_service_network_is_followed_to_its_node(access, lab, hands):
    broken = BREAKS["a route into the service network"]
    try:
        broken.apply(hands)
        path = traced(access, hands.database, facts.SERVICE, answered)
    finally:
        broken.undo(hands)
    assert path.answered, to_text(path, color=False)
    assert path.node == hands.topology.control_plane.name
    assert path.masqueraded is True


@pytest.mark.long
def test_an_address_from_outside_is_followed_to_the_node_that_answers_arp(access, bench, hands):
    bench.put("loadbalancer")
    given = hands.json("service", balanced.OPEN)["status"]["loadBalancer"]["ingress"][0]["ip"]
    asked = f"{given}:{balanced.PORT}"
    path = traced(access, "outside", asked, answered)
    assert path.answered, to_text(path, color=False)
    assert path.node in {one.name for one in hands.topology.nodes}
    assert f"the card of {path.node}" in rows(path, "route")["ARP"]
    refused = traced(access, hands.database, asked, dies(hop="proxy"))
    assert refused.death, to_text(refused, color=False)
    assert (refused.death.hop, refused.death.fault) == ("proxy", Fault.TIMEOUT)
    assert "is not in loadBalancerSourceRanges" in refused.death.causes[0]
