"""Pods that keep their names: a StatefulSet, and the headless Service that gives them theirs."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes import meta as metadata

from l4lab.components.pods import GRACE_SECONDS, SOON


class NumberedPods(pulumi.ComponentResource):
    """A StatefulSet and its headless Service, which has the same name.

    Attributes:
        pods: The StatefulSet; its pods are called NAME-0, NAME-1...
        service: The Service, without a cluster address.
    """

    pods: apps.v1.StatefulSet
    service: core.v1.Service

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        labels: Mapping[str, str],
        replicas: int,
        image: str,
        container: str,
        container_port: int,
        port: core.v1.ServicePortArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare both; the words mean what they mean for ``BackedService``."""
        super().__init__("l4lab:labs:NumberedPods", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        about = metadata.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels)
        self.service = core.v1.Service(
            name,
            metadata=about,
            spec=core.v1.ServiceSpecArgs(cluster_ip="None", selector=labels, ports=[port]),
            opts=own,
        )
        web = core.v1.ContainerArgs(
            name=container,
            image=image,
            image_pull_policy="IfNotPresent",
            ports=[core.v1.ContainerPortArgs(container_port=container_port)],
        )
        self.pods = apps.v1.StatefulSet(
            name,
            metadata=about,
            spec=apps.v1.StatefulSetSpecArgs(
                service_name=name,
                replicas=replicas,
                # They do not wait for each other: only their names matter here.
                pod_management_policy="Parallel",
                selector=metadata.v1.LabelSelectorArgs(match_labels=labels),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=metadata.v1.ObjectMetaArgs(labels=labels),
                    spec=core.v1.PodSpecArgs(
                        containers=[web], termination_grace_period_seconds=GRACE_SECONDS
                    ),
                ),
            ),
            opts=own,
        )
        self.register_outputs({})
