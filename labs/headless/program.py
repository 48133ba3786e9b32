"""What the lab puts on the cluster: two numbered nginx pods, their name, a pod to ask from."""

from __future__ import annotations

from pulumi_kubernetes.core.v1 import ServicePortArgs

from l4lab.components.numbered import NumberedPods
from l4lab.components.surroundings import surroundings
from l4lab.components.web import ClientPod
from labs.headless import facts


def program() -> None:
    """Declare the lab's resources."""
    namespace = surroundings().place.namespace
    NumberedPods(
        facts.SERVICE,
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
        ),
    )
    ClientPod(facts.CLIENT, namespace=namespace, image=facts.CLIENT_IMAGE)
