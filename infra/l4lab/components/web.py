"""Parts most labs share: a Service with the pods behind it, and a pod to ask from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import Pod, Service

# Pods of a lab hold nothing: they need no time to say goodbye.
GRACE_SECONDS: Final = 1

_SOON: Final = pulumi.CustomTimeouts(create="5m", update="5m", delete="2m")


class BackedService(pulumi.ComponentResource):
    """A Service and the Deployment whose pods answer for it, spread over the nodes.

    Attributes:
        deployment: The Deployment.
        service: The Service; its ``spec.cluster_ip`` is the cluster address.
    """

    deployment: Deployment
    service: Service

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
        port: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:BackedService", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=_SOON)
        selector = {"match_labels": labels}
        self.deployment = Deployment(
            deployment,
            metadata={"name": deployment, "namespace": namespace, "labels": labels},
            spec={
                "replicas": replicas,
                "selector": selector,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        # On different nodes, so that some requests must cross between two of them.
                        "topology_spread_constraints": [
                            {
                                "max_skew": 1,
                                "topology_key": "kubernetes.io/hostname",
                                "when_unsatisfiable": "ScheduleAnyway",
                                "label_selector": selector,
                            }
                        ],
                        "termination_grace_period_seconds": GRACE_SECONDS,
                        "containers": [
                            {
                                "name": container,
                                "image": image,
                                "image_pull_policy": "IfNotPresent",
                                "ports": [{"container_port": container_port}],
                            }
                        ],
                    },
                },
            },
            opts=own,
        )
        self.service = Service(
            name,
            metadata={"name": name, "namespace": namespace, "labels": labels},
            spec={"type": "ClusterIP", "selector": labels, "ports": [port]},
            opts=own,
        )
        self.register_outputs({"clusterIP": self.service.spec.cluster_ip})


class ClientPod(pulumi.ComponentResource):
    """A pod that does nothing but run, to ask from inside the cluster."""

    pod: Pod

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        image: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:ClientPod", name, None, opts)
        self.pod = Pod(
            name,
            metadata={"name": name, "namespace": namespace, "labels": {"run": name}},
            spec={
                "termination_grace_period_seconds": GRACE_SECONDS,
                "containers": [
                    {
                        "name": name,
                        "image": image,
                        "image_pull_policy": "IfNotPresent",
                        "command": ["sleep", "infinity"],
                    }
                ],
            },
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=_SOON),
        )
        self.register_outputs({})
