"""The data of the lab: written once, used by its program, its checks, its steps and its guides.

Services are written as the API knows them, field by field: that is what this lab is about.
"""

from __future__ import annotations

from typing import Any, Final

TITLE: Final = "The fields of a Service: what each does, and what the API says to a wrong value"
NAMESPACE: Final = "default"
# Why no class can share it on one cluster.
NOT_SHARED: Final = "it chooses cluster addresses and node ports, which are given only once"

DEPLOYMENT: Final = "fields"
LABELS: Final = {"run": "fields"}
REPLICAS: Final = 2
IMAGE: Final = "docker.io/library/nginx:1.22"
CONTAINER: Final = "nginx"
CONTAINER_PORT: Final = 80
CONTAINER_PORT_NAME: Final = "web"

CLIENT: Final = "service-fields-client"
CLIENT_IMAGE: Final = "localhost/l4lab/toolbox:1"

AUTO: Final = "fields-auto"
CHOSEN: Final = "fields-chosen"
HEADLESS: Final = "fields-headless"
PORTS: Final = "fields-ports"
NODE: Final = "fields-node"
BALANCER: Final = "fields-balancer"
STICKY: Final = "fields-sticky"
SHORT: Final = "fields-sticky-short"
# The name of Services that are only tried, or made for a moment.
TRIED: Final = "fields-tried"

# The chosen address is this much above the service network's own: the API server keeps the lowest
# addresses for those who choose.
CHOSEN_OFFSET: Final = 77
# Ports of Services, and the names of two.
PORT: Final = 80
CHOSEN_PORT: Final = 8080
PORT_NAME: Final = "http"
APP_PROTOCOL: Final = "http"
PLAIN_NAME: Final = "tcp-7"
SHARED_PORT: Final = 7
NODE_PORT: Final = 30391
NODE_PORTS: Final = (30000, 32767)
BELOW_NODE_PORTS: Final = 8080
# Nobody serves this class, so the Service waits for an address for ever.
BALANCER_CLASS: Final = "l4lab.example/nobody"
DEFAULT_SECONDS: Final = 10800
SHORT_SECONDS: Final = 60
# From a range for documents, which no cluster uses.
FOREIGN_ADDRESS: Final = "192.0.2.1"

_HTTP: Final[dict[str, Any]] = {
    "name": PORT_NAME,
    "port": PORT,
    "targetPort": CONTAINER_PORT,
    "protocol": "TCP",
    "appProtocol": APP_PROTOCOL,
}
_PLAIN: Final[dict[str, Any]] = {"port": PORT, "targetPort": CONTAINER_PORT}

# clusterIP of the chosen one is added to these: it depends on the cluster's service network.
SERVICES: Final[dict[str, dict[str, Any]]] = {
    AUTO: {"type": "ClusterIP", "selector": LABELS, "ports": [_HTTP]},
    CHOSEN: {
        "type": "ClusterIP",
        "selector": LABELS,
        "ports": [{"port": CHOSEN_PORT, "targetPort": CONTAINER_PORT_NAME}],
    },
    HEADLESS: {"type": "ClusterIP", "clusterIP": "None", "selector": LABELS, "ports": [_HTTP]},
    PORTS: {
        "type": "ClusterIP",
        "selector": LABELS,
        "ports": [
            _HTTP,
            {"name": PLAIN_NAME, "port": SHARED_PORT, "targetPort": CONTAINER_PORT},
            {
                "name": "udp-7",
                "port": SHARED_PORT,
                "targetPort": CONTAINER_PORT,
                "protocol": "UDP",
            },
            {
                "name": "sctp-7",
                "port": SHARED_PORT,
                "targetPort": CONTAINER_PORT,
                "protocol": "SCTP",
            },
        ],
    },
    NODE: {"type": "NodePort", "selector": LABELS, "ports": [{**_PLAIN, "nodePort": NODE_PORT}]},
    BALANCER: {
        "type": "LoadBalancer",
        "loadBalancerClass": BALANCER_CLASS,
        "selector": LABELS,
        "ports": [_PLAIN],
    },
    STICKY: {
        "type": "ClusterIP",
        "selector": LABELS,
        "ports": [_PLAIN],
        "sessionAffinity": "ClientIP",
    },
    SHORT: {
        "type": "ClusterIP",
        "selector": LABELS,
        "ports": [_PLAIN],
        "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": SHORT_SECONDS}},
    },
}

