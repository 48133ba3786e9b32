"""What is measured of a connection that is answered, and of one that cannot be measured."""

import pytest

from l4lab.errors import MachineError, UsageError
from l4lab.path import Mark
from tests.unit.path.world import (
    CLUSTER,
    FAR,
    MASTER,
    NODE1,
    NODE2,
    PORT,
    marks,
    node_port,
    pod,
    rows,
    said,
    stats,
    taken,
    tracked,
)


def test_a_pods_connection_to_a_service_hop_by_hop(world):
    path = world.follow("client", "my-nginx")
    assert path.answered
    assert set(marks(path).values()) == {Mark.OK}
    assert [hop.id for hop in path.hops] == [
        "client", "dns", "address", "route", "proxy", "nat", "wire", "backend", "answer"
    ]  # fmt: skip
    assert path.headline == "answered: HTTP 200 from pod web-far on k8s-node01"
    assert (path.source, path.destination) == (f"10.244.58.193:{PORT}", f"{CLUSTER}:80")
    assert (path.node, path.backend) == (NODE2, f"{FAR}:80")
    assert path.masqueraded is False
    assert rows(path, "dns")["answer"] == f"NOERROR my-nginx.default.svc.cluster.local is {CLUSTER}"
    assert rows(path, "address")["bound on"] == "kube-ipvs0 of every node"
    assert rows(path, "route")["handled by"] == f"the kernel of {NODE2}"
    assert rows(path, "proxy")["connections"] == "54 before, 55 after"
    assert rows(path, "proxy")["chose"] == f"{FAR}:80 (state TIME_WAIT)"
    assert "destination rewritten" in rows(path, "nat")["goes on as"]
    assert rows(path, "nat")["source"].startswith("kept: it is a pod's own")
    assert rows(path, "wire")["tunnel"] == f"vxlan.calico from {NODE2} to {NODE1}"
    assert rows(path, "answer")["X-Served-By"] == "web-far"


def test_the_probe_runs_in_the_pods_network_from_a_known_port(world):
    world.follow("pod:client", "default/my-nginx")
    (probe,) = [argv for place, tool, argv in world.commands if tool == "probe"]
    assert probe[:4] == ["nsenter", "--net", "--target", "982"]
    assert probe[probe.index("--local-port") + 1] == str(PORT)
    assert f"my-nginx:80:{CLUSTER}" in probe
    assert probe[-1] == "http://my-nginx:80/"


def test_a_nodes_source_is_masqueraded_and_found_on_the_backends_node(world):
    world.from_node()
    path = world.follow(MASTER, f"{CLUSTER}:80")
    assert path.answered
    assert path.masqueraded is True
    assert "dns" not in marks(path)
    assert rows(path, "nat")["source"].startswith("masqueraded as 10.244.32.128: it is no pod's")
    assert rows(path, "wire")["on k8s-node01"].startswith("10.244.32.128:33871 → ")


def test_a_node_that_does_not_know_the_name_goes_on_with_the_address_of_the_api(world):
    world.from_node()
    path = world.follow(MASTER, "my-nginx")
    assert path.answered
    assert marks(path)["dns"] is Mark.NOTE
    assert CLUSTER in rows(path, "dns")["instead"]


def test_a_node_with_the_name_in_its_hosts_file_asks_nobody(world):
    world.from_node()
    world.set(MASTER, "hosts", f"{CLUSTER} my-nginx # by hand\n")
    path = world.follow(MASTER, "my-nginx")
    assert path.answered
    assert "hosts file" in rows(path, "dns")
    assert not [tool for _, tool, _ in world.commands if tool == "getent"]


def test_a_node_port_is_handled_by_the_node_that_is_asked(world):
    node_port(world)
    path = world.follow("outside", "k8s-master01:30380")
    assert path.answered
    assert path.node == MASTER
    assert "nodePort of Service np" in dict(path.hops[1].rows).values()
    assert "back through k8s-master01" in rows(path, "nat")["source"]


