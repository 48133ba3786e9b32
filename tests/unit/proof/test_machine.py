"""What a machine holds, as facts: the same for machines that differ only in what lives on them."""

from __future__ import annotations

import json

from l4lab.proof import machine
from l4lab.proof.objects import Living, Pod
from l4lab.proof.rules import iptables, nftables

NOTHING = Living()


def pod(name="default/web-abc", address="10.244.1.5", node="n1", uid="aaaa", label="default/web"):
    return Pod(
        label=label,
        name=name,
        node=node,
        addresses=frozenset({address}),
        uids=frozenset({uid}),
        host_network=False,
    )


def living(*pods, services=(), without=()):
    return Living(
        pods=pods,
        services=frozenset(services),
        names={address: one.label for one in pods for address in one.addresses},
        without=frozenset(without),
    )


def told(facts):
    return {fact.what: fact.value for fact in facts}


SEEN = {
    "links": "",
    "routes": "",
    "rules": "",
    "ipvs": "",
    "ipsets": "",
    "iptables-nft": "",
    "iptables-legacy": "",
    "ip6tables-nft": "",
    "nft": "",
    "conntrack": [],
    "files": {},
    "cni results": {},
    "network namespaces": [],
    "cgroups": [],
    "sockets": "",
    "database": None,
}


def seen(**changes):
    return SEEN | {key.replace("_", " "): value for key, value in changes.items()}


def facts(found, alive=NOTHING):
    return told(machine.facts(found, alive, node="n1"))


ROWS = """\
-A -t 10.10.0.10:53 -s rr
-a -t 10.10.0.10:53 -r 10.244.1.5:53 -m -w 1
-a -t 10.10.0.10:53 -r 10.244.2.7:53 -m -w 1
-A -t 192.168.128.21:30380 -s rr -p 10800
"""


def test_backends_are_named_by_their_workload():
    """Another replica in place of a pod is no difference, another weight is."""
    one = living(pod(), pod("default/web-def", "10.244.2.7"))
    other = living(pod("default/web-xyz", "10.244.1.9"), pod("default/web-def", "10.244.2.7"))
    assert told(machine.ipvs(ROWS, one)) == {
        "IPVS TCP 10.10.0.10:53": "-s rr\ndefault/web:53 -m -w 1",
        "IPVS TCP 192.168.128.21:30380": "-s rr -p 10800",
    }
    moved = ROWS.replace("10.244.1.5", "10.244.1.9")
    assert told(machine.ipvs(moved, other)) == told(machine.ipvs(ROWS, one))
    heavier = ROWS.replace("10.244.1.5:53 -m -w 1", "10.244.1.5:53 -m -w 7")
    assert told(machine.ipvs(heavier, one)) != told(machine.ipvs(ROWS, one))


def test_a_backend_on_its_way_out_is_no_fact_but_one_that_lives_is():
    leaving = ROWS.replace("10.244.1.5:53 -m -w 1", "10.244.1.5:53 -m -w 0")
    other = living(pod("default/web-def", "10.244.2.7"))
    assert told(machine.ipvs(leaving, other))["IPVS TCP 10.10.0.10:53"].count("\n") == 1
    both = living(pod(), pod("default/web-def", "10.244.2.7"))
    assert " -w 0" in told(machine.ipvs(leaving, both))["IPVS TCP 10.10.0.10:53"]


def test_ports_and_addresses_mark_whose_a_row_is():
    marks = {fact.what: fact.marks for fact in machine.ipvs(ROWS, NOTHING)}
    assert marks["IPVS TCP 10.10.0.10:53"] == {"10.10.0.10"}
    assert marks["IPVS TCP 192.168.128.21:30380"] == {"192.168.128.21", "port:30380"}


