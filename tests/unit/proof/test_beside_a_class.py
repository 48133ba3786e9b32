"""A class on the cluster is no difference to whoever proves that a lab of its own is gone."""

from __future__ import annotations

import json

import pytest

from l4lab.classroom import Classroom, Limits, Student
from l4lab.classroom.objects import of_class, of_student
from l4lab.place import Place
from l4lab.proof import Objects, Scope, compare, fingerprints
from l4lab.settings import parse
from tests.unit.proof.test_machine import seen
from tests.unit.proof.test_objects import item

ANN = Student(
    id="ann", name="Ann", place=Place(student="ann", namespace="student-ann", first_node_port=30400)
)
OWN = [
    item("Namespace", "default", None),
    item("Namespace", "student-of-nobody", None),
    item("Service", "web", spec={"clusterIP": "10.10.3.4", "ports": [{"port": 80}]}),
]
ROW = "-A -t 10.10.3.4:80 -s rr\n"


def klass():
    """What a class has put there, and what a student has made by hand."""
    room = Classroom(name="c", students=(ANN,), labs=("clusterip",), limits=Limits())
    topology = parse({}, "none").topology
    service = item(
        "Service",
        "mine",
        "student-ann",
        spec={"clusterIP": "10.10.9.9", "ports": [{"port": 80, "nodePort": 30401}]},
    )
    address = item(
        "IPAddress",
        "10.10.9.9",
        None,
        spec={"parentRef": {"namespace": "student-ann", "name": "mine"}},
    )
    made = [*of_class(), *of_student(ANN, room, topology, [])]
    return [*made, service, address, item("ConfigMap", "kube-root-ca.crt", "student-ann")]


def taken(items, *, scope=None, **on_the_node):
    return fingerprints._of_scope(
        scope or Scope.cluster(), Objects(items), {"n1": seen(**on_the_node)}, with_api=True
    )


TRACES = {
    "ipvs": ROW + "-A -t 10.10.9.9:80 -s rr\n-A -t 192.168.128.21:30401 -s rr\n",
    "ipsets": "create cali40s:abc hash:net family inet\nadd cali40s:abc 10.244.9.9",
    "cni_results": {"/var/lib/cni/results/x": "student-ann/gone"},
    "files": {"/var/lib/cni/results/x": "sha256:1"},
}


@pytest.mark.parametrize("first", ["before", "while"])
def test_a_class_that_comes_or_goes_is_no_difference(first):
    alone, beside = taken(OWN, ipvs=ROW), taken([*OWN, *klass()], **TRACES)
    both = (alone, beside) if first == "before" else (beside, alone)
    proof = compare(*both)
    assert proof.clean, proof.render()
    assert json.dumps(beside.to_data()).count("ann") == 0


def test_what_somebody_else_has_left_beside_it_still_is_one():
    left = [item("ConfigMap", "mine"), item("Service", "mine", "student-of-nobody")]
    proof = compare(taken(OWN, ipvs=ROW), taken([*OWN, *left, *klass()], **TRACES))
    assert {one.what for one in proof.differences} == {
        "ConfigMap default/mine",
        "Service student-of-nobody/mine",
    }


def test_a_student_s_own_place_is_all_there():
    found = taken([*OWN, *klass()], scope=Scope.namespace("student-ann"), **TRACES)
    assert "Service student-ann/mine" in found.facts["cluster"]
    assert "IPVS TCP 10.10.9.9:80" in found.facts["n1"]
