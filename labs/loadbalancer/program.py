"""What the lab puts on the cluster: two nginx pods, an allocator of addresses, four Services."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_kubernetes import core, rbac
from pulumi_kubernetes import meta as metadata

from l4lab.components.controller import ShellController
from l4lab.components.surroundings import surroundings
from l4lab.components.web import BackedService
from labs.loadbalancer import facts
from labs.loadbalancer.pool import pool

_SCRIPT = Path(__file__).with_name("allocate.sh")
_OURS = {"type": "LoadBalancer", "load_balancer_class": facts.LB_CLASS}
_PORT = core.v1.ServicePortArgs(
    name=facts.PORT_NAME, port=facts.PORT, target_port=facts.TARGET_PORT, protocol="TCP"
)


def program() -> None:
    """Declare the lab's resources."""
    topology = surroundings().topology
    ShellController(
        facts.ALLOCATOR,
        namespace=facts.NAMESPACE,
        labels=facts.ALLOCATOR_LABELS,
        image=facts.ALLOCATOR_IMAGE,
        script=_SCRIPT.read_text(),
        environment={
            "CLASS": facts.LB_CLASS,
            "POOL": " ".join(pool(topology, facts.POOL_SIZE)),
            "CONDITION": facts.CONDITION,
        },
        rules=[
            rbac.v1.PolicyRuleArgs(
                api_groups=[""], resources=["services"], verbs=["get", "list", "watch"]
            ),
            rbac.v1.PolicyRuleArgs(
                # kubectl reads a status before it patches it.
                api_groups=[""],
                resources=["services/status"],
                verbs=["get", "patch"],
            ),
        ],
    )
    web = BackedService(
        facts.OPEN,
        deployment=facts.DEPLOYMENT,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        container_port=facts.CONTAINER_PORT,
        port=_PORT,
        service_spec={
            **_OURS,
            "load_balancer_source_ranges": [f"{topology.networks.gateway}/32"],
        },
    )
    local = _service(
        facts.LOCAL,
        _OURS | {"external_traffic_policy": "Local", "allocate_load_balancer_node_ports": False},
    )
    # Nobody will give these two an address: waiting for one would be waiting for ever.
    _service(facts.PENDING, {"type": "LoadBalancer"}, waits=False)
    _service(facts.THIRD, _OURS, waits=False, after=[web.service, local])


def _service(
    name: str,
    spec: Mapping[str, Any],
    *,
    waits: bool = True,
    after: Sequence[pulumi.Resource] = (),
) -> core.v1.Service:
    return core.v1.Service(
        name,
        metadata=metadata.v1.ObjectMetaArgs(
            name=name,
            namespace=facts.NAMESPACE,
            labels=facts.LABELS,
            annotations=None if waits else {"pulumi.com/skipAwait": "true"},
        ),
        spec=core.v1.ServiceSpecArgs(selector=facts.LABELS, ports=[_PORT], **spec),
        opts=pulumi.ResourceOptions(
            depends_on=list(after), custom_timeouts=pulumi.CustomTimeouts(create="5m")
        ),
    )
