"""The things every check of this lab looks at, all of them from ``facts``."""

from __future__ import annotations

from l4lab.checks import API, Look, Vantage, Where
from l4lab.checks.path import to_service
from l4lab.checks.service import Pod, cluster_address, ready_pods
from labs.clusterip import facts

CLIENT = Vantage(Where.POD, facts.CLIENT)

WAY = to_service(
    service=facts.SERVICE,
    port=facts.PORT,
    target_port=facts.TARGET_PORT,
    labels=facts.LABELS,
    count=facts.REPLICAS,
)
"""The hops of a request, walked when one has failed."""


def backends(look: Look) -> list[Pod]:
    """The lab's pods, all of them ready."""
    return ready_pods(look.at(API), facts.LABELS, count=facts.REPLICAS)


def service_at(look: Look) -> str:
    """``IP:port`` of the Service; the port is the lab's, whatever the Service says."""
    return f"{cluster_address(look.at(API), facts.SERVICE)}:{facts.PORT}"
