"""Each way to die is told at its own hop, with its own first cause and next command."""

import pytest

from l4lab.checks.model import Fault
from l4lab.path import Mark
from tests.unit.path.world import (
    CLUSTER,
    FAR,
    MASTER,
    NEAR,
    NODE1,
    NODE2,
    PORT,
    REFUSED,
    TIMEOUT,
    marks,
    node_port,
    row,
    said,
    service,
    slice_of,
    taken,
    tracked,
)

NXDOMAIN = ";; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 1\n"
SERVFAIL = ";; ->>HEADER<<- opcode: QUERY, status: SERVFAIL, id: 1\n"


def no_such_service(world):
    world.set(NODE2, "dig", [NXDOMAIN, SERVFAIL])
    return "client", "my-ngins"


def service_in_another_namespace(world):
    world.items["other"] = service("web", "10.10.7.7", namespace="shop")
    world.set(NODE2, "dig", NXDOMAIN)
    return "client", "web"


def no_such_service_asked_by_a_node(world):
    world.from_node()
    return MASTER, "nosuch"


def coredns_at_zero(world):
    del world.items["dns-slice"]
    world.set(NODE2, "dig", (9, ";; connection timed out; no servers could be reached\n", ""))
    return "client", "my-nginx"


def dns_cut_off(world):
    world.set(NODE2, "dig", (9, ";; connection timed out; no servers could be reached\n", ""))
    return "client", "my-nginx"


def headless_without_pods(world):
    world.items["my-nginx"] = service("my-nginx", "None")
    del world.items["slice"]
    world.set(NODE2, "dig", NXDOMAIN)
    return "client", "my-nginx"


def from_outside(world):
    world.from_outside()
    return "outside", "my-nginx"


def routed_past_the_nodes(world):
    world.from_outside()
    world.set("host", f"route {CLUSTER}", '[{"gateway":"192.168.128.254","dev":"lab0"}]')
    world.set("host", "probe", TIMEOUT)
    return "outside", f"{CLUSTER}:80"


def wrong_port(world):
    world.nothing_came_back()
    world.set(NODE2, "probe", "REFUSED 0 - connection refused\n")
    return "client", "my-nginx:81"


def no_endpoints(world):
    world.items["slice"] = slice_of("my-nginx", {})
    world.items["my-nginx"]["spec"]["selector"] = {"run": "other"}
    world.nothing_came_back()
    world.set(NODE2, "row", row(world.virtual))
    return "client", "my-nginx"


def pods_not_ready(world):
    world.items["slice"] = slice_of("my-nginx", {NEAR: NODE2, FAR: NODE1}, ready=False)
    world.nothing_came_back()
    world.set(NODE2, "row", row(world.virtual))
    return "client", "my-nginx"


def no_selector_and_no_slice(world):
    world.items["slice"] = slice_of("my-nginx", {})
    world.items["my-nginx"]["spec"]["selector"] = None
    world.nothing_came_back()
    world.set(NODE2, "row", row(world.virtual))
    return "client", "my-nginx"


def unknown_port_name(world):
    world.items["slice"] = slice_of("my-nginx", {})
    world.items["my-nginx"]["spec"]["ports"][0]["targetPort"] = "web"
    world.nothing_came_back()
    world.set(NODE2, "row", row(world.virtual))
    return "client", "my-nginx"


def slice_with_another_port_name(world):
    world.items["slice"] = slice_of("my-nginx", {FAR: NODE1}, port_name="db")
    world.nothing_came_back()
    world.set(NODE2, "row", row(world.virtual))
    return "client", "my-nginx"


def proxy_stopped(world):
    world.nothing_came_back()
    world.set(NODE2, "mode", (28, "", "curl: (28) Operation timed out"))
    world.set(NODE2, "row", row("10.10.0.1:443", "192.168.128.11:6443"))
    return "client", "my-nginx"


def row_taken_out_by_hand(world):
    world.nothing_came_back()
    world.set(NODE2, "row", row("10.10.0.1:443", "192.168.128.11:6443"))
    return "client", "my-nginx"


