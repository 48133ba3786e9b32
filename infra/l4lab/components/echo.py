"""Pods that answer over TCP, UDP and SCTP with their name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes import apps, core

from l4lab.components.pods import SOON, spread_deployment

# One child a connection or datagram, and no program is started for it: the answer is a file, what
# the client says goes to /dev/null. An empty datagram tells a UDP client that the answer is whole.
# SCTP cannot be closed in one direction alone: its server waits a second for what the client says.
# The shell waits all the time, so that no process stays behind as a zombie.
# For each datagram socat waits until a child has taken it. Under many at once its signal was seen
# to come before the waiting, which then has no end: who is not answered ends that server.
_SERVERS: Final = """\
mkdir -p /srv/answers
serve() {
  echo "$(hostname) $1" >/srv/answers/$1
  while :; do
    socat -t 1 -T 5 $2,fork OPEN:/srv/answers/$1,rdonly!!OPEN:/dev/null,wronly &
    echo $! >/srv/answers/$1.pid
    wait $!
    echo "the $1 server has ended with $?"
    sleep 1
  done
}
answers() {
  socat -t 3 - UDP4:127.0.0.1:$PORT,null-eof </srv/answers/UDP 2>/dev/null | grep -q .
}
watch() {
  while sleep 5; do
    answers || answers || kill -9 $(cat /srv/answers/UDP.pid)
  done
}
serve TCP TCP4-LISTEN:$PORT,reuseaddr,max-children=40 &
serve UDP UDP4-RECVFROM:$PORT,shut-null &
serve SCTP SCTP4-LISTEN:$PORT,shut-none,reuseaddr,max-children=40 &
watch &
wait
"""


class EchoServers(pulumi.ComponentResource):
    """A Deployment whose pods answer whatever they are told with the line ``POD PROTOCOL``.

    The image must have a shell and socat.

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
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare it: ``replicas`` pods, each with three servers on ``port``."""
        super().__init__("l4lab:labs:EchoServers", name, None, opts)
        servers = core.v1.ContainerArgs(
            name=container,
            image=image,
            image_pull_policy="IfNotPresent",
            command=["sh", "-c", _SERVERS],
            env=[core.v1.EnvVarArgs(name="PORT", value=str(port))],
            ports=[
                core.v1.ContainerPortArgs(container_port=port, protocol=protocol)
                for protocol in ("TCP", "UDP", "SCTP")
            ],
        )
        self.deployment = spread_deployment(
            name,
            namespace=namespace,
            labels=labels,
            replicas=replicas,
            container=servers,
            opts=pulumi.ResourceOptions(parent=self, custom_timeouts=SOON),
        )
        self.register_outputs({})
