"""What a preview knows of a Service: what the server will give it is unknown, and not absent."""

from functools import partial

import pytest

from l4lab import stack
from provider.l4lab_provider.answers import foreseen
from provider.l4lab_provider.objects import Type
from provider.l4lab_provider.values import UNKNOWN
from tests.provider.test_kinds import CORE, service
from tests.provider.test_stack import MadeLab

SERVICE = Type("v1", "Service")


def ports(*numbers):
    """One port for each, with that node port; without one for None."""
    plain = [{"port": at, "nodePort": number} for at, number in enumerate(numbers)]
    return [{k: v for k, v in port.items() if v is not None} for port in plain]


@pytest.mark.parametrize(
    ("spec", "after"),
    [
        ({}, {"clusterIP": UNKNOWN}),
        ({"clusterIP": ""}, {"clusterIP": UNKNOWN}),
        ({"clusterIP": "None"}, {"clusterIP": "None"}),
        ({"type": "ExternalName"}, {"type": "ExternalName"}),
        ({"ports": ports(None)}, {"ports": ports(None), "clusterIP": UNKNOWN}),
        *(
            (
                {"type": kind, "ports": ports(None, 30000)},
                {"type": kind, "ports": ports(UNKNOWN, 30000), "clusterIP": UNKNOWN},
            )
            for kind in ("NodePort", "LoadBalancer", UNKNOWN)
        ),
        (
            {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": ports(None)},
            {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": False,
                "ports": ports(None),
                "clusterIP": UNKNOWN,
            },
        ),
        (
            {"type": "NodePort", "ports": UNKNOWN},
            {"type": "NodePort", "ports": UNKNOWN, "clusterIP": UNKNOWN},
        ),
        (
            {"type": "NodePort", "ports": [UNKNOWN]},
            {"type": "NodePort", "ports": [UNKNOWN], "clusterIP": UNKNOWN},
        ),
        (UNKNOWN, UNKNOWN),
    ],
)
def test_what_a_service_will_be_given_is_unknown(spec, after):
    assert foreseen(SERVICE, {"spec": spec}, {}) == {"spec": after}


def test_of_other_kinds_nothing_is_foreseen():
    wanted = {"spec": {"type": "NodePort", "ports": ports(None)}}
    assert foreseen(Type("serving.example/v1", "Service"), wanted, {}) == wanted
    assert foreseen(SERVICE, {}, {}) == {}


def test_a_node_port_that_is_there_stays_known():
    known = {"spec": {"type": "NodePort", "clusterIP": "10.10.0.5", "ports": ports(30001)}}
    planned = {"spec": {**known["spec"], "ports": ports(None, None)}}
    found = foreseen(SERVICE, planned, known)
    assert found == {"spec": {**known["spec"], "ports": ports(30001, UNKNOWN)}}
    assert planned["spec"]["ports"] == ports(None, None)


@pytest.mark.server
def test_what_is_secret_stays_secret_in_a_preview(engine):
    secret = ("spec", "selector")
    wanted = service(type="NodePort", selector={"run": "it"})
    planned = engine.create(CORE + "Service", "it", wanted, preview=True, secrets=[secret])
    assert planned.secrets == {secret}
    assert planned.outputs["spec"]["selector"] == {"run": "it"}
    assert planned.outputs["spec"]["ports"][0]["nodePort"] == UNKNOWN
    made = engine.create(CORE + "Service", "it", service(type="NodePort"))
    after = engine.update(made, service(type="NodePort", sessionAffinity="ClientIP"), preview=True)
    assert after.outputs["spec"]["clusterIP"] == made.outputs["spec"]["clusterIP"]
    assert after.outputs["spec"]["ports"][0]["nodePort"] > 0


def declare(namespace):
    import pulumi
    import pulumi_kubernetes as k8s

    made = k8s.core.v1.Service(
        "web",
        metadata={"name": "web", "namespace": namespace},
        spec={"type": "NodePort", "ports": [{"port": 80}]},
    )
    network = made.spec.cluster_ip.apply(lambda address: address.rsplit(".", 1)[0])
    after = made.spec.ports[0].node_port.apply(lambda port: port + 1)
    k8s.core.v1.ConfigMap(
        "about",
        metadata={"name": "about", "namespace": namespace},
        data={"network": network, "after": after.apply(str)},
    )
    pulumi.export("port", made.spec.ports[0].port)


@pytest.mark.server
def test_a_program_may_make_something_of_a_service_to_come(access, server, namespace):
    lab = MadeLab("made", partial(declare, namespace))
    assert stack.preview(lab, access).changes["create"] == 4
    assert stack.deploy(lab, access).outputs["port"] == 80
    live = server.get(f"/api/v1/namespaces/{namespace}/services/web")["spec"]
    about = server.get(f"/api/v1/namespaces/{namespace}/configmaps/about")["data"]
    assert about["network"] == live["clusterIP"].rsplit(".", 1)[0]
    assert about["after"] == str(live["ports"][0]["nodePort"] + 1)
    assert not stack.preview(lab, access).changed
    stack.destroy(lab, access)
