"""What checks of every Service lab ask: its address, its pods, its endpoints, its rows in kernels.

Each function reads one stage of the way a request takes, so that checks can hold the stages
against each other: API, EndpointSlice, kernel, answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from l4lab.checks import ipvs, kernel
from l4lab.checks.look import Json, Look, raise_if_stuck
from l4lab.checks.model import CannotMeasure, Unmet, Vantage, Where


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A running pod."""

    name: str
    address: str
    node: str
    ready: bool


def pods(look: Look, labels: Mapping[str, str]) -> list[Pod]:
    """The pods with these labels that are not being deleted, by name.

    Raises:
        Hopeless: One of them will not get ready by itself.
    """
    found = look.find("Pod", labels)
    raise_if_stuck(found)
    return sorted((_pod(item) for item in found), key=lambda pod: pod.name)


def ready_pods(look: Look, labels: Mapping[str, str], *, count: int) -> list[Pod]:
    """Exactly ``count`` pods with these labels, all ready and with an address.

    Raises:
        Unmet: There are more or fewer, or one is not ready yet.
    """
    found = pods(look, labels)
    ready = [pod for pod in found if pod.ready and pod.address]
    if len(ready) != count or len(found) != count:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        raise Unmet(
            f"{len(ready)} ready of {len(found)} pods with {selector}",
            expected=f"{count} ready pods with {selector}",
            causes=(
                "the Deployment was scaled",
                "the pods carry another label",
                "a pod has just been replaced and is still starting",
            ),
            then=f"./l4lab kubectl get pods --show-labels -n {look.namespace}",
        )
    return ready


def _pod(item: Json) -> Pod:
    status = item.get("status", {})
    conditions = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
    return Pod(
        name=item["metadata"]["name"],
        address=status.get("podIP", ""),
        node=item["spec"].get("nodeName", ""),
        ready=conditions.get("Ready") == "True",
    )


def cluster_address(look: Look, service: str) -> str:
    """The cluster address of a Service.

    Raises:
        Hopeless: There is no such Service.
        Unmet: It has no address.
    """
    address: str = look.get("Service", service)["spec"].get("clusterIP", "")
    try:
        IPv4Address(address)
    except ValueError:
        raise Unmet(
            f"Service {service} has no cluster address: {address or 'the field is empty'}",
            causes=("it is headless (clusterIP: None) or of type ExternalName",),
            then=f"./l4lab kubectl get service {service} -n {look.namespace}",
        ) from None
    return address


def endpoints(look: Look, service: str) -> dict[str, str]:
    """Ready endpoints of a Service, from its EndpointSlices: ``IP:port`` to the pod's name."""
    found = {}
    for item in look.find("EndpointSlice", {"kubernetes.io/service-name": service}):
        ports = [port["port"] for port in item.get("ports") or [] if port.get("port")]
        for endpoint in item.get("endpoints") or []:
            # Absent means ready: so the API says.
            if endpoint.get("conditions", {}).get("ready", True) is False:
                continue
            target = (endpoint.get("targetRef") or {}).get("name", "")
            for address in endpoint["addresses"]:
                found.update({f"{address}:{port}": target for port in ports})
    return dict(sorted(found.items()))


def same_backends(
    what: str, found: Iterable[str], expected: Iterable[str], *, then: str | None = None
) -> None:
    """Hold two lists of ``IP:port`` against each other.

    Raises:
        Unmet: They differ; the text says what is missing and what is too much.
    """
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if not missing and not extra:
        return
    said = []
    if missing:
        said.append(f"lacks {', '.join(missing)}")
    if extra:
        said.append(f"also has {', '.join(extra)}")
    raise Unmet(
        f"{what} {' and '.join(said)}",
        expected=f"exactly {', '.join(sorted(expected)) or 'no backend'}",
        then=then,
    )


def kernel_row(look: Look, address: str, *, protocol: str = "TCP") -> ipvs.Service:
    """What this node's kernel holds for ``address`` (``IP:port``), in whichever mode.

    Raises:
        Unmet: The kernel of this node has nothing.
    """
    row = kernel.rows(look).get((protocol, address))
    if row is None:
        raise Unmet(
            f"{kernel.title(look)} has no row {protocol} {address}",
            causes=(
                f"kube-proxy does not run on {look.vantage.name}, or has not caught up",
                "the Service has another port or protocol",
            ),
            then="./l4lab kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide",
        )
    return row


def stats(look: Look, address: str, *, protocol: str = "TCP") -> ipvs.Counters:
    """Connections the virtual server ``address`` of IPVS has taken on this node, read afresh.

    Raises:
        CannotMeasure: ipvsadm failed.
        Unmet: The kernel has no such row.
    """
    result = look.run(["ipvsadm", "-Ln", "--stats", "--exact"])
    if not result.succeeded:
        raise CannotMeasure(f"ipvsadm failed on {look.vantage}: {result.last_line}")
    counters = ipvs.parse_stats(result.stdout).get((protocol, address))
    if counters is None:
        raise Unmet(f"IPVS has no row {protocol} {address}")
    return counters


_Counted = TypeVar("_Counted")
_COUNTED_EVERY = 2.25
"""Seconds, a little more than those after which the kernel brings its numbers up to date."""
_RESTS = 3


def at_rest(look: Look, read: Callable[[], _Counted]) -> _Counted:
    """What ``read`` finds of the kernel's counters when what was sent before is counted.

    Where they do not come to rest somebody else is sending, and whoever counts will see it.
    """
    found = read()
    for _ in range(_RESTS):
        look.pause(_COUNTED_EVERY)
        before, found = found, read()
        if found == before:
            break
    return found


def chosen_backends(look: Look, address: str, sources: Iterable[str]) -> dict[str, str]:
    """Which backend the kernel chose for connections to ``address``, by their source.

    Taken from the kernel's connection table, which is up to date at once (the counters of IPVS
    follow only every two seconds) and tells our connections from everybody else's.

    Raises:
        CannotMeasure: The table cannot be read.
    """
    wanted = set(sources)
    return {
        entry.source: entry.destination
        for entry in kernel.connections(look)
        if entry.virtual == address and entry.source in wanted
    }


def node_of(look: Look) -> Vantage | None:
    """The node whose kernel handles what is sent from here; None outside the cluster."""
    if look.vantage.where is Where.NODE:
        return look.vantage
    if look.vantage.where is Where.POD:
        name = look.get("Pod", look.vantage.name)["spec"].get("nodeName")
        return Vantage(Where.NODE, name) if name else None
    return None
