"""What a student gets on the cluster, as manifests: a namespace with bounds, and a login to it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, Final

from l4lab.classroom.model import Classroom, Student
from l4lab.place import CLASS
from l4lab.topology import API_PORT, Topology

Json = dict[str, Any]

STUDENT: Final = "l4lab/student"
_FIRST_PORT: Final = "l4lab/first-node-port"
_LAST_PORT: Final = "l4lab/last-node-port"
LOGIN: Final = "student"
"""The service account that a student is."""
_OURS: Final = "class"
_RULES: Final = "l4lab-class"
_CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"
_READ: Final = ["get", "list", "watch"]
_ALL: Final = [*_READ, "create", "update", "patch", "delete", "deletecollection"]
_RBAC: Final = "rbac.authorization.k8s.io"


def of_class() -> list[Json]:
    """What all classes share: the rules that quotas and roles cannot express."""
    own = f"int(namespaceObject.metadata.annotations['{_FIRST_PORT}'])"
    last = f"int(namespaceObject.metadata.annotations['{_LAST_PORT}'])"
    chosen = f"has(p.nodePort) && p.nodePort >= {own} && p.nodePort <= {last}"
    # One without a key stands for every taint.
    elsewhere = f"has(t.key) && t.key != '' && t.key != '{_CONTROL_PLANE}'"
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": {"matchExpressions": [{"key": STUDENT, "operator": "Exists"}]},
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["services", "secrets", "pods"],
                }
            ],
        },
        "validations": [
            {
                # Else the API server may choose one of another student's.
                "expression": "object.kind != 'Service' || !(has(object.spec.type) && "
                "object.spec.type == 'NodePort') || "
                f"object.spec.ports.all(p, {chosen})",
                "messageExpression": "'name a nodePort of your own: ' + namespaceObject.metadata."
                f"annotations['{_FIRST_PORT}'] + ' to ' + namespaceObject.metadata."
                f"annotations['{_LAST_PORT}']",
            },
            {
                # It would take the packets of whoever has that address.
                "expression": "object.kind != 'Service' || !has(object.spec.externalIPs) || "
                "object.spec.externalIPs.size() == 0",
                "message": "externalIPs are for the cluster's administrator",
            },
            {
                "expression": "object.kind != 'Secret' || !has(object.type) || "
                "object.type != 'kubernetes.io/service-account-token'",
                "message": "a token without an end is not for a class",
            },
            {
                # It passes by the scheduler, so by the room that nodes have. Binding is another
                # request, and no student's.
                "expression": "object.kind != 'Pod' || request.operation != 'CREATE' || "
                "!has(object.spec.nodeName) || object.spec.nodeName == ''",
                "message": "nodeName is the scheduler's to choose",
            },
            {
                # Pods of before may leave: finalizers are taken off by an update.
                "expression": "object.kind != 'Pod' || has(object.metadata.deletionTimestamp) || "
                f"!has(object.spec.tolerations) || object.spec.tolerations.all(t, {elsewhere})",
                "message": "pods of a class are not for the control plane",
            },
        ],
    }
    api = "admissionregistration.k8s.io/v1"
    binding = {"policyName": _RULES, "validationActions": ["Deny"]}
    return [
        _object(api, "ValidatingAdmissionPolicy", _RULES, spec=spec),
        _object(api, "ValidatingAdmissionPolicyBinding", _RULES, spec=binding),
    ]


def of_student(
    student: Student, classroom: Classroom, topology: Topology, tunnels: Sequence[IPv4Address]
) -> list[Json]:
    """What one student gets.

    Args:
        student: The student.
        classroom: The class, for its limits.
        topology: The cluster's machines and networks.
        tunnels: The nodes' own addresses in the pod network: by these they come to pods of others.
    """
    space = student.place.namespace
    ports = student.place.node_ports
    namespace = _object("v1", "Namespace", space)
    namespace["metadata"]["labels"] = {
        CLASS: "yes",
        STUDENT: student.id,
        # No pod on a node's own network, none that is privileged, no folder of a node.
        "pod-security.kubernetes.io/enforce": "baseline",
    }
    namespace["metadata"]["annotations"] = {
        _FIRST_PORT: str(ports.start),
        _LAST_PORT: str(ports.stop - 1),
        "l4lab/class-name": classroom.name,
        "l4lab/name": student.name,
    }
    return [
        namespace,
        *_bounds(space, classroom),
        _policy(space, ports, topology, tunnels),
        *_login(space),
    ]


def _bounds(space: str, classroom: Classroom) -> list[Json]:
    limits = classroom.limits
    hard = {
        "pods": str(limits.pods),
        "requests.cpu": f"{limits.cpu}m",
        "requests.memory": f"{limits.memory}Mi",
        "limits.memory": f"{2 * limits.memory}Mi",
        "services": "20",
        "services.nodeports": "10",
        "services.loadbalancers": "0",
        "configmaps": "20",
        "secrets": "20",
        "persistentvolumeclaims": "0",
        # "pods" passes over those that have ended.
        "count/pods": str(limits.pods + 50),
        "count/deployments.apps": "20",
        "count/replicasets.apps": "100",
        "count/statefulsets.apps": "20",
        "count/controllerrevisions.apps": "100",
        "count/endpointslices.discovery.k8s.io": "60",
    }
    memory = limits.memory // limits.pods
    container = {
        "type": "Container",
        "defaultRequest": {"cpu": f"{limits.cpu // limits.pods}m", "memory": f"{memory}Mi"},
        "default": {"memory": f"{2 * memory}Mi"},
        # A limit of 0 is none, and adds nothing to what the quota counts.
        "min": {"cpu": "1m", "memory": "1Mi"},
    }
    # Such pods would push others' pods off a node. A quota's scopes are for all it counts.
    by_class = {"scopeName": "PriorityClass", "operator": "Exists"}
    no_class = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [by_class]}}
    return [
        _object("v1", "ResourceQuota", _OURS, space, spec={"hard": hard}),
        _object("v1", "ResourceQuota", f"{_OURS}-priority", space, spec=no_class),
        _object("v1", "LimitRange", _OURS, space, spec={"limits": [container]}),
    ]


def _policy(space: str, ports: range, topology: Topology, tunnels: Sequence[IPv4Address]) -> Json:
    own: Json = {"podSelector": {}}
    network = topology.networks.nodes
    dns = {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": "kube-system"}
                },
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
    }
    nodes = [node.address for node in topology.nodes]
    # The node network holds the database's host, and whoever plays the outside.
    machines = _block(f"{network}")
    if inside := [f"{address}/32" for address in nodes if address in network]:
        machines["ipBlock"]["except"] = inside
    # A node that is asked for somebody's node port hands the request on as its own, which their
    # policy lets in.
    open_there: list[Json] = [{"port": API_PORT, "protocol": "TCP"}]
    open_there += [
        {"port": ports[0], "endPort": ports[-1], "protocol": protocol}
        for protocol in ("TCP", "UDP", "SCTP")
    ]
    spec = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [own, _block(f"{network}"), *(_block(f"{address}/32") for address in tunnels)]}
        ],
        "egress": [
            {"to": [own]},
            dns,
            {"to": [machines]},
            *({"to": [_block(f"{node}/32")], "ports": open_there} for node in nodes),
        ],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", _OURS, space, spec=spec)


def _block(network: str) -> Json:
    return {"ipBlock": {"cidr": network}}


def _login(space: str) -> list[Json]:
    """A service account, and a role that reaches its namespace only, and not its own bounds."""
    rules = [
        _rule([""], ["pods", "services", "configmaps", "secrets"], _ALL),
        _rule([""], ["pods/log"], ["get"]),
        _rule([""], ["pods/exec", "pods/portforward"], ["get", "create"]),
        _rule(["apps"], ["deployments", "replicasets", "statefulsets"], _ALL),
        _rule(["apps"], ["deployments/scale", "statefulsets/scale"], ["get", "update", "patch"]),
        _rule([""], ["events", "resourcequotas", "limitranges", "serviceaccounts"], _READ),
        # Whoever writes these leads a Service to any pod: past the network policy, by a node port.
        _rule([""], ["endpoints"], _READ),
        _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
        _rule(["networking.k8s.io"], ["networkpolicies"], _READ),
    ]
    role = _object(f"{_RBAC}/v1", "Role", LOGIN, space)
    binding = _object(f"{_RBAC}/v1", "RoleBinding", LOGIN, space)
    return [
        _object("v1", "ServiceAccount", LOGIN, space) | {"automountServiceAccountToken": False},
        role | {"rules": rules},
        binding
        | {
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": LOGIN},
            "subjects": [{"kind": "ServiceAccount", "name": LOGIN, "namespace": space}],
        },
    ]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Json:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _object(
    api: str, kind: str, name: str, space: str | None = None, *, spec: Json | None = None
) -> Json:
    metadata: Json = {"name": name, "labels": {CLASS: "yes"}}
    if space:
        metadata["namespace"] = space
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": metadata,
        **({"spec": spec} if spec else {}),
    }
