"""What the pods of every lab have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core
from pulumi_kubernetes import meta as metadata

GRACE_SECONDS: Final = 1
"""Pods of a lab hold nothing: they need no time to say goodbye."""

SOON: Final = pulumi.CustomTimeouts(create="5m", update="5m", delete="2m")
"""How long an object of a lab may take, on a slow machine."""


def spread_deployment(
    name: str,
    *,
    namespace: str,
    labels: Mapping[str, str],
    replicas: int,
    container: core.v1.ContainerArgs,
    opts: pulumi.ResourceOptions,
) -> apps.v1.Deployment:
    """A Deployment of pods with one container each, on different nodes as far as there are any.

    Some requests must cross between two nodes: a lab shows nothing of that with all pods on one.
    """
    selector = metadata.v1.LabelSelectorArgs(match_labels=labels)
    spread = core.v1.TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key="kubernetes.io/hostname",
        when_unsatisfiable="ScheduleAnyway",
        label_selector=selector,
        # Else the pods of an older revision count, too, while they are being replaced.
        match_label_keys=["pod-template-hash"],
    )
    return apps.v1.Deployment(
        name,
        metadata=metadata.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels),
        spec=apps.v1.DeploymentSpecArgs(
            replicas=replicas,
            selector=selector,
            template=core.v1.PodTemplateSpecArgs(
                metadata=metadata.v1.ObjectMetaArgs(labels=labels),
                spec=core.v1.PodSpecArgs(
                    containers=[container],
                    topology_spread_constraints=[spread],
                    termination_grace_period_seconds=GRACE_SECONDS,
                ),
            ),
        ),
        opts=opts,
    )
