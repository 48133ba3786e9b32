"""The data of the lab: written once, used by its program, checks, steps and guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "Headless: a name for all pods, and an address of its own for none"
NAMESPACE: Final = "default"
# Whether a class can have it on one cluster, each student in a namespace.
SHARED: Final = True

# The StatefulSet and its Service have one name; the pods are called NAME-0, NAME-1...
SERVICE: Final = "my-nginx-headless"
LABELS: Final = {"run": "my-nginx-headless"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "web"
CONTAINER_PORT: Final = 80

PORT_NAME: Final = "web"
# Not the port the pods listen on: nobody translates it, so it leads nowhere.
PORT: Final = 8080
TARGET_PORT: Final = 80
PROTOCOL: Final = "TCP"

DOMAIN: Final = "svc.cluster.local"
# How long clients may keep an answer: CoreDNS's setting for the names of the cluster.
TTL_SECONDS: Final = 30

# A pod to ask from, with dig and curl.
CLIENT: Final = "headless-client"
CLIENT_IMAGE: Final = "localhost/l4lab/toolbox:1"

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("StatefulSet", SERVICE),
    ("Service", SERVICE),
    ("Pod", CLIENT),
)