def row_names_a_pod_that_is_gone(world):
    world.nothing_came_back(TIMEOUT)
    source = f"10.244.58.193:{PORT}"
    world.set(NODE2, "mode", (7, "", "curl: (7) Failed to connect"))
    world.set(NODE2, "row", row(world.virtual, "10.244.1.99:80"))
    world.set(NODE2, "table", taken(source, world.virtual, "10.244.1.99:80", "SYN_RECV"))
    world.set(NODE2, "route 10.244.1.99", '[{"dev":"vxlan.calico"}]')
    return "client", "my-nginx"


def nobody_listens(world):
    world.items["my-nginx"]["spec"]["ports"][0]["targetPort"] = 8080
    world.items["slice"] = slice_of("my-nginx", {NEAR: NODE2, FAR: NODE1}, port=8080)
    world.nothing_came_back()
    source = f"10.244.58.193:{PORT}"
    world.set(NODE2, "row", row(world.virtual, f"{NEAR}:8080", f"{FAR}:8080"))
    world.set(NODE2, "table", taken(source, world.virtual, f"{FAR}:8080", "CLOSE"))
    return "client", "my-nginx"


def dropping(world, node, state="SYN_RECV"):
    world.nothing_came_back(TIMEOUT)
    source = f"10.244.58.193:{PORT}"
    world.set(NODE2, "table", taken(source, world.virtual, f"{FAR}:80", state))
    world.set(
        node,
        "rules",
        "table inet l4lab_break {\n chain out {\n"
        "  type filter hook postrouting priority filter; policy accept;\n"
        f"  ip daddr {FAR} counter packets 3 bytes 180 drop\n }}\n}}\n",
    )


def firewall_on_the_handling_node(world):
    dropping(world, NODE2)
    return "client", "my-nginx"


def firewall_on_the_backends_node(world):
    dropping(world, NODE1)
    source = f"10.244.58.193:{PORT}"
    sent = tracked(
        source, world.virtual, f"{FAR}:80", source, state="SYN_SENT", replied=False
    )  # fmt: skip
    world.set(NODE2, "conntrack", sent)
    return "client", "my-nginx"


def answer_dropped(world):
    world.nothing_came_back(TIMEOUT)
    source = f"10.244.58.193:{PORT}"
    world.set(NODE2, "table", taken(source, world.virtual, f"{FAR}:80", "SYN_RECV"))
    one = tracked(source, world.virtual, f"{FAR}:80", source, state="SYN_SENT", replied=False)
    world.set(NODE2, "conntrack", one)
    two = tracked(source, f"{FAR}:80", f"{FAR}:80", source, state="SYN_RECV")
    world.set(NODE1, "conntrack", two)
    return "client", "my-nginx"


def rule_before_the_row(world):
    world.nothing_came_back(TIMEOUT)
    return "client", "my-nginx"


def local_policy_without_a_pod(world):
    node_port(world, externalTrafficPolicy="Local")
    at, source = "192.168.128.11:30380", f"192.168.128.1:{PORT}"
    sent = tracked(source, at, f"{FAR}:80", source, state="SYN_SENT", replied=False)
    world.set(MASTER, "conntrack", sent)
    world.set(NODE1, "conntrack", tracked(source, f"{FAR}:80", f"{FAR}:80", source))
    world.set("host", "probe", TIMEOUT)
    return "outside", "k8s-master01:30380"


def local_policy_without_a_backend(world):
    node_port(world, externalTrafficPolicy="Local")
    world.nothing_came_back()
    world.set(MASTER, "row", row("192.168.128.11:30380"))
    world.set(MASTER, "sockets", "")
    return "outside", "k8s-master01:30380"


def nobodys_node_port(world):
    world.from_outside()
    world.nothing_came_back()
    world.set("host", "route 192.168.128.11", '[{"dev":"lab0","prefsrc":"192.168.128.1"}]')
    world.set(MASTER, "sockets", "LISTEN 0 511 0.0.0.0:22 0.0.0.0:*\n")
    world.set("host", "probe", "REFUSED 0 - connection refused\n")
    return "outside", "k8s-master01:30999"


