"""What a student gets, and what is not among it."""

from ipaddress import IPv4Address

from l4lab.classroom.kubectl import obstacle
from l4lab.classroom.model import Classroom, Limits, Student
from l4lab.classroom.objects import of_class, of_student
from l4lab.place import Place
from l4lab.settings import parse

PLACE = Place(student="ann", namespace="ann", first_node_port=30400)
ANN = Student(id="ann", name="安娜", place=PLACE)
CLASS = Classroom(name="c", students=(ANN,), labs=(), limits=Limits())
TOPOLOGY = parse({}, "l4lab.toml").topology


def made():
    found = of_student(ANN, CLASS, TOPOLOGY, [IPv4Address("10.244.1.0")])
    return {one["kind"]: one for one in reversed(found)}


def named(kind, name):
    found = of_student(ANN, CLASS, TOPOLOGY, [])
    return next(one for one in found if (one["kind"], one["metadata"]["name"]) == (kind, name))


def test_everything_is_in_the_students_namespace():
    for one in of_student(ANN, CLASS, TOPOLOGY, []):
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == "ann"
    assert made()["Namespace"]["metadata"]["name"] == "ann"
    assert made()["Namespace"]["metadata"]["annotations"]["l4lab/last-node-port"] == "30409"


def test_the_role_reaches_no_rights_and_no_bounds():
    rules = made()["Role"]["rules"]
    writing = {
        resource
        for rule in rules
        if set(rule["verbs"]) - {"get", "list", "watch"}
        for resource in rule["resources"]
    }
    assert not writing & {
        "roles",
        "rolebindings",
        "serviceaccounts",
        "networkpolicies",
        "resourcequotas",
        "limitranges",
        "endpoints",
        "endpointslices",
    }
    assert not {"*"} & {word for rule in rules for words in rule.values() for word in words}


def test_pods_of_others_may_not_come_in():
    sources = made()["NetworkPolicy"]["spec"]["ingress"][0]["from"]
    blocks = {one["ipBlock"]["cidr"] for one in sources if "ipBlock" in one}
    assert blocks == {str(TOPOLOGY.networks.nodes), "10.244.1.0/32"}
    assert all(set(one) in ({"ipBlock"}, {"podSelector"}) for one in sources)


def test_of_the_nodes_only_the_students_own_node_ports_and_the_api_server_are_reached():
    egress = made()["NetworkPolicy"]["spec"]["egress"]
    nodes = {f"{node.address}/32" for node in TOPOLOGY.nodes}
    [rest] = [one["to"][0]["ipBlock"] for one in egress if "except" in str(one)]
    assert (rest["cidr"], set(rest["except"])) == (str(TOPOLOGY.networks.nodes), nodes)
    reached = {
        (peer["ipBlock"]["cidr"], port["protocol"], port["port"], port.get("endPort"))
        for one in egress
        for peer in one["to"]
        if "ipBlock" in peer and peer["ipBlock"]["cidr"] in nodes
        for port in one["ports"]
    }
    own = {(node, kind, 30400, 30409) for node in nodes for kind in ("TCP", "UDP", "SCTP")}
    assert reached == own | {(node, "TCP", 6443, None) for node in nodes}


def test_the_bounds_add_up_for_as_many_pods_as_are_allowed():
    hard = made()["ResourceQuota"]["spec"]["hard"]
    container = made()["LimitRange"]["spec"]["limits"][0]
    pods = int(hard["pods"])
    assert pods * int(container["defaultRequest"]["memory"][:-2]) <= int(
        hard["requests.memory"][:-2]
    )
    assert pods * int(container["defaultRequest"]["cpu"][:-1]) <= int(hard["requests.cpu"][:-1])
    assert pods * int(container["default"]["memory"][:-2]) <= int(hard["limits.memory"][:-2])


def test_nothing_that_is_no_bound_at_all():
    [container] = made()["LimitRange"]["spec"]["limits"]
    assert container["min"] == {"cpu": "1m", "memory": "1Mi"}
    hard = made()["ResourceQuota"]["spec"]["hard"]
    assert {"count/pods", "count/controllerrevisions.apps"} <= set(hard)
    priority = named("ResourceQuota", "class-priority")["spec"]
    assert priority["hard"] == {"pods": "0"}
    [scope] = priority["scopeSelector"]["matchExpressions"]
    assert scope == {"scopeName": "PriorityClass", "operator": "Exists"}


def test_the_rules_are_only_for_namespaces_of_students():
    selector = of_class()[0]["spec"]["matchConstraints"]["namespaceSelector"]
    assert selector == {"matchExpressions": [{"key": "l4lab/student", "operator": "Exists"}]}


def test_a_namespace_that_does_not_go_is_explained():
    leaving = {
        "metadata": {"name": "ann", "deletionTimestamp": "now"},
        "status": {
            "conditions": [
                {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "no"},
                {
                    "type": "NamespaceFinalizersRemaining",
                    "status": "True",
                    "message": "stuck.example/wait in 1 resource instances",
                },
            ]
        },
    }
    assert obstacle(leaving) == (
        "namespace ann is Terminating: stuck.example/wait in 1 resource instances"
    )
    assert obstacle({"metadata": {"name": "ann"}}) is None
    assert obstacle(None) is None
