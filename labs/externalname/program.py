"""What the lab puts on the cluster: a Service that is only a name, and a pod to ask from."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes import core
from pulumi_kubernetes import meta as metadata

from l4lab.components.surroundings import surroundings
from l4lab.components.web import ClientPod
from labs.externalname import facts


def program() -> None:
    """Declare the lab's resources."""
    namespace = surroundings().place.namespace
    service = core.v1.Service(
        facts.SERVICE,
        metadata=metadata.v1.ObjectMetaArgs(name=facts.SERVICE, namespace=namespace),
        spec=core.v1.ServiceSpecArgs(type="ExternalName", external_name=facts.EXTERNAL_NAME),
    )
    ClientPod(facts.CLIENT, namespace=namespace, image=facts.CLIENT_IMAGE)
    pulumi.export("externalName", service.spec.external_name)
