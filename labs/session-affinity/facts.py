"""The data of the lab: written once, used by its program, checks, steps and guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "Session affinity: one client, one pod, for a time"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "its node port is the same for all namespaces, and its checks name it"

DEPLOYMENT: Final = "sticky"
LABELS: Final = {"run": "sticky"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "web"
CONTAINER_PORT: Final = 80

PORT_NAME: Final = "tcp-80"
PORT: Final = 80
TARGET_PORT: Final = 80
PROTOCOL: Final = "TCP"

# Three Services before the same pods. The first keeps a client for a short time, and can be asked
# from outside too, where clients have addresses of their own.
SERVICE: Final = "sticky"
NODE_PORT: Final = 30382
TIMEOUT_SECONDS: Final = 15
# The second names no time-out: the API server fills in its default.
DEFAULT_SERVICE: Final = "sticky-default"
DEFAULT_TIMEOUT_SECONDS: Final = 10800
# The third keeps nobody.
PLAIN_SERVICE: Final = "sticky-none"

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    *(("Service", service) for service in (SERVICE, DEFAULT_SERVICE, PLAIN_SERVICE)),
)