def loopback(world):
    node_port(world)
    world.nothing_came_back()
    world.set(MASTER, "route 127.0.0.1", '[{"type":"local","dev":"lo","prefsrc":"127.0.0.1"}]')
    world.set(MASTER, "row", row(world.virtual, f"{NEAR}:80"))
    world.set(MASTER, "sockets", "")
    return MASTER, "127.0.0.1:30380"


def pod_that_is_gone(world):
    world.nothing_came_back(TIMEOUT)
    world.set(NODE2, "route 10.244.85.99", '[{"dev":"vxlan.calico"}]')
    world.set(NODE2, "probe", "TIMEOUT 0 - no answer within 3 s\n")
    return "client", "10.244.85.99:8181"


def server_error(world):
    world.set(NODE2, "probe", said("", local=f"10.244.58.193:{PORT}", status="503"))
    return "client", "my-nginx"


def hung_server(world):
    probe = said("", local="x", status="000", code="28", message="timed out", connect="0.01")
    world.set(NODE2, "probe", probe)
    return "client", "my-nginx"


DESCRIBE = "./l4lab kubectl describe service my-nginx -n default"
SERVICES = "./l4lab kubectl get services -A"
PROXIES = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide"


@pytest.mark.parametrize(
    ("broken", "hop", "fault", "cause", "then"),
    [
        (no_such_service, "dns", Fault.DNS, "there is no Service my-ngins in namespace", SERVICES),
        (no_such_service, "dns", Fault.DNS, "spelled differently: my-nginx?", SERVICES),
        (
            service_in_another_namespace,
            "dns",
            Fault.DNS,
            "one in another namespace: shop/web",
            SERVICES,
        ),
        (no_such_service_asked_by_a_node, "dns", Fault.DNS, "there is no Service nosuch", SERVICES),
        (coredns_at_zero, "dns", Fault.DNS, "CoreDNS has no ready pod", "k8s-app=kube-dns"),
        (dns_cut_off, "dns", Fault.DNS, "CoreDNS runs, but", "path client 10.10.0.10:53/udp"),
        (headless_without_pods, "dns", Fault.DNS, "no ready endpoint", "endpointslices"),
        (from_outside, "route", Fault.UNREACHABLE, "only in the kernels", "path k8s-node02"),
        (routed_past_the_nodes, "route", Fault.TIMEOUT, "outside is not one", "path k8s-node02"),
        (wrong_port, "proxy", Fault.REFUSED, "has no port 81: it has 80/TCP", DESCRIBE),
        (no_endpoints, "proxy", Fault.REFUSED, "no pod has the labels", DESCRIBE),
        (pods_not_ready, "proxy", Fault.REFUSED, "none of its 2 endpoints is ready", DESCRIBE),
        (no_selector_and_no_slice, "proxy", Fault.REFUSED, "it has no selector", DESCRIBE),
        (unknown_port_name, "proxy", Fault.REFUSED, "a port named web", DESCRIBE),
        (slice_with_another_port_name, "proxy", Fault.REFUSED, "names of the ports", DESCRIBE),
        (proxy_stopped, "proxy", Fault.REFUSED, "kube-proxy on k8s-node02 is stopped", PROXIES),
        (row_taken_out_by_hand, "proxy", Fault.REFUSED, "has not caught up", "logs"),
        (row_names_a_pod_that_is_gone, "proxy", Fault.TIMEOUT, "is stopped or hangs", PROXIES),
        (nobody_listens, "backend", Fault.REFUSED, "nothing in pod web-far listens on", DESCRIBE),
        (firewall_on_the_handling_node, "wire", Fault.TIMEOUT, "a rule on k8s-node02: inet", "nft"),
        (firewall_on_the_backends_node, "wire", Fault.TIMEOUT, "a rule on k8s-node01: inet", "nft"),
        (answer_dropped, "wire", Fault.TIMEOUT, "drops the answer", "nft"),
        (rule_before_the_row, "proxy", Fault.TIMEOUT, "before the row does", "nft"),
        (
            local_policy_without_a_pod,
            "nat",
            Fault.TIMEOUT,
            "externalTrafficPolicy is Local and no pod of np is on k8s-master01",
            "./l4lab path outside k8s-node01:30380",
        ),
        (
            local_policy_without_a_backend,
            "proxy",
            Fault.REFUSED,
            "externalTrafficPolicy is Local and no pod of np is on k8s-master01",
            "./l4lab path outside k8s-node01:30380",
        ),
        (nobodys_node_port, "proxy", Fault.REFUSED, "no Service has the nodePort 30999", SERVICES),
        (loopback, "proxy", Fault.REFUSED, "not served on loopback", "k8s-master01:30380"),
        (pod_that_is_gone, "backend", Fault.TIMEOUT, "the pod was replaced", "get pods -A"),
        (server_error, "answer", Fault.HTTP, "says that it failed", "logs web-far"),
        (hung_server, "answer", Fault.TIMEOUT, "hangs", "logs web-far"),
    ],
)
def test_a_death_is_told_at_its_hop(world, broken, hop, fault, cause, then):  # noqa: PLR0917
    path = world.follow(*broken(world))
    assert not path.answered
    assert path.death.hop == hop
    assert path.death.fault is fault
    assert any(cause in one for one in path.death.causes), path.death.causes
    assert then in path.death.then
    states = marks(path)
    assert states[hop] is Mark.DIED
    after = [
        mark for name, mark in states.items() if list(states).index(name) > list(states).index(hop)
    ]
    assert set(after) <= {Mark.UNREACHED}


