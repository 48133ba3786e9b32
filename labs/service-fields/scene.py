"""What the checks of this lab look at: its pods, its Services, and what their names mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from l4lab.checks import API, Look, Unmet, Vantage, Where
from l4lab.checks.network import Answer
from l4lab.checks.path import to_service
from l4lab.checks.service import Pod, cluster_address, ready_pods

from . import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)

Json = dict[str, Any]


def way(service: str, port: int = facts.PORT) -> tuple[Any, ...]:
    """The hops of a request to one of the lab's Services, walked when one has failed."""
    return to_service(
        service=service,
        port=port,
        target_port=facts.CONTAINER_PORT,
        labels=facts.LABELS,
        count=facts.REPLICAS,
    )


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def address_of(look: Look, service: str) -> str:
    """The cluster address of one of the lab's Services."""
    return cluster_address(look.at(API), service)


def full_name(service: str) -> str:
    """The name of a Service in cluster DNS."""
    return f"{service}.{facts.NAMESPACE}.svc.cluster.local"


def slice_ports(look: Look, service: str) -> list[Json]:
    """The ports in a Service's EndpointSlices.

    Raises:
        Unmet: It has no slice.
    """
    api = look.at(API)
    api.get("Service", service)
    found = api.find("EndpointSlice", {"kubernetes.io/service-name": service})
    if not found:
        raise Unmet(
            f"Service {service} has no EndpointSlice",
            causes=("it has no selector",),
            then=f"./l4lab kubectl get endpointslices -l kubernetes.io/service-name={service}",
        )
    return [port for item in found for port in item.get("ports") or []]


def served(answers: Iterable[Answer]) -> list[str]:
    """Who answered: the pods' names, each once.

    Raises:
        Unmet: A request failed.
    """
    names = set()
    for answer in answers:
        if not answer.fine:
            raise Unmet(f"a request failed: {answer}", fault=answer.fault)
        names.add(answer.served_by)
    return sorted(names)


def said_by_dns(look: Look, name: str, kind: str) -> list[str]:
    """The records of that kind that cluster DNS has for a name, asked from here.

    Raises:
        Unmet: Cluster DNS does not answer.
    """
    argv = ["dig", "+short", "+tries=2", "+time=2", name, kind]
    result = look.run(argv, shown=["dig", "+short", name, kind])
    lines = sorted(line.strip() for line in result.stdout.splitlines() if line.strip())
    if not result.succeeded or any(line.startswith(";;") for line in lines):
        raise Unmet(
            f"{name} {kind}: {result.last_line or 'no answer'}",
            causes=("CoreDNS has no ready pod",),
            then="./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns",
        )
    return lines


def joined(words: Iterable[object]) -> str:
    """A list for a sentence; says so where it is empty."""
    return ", ".join(str(word) for word in words) or "nothing"
