"""The data of the lab: written once, used by its program, its checks and its guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "LoadBalancer: an address from outside, and who gives it"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "its two addresses are the same for all namespaces; each allocator gives both"

DEPLOYMENT: Final = "my-nginx-lb"
LABELS: Final = {"run": "my-nginx-lb"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "my-nginx-lb"
CONTAINER_PORT: Final = 80

PORT_NAME: Final = "http"
PORT: Final = 80
TARGET_PORT: Final = 80

# Four Services for the same pods. Nobody serves the first; the allocator serves the others, and
# has two addresses to give.
PENDING: Final = "my-nginx-lb-pending"
OPEN: Final = "my-nginx-lb"
LOCAL: Final = "my-nginx-lb-local"
THIRD: Final = "my-nginx-lb-third"

LB_CLASS: Final = "l4lab.test/allocator"
ALLOCATOR: Final = "l4lab-allocator"
ALLOCATOR_LABELS: Final = {"run": "l4lab-allocator"}
ALLOCATOR_IMAGE: Final = "localhost/l4lab/toolbox:1"
POOL_SIZE: Final = 2

# What the allocator says of a Service, in its status.
CONDITION: Final = "l4lab.test/Address"
GIVEN: Final = "Given"
NONE_LEFT: Final = "NoneLeft"

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    *(("Service", service) for service in (PENDING, OPEN, LOCAL, THIRD)),
    *(
        (kind, ALLOCATOR)
        for kind in ("Deployment", "ConfigMap", "ServiceAccount", "Role", "RoleBinding")
    ),
)
