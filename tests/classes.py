"""What a student of a class must not be able to do, for tests on real machines and on loopback."""

import json


def big_pod(memory):
    resources = {"requests": {"memory": memory}, "limits": {"memory": memory}}
    container = {"name": "big", "image": "x", "resources": resources}
    return json.dumps({"spec": {"containers": [container]}})


def pod(**spec):
    body = {"containers": [{"name": "c", "image": "x"}], **spec}
    metadata = {"name": "bad"}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})


def service(**spec):
    body = {"selector": {"run": "my-nginx"}, "ports": [{"port": 80}], **spec}
    metadata = {"name": "bad"}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body})


def sized(**resources):
    return pod(containers=[{"name": "c", "image": "x", "resources": resources}])


def slice_of(address):
    return json.dumps(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "bad", "labels": {"kubernetes.io/service-name": "my-nginx"}},
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": [address]}],
        }
    )


ENDPOINTS = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "bad"},
        "subsets": [{"addresses": [{"ip": "10.244.1.7"}], "ports": [{"port": 80}]}],
    }
)
NONE = {"cpu": "0", "memory": "0"}
ENDLESS = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "bad",
            "annotations": {"kubernetes.io/service-account.name": "student"},
        },
    }
)


REFUSED = {
    "host-network": (pod(hostNetwork=True), "PodSecurity"),
    "host-path": (pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "PodSecurity"),
    "any-port": (service(type="NodePort"), "nodePort of your own: 30400 to 30409"),
    "bobs-port": (
        service(type="NodePort", ports=[{"port": 80, "nodePort": 30411}]),
        "nodePort of your own",
    ),
    "external": (service(externalIPs=["192.168.128.11"]), "externalIPs"),
    "balancer": (
        service(type="LoadBalancer", allocateLoadBalancerNodePorts=False),
        "exceeded quota",
    ),
    "endless": (ENDLESS, "without an end"),
    "no-bound": (sized(requests=NONE, limits={"memory": "0"}), "minimum memory usage"),
    "no-request": (sized(requests=NONE, limits={"memory": "10Mi"}), "minimum memory usage"),
    "no-bound-of-all": (pod(resources={"requests": NONE, "limits": NONE}), "pod limits"),
    "first-in-line": (pod(priorityClassName="system-cluster-critical"), "exceeded quota"),
    "past-the-scheduler": (pod(nodeName="k8s-node01"), "the scheduler's to choose"),
    "control-plane": (
        pod(tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]),
        "not for the control plane",
    ),
    "any-taint": (pod(tolerations=[{"operator": "Exists"}]), "not for the control plane"),
    "endpoints": (ENDPOINTS, 'cannot create resource "endpoints"'),
    "endpoint-slice": (slice_of("10.244.1.7"), 'cannot create resource "endpointslices"'),
}
"""Manifests that a student whose node ports are 30400 to 30409 offers, and what is said to them."""


def forbidden(own, other):
    """Words of kubectl that a student must not get through with."""
    return (
        ("get", "pods", "-n", other),
        ("get", "pods", "-A"),
        ("get", "secrets", "-n", "kube-system"),
        ("get", "nodes"),
        ("get", "--raw", "/api/v1/nodes/k8s-node01/proxy/pods"),
        ("delete", "service", "my-nginx", "-n", other),
        ("scale", "deployment", "my-nginx", "--replicas=0", "-n", other),
        ("exec", "client", "-n", other, "--", "true"),
        ("delete", "networkpolicy", "class"),
        ("delete", "resourcequota", "class"),
        ("create", "token", "student"),
        ("create", "rolebinding", "more", "--clusterrole=admin", f"--user={own}"),
        ("create", "namespace", "mine"),
        ("label", "namespace", own, "l4lab/student-"),
        ("get", "pods", f"--as=system:serviceaccount:{other}:student", "-n", other),
    )
