"""The data of the lab: written once, used by its program, its checks and its guides."""

from __future__ import annotations

from typing import Final

TITLE: Final = "UDP and SCTP: a Service without connections, and one with more than TCP's"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "its network policy adds to a class's own, which lets all of a namespace in"

DEPLOYMENT: Final = "echo-udp-sctp"
LABELS: Final = {"run": "echo-udp-sctp"}
REPLICAS: Final = 2
IMAGE: Final = "localhost/l4lab/toolbox:1"
CONTAINER: Final = "echo"

# One port number for everything: the protocol alone tells the three servers of a pod apart.
PORT: Final = 5300
TARGET_PORT: Final = 5300

MIXED: Final = "echo-mixed"
MIXED_PORTS: Final = {"tcp-echo": "TCP", "udp-echo": "UDP"}
SCTP: Final = "echo-sctp"
SCTP_PORTS: Final = {"sctp-echo": "SCTP"}
# A Service without selector and without endpoints: nobody is behind it.
NOBODY: Final = "echo-nobody"
NOBODY_PORTS: Final = {"tcp-echo": "TCP", "udp-echo": "UDP", "sctp-echo": "SCTP"}
SERVICE_PORTS: Final = {MIXED: MIXED_PORTS, SCTP: SCTP_PORTS, NOBODY: NOBODY_PORTS}

CLIENT: Final = "udp-sctp-client"

# Pods with this label take SCTP only.
POLICY: Final = "echo-only-sctp"
POLICY_LABEL: Final = "l4lab-policy"
POLICY_VALUE: Final = "only-sctp"

# Seconds the kernel keeps an idle entry of its IPVS connection table, by protocol.
IDLE_SECONDS: Final = {"TCP": 900, "UDP": 300}

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    *(("Service", service) for service in SERVICE_PORTS),
    ("NetworkPolicy", POLICY),
    ("Pod", CLIENT),
)
