"""What the lab puts on the cluster: two echo pods, three Services, a policy, a pod to ask from."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_kubernetes import core, networking
from pulumi_kubernetes import meta as metadata

from l4lab.components.echo import EchoServers
from l4lab.components.web import ClientPod

from . import facts


def program() -> None:
    """Declare the lab's resources."""
    EchoServers(
        facts.DEPLOYMENT,
        namespace=facts.NAMESPACE,
        labels=facts.LABELS,
        replicas=facts.REPLICAS,
        image=facts.IMAGE,
        container=facts.CONTAINER,
        port=facts.TARGET_PORT,
    )
    _service(facts.MIXED, facts.MIXED_PORTS, facts.LABELS)
    _service(facts.SCTP, facts.SCTP_PORTS, facts.LABELS, internal_traffic_policy="Local")
    _service(facts.NOBODY, facts.NOBODY_PORTS, None)
    ClientPod(facts.CLIENT, namespace=facts.NAMESPACE, image=facts.IMAGE)
    # It selects no pod until an exercise gives one the label.
    networking.v1.NetworkPolicy(
        facts.POLICY,
        metadata=metadata.v1.ObjectMetaArgs(name=facts.POLICY, namespace=facts.NAMESPACE),
        spec=networking.v1.NetworkPolicySpecArgs(
            pod_selector=metadata.v1.LabelSelectorArgs(
                match_labels={facts.POLICY_LABEL: facts.POLICY_VALUE}
            ),
            policy_types=["Ingress"],
            ingress=[
                networking.v1.NetworkPolicyIngressRuleArgs(
                    ports=[
                        networking.v1.NetworkPolicyPortArgs(protocol="SCTP", port=facts.TARGET_PORT)
                    ]
                )
            ],
        ),
    )


def _service(
    name: str,
    ports: Mapping[str, str],
    selector: Mapping[str, str] | None,
    *,
    internal_traffic_policy: str = "Cluster",
) -> None:
    core.v1.Service(
        name,
        metadata=metadata.v1.ObjectMetaArgs(
            name=name, namespace=facts.NAMESPACE, labels=facts.LABELS
        ),
        spec=core.v1.ServiceSpecArgs(
            type="ClusterIP",
            selector=selector,
            internal_traffic_policy=internal_traffic_policy,
            ports=[
                core.v1.ServicePortArgs(
                    name=port,
                    protocol=protocol,
                    port=facts.PORT,
                    target_port=facts.TARGET_PORT,
                )
                for port, protocol in ports.items()
            ],
        ),
    )
