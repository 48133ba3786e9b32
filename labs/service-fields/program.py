"""What the lab puts on the cluster: two pods, eight Services before them, a pod to ask from."""

from __future__ import annotations

from l4lab.components.plain import NamedPortPods, PlainService
from l4lab.components.surroundings import surroundings
from l4lab.components.web import ClientPod

from . import facts


def program() -> None:
    """Declare the lab's resources."""
    NamedPortPods(
        facts.DEPLOYMENT,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        port=facts.CONTAINER_PORT,
        port_name=facts.CONTAINER_PORT_NAME,
    )
    network = surroundings().topology.networks.services
    chosen = {"clusterIP": str(network.network_address + facts.CHOSEN_OFFSET)}
    for name, spec in facts.SERVICES.items():
        PlainService(
            name,
            namespace=facts.NAMESPACE,
            labels=facts.LABELS,
            spec=spec | chosen if name == facts.CHOSEN else spec,
        )
    ClientPod(facts.CLIENT, namespace=facts.NAMESPACE, image=facts.CLIENT_IMAGE)
