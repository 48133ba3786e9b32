"""The way of a request through a Service, hop by hop: walked when a request has failed."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from l4lab.checks.kernel import ASK_MODE, title
from l4lab.checks.look import Look
from l4lab.checks.model import API, Hop
from l4lab.checks.network import worst
from l4lab.checks.service import (
    cluster_address,
    endpoints,
    kernel_row,
    node_of,
    ready_pods,
    same_backends,
)
from l4lab.place import OWN_NAMESPACE


def to_service(
    *, service: str, port: int, target_port: int, labels: Mapping[str, str], count: int
) -> tuple[Hop, ...]:
    """The hops to a Service with a selector, in the order in which each depends on the last.

    Args:
        service: Its name.
        port: The port clients ask for.
        target_port: The port its pods listen on.
        labels: What the pods carry.
        count: How many pods there are.
    """

    def pods_there(look: Look) -> str | None:
        ready_pods(look.at(API), labels, count=count)
        return None

    def slice_names_them(look: Look) -> str | None:
        api = look.at(API)
        wanted = [f"{pod.address}:{target_port}" for pod in ready_pods(api, labels, count=count)]
        same_backends("the EndpointSlice", endpoints(api, service), wanted)
        return None

    def proxy_runs(look: Look) -> str | None:
        node = node_of(look)
        if node is None:
            return None
        result = look.at(node).run(ASK_MODE)
        return None if result.succeeded else f"does not answer on {node}: {result.last_line}"

    def kernel_has_it(look: Look) -> str | None:
        node = node_of(look)
        if node is None:
            return None
        api, there = look.at(API), look.at(node)
        row = kernel_row(there, f"{cluster_address(api, service)}:{port}")
        same_backends(
            f"the {title(there)} row",
            [backend.address for backend in row.live],
            endpoints(api, service),
        )
        return None

    def each_backend_answers(look: Look) -> str | None:
        node = node_of(look)
        if node is None:
            return None
        for address, pod in endpoints(look.at(API), service).items():
            bad = worst(look.at(node).curl(f"http://{address}/"))
            if bad:
                return f"pod {pod} at {address} asked directly from {node}: {bad}"
        return None

    return (
        Hop(
            name="the pods",
            probe=pods_there,
            causes=("the Deployment does not have the pods the lab declares",),
            then="./l4lab kubectl get pods --show-labels -o wide",
        ),
        Hop(
            name="the EndpointSlice",
            probe=slice_names_them,
            causes=(
                "the Service's selector and the pods' labels differ",
                "targetPort is not the port the pods listen on",
            ),
            then=f"./l4lab kubectl describe service {service}",
        ),
        Hop(
            name="kube-proxy",
            probe=proxy_runs,
            causes=("kube-proxy does not run on this node, so its kernel is not kept up to date",),
            then="./l4lab kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide",
        ),
        Hop(
            name="the kernel",
            probe=kernel_has_it,
            causes=(
                "the Service has another port or protocol than the lab's",
                "kube-proxy has not brought this node's kernel up to date",
            ),
            then="./l4lab kubectl logs -n kube-system -l k8s-app=kube-proxy --tail=20",
        ),
        Hop(
            name="the backend",
            probe=each_backend_answers,
            causes=(
                "a firewall rule on this node or on the pod's node drops the packets",
                "nothing in the pod listens on that port",
            ),
            then="./l4lab kubectl get pods -o wide",
        ),
    )


def path_from_pod(look: Look, pod: str, target: str) -> str:
    """The command that follows a connection from a pod of the lab, in whose namespace it is."""
    client = pod if look.namespace == OWN_NAMESPACE else f"{look.namespace}/{pod}"
    return f"./l4lab path {client} {target}"


def outside_reason(look: Look, address: IPv4Address | str) -> str:
    """Which route this place has to an address, in one line; says so where it has none."""
    result = look.run(["ip", "route", "get", str(address)])
    return result.stdout.splitlines()[0].strip() if result.succeeded else result.last_line