def test_how_far_a_dropped_packet_came_is_told(world):
    client, target = firewall_on_the_handling_node(world)
    assert f"did not leave {NODE2}" in world.follow(client, target).death.seen
    client, target = firewall_on_the_backends_node(world)
    assert (
        f"left {NODE2} and did not get through {NODE1}" in world.follow(client, target).death.seen
    )
    client, target = answer_dropped(world)
    assert "web-far answered, and" in world.follow(client, target).death.seen


def test_a_refusal_on_the_way_is_not_the_backends(world):
    """Somebody listens there, and the kernel saw no refusal come back: a rule rejects."""
    client, target = firewall_on_the_handling_node(world)
    world.set(NODE2, "probe", REFUSED)
    path = world.follow(client, target)
    assert (path.death.hop, path.death.fault) == ("wire", Fault.REFUSED)


def test_a_network_policy_about_the_pod_is_suspected(world):
    client, target = answer_dropped(world)
    world.items["policy"] = {
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "default", "name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"run": "my-nginx"}}},
    }
    world.items["other"] = {
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "of-a-shop"},
        "spec": {"podSelector": {}},
    }
    path = world.follow(client, target)
    assert path.death.causes[0].startswith("NetworkPolicy default/closed is about pod web-far")
    assert "of-a-shop" not in " ".join(path.death.causes)
    assert path.death.then == "./l4lab kubectl describe networkpolicies -A"


def test_an_answer_of_the_node_itself_is_not_the_services(world):
    """The address is bound on the node, whose own web server takes what no row translates."""
    world.from_node()
    world.set(MASTER, "mode", (28, "", "curl: (28) Operation timed out"))
    world.set(MASTER, "row", row("10.10.0.1:443", "192.168.128.11:6443"))
    source = f"{CLUSTER}:{PORT}"
    own = tracked(source, world.virtual, world.virtual, "192.168.128.11:22178")
    world.set(MASTER, "conntrack", own)
    path = world.follow(MASTER, f"{CLUSTER}:80")
    assert (path.death.hop, path.death.fault) == ("proxy", Fault.WRONG_BACKEND)
    assert path.death.seen.startswith("k8s-master01 itself answered (HTTP 200)")
    assert "kube-proxy on k8s-master01 is stopped" in path.death.causes[0]
    assert path.death.then == PROXIES
