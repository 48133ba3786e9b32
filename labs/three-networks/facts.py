"""The data of the lab: written once, used by its program, its checks, its steps and its guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "Three networks: addresses of nodes, of pods, and of Services"
NAMESPACE: Final = "default"
# Whether a class can have it on one cluster, each student in a namespace.
SHARED: Final = True

DEPLOYMENT: Final = "three-networks"
LABELS: Final = {"run": "three-networks"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "nginx"
CONTAINER_PORT: Final = 80

SERVICE: Final = "three-networks"
PORT_NAME: Final = "tcp-80"
PORT: Final = 80
TARGET_PORT: Final = 80
PROTOCOL: Final = "TCP"
# The Service has no such port: nobody answers there, although a ping does.
NO_PORT: Final = 81

# A pod to ask from, with the tools to look at its own interface.
CLIENT: Final = "three-networks-client"
CLIENT_IMAGE: Final = "localhost/l4lab/toolbox:1"

# Names and numbers of the parts that make the networks; none of them is the lab's own.
DUMMY: Final = "kube-ipvs0"
TUNNEL: Final = "vxlan.calico"
TUNNEL_PORT: Final = 4789
POD_LINK: Final = "eth0"
API_PORT: Final = 6443
KUBELET_PORT: Final = 10250

# What these say is true of a cluster without any lab.
ALWAYS_GREEN: Final = ("node-range", "pod-range", "service-range", "node-address", "tunnel")

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    ("Service", SERVICE),
    ("Pod", CLIENT),
)
