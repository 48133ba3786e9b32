"""What the lab puts on the cluster: two nginx pods, and two NodePort Services before them."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import ServicePortArgs

from l4lab.components.web import BackedService, SecondService
from labs.nodeport import facts


def program() -> None:
    """Declare the lab's resources."""
    web = BackedService(
        facts.SERVICE,
        deployment=facts.DEPLOYMENT,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        container_port=facts.CONTAINER_PORT,
        port=_port(facts.NODE_PORT),
        service_spec={"type": "NodePort", "external_traffic_policy": "Cluster"},
    )
    SecondService(
        facts.LOCAL_SERVICE,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        port=_port(facts.LOCAL_NODE_PORT),
        service_spec={"type": "NodePort", "external_traffic_policy": "Local"},
    )
    pulumi.export("clusterIP", web.service.spec.cluster_ip)


def _port(node_port: int) -> ServicePortArgs:
    return ServicePortArgs(
        name=facts.PORT_NAME,
        port=facts.PORT,
        target_port=facts.TARGET_PORT,
        protocol=facts.PROTOCOL,
        node_port=node_port,
    )