SETS = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 initval 0xf2d71f12
add KUBE-CLUSTER-IP 10.10.0.10,tcp:53
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536 initval 0xd5ae7fbb
add KUBE-LOOP-BACK 10.244.1.5,tcp:80,10.244.1.5
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30380
"""


def test_sets_by_member_without_sizes_and_seeds():
    assert told(machine.ipsets(SETS, living(pod()))) == {
        "ipset KUBE-CLUSTER-IP": "hash:ip,port",
        "ipset KUBE-CLUSTER-IP member 10.10.0.10,tcp:53": "there",
        "ipset KUBE-LOOP-BACK": "hash:ip,port,ip",
        "ipset KUBE-NODE-PORT-TCP": "bitmap:port",
        "ipset KUBE-NODE-PORT-TCP member 30380": "there",
    }
    # Of a pod that is gone, it should be gone too.
    assert "ipset KUBE-LOOP-BACK member 10.244.1.5,tcp:80,10.244.1.5" in told(
        machine.ipsets(SETS, NOTHING)
    )


RULES = """\
*filter
:INPUT ACCEPT [12:3456]
:FORWARD DROP [0:0]
:KUBE-NODE-PORT - [0:0]
:cali-fw-{link} - [0:0]
:cali-from-wl-dispatch - [0:0]
-A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A KUBE-NODE-PORT -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
-A cali-from-wl-dispatch -i {link} -g cali-fw-{link}
-A cali-fw-{link} -j DROP
COMMIT
"""


def test_rules_without_counters_and_hashes_and_without_those_of_pods_that_live():
    alive = living(pod())
    saved = RULES.format(link=alive.pods[0].link)
    assert told(iptables(saved, "iptables-nft", alive, "n1")) == {
        "iptables-nft filter INPUT": "-j cali-INPUT\n-p tcp -m tcp --dport 22 -j ACCEPT",
        "iptables-nft filter FORWARD": "policy DROP",
        "iptables-nft filter KUBE-NODE-PORT": "",
    }
    left = told(iptables(saved, "iptables-nft", NOTHING, "n1"))
    assert left[f"iptables-nft filter cali-fw-{alive.pods[0].link}"] == "-j DROP"
    # On another node it explains nothing.
    assert told(iptables(saved, "iptables-nft", alive, "n2")) == left


def test_the_order_of_rules_is_kept():
    lines = RULES.splitlines()
    first, second = (n for n, line in enumerate(lines) if line.startswith("-A INPUT"))
    lines[first], lines[second] = lines[second], lines[first]
    one, other = (
        told(iptables(text, "iptables-nft", NOTHING, "n1"))["iptables-nft filter INPUT"]
        for text in (RULES, "\n".join(lines))
    )
    assert sorted(one.splitlines()) == sorted(other.splitlines())
    assert one != other


def test_nftables_by_chain_and_set():
    ruleset = """\
