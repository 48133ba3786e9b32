"""The data of the lab: written once, used by its program and by its checks."""

from __future__ import annotations

from typing import Final

TITLE: Final = "ClusterIP: one address inside the cluster for many pods"
NAMESPACE: Final = "default"
# Whether a class can have it on one cluster, each student in a namespace.
SHARED: Final = True

DEPLOYMENT: Final = "my-nginx"
LABELS: Final = {"run": "my-nginx"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "my-nginx"
CONTAINER_PORT: Final = 80

SERVICE: Final = "my-nginx"
PORT_NAME: Final = "tcp-80"
PORT: Final = 80
TARGET_PORT: Final = 80
PROTOCOL: Final = "TCP"
APP_PROTOCOL: Final = "http"

# A pod to ask from: the view from inside the cluster.
CLIENT: Final = "client"
CLIENT_IMAGE: Final = "docker.io/library/busybox:1.35"

# kube-proxy runs without any lab.
ALWAYS_GREEN: Final = ("proxy-mode",)

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    ("Service", SERVICE),
    ("Pod", CLIENT),
)
