"""What the lab puts on the cluster: two nginx pods, and three Services that differ in affinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes.core.v1 import (
    ClientIPConfigArgs,
    ServicePortArgs,
    SessionAffinityConfigArgs,
)

from l4lab.components.web import BackedService, SecondService

from . import facts


def program() -> None:
    """Declare the lab's resources."""
    kept = ClientIPConfigArgs(timeout_seconds=facts.TIMEOUT_SECONDS)
    web = BackedService(
        facts.SERVICE,
        deployment=facts.DEPLOYMENT,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        container_port=facts.CONTAINER_PORT,
        port=_port(node_port=facts.NODE_PORT),
        service_spec={
            "type": "NodePort",
            "session_affinity": "ClientIP",
            "session_affinity_config": SessionAffinityConfigArgs(client_ip=kept),
        },
    )
    _more(facts.DEFAULT_SERVICE, {"session_affinity": "ClientIP"})
    _more(facts.PLAIN_SERVICE, {"session_affinity": "None"})
    pulumi.export("clusterIP", web.service.spec.cluster_ip)


def _more(name: str, spec: Mapping[str, Any]) -> None:
    SecondService(
        name,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        port=_port(),
        service_spec=spec,
    )


def _port(*, node_port: int | None = None) -> ServicePortArgs:
    return ServicePortArgs(
        name=facts.PORT_NAME,
        port=facts.PORT,
        target_port=facts.TARGET_PORT,
        protocol=facts.PROTOCOL,
        node_port=node_port,
    )
