"""What the API says: Deployment, pods, Service, EndpointSlice."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from l4lab.checks import API, ONCE, Look, Seen, Unmet, check, eventually
from l4lab.checks.diff import differences
from l4lab.checks.service import cluster_address, endpoints, same_backends
from labs.clusterip import facts
from labs.clusterip.scene import WAY, backends


@check(
    id="deployment",
    title="the Deployment is as the lab declares it, and available",
    why="A Deployment keeps a number of equal pods alive; clients must not care which ones.",
    expect=f"{facts.REPLICAS} replicas of {facts.IMAGE}, port {facts.CONTAINER_PORT}, available",
    anchor="pods",
    vantage=API,
)
def deployment(look: Look) -> Seen:
    """Compare the fields that the lab sets, and the status."""
    found = look.get("Deployment", facts.DEPLOYMENT)
    template = {
        "metadata": {"labels": facts.LABELS},
        "spec": {
            "containers": [
                {
                    "image": facts.IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "ports": [{"containerPort": facts.CONTAINER_PORT}],
                }
            ]
        },
    }
    wanted = {
        "spec": {"replicas": facts.REPLICAS, "template": template},
        "status": {"readyReplicas": facts.REPLICAS},
    }
    if lines := differences(wanted, found):
        raise Unmet(
            "\n".join(lines),
            causes=("the Deployment was changed after it was deployed", "its pods do not start"),
            then=f"./l4lab kubectl describe deployment {facts.DEPLOYMENT}",
        )
    return Seen(f"{facts.REPLICAS} of {facts.REPLICAS} ready")


@check(
    id="pod-addresses",
    title="every pod has an address of its own from the pod network",
    why="A pod's address is its own and goes with it; that is why nobody should keep it.",
    expect="as many different addresses of the pod network as there are pods",
    anchor="pods",
    vantage=API,
)
def pod_addresses(look: Look) -> Seen:
    """Look at the addresses in the pods' status."""
    addresses = [pod.address for pod in backends(look)]
    network = look.topology.networks.pods
    if foreign := [one for one in addresses if IPv4Address(one) not in network]:
        raise Unmet(
            f"{', '.join(foreign)} not in {network}", then="./l4lab kubectl get pods -o wide"
        )
    if len(set(addresses)) != len(addresses):
        raise Unmet(f"an address is there twice: {', '.join(addresses)}")
    return Seen(f"{', '.join(addresses)} in {network}")


@check(
    id="service-fields",
    title="the Service's fields are as the lab declares them",
    why="These few fields are all that Kubernetes needs to balance TCP connections.",
    expect="type ClusterIP, its one port and its selector as declared",
    anchor="service",
    vantage=API,
)
def service_fields(look: Look) -> Seen:
    """Compare the fields that the lab is about, and only those."""
    found = look.get("Service", facts.SERVICE)["spec"]
    port = {
        "name": facts.PORT_NAME,
        "port": facts.PORT,
        "targetPort": facts.TARGET_PORT,
        "protocol": facts.PROTOCOL,
        "appProtocol": facts.APP_PROTOCOL,
    }
    wanted = {"type": "ClusterIP", "ports": [port], "selector": facts.LABELS}
    if lines := differences(wanted, found):
        raise Unmet(
            "\n".join(lines),
            causes=("the Service was changed after it was deployed",),
            then=f"./l4lab kubectl get service {facts.SERVICE} -o yaml",
        )
    return Seen(f"ClusterIP, {facts.PORT} to {facts.TARGET_PORT}/{facts.PROTOCOL}")


@check(
    id="service-address",
    title="the cluster address is from the service network",
    why="The address is taken from a range of its own, which no machine and no pod uses.",
    expect="an address inside the service network, outside the two others",
    anchor="service",
    vantage=API,
)
def service_address(look: Look) -> Seen:
    """Hold the address against the three networks."""
    address = IPv4Address(cluster_address(look, facts.SERVICE))
    networks = look.topology.networks
    if address not in networks.services or address in networks.nodes or address in networks.pods:
        raise Unmet(f"{address}, and the service network is {networks.services}")
    return Seen(f"{address} in {networks.services}")


@check(
    id="selector",
    title="the Service's selector finds the lab's pods and no others",
    why="Label and selector are the only tie between a Service and its pods: no name, no address.",
    expect="the selector matches exactly the pods of the Deployment",
    anchor="selector",
    vantage=API,
)
def selector(look: Look) -> Seen:
    """Do by hand what the endpoint controller does: match labels."""
    wanted = {pod.name for pod in backends(look)}
    rule = look.get("Service", facts.SERVICE)["spec"].get("selector") or {}
    found = {item["metadata"]["name"] for item in look.find("Pod", rule)} if rule else set()
    text = ",".join(f"{key}={value}" for key, value in rule.items()) or "(no selector)"
    if found != wanted:
        raise Unmet(
            f"{text} matches {', '.join(sorted(found)) or 'no pod'}",
            expected=f"it matches {', '.join(sorted(wanted))}",
            causes=("the selector is misspelled", "the pods carry another label"),
            then="./l4lab kubectl get pods --show-labels",
        )
    return Seen(f"{text} matches {len(found)} pods")


@check(
    id="endpoints",
    title="the EndpointSlice lists exactly the ready pods",
    why="The EndpointSlice is the answer to the selector; kube-proxy reads nothing else.",
    expect="the address and port of each ready pod, nothing else",
    anchor="endpoints",
    vantage=API,
    path=WAY[:1],
)
def slice_follows(look: Look) -> Seen:
    """Hold the slices against the pods."""
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    look.get("Service", facts.SERVICE)
    found = endpoints(look, facts.SERVICE)
    same_backends(
        "the EndpointSlice",
        found,
        wanted,
        then=f"./l4lab kubectl describe service {facts.SERVICE}",
    )
    return Seen(", ".join(found))


@check(
    id="describe",
    title="kubectl describe shows both endpoints",
    why="Endpoints in `describe service` is the first line to read when a Service does not answer.",
    expect="the line Endpoints names every pod",
    anchor="endpoints",
    vantage=API,
    verb=eventually(hold=ONCE),
)
def describe(look: Look) -> Seen:
    """Read the lines a learner reads."""
    wanted = [f"{pod.address}:{facts.TARGET_PORT}" for pod in backends(look)]
    look.get("Service", facts.SERVICE)
    text = look.kubectl("describe", "service", facts.SERVICE, "-n", look.namespace).stdout
    line = next((line for line in text.splitlines() if line.startswith("Endpoints:")), "")
    same_backends("the line Endpoints", re.findall(r"[\d.]+:\d+", line), wanted)
    return Seen(" ".join(line.split()))