def test_a_pod_asked_by_its_own_address_needs_no_row(world):
    world.set(NODE2, "conntrack", tracked(
        f"10.244.58.193:{PORT}", f"{FAR}:80", f"{FAR}:80", f"10.244.58.193:{PORT}"))  # fmt: skip
    path = world.follow("client", f"{FAR}:80")
    assert path.answered
    assert "proxy" not in marks(path)
    assert path.pod == "web-far"
    assert not [tool for _, tool, _ in world.commands if tool in ("row", "stats", "table")]


def test_another_proxy_mode_is_named_and_the_backend_taken_from_connection_tracking(world):
    world.set(NODE2, "mode", "iptables")
    path = world.follow("client", "my-nginx")
    assert path.answered
    assert rows(path, "proxy")["mode"] == "iptables: its rules are not read here"
    assert path.backend == f"{FAR}:80"


def test_a_node_that_cannot_be_reached_leaves_a_gap(world):
    world.dead.add(NODE1)
    path = world.follow("client", "my-nginx")
    assert path.answered
    assert marks(path)["address"] is Mark.UNKNOWN
    assert "k8s-node01" in rows(path, "address")["not known"]


def test_a_counter_that_lags_is_waited_for(world):
    world.set(NODE2, "stats", [stats(world.virtual, 7)] * 5 + [stats(world.virtual, 8)])
    assert rows(world.follow("client", "my-nginx"), "proxy")["connections"] == "7 before, 8 after"


def test_a_taken_source_port_is_replaced_by_the_next(world):
    port = PORT + 1
    world.set(NODE2, "probe", [(45, "", "bind failed"), said("", local=f"10.244.58.193:{port}")])
    source = f"10.244.58.193:{port}"
    world.set(NODE2, "table", taken(source, world.virtual, f"{FAR}:80"))
    path = world.follow("client", "my-nginx")
    assert path.source == source
    assert path.backend == f"{FAR}:80"


def test_what_answers_without_http_counts_as_an_answer(world):
    probe = said(
        "", local="x", status="000", code="1", message="Received HTTP/0.9 when not allowed"
    )
    world.set(NODE2, "probe", probe)
    path = world.follow("client", "my-nginx")
    assert path.answered
    assert "does not speak HTTP" in path.answer


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("OPEN 0.002 10.244.58.193:21001 \n", "the SCTP connection opened"),
        ("OPEN 0.002 10.244.58.193:21001 9 bytes came back\n", "9 bytes came back"),
    ],
)
def test_what_is_not_http_is_connected_to_plainly(world, output, answer):
    world.items["my-nginx"]["spec"]["ports"][0]["protocol"] = "SCTP"
    world.set(NODE2, "probe", output)
    path = world.follow("client", "my-nginx")
    assert path.answered
    assert path.protocol == "SCTP"
    assert path.answer == answer


def test_a_pod_whose_processes_are_not_found_cannot_be_a_client(world):
    world.set(NODE2, "processes", "")
    with pytest.raises(MachineError, match="pod client cannot be entered"):
        world.follow("client", "my-nginx")


@pytest.mark.parametrize(
    ("client", "target", "text"),
    [
        ("clent", "my-nginx", "did you mean client?"),
        ("nobody-at-all", "my-nginx", "a client is outside, a machine"),
        ("pending", "my-nginx", "it is Pending, not running"),
        ("outside", "10.10.3.4", "an address is asked as ADDRESS:PORT"),
        ("outside", "10.10.3.4:70000", "ports are 1 to 65535"),
        ("outside", "k8s-node01:http", "'http' in"),
        ("outside", "no such", "a target is SERVICE"),
        ("outside", "nodeport:my-nginx", "its type is ClusterIP"),
        ("outside", "nodeport:my-nginxx", "did you mean my-nginx?"),
    ],
)
def test_ends_that_mean_nothing(world, client, target, text):
    world.items["pending"] = pod("pending", "", "", phase="Pending")
    with pytest.raises(UsageError) as refused:
        world.follow(client, target)
    assert text in str(refused.value)
