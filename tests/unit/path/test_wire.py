"""What the tools say, as they really said it."""

from l4lab.command import Result
from l4lab.path import wire


def result(stdout="", stderr="", rc=0):
    return Result(argv=("x",), rc=rc, stdout=stdout, stderr=stderr, seconds=0.0)


def test_tracked_connections():
    text = (
        "tcp      6 39 TIME_WAIT src=10.10.170.179 dst=10.10.170.179 sport=33590 dport=80 "
        "src=10.244.58.196 dst=10.244.85.192 sport=80 dport=2324 [ASSURED] mark=0 use=1\n"
        "tcp      6 119 SYN_SENT src=192.168.128.1 dst=10.244.85.200 sport=28196 dport=80 "
        "[UNREPLIED] src=10.244.85.200 dst=192.168.128.1 sport=80 dport=28196 mark=0 use=1\n"
        "udp      17 29 src=10.244.58.193 dst=10.10.0.10 sport=25749 dport=53 "
        "src=10.244.32.131 dst=10.244.58.193 sport=53 dport=25749 mark=0 use=1\n"
    )
    masqueraded, silent, datagram = wire.read_conntrack(text)
    assert masqueraded.masqueraded
    assert masqueraded.replied
    assert str(masqueraded.original) == "10.10.170.179:33590 → 10.10.170.179:80"
    assert masqueraded.reply.destination == "10.244.85.192:2324"
    assert (silent.state, silent.replied, silent.masqueraded) == ("SYN_SENT", False, False)
    assert datagram.state == ""


def test_routes():
    local = '[{"type":"local","dst":"10.10.3.4","dev":"lo","prefsrc":"10.10.3.4","flags":[]}]'
    assert wire.read_route(result(local)).local
    tunnel = '[{"dst":"10.244.85.2","gateway":"10.244.85.192","dev":"vxlan.calico"}]'
    assert str(wire.read_route(result(tunnel))) == "via 10.244.85.192 dev vxlan.calico"
    none = wire.read_route(result("", "RTNETLINK answers: Network is unreachable\n", 2))
    assert str(none) == "none: Network is unreachable"
    hole = wire.read_route(result('[{"type":"blackhole","dst":"10.244.85.3"}]'))
    assert hole.problem == "a route says blackhole"


def test_listeners():
    text = (
        "LISTEN 0      511          10.244.1.5:80      0.0.0.0:*\n"
        "LISTEN 0      4096            [::]:80           [::]:*\n"
        "LISTEN 0      80         127.0.0.1:3306      0.0.0.0:*\n"
    )
    assert wire.read_listeners(text) == {80: {"10.244.1.5", "[::]"}, 3306: {"127.0.0.1"}}


RULES = """
table ip filter {
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        ip daddr 10.244.1.9 counter packets 3 bytes 180 drop
    }
    chain cali-FORWARD {
        counter packets 0 bytes 0 drop
    }
    chain KUBE-FIREWALL {
        ip saddr != 127.0.0.0/8 ip daddr 127.0.0.0/8 counter packets 0 bytes 0 drop
    }
}
table inet own {
    chain in {
        tcp dport 80 reject with icmp port-unreachable
        ip saddr 10.9.9.9 drop
    }
}
"""


def test_rules_that_may_end_a_connection():
    found = [str(rule) for rule in wire.read_rules(RULES, {"10.244.1.9"})]
    assert found == [
        "ip filter FORWARD: ip daddr 10.244.1.9 drop",
        "inet own in: tcp dport 80 reject with icmp port-unreachable",
    ]


KUBE_PROXYS = """
table ip kube-proxy {
    map no-endpoint-services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.10.3.4 . tcp . 80 comment "default/my-nginx:tcp-80" : goto reject-chain,
                     10.10.3.5 . tcp . 80 comment "default/other:tcp-80" : drop }
    }
    chain reject-chain {
        reject
    }
    chain cluster-ips-check {
        ip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
        ip daddr { 10.10.0.0/16 } drop comment "Drop traffic to unallocated ClusterIPs"
    }
    chain firewall-7ZJ5QX2A-default/my-nginx-lb/tcp/http {
        ip daddr 10.10.3.4 drop
    }
}
table inet own {
    chain in {
        ip daddr 10.10.3.4 drop
    }
}
"""


def test_what_kube_proxys_own_table_holds_is_no_suspect():
    found = [str(rule) for rule in wire.read_rules(KUBE_PROXYS, {"10.10.3.4"})]
    assert found == ["inet own in: ip daddr 10.10.3.4 drop"]


def test_the_order_in_which_a_resolver_asks():
    text = "search a.svc b.local.\nnameserver 10.10.0.10\nnameserver 8.8.8.8\noptions ndots:2 x\n"
    resolver = wire.read_resolver(text)
    assert resolver.servers == ("10.10.0.10", "8.8.8.8")
    assert resolver.candidates("web.ns") == ("web.ns.a.svc.", "web.ns.b.local.", "web.ns.")
    assert resolver.candidates("a.b.c")[0] == "a.b.c."
    assert resolver.candidates("web.") == ("web.",)


def test_an_answer_over_an_alias():
    text = (
        ";; Got answer:\n;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 9\n"
        "baidu.default.svc.cluster.local. 5 IN CNAME www.baidu.com.\n"
        "www.baidu.com. 5 IN A 192.168.128.31\n"
    )
    found = wire.read_dig("baidu.default.svc.cluster.local.", result(text))
    assert str(found) == (
        "NOERROR baidu.default.svc.cluster.local is www.baidu.com → 192.168.128.31"
    )


def test_the_hosts_file():
    text = "127.0.0.1 localhost\n::1 web\n10.1.1.1 web # ours\n# 10.1.1.2 db\n"
    assert wire.read_hosts(text, "web") == "10.1.1.1"
    assert wire.read_hosts(text, "db") == ""
