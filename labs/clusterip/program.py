"""What the lab puts on the cluster: two nginx pods behind one Service, and a pod to ask from."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import ServicePortArgs

from l4lab.components.surroundings import surroundings
from l4lab.components.web import BackedService, ClientPod
from labs.clusterip import facts


def program() -> None:
    """Declare the lab's resources."""
    namespace = surroundings().place.namespace
    web = BackedService(
        facts.SERVICE,
        deployment=facts.DEPLOYMENT,
        namespace=namespace,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        container_port=facts.CONTAINER_PORT,
        port=ServicePortArgs(
            name=facts.PORT_NAME,
            port=facts.PORT,
            target_port=facts.TARGET_PORT,
            protocol=facts.PROTOCOL,
            app_protocol=facts.APP_PROTOCOL,
        ),
    )
    ClientPod(facts.CLIENT, namespace=namespace, image=facts.CLIENT_IMAGE)
    pulumi.export("clusterIP", web.service.spec.cluster_ip)
