"""Pods and Services each for itself, for labs that show one Service field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes import meta as metadata

from l4lab.components.pods import SOON, spread_deployment

# Both Kubernetes providers know it: the object is made, and nobody waits until it is ready.
_NO_WAIT: Final = {"pulumi.com/skipAwait": "true"}


class NamedPortPods(pulumi.ComponentResource):
    """A Deployment without a Service; the port of its container has a name.

    Attributes:
        deployment: The Deployment; its pods are spread over the nodes.
    """

    deployment: apps.v1.Deployment

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        labels: Mapping[str, str],
        replicas: int,
        image: str,
        container: str,
        port: int,
        port_name: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare it: ``replicas`` pods that listen on ``port``, known as ``port_name``."""
        super().__init__("l4lab:labs:NamedPortPods", name, None, opts)
        web = core.v1.ContainerArgs(
            name=container,
            image=image,
            image_pull_policy="IfNotPresent",
            ports=[core.v1.ContainerPortArgs(name=port_name, container_port=port)],
        )
        self.deployment = spread_deployment(
            name,
            namespace=namespace,
            labels=labels,
            replicas=replicas,
            container=web,
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=SOON),
        )
        self.register_outputs({})


class PlainService(pulumi.ComponentResource):
    """A Service given by its spec alone, in the words of the API.

    Nobody waits for it: some of these get no address, and some no endpoint, as their lesson is.

    Attributes:
        service: The Service.
    """

    service: core.v1.Service

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        labels: Mapping[str, str],
        spec: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare it; ``spec`` has the API's own field names (``clusterIP``, ``targetPort``)."""
        super().__init__("l4lab:labs:PlainService", name, None, opts)
        self.service = core.v1.Service(
            name,
            metadata=metadata.v1.ObjectMetaArgs(
                name=name, namespace=namespace, labels=labels, annotations=_NO_WAIT
            ),
            spec=dict(spec),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=SOON),
        )
        self.register_outputs({})