table inet ours {
\tset blocked {
\t\ttype ipv4_addr
\t\telements = { 203.0.113.7 }
\t}

\tchain keep {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr @blocked drop
\t}
}
"""
    assert told(nftables(ruleset)) == {
        "nft table inet ours": "there",
        "nft inet ours set blocked": "type ipv4_addr\nelements = { 203.0.113.7 }",
        "nft inet ours chain keep": "type filter hook input priority filter; policy accept;\n"
        "ip saddr @blocked drop",
    }


def test_links_and_routes_of_pods_that_live_are_explained():
    alive = living(pod())
    link = alive.pods[0].link
    links = json.dumps(
        [
            {"ifname": link, "mtu": 1450, "flags": ["UP"], "linkinfo": {"info_kind": "veth"}},
            {
                "ifname": "kube-ipvs0",
                "mtu": 1500,
                "flags": [],
                "linkinfo": {"info_kind": "dummy"},
                "addr_info": [{"family": "inet", "local": "10.10.0.1", "prefixlen": 32}],
            },
        ]
    )
    routes = (
        f"10.244.1.5 dev {link} scope link\n"
        "local 10.10.0.1 dev kube-ipvs0 table local proto kernel scope host src 10.10.0.1\n"
        "blackhole 10.244.1.0/26 proto 80\n"
    )
    found = seen(links=links, routes=routes)
    always = {
        "link kube-ipvs0": "dummy, mtu 1500, down",
        "address 10.10.0.1/32 on kube-ipvs0": "there",
        "route blackhole 10.244.1.0/26 proto 80": "there",
    }
    assert facts(found, alive) == always
    assert facts(found) == always | {
        f"link {link}": "veth, mtu 1450, up",
        f"route 10.244.1.5 dev {link} scope link": "there",
    }


def test_folders_groups_and_results_of_gone_pods_are_facts():
    uid = "2c842a14-4ecb-4a52-bd38-c03f3306dcf7"
    group = f"kubepods-burstable-pod{uid.replace('-', '_')}.slice"
    result = "/var/lib/cni/results/k8s-pod-network-123-eth0"
    found = seen(
        files={f"/var/lib/kubelet/pods/{uid}/": "", result: "", "/etc/kubernetes/a": "sha256:1"},
        cni_results={result: "default/web-abc"},
        network_namespaces=["cni-1"],
        cgroups=[group],
    )
    assert facts(found, living(pod(uid=uid))) == {"file /etc/kubernetes/a": "sha256:1"}
    assert facts(found) == {
        f"file /var/lib/kubelet/pods/{uid}/": "there",
        "CNI result of gone pod default/web-abc": "there",
        "file /etc/kubernetes/a": "sha256:1",
        f"cgroup of gone pod {uid}": "there",
        "network namespaces of no pod that lives": "1",
    }


def test_connections_only_to_services_that_are_gone():
    found = seen(conntrack=["tcp 10.10.0.1 443", "tcp 10.10.3.4 80"])
    alive = living(services=["10.10.0.1"])
    assert facts(found, alive) == {"conntrack tcp to gone Service 10.10.3.4:80": "there"}


def test_rows_of_services_that_are_gone_are_called_so():
    rows = "-A -t 10.10.0.10:53 -s rr\n-A -t 10.10.0.99:80 -s rr\n-A -t 203.0.113.7:81 -s rr\n"
    found = facts(
        seen(ipvs=rows, services="10.10.0.0/16"), Living(services=frozenset({"10.10.0.10"}))
    )
    assert list(found) == [
        "IPVS TCP 10.10.0.10:53",
        "IPVS TCP 10.10.0.99:80 of gone Service",
        "IPVS TCP 203.0.113.7:81",
    ]


def test_what_a_scope_passes_over_is_no_fact():
    alive = living(services=["10.10.0.10", "port:30380"], without=["10.10.0.10"])
    assert list(facts(seen(ipvs=ROWS), alive)) == ["IPVS TCP 192.168.128.21:30380"]


def test_sockets_but_for_ports_that_the_kernel_chose():
    text = (
        'tcp LISTEN 0 4096 0.0.0.0:10250 0.0.0.0:* users:(("kubelet",pid=178,fd=13))\n'
        'tcp LISTEN 0 4096 127.0.0.1:45355 0.0.0.0:* users:(("containerd",pid=102,fd=4))\n'
        "udp UNCONN 0 0 0.0.0.0:4789 0.0.0.0:*\n"
    )
    assert facts(seen(sockets=text)) == {
        "socket tcp 0.0.0.0:10250": "kubelet",
        "socket udp 0.0.0.0:4789": "kernel",
    }


ROOT = [
    "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` IDENTIFIED VIA mysql_native_password "
    "USING sha256:f1234d75178d892a OR unix_socket WITH GRANT OPTION",
    "GRANT PROXY ON ``@`%` TO `root`@`localhost` WITH GRANT OPTION",
]


def test_the_database_is_schemas_tables_and_grants_beyond_debians_own():
    found = {
        "schemas": ["information_schema", "lab", "mysql"],
        "tables": {"lab.visits": "123"},
        "accounts": {
            "'root'@'localhost'": ROOT,
            "'lab'@'%'": ["GRANT ALL PRIVILEGES ON `lab`.* TO `lab`@`%`"],
        },
    }
    alive = list(machine.facts(seen(database=found), NOTHING, node="n1"))
    assert told(alive) == {
        "schema lab": "there",
        "table lab.visits": "checksum 123",
        "account 'lab'@'%'": "GRANT ALL PRIVILEGES ON `lab`.* TO `lab`@`%`",
    }
    assert all(fact.marks == {"schema:lab"} for fact in alive)
    found["accounts"]["'root'@'localhost'"] = [ROOT[0].replace("f1234d", "000000"), ROOT[1]]
    assert "account 'root'@'localhost'" in facts(seen(database=found))
