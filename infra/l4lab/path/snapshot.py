"""The API's side of a path: Services, endpoints and pods of all namespaces, read in one go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from l4lab.checks.look import Json, Look

_SERVICE_NAME = "kubernetes.io/service-name"
_KINDS = "services,endpointslices,pods,networkpolicies"


@dataclass(frozen=True, kw_only=True)
class Port:
    """One port of a Service."""

    name: str
    protocol: str
    port: int
    target: str
    """``targetPort`` as it is written: a number or the name of a container's port."""
    node_port: int
    app: str
    """``appProtocol``."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the API says of a Service."""

    namespace: str
    name: str
    type: str
    cluster_address: str
    """Empty for a headless Service and for one of type ExternalName."""
    external_addresses: tuple[str, ...]
    external_name: str
    external_local: bool
    """``externalTrafficPolicy: Local``."""
    source_ranges: tuple[str, ...]
    """``loadBalancerSourceRanges``: who may use its external addresses; none: everybody."""
    internal_local: bool
    selector: Mapping[str, str]
    ports: tuple[Port, ...]

    def __str__(self) -> str:
        return self.name if self.namespace == "default" else f"{self.namespace}/{self.name}"

    @property
    def flag(self) -> str:
        """The arguments with which kubectl finds it."""
        return f"{self.name} -n {self.namespace}"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """What the API says of a pod."""

    namespace: str
    name: str
    node: str
    address: str
    phase: str
    ready: bool
    host_network: bool
    container: str
    """The id of one running container: all containers of a pod share its network."""
    labels: Mapping[str, str]

    def __str__(self) -> str:
        return self.name if self.namespace == "default" else f"{self.namespace}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One address behind one port of a Service."""

    address: str
    port: int
    port_name: str
    protocol: str
    node: str
    pod: str
    ready: bool

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A NetworkPolicy: which pods it is about."""

    namespace: str
    name: str
    labels: Mapping[str, str]

    def covers(self, pod: Pod) -> bool:
        """Whether the pod is one of those."""
        return self.namespace == pod.namespace and self.labels.items() <= pod.labels.items()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that the API says about who answers where, at one moment."""

    services: tuple[Service, ...]
    pods: tuple[Pod, ...]
    endpoints: Mapping[tuple[str, str], tuple[Endpoint, ...]] = field(default_factory=dict)
    """By namespace and name of the Service."""
    policies: tuple[Policy, ...] = ()

    def service(self, namespace: str, name: str) -> Service | None:
        """The Service of that name."""
        return next(
            (one for one in self.services if (one.namespace, one.name) == (namespace, name)), None
        )

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of that name."""
        return next(
            (one for one in self.pods if (one.namespace, one.name) == (namespace, name)), None
        )

    def service_at(self, address: str) -> Service | None:
        """The Service that has this cluster or external address."""
        return next(
            (
                one
                for one in self.services
                if address == one.cluster_address or address in one.external_addresses
            ),
            None,
        )

    def at_node_port(self, port: int, protocol: str) -> tuple[Service, Port] | None:
        """The Service, and its port, that has this nodePort."""
        for service in self.services:
            for one in service.ports:
                if (one.node_port, one.protocol) == (port, protocol):
                    return service, one
        return None

    def pod_at(self, address: str) -> Pod | None:
        """The running pod with this address of its own; pods on the host's network have none."""
        found = [
            pod
            for pod in self.pods
            if pod.address == address and not pod.host_network and pod.phase == "Running"
        ]
        return found[0] if found else None

    def behind(self, service: Service, port: Port | None = None) -> tuple[Endpoint, ...]:
        """The endpoints of a Service, of one of its ports where one is given."""
        found = self.endpoints.get((service.namespace, service.name), ())
        if port is None:
            return found
        return tuple(
            one for one in found if (one.port_name, one.protocol) == (port.name, port.protocol)
        )


def read(look: Look) -> Snapshot:
    """Ask the API server.

    Raises:
        CannotMeasure: It does not answer.
    """
    words = ("get", _KINDS, "--all-namespaces", "-o", "json")
    return parse(json.loads(look.kubectl(*words).stdout)["items"])


def parse(items: Iterable[Json]) -> Snapshot:
    """What a list of API objects says."""
    by_kind: dict[str, list[Json]] = {}
    for item in items:
        by_kind.setdefault(item["kind"], []).append(item)
    endpoints: dict[tuple[str, str], tuple[Endpoint, ...]] = {}
    for item in by_kind.get("EndpointSlice", []):
        name = item["metadata"].get("labels", {}).get(_SERVICE_NAME)
        if name and item.get("addressType", "IPv4") == "IPv4":
            key = (item["metadata"]["namespace"], name)
            endpoints[key] = endpoints.get(key, ()) + tuple(_endpoints(item))
    return Snapshot(
        services=tuple(_service(item) for item in by_kind.get("Service", [])),
        pods=tuple(_pod(item) for item in by_kind.get("Pod", [])),
        endpoints=endpoints,
        policies=tuple(_policy(item) for item in by_kind.get("NetworkPolicy", [])),
    )


def _service(item: Json) -> Service:
    spec = item["spec"]
    address = spec.get("clusterIP") or ""
    ingress = item.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return Service(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        type=spec.get("type", "ClusterIP"),
        cluster_address="" if address == "None" else address,
        external_addresses=(
            *spec.get("externalIPs", []),
            *(one["ip"] for one in ingress if "ip" in one),
        ),
        external_name=spec.get("externalName", ""),
        external_local=spec.get("externalTrafficPolicy") == "Local",
        source_ranges=tuple(one.strip() for one in spec.get("loadBalancerSourceRanges") or ()),
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        selector=spec.get("selector") or {},
        ports=tuple(
            Port(
                name=port.get("name", ""),
                protocol=port.get("protocol", "TCP"),
                port=port["port"],
                target=str(port.get("targetPort", port["port"])),
                node_port=port.get("nodePort", 0),
                app=port.get("appProtocol", ""),
            )
            for port in spec.get("ports") or []
        ),
    )


def _pod(item: Json) -> Pod:
    spec, status = item["spec"], item.get("status", {})
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
    running = [
        one["containerID"].rpartition("/")[2]
        for one in status.get("containerStatuses", [])
        if "running" in one.get("state", {}) and one.get("containerID")
    ]
    return Pod(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        node=spec.get("nodeName", ""),
        address=status.get("podIP", ""),
        phase=status.get("phase", ""),
        ready=conditions.get("Ready") == "True",
        host_network=spec.get("hostNetwork", False),
        container=running[0] if running else "",
        labels=item["metadata"].get("labels", {}),
    )


def _policy(item: Json) -> Policy:
    # Expressions only narrow the choice: a policy too many is better told than one too few.
    chosen = item["spec"].get("podSelector") or {}
    return Policy(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        labels=chosen.get("matchLabels") or {},
    )


def _endpoints(item: Json) -> Iterable[Endpoint]:
    for entry in item.get("endpoints") or []:
        for port in item.get("ports") or []:
            if port.get("port"):
                yield Endpoint(
                    address=entry["addresses"][0],
                    port=port["port"],
                    port_name=port.get("name") or "",
                    protocol=port.get("protocol", "TCP"),
                    node=entry.get("nodeName") or "",
                    pod=(entry.get("targetRef") or {}).get("name", ""),
                    # Absent means ready: so the API says.
                    ready=entry.get("conditions", {}).get("ready", True) is not False,
                )
