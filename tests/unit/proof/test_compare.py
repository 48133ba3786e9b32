"""Fingerprints compared, and what a difference says."""

from __future__ import annotations

from l4lab.proof import API, Fingerprint, Scope, compare, read_json, write_json


def fingerprint(**facts):
    return Fingerprint(scope="cluster", taken=1.0, facts=facts)


BEFORE = fingerprint(
    cluster={"Service default/kubernetes": "spec.type sha256:1"},
    n1={"IPVS TCP 10.10.0.1:443": "-s rr\nn:6443 -m -w 1", "link lo": "loopback"},
)


def test_equal_is_clean_and_counted():
    proof = compare(BEFORE, BEFORE)
    assert proof.clean
    assert proof.render() == "clean: 3 facts equal"
    assert proof.to_data() == {"clean": True, "equal": 3, "differences": []}


def test_a_kept_fingerprint_is_the_same(tmp_path):
    path = tmp_path / "deep" / "kept.json"
    assert read_json(path) is None
    write_json(path, BEFORE)
    assert read_json(path) == BEFORE
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_difference_says_what_it_was_and_what_would_mend_it():
    after = fingerprint(
        cluster={
            "Service default/kubernetes": "spec.type sha256:2",
            "Deployment default/mine": "spec.replicas sha256:3",
        },
        n1={
            "IPVS TCP 10.10.0.1:443": "-s rr\nn:6443 -m -w 7",
            "IPVS UDP 203.0.113.7:81": "-s wrr",
            "address 192.168.128.99/24 on vec0": "there",
        },
    )
    proof = compare(BEFORE, after)
    assert not proof.clean
    assert proof.equal == 0
    assert proof.render().splitlines() == [
        "not clean: 6 differences, 0 facts equal",
        "  cluster: Service default/kubernetes: was spec.type sha256:1, is spec.type sha256:2",
        "  cluster: Deployment default/mine: is new",
        "    mend: ./l4lab kubectl delete deployment mine -n default",
        "  n1: IPVS TCP 10.10.0.1:443: changed: - n:6443 -m -w 1; + n:6443 -m -w 7",
        "  n1: link lo: is gone: loopback",
        "  n1: IPVS UDP 203.0.113.7:81: is new: -s wrr",
        "    mend: ./l4lab ssh n1 ipvsadm -D -u 203.0.113.7:81",
        "  n1: address 192.168.128.99/24 on vec0: is new: there",
        "    mend: ./l4lab ssh n1 ip address del 192.168.128.99/24 dev vec0",
    ]


def test_a_trace_that_goes_by_itself_is_not_missed_but_a_new_one_is_told():
    trace = "conntrack tcp to gone Service 10.10.0.7:80"
    one = Fingerprint(scope="cluster", taken=1.0, facts={"node": {trace: "there", "link lo": "up"}})
    two = Fingerprint(scope="cluster", taken=2.0, facts={"node": {"link lo": "up"}})
    assert compare(one, two).render() == "clean: 1 facts equal"
    assert [change.what for change in compare(two, one).differences] == [trace]


LOGS = "/var/log/pods/default_client_2905fa92-767a-4453-ada7-8ce235b5e942"


def test_logs_of_a_pod_that_is_gone_can_be_mended():
    logs = {"n1": {f"file {LOGS}/": "there", "file /var/log/pods/": "there"}}
    found = compare(fingerprint(n1={"file /var/log/pods/": "there"}), fingerprint(**logs))
    assert [str(one.mend) for one in found.differences] == [f"./l4lab ssh n1 rm -r {LOGS}"]


def test_a_machine_that_only_one_knows_counts_with_all_its_facts():
    proof = compare(BEFORE, fingerprint(cluster=BEFORE.facts[API]))
    assert [(one.where, one.after) for one in proof.differences] == [("n1", None), ("n1", None)]


def test_the_scope_of_a_namespace_has_its_ports_and_schemas():
    scope = Scope.namespace("alice", node_ports=range(30000, 30002), schemas=["alice"])
    assert scope.all_marks == {"ns:alice", "port:30000", "port:30001", "schema:alice"}
