"""The things every check of this lab looks at, all of them from ``facts`` and the topology."""

from __future__ import annotations

from l4lab.checks import API, Look, Unmet, Vantage, Where, kernel
from l4lab.checks.ipvs import Connection
from l4lab.checks.network import Answer, worst
from l4lab.checks.path import to_service
from l4lab.checks.service import Pod, cluster_address, ready_pods
from l4lab.topology import Machine

from . import facts

WAY = to_service(
    service=facts.SERVICE,
    port=facts.PORT,
    target_port=facts.TARGET_PORT,
    labels=facts.LABELS,
    count=facts.REPLICAS,
)
"""The hops of a request to the first Service, walked when one has failed."""


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def service_at(look: Look, service: str = facts.SERVICE) -> str:
    """``IP:port`` of a Service inside the cluster."""
    return f"{cluster_address(look.at(API), service)}:{facts.PORT}"


def at_node(node: Machine) -> str:
    """``IP:port`` that a node opens to the outside, for the first Service."""
    return f"{node.address}:{facts.NODE_PORT}"


def on(look: Look, node: Machine) -> Look:
    """The same look from that node."""
    return look.at(Vantage(Where.NODE, node.name))


def connections(look: Look, virtual: str) -> list[Connection]:
    """What this node's kernel holds for ``virtual`` (``IP:port``), read afresh.

    Raises:
        CannotMeasure: It cannot be read.
    """
    return [entry for entry in kernel.connections(look) if entry.virtual == virtual]


def remembered(found: list[Connection], client: str) -> Connection | None:
    """The entry that says where a client is kept: no connection, so its source has port 0."""
    return next((entry for entry in found if entry.source == f"{client}:0"), None)


def answered(look: Look, address: str, *, times: int) -> list[Answer]:
    """Ask so many times, each on a connection of its own.

    Raises:
        Unmet: A request failed.
    """
    answers = look.curl(f"http://{address}/", times=times)
    if bad := worst(answers):
        raise Unmet(f"{address}: {bad}", fault=bad.fault)
    return answers


def client_of(answer: Answer) -> str:
    """The address a request left from."""
    return answer.source.rpartition(":")[0]
