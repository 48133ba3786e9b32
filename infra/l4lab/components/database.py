"""A Service in front of a database that is no pod, and a pod that can log in to it."""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes import core, discovery
from pulumi_kubernetes import meta as metadata

from l4lab.components.pods import GRACE_SECONDS, SOON

# The folder in which Debian's client looks for its options.
_OPTIONS_FOLDER: Final = "/etc/mysql"
_OPTIONS_FILE: Final = "my.cnf"


def without_selector(
    name: str, *, namespace: str, port: core.v1.ServicePortArgs, opts: pulumi.ResourceOptions
) -> core.v1.Service:
    """A Service that looks for no pods: who answers for it is said by somebody else."""
    return core.v1.Service(
        name,
        metadata=metadata.v1.ObjectMetaArgs(name=name, namespace=namespace),
        spec=core.v1.ServiceSpecArgs(type="ClusterIP", ports=[port]),
        opts=opts,
    )


class ServiceBySlice(pulumi.ComponentResource):
    """A Service without selector and the EndpointSlice that says who answers for it.

    Attributes:
        service: The Service; its ``spec.cluster_ip`` is the cluster address.
        slice: The EndpointSlice.
    """

    service: core.v1.Service
    slice: discovery.v1.EndpointSlice

    def __init__(
        self,
        name: str,
        *,
        slice_name: str,
        namespace: str,
        address: str,
        port_name: str,
        port: int,
        protocol: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:ServiceBySlice", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        self.service = without_selector(
            name,
            namespace=namespace,
            port=core.v1.ServicePortArgs(
                name=port_name, port=port, target_port=port, protocol=protocol
            ),
            opts=own,
        )
        self.slice = discovery.v1.EndpointSlice(
            slice_name,
            metadata=metadata.v1.ObjectMetaArgs(
                name=slice_name,
                namespace=namespace,
                # The label is the only tie to the Service.
                labels={
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "l4lab",
                },
            ),
            address_type="IPv4",
            endpoints=[discovery.v1.EndpointArgs(addresses=[address])],
            ports=[discovery.v1.EndpointPortArgs(name=port_name, port=port, protocol=protocol)],
            opts=own,
        )
        self.register_outputs({"clusterIP": self.service.spec.cluster_ip})


class ServiceByEndpoints(pulumi.ComponentResource):
    """A Service without selector and an Endpoints object: the old way, still understood.

    Attributes:
        service: The Service.
        endpoints: The Endpoints object, which must bear the Service's name.
    """

    service: core.v1.Service
    endpoints: core.v1.Endpoints

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        address: str,
        port_name: str,
        port: int,
        protocol: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:ServiceByEndpoints", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        self.service = without_selector(
            name,
            namespace=namespace,
            port=core.v1.ServicePortArgs(
                name=port_name, port=port, target_port=port, protocol=protocol
            ),
            opts=own,
        )
        subset = core.v1.EndpointSubsetArgs(
            addresses=[core.v1.EndpointAddressArgs(ip=address)],
            ports=[core.v1.EndpointPortArgs(name=port_name, port=port, protocol=protocol)],
        )
        self.endpoints = core.v1.Endpoints(
            name,
            metadata=metadata.v1.ObjectMetaArgs(name=name, namespace=namespace),
            subsets=[subset],
            opts=own,
        )
        self.register_outputs({"clusterIP": self.service.spec.cluster_ip})


class DatabaseClient(pulumi.ComponentResource):
    """A pod with the ``mariadb`` client, whose options come from a Secret.

    Attributes:
        options: The Secret: user, password and schema as the client's option file.
        pod: The pod.
    """

    options: core.v1.Secret
    pod: core.v1.Pod

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        image: str,
        user: str,
        password: pulumi.Output[str],
        schema: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("l4lab:labs:DatabaseClient", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        text = pulumi.Output.concat(
            "[mariadb-client]\n",
            f"user = {user}\n",
            "password = ",
            password,
            f"\ndatabase = {schema}\nconnect-timeout = 3\n",
        )
        self.options = core.v1.Secret(
            name,
            metadata=metadata.v1.ObjectMetaArgs(name=name, namespace=namespace),
            string_data={_OPTIONS_FILE: text},
            opts=own,
        )
        client = core.v1.ContainerArgs(
            name=name,
            image=image,
            image_pull_policy="IfNotPresent",
            command=["sleep", "infinity"],
            volume_mounts=[
                core.v1.VolumeMountArgs(name="options", mount_path=_OPTIONS_FOLDER, read_only=True)
            ],
        )
        options = core.v1.SecretVolumeSourceArgs(secret_name=name, default_mode=0o400)
        self.pod = core.v1.Pod(
            name,
            metadata=metadata.v1.ObjectMetaArgs(
                name=name, namespace=namespace, labels={"run": name}
            ),
            spec=core.v1.PodSpecArgs(
                containers=[client],
                volumes=[core.v1.VolumeArgs(name="options", secret=options)],
                termination_grace_period_seconds=GRACE_SECONDS,
            ),
            opts=pulumi.ResourceOptions.merge(
                own, pulumi.ResourceOptions(depends_on=[self.options])
            ),
        )
        self.register_outputs({})