# What the API must refuse. Each is the spec of the named Service with these fields put in the place
# of its own (a field that is null is left out), and what the refusal must say. ``ports`` is
# put in as a whole.
WRONG: Final[dict[str, list[dict[str, Any]]]] = {
    "cluster-ip": [
        {
            "what": "an address outside the range",
            "of": AUTO,
            "with": {"clusterIP": FOREIGN_ADDRESS},
            "says": "is not in the valid range. The range of valid IPs is",
        },
        {
            "what": "no address at all",
            "of": AUTO,
            "with": {"clusterIP": "10.10.0.300"},
            "says": "must be a valid IP address",
        },
        {
            "what": "no address for a NodePort",
            "of": NODE,
            "with": {"clusterIP": "None"},
            "says": "may not be set to 'None' for NodePort services",
        },
    ],
    "port": [
        {
            "what": "port 0",
            "of": AUTO,
            "with": {"ports": [{"port": 0}]},
            "says": "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535",
        },
        {
            "what": "no port",
            "of": AUTO,
            "with": {"ports": []},
            "says": "spec.ports: Required value",
        },
        {
            "what": "the same port and protocol twice",
            "of": AUTO,
            "with": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]},
            "says": "spec.ports[1]: Duplicate value",
        },
    ],
    "target-port": [
        {
            "what": "a number as text",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "targetPort": "8080"}]},
            "says": 'targetPort: Invalid value: "8080": must contain at least one letter',
        },
        {
            "what": "a name of 16 letters",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "targetPort": "my-long-web-port"}]},
            "says": "must be no more than 15 characters",
        },
    ],
    "name": [
        {
            "what": "the same name twice",
            "of": AUTO,
            "with": {"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]},
            "says": 'spec.ports[1].name: Duplicate value: "a"',
        },
        {
            "what": "one of two ports without a name",
            "of": AUTO,
            "with": {"ports": [{"name": "a", "port": 80}, {"port": 81}]},
            "says": "spec.ports[1].name: Required value",
        },
        {
            "what": "capital letters",
            "of": AUTO,
            "with": {"ports": [{"name": "Web", "port": 80}]},
            "says": "a lowercase RFC 1123 label must consist of lower case",
        },
    ],
    "protocol": [
        {
            "what": "a protocol of another layer",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "protocol": "HTTP"}]},
            "says": 'supported values: "SCTP", "TCP", "UDP"',
        },
        {
            "what": "small letters",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "protocol": "tcp"}]},
            "says": 'protocol: Unsupported value: "tcp"',
        },
    ],
    "app-protocol": [
        {
            "what": "a space",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "appProtocol": "my http"}]},
            "says": 'appProtocol: Invalid value: "my http"',
        },
    ],
    "selector": [
        {
            "what": "a value with a space",
            "of": AUTO,
            "with": {"selector": {"run": "my fields"}},
            "says": 'spec.selector: Invalid value: "my fields"',
        },
        {
            "what": "a text instead of pairs",
            "of": AUTO,
            "with": {"selector": "fields"},
            "says": "cannot unmarshal string into Go struct field ServiceSpec.spec.selector",
        },
    ],
    "type": [
        {
            "what": "a type that does not exist",
            "of": AUTO,
            "with": {"type": "Nodeport"},
            "says": 'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        },
    ],
    "node-port": [
        {
            "what": "a taken port",
            "of": NODE,
            "with": {"ports": [{"port": 80, "nodePort": NODE_PORT}]},
            "says": f"nodePort: Invalid value: {NODE_PORT}: provided port is already allocated",
        },
        {
            "what": "a node port for type ClusterIP",
            "of": AUTO,
            "with": {"ports": [{"port": 80, "nodePort": NODE_PORT}]},
            "says": "nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        },
    ],
    "affinity": [
        {
            "what": "an affinity that does not exist",
            "of": STICKY,
            "with": {"sessionAffinity": "Client"},
            "says": 'sessionAffinity: Unsupported value: "Client": supported values: '
            '"ClientIP", "None"',
        },
        {
            "what": "no second",
            "of": SHORT,
            "with": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "says": "timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
        },
        {
            "what": "more than a day",
            "of": SHORT,
            "with": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}},
            "says": "timeoutSeconds: Invalid value: 86401",
        },
    ],
    "course-example": [
        {
            "what": "port instead of ports",
            "of": HEADLESS,
            "with": {
                "ports": None,
                "port": [{"port": 80}],
                "sessionAffinity": "ClientIP",
            },
            "says": 'strict decoding error: unknown field "spec.port"',
        },
    ],
}
# What the API server says to affinity without a proxy.
NO_PROXY_WARNING: Final = "spec.SessionAffinity is ignored for headless services"

# Kind and name of all that the program, a step or an exercise makes: what a reset deletes where
# somebody has made it by hand.
OBJECTS: Final = (
    ("Deployment", DEPLOYMENT),
    *(("Service", service) for service in (*SERVICES, TRIED)),
    ("Pod", CLIENT),
)
