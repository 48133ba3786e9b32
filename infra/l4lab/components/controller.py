"""A small controller written in shell, with no more rights than it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes import apps, core, rbac
from pulumi_kubernetes import meta as metadata

from l4lab.components.pods import GRACE_SECONDS, SOON

_FOLDER = "/etc/controller"
_FILE = "run.sh"


class ShellController(pulumi.ComponentResource):
    """A pod that runs a script under a ServiceAccount of its own; all its objects bear one name.

    Attributes:
        deployment: The Deployment, which never has two pods at once.
    """

    deployment: apps.v1.Deployment

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        labels: Mapping[str, str],
        image: str,
        script: str,
        environment: Mapping[str, str],
        rules: Sequence[rbac.v1.PolicyRuleArgs],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare it.

        Args:
            name: The name of Deployment, ConfigMap, ServiceAccount, Role and RoleBinding.
            namespace: Where they are, and where the Role is valid.
            labels: What the pod carries.
            image: What it runs: a shell, and what the script calls.
            script: The script; where it changes, the pod is made anew.
            environment: Its variables.
            rules: What it may do at the API server.
            opts: Pulumi's options.
        """
        super().__init__("l4lab:labs:ShellController", name, None, opts)
        own = pulumi.ResourceOptions(parent=self, custom_timeouts=SOON)
        meta = metadata.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=labels)
        account = core.v1.ServiceAccount(name, metadata=meta, opts=own)
        role = rbac.v1.Role(name, metadata=meta, rules=rules, opts=own)
        binding = rbac.v1.RoleBinding(
            name,
            metadata=meta,
            role_ref=rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io", kind="Role", name=name
            ),
            subjects=[rbac.v1.SubjectArgs(kind="ServiceAccount", name=name, namespace=namespace)],
            opts=pulumi.ResourceOptions.merge(own, pulumi.ResourceOptions(depends_on=[role])),
        )
        code = core.v1.ConfigMap(name, metadata=meta, data={_FILE: script}, opts=own)
        digest = hashlib.sha256(script.encode()).hexdigest()
        container = core.v1.ContainerArgs(
            name=name,
            image=image,
            image_pull_policy="IfNotPresent",
            command=["sh", f"{_FOLDER}/{_FILE}"],
            env=[
                core.v1.EnvVarArgs(name=variable, value=value)
                for variable, value in environment.items()
            ],
            volume_mounts=[core.v1.VolumeMountArgs(name="script", mount_path=_FOLDER)],
        )
        self.deployment = apps.v1.Deployment(
            name,
            metadata=meta,
            spec=apps.v1.DeploymentSpecArgs(
                replicas=1,
                selector=metadata.v1.LabelSelectorArgs(match_labels=labels),
                strategy=apps.v1.DeploymentStrategyArgs(type="Recreate"),
                template=core.v1.PodTemplateSpecArgs(
                    metadata=metadata.v1.ObjectMetaArgs(
                        labels=labels, annotations={"l4lab.test/script": digest}
                    ),
                    spec=core.v1.PodSpecArgs(
                        service_account_name=name,
                        containers=[container],
                        volumes=[
                            core.v1.VolumeArgs(
                                name="script",
                                config_map=core.v1.ConfigMapVolumeSourceArgs(name=name),
                            )
                        ],
                        termination_grace_period_seconds=GRACE_SECONDS,
                    ),
                ),
            ),
            opts=pulumi.ResourceOptions.merge(
                own, pulumi.ResourceOptions(depends_on=[account, binding, code])
            ),
        )
        self.register_outputs({})
