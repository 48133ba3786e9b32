"""The data of the lab: written once, used by its program, checks, steps and guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "NodePort: a Service that every node opens to the outside"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "its two node ports are the same for all namespaces, and its checks name them"

DEPLOYMENT: Final = "my-nginx-nodeport"
LABELS: Final = {"run": "my-nginx-nodeport"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "my-nginx"
CONTAINER_PORT: Final = 80

SERVICE: Final = "my-nginx-nodeport"
PORT_NAME: Final = "tcp-80"
PORT: Final = 80
TARGET_PORT: Final = 80
PROTOCOL: Final = "TCP"
NODE_PORT: Final = 30380

# The same pods once more: each node hands connections to its own pods only.
LOCAL_SERVICE: Final = "my-nginx-nodeport-local"
LOCAL_NODE_PORT: Final = 30381

# The API server's own default: --service-node-port-range.
NODE_PORTS: Final = (30000, 32767)
# Ports that are refused: one below the range, one just above it.
OUT_OF_RANGE: Final = (8080, 32768)
# The name of the Service that asks for them.
OFFERED: Final = "nodeport-offered"
# Where the Service moves to, and back from.
OTHER_NODE_PORT: Final = 30389

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    *(("Service", service) for service in (SERVICE, LOCAL_SERVICE, OFFERED)),
)
