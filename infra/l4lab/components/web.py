"""Parts most labs share: a Service with the pods behind it, and a pod to ask from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes import meta as metadata

from l4lab.components.pods import GRACE_SECONDS, SOON, spread_deployment


class BackedService(pulumi.ComponentResource):
    """A Service and the Deployment whose pods answer for it, spread over the nodes.

    Attributes:
        deployment: The Deployment.
        service: The Service; its ``spec.cluster_ip`` is the cluster address.
    """

    deployment: apps.v1.Deployment
    service: core.v1.Service

    def __init__(
        self,
        name: str,
        *,
        deployment: str,
        namespace: str,
        labels: Mapping[str, str],
        replicas: int,
        image: str,
        container: str,
        container_port: int,
        port: core.v1.ServicePortArgs,
        service_spec: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare both.

        Args:
            name: The Service's name.
            deployment: The Deployment's name.
            namespace: Where both are.
            labels: What the pods carry and the Service selects.
            replicas: How many pods.
            image: What they run.
            container: The container's name.
            container_port: The port it listens on.
            port: The Service's one port.
            service_spec: More fields of the Service's spec, by the names of ``ServiceSpecArgs``
                (``external_traffic_policy``...); ``type`` is ClusterIP without it.
            opts: Pulumi's options.
        """
        super().__init__("l4lab:labs:BackedService", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        web = core.v1.ContainerArgs(
            name=container,
            image=image,
            image_pull_policy="IfNotPresent",
            ports=[core.v1.ContainerPortArgs(container_port=container_port)],
        )
        self.deployment = spread_deployment(
            deployment,
            namespace=namespace,
            labels=labels,
            replicas=replicas,
            container=web,
            opts=own,
        )
        self.service = _service(
            name, namespace=namespace, labels=labels, port=port, spec=service_spec, opts=own
        )
        self.register_outputs({"clusterIP": self.service.spec.cluster_ip})


class SecondService(pulumi.ComponentResource):
    """One more Service for pods that another part of the lab runs: the same pods, other rules.

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
        port: core.v1.ServicePortArgs,
        service_spec: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare it; the words mean what they mean for ``BackedService``."""
        super().__init__("l4lab:labs:SecondService", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        self.service = _service(
            name, namespace=namespace, labels=labels, port=port, spec=service_spec, opts=own
        )
        self.register_outputs({})


def _service(
    name: str,
    *,
    namespace: str,
    labels: Mapping[str, str],
    port: core.v1.ServicePortArgs,
    spec: Mapping[str, Any] | None,
    opts: pulumi.ResourceOptions,
) -> core.v1.Service:
    fields = {"type": "ClusterIP", "selector": labels, "ports": [port], **(spec or {})}
    return core.v1.Service(
        name,
        metadata=metadata.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels),
        spec=core.v1.ServiceSpecArgs(**fields),
        opts=opts,
    )


class ClientPod(pulumi.ComponentResource):
    """A pod that does nothing but run, to ask from inside the cluster.

    Attributes:
        pod: The pod.
    """

    pod: core.v1.Pod

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        image: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:ClientPod", name, None, opts)
        client = core.v1.ContainerArgs(
            name=name,
            image=image,
            image_pull_policy="IfNotPresent",
            command=["sleep", "infinity"],
        )
        self.pod = core.v1.Pod(
            name,
            metadata=metadata.v1.ObjectMetaArgs(
                name=name, namespace=namespace, labels={"run": name}
            ),
            spec=core.v1.PodSpecArgs(
                containers=[client], termination_grace_period_seconds=GRACE_SECONDS
            ),
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=SOON),
        )
        self.register_outputs({})
