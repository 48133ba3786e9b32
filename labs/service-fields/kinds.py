"""The fields type and sessionAffinity: how far a Service reaches, and whom a client gets."""

from __future__ import annotations

from l4lab.checks import (
    API,
    HOST,
    NODES,
    ONCE,
    Look,
    Seen,
    Traffic,
    Unmet,
    Vantage,
    Where,
    check,
    eventually,
)
from l4lab.checks.kernel import NFTABLES, see
from l4lab.checks.service import kernel_row

from . import facts
from .scene import Json, address_of, backends, joined, served, way

REQUESTS = 6
"""Requests of a check that tells one pod from several: a multiple of the backends."""


def _node_ports(spec: Json) -> list[int]:
    return [one["nodePort"] for one in spec["ports"] if one.get("nodePort")]


def _from_outside(look: Look, port: int) -> Seen:
    for node in look.topology.nodes:
        url = f"http://{node.address}:{port}/"
        for answer in look.curl(url):
            if not answer.fine:
                raise Unmet(
                    f"{node.name} ({url}): {answer}",
                    fault=answer.fault,
                    causes=("kube-proxy does not run on that node", "its kernel lags behind"),
                    then=see(look.at(Vantage(Where.NODE, node.name)), f"{node.address}:{port}"),
                )
    return Seen(f"port {port} answers at {joined(node.address for node in look.topology.nodes)}")


@check(
    id="type-cluster-ip",
    title="type ClusterIP opens nothing to the outside",
    why="It is the type you get when you name none: an address for the inside of the cluster only.",
    expect="no node port, and no balancer's address",
    anchor="type",
    vantage=API,
)
def type_cluster_ip(look: Look) -> Seen:
    """Read the fields that would open it."""
    found = look.get("Service", facts.AUTO)
    opened = [*_node_ports(found["spec"]), *_given(found)]
    if found["spec"]["type"] != "ClusterIP" or opened:
        raise Unmet(f"{found['spec']['type']}, {joined(opened)}", expected="ClusterIP, nothing")
    return Seen("ClusterIP: no node port, no outside address")


@check(
    id="type-node-port",
    title="type NodePort opens one port on every node",
    why="Whoever reaches any node reaches the Service, without knowing where its pods are.",
    expect=f"an answer from outside at port {facts.NODE_PORT} of each node",
    anchor="type",
    vantage=HOST,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.NODE),
)
def type_node_port(look: Look) -> Seen:
    """Ask each node from outside."""
    look.at(API).get("Service", facts.NODE)
    return _from_outside(look, facts.NODE_PORT)


@check(
    id="type-load-balancer",
    title="type LoadBalancer is a NodePort that waits for an address",
    why="Kubernetes itself has no load balancer. The type asks somebody else for an address; while "
    "nobody answers it is pending, and its node port works all the same.",
    expect="no address from a balancer, and an answer from outside at an automatic node port",
    anchor="type",
    vantage=HOST,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.BALANCER),
)
def type_load_balancer(look: Look) -> Seen:
    """Read the status, then ask the node port from outside."""
    found = look.at(API).get("Service", facts.BALANCER)
    if given := _given(found):
        raise Unmet(
            f"it has {joined(given)}",
            expected=f"no address: nobody serves the class {facts.BALANCER_CLASS}",
            causes=("a controller hands out addresses without looking at the class",),
            then=f"./l4lab kubectl get service {facts.BALANCER} -o yaml",
        )
    ports = _node_ports(found["spec"])
    low, high = facts.NODE_PORTS
    if len(ports) != 1 or not low <= ports[0] <= high:
        raise Unmet(f"node port {joined(ports)}", expected=f"one port of {low}-{high}")
    return Seen(f"address pending; {_from_outside(look, ports[0]).text}")


def _given(service: Json) -> list[str]:
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [one.get("ip") or one.get("hostname", "") for one in ingress]


@check(
    id="affinity-none",
    title="sessionAffinity: None is the default: each connection goes to the next pod",
    why="Nothing is remembered between two connections of the same client.",
    expect="both pods answer one client",
    anchor="session-affinity",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.AUTO),
)
def affinity_none(look: Look) -> Seen:
    """Ask several times from one place."""
    backends(look)
    # All of 24 fair draws the same: once in eight million times.
    times = 24 if look.mode == NFTABLES else REQUESTS
    pods = served(look.curl(f"http://{address_of(look, facts.AUTO)}:{facts.PORT}/", times=times))
    if len(pods) != facts.REPLICAS:
        raise Unmet(f"only {joined(pods)} answered", expected=f"{facts.REPLICAS} pods")
    return Seen(f"{times} requests: {joined(pods)}")


@check(
    id="affinity-client-ip",
    title="sessionAffinity: ClientIP keeps a client at one pod",
    why="The kernel remembers which pod the client's address was given, and gives it again.",
    expect="one pod answers one client, however often it asks",
    anchor="session-affinity",
    vantage=NODES,
    verb=eventually(hold=ONCE),
    traffic=Traffic.SOME,
    path=way(facts.STICKY),
)
def affinity_client_ip(look: Look) -> Seen:
    """Ask several times from one place."""
    url = f"http://{address_of(look, facts.STICKY)}:{facts.PORT}/"
    times = 24 if look.mode == NFTABLES else REQUESTS
    pods = served(look.curl(url, times=times))
    if len(pods) != 1:
        raise Unmet(
            f"{joined(pods)} answered",
            expected="one pod",
            causes=("sessionAffinity is None", "kube-proxy has not caught up on this node"),
            then=see(look),
        )
    return Seen(f"{times} requests: {pods[0]}")


@check(
    id="affinity-timeout",
    title="timeoutSeconds is how long a client is remembered",
    why=f"Without it the API server writes {facts.DEFAULT_SECONDS} seconds, three hours. The "
    "kernel's row shows what counts.",
    expect=f"persistent {facts.DEFAULT_SECONDS} by default, persistent {facts.SHORT_SECONDS} where "
    "it was set",
    anchor="session-affinity",
    vantage=NODES,
)
def affinity_timeout(look: Look) -> Seen:
    """Read the flags of three rows."""
    wanted = {
        facts.AUTO: "",
        facts.STICKY: f"persistent {facts.DEFAULT_SECONDS}",
        facts.SHORT: f"persistent {facts.SHORT_SECONDS}",
    }
    for name, flags in wanted.items():
        row = kernel_row(look, f"{address_of(look, name)}:{facts.PORT}")
        if row.flags != flags:
            raise Unmet(
                f"{name}: {row.flags or 'no flag'}",
                expected=f"{name}: {flags or 'no flag'}",
                causes=("the Service was changed", "kube-proxy has not caught up on this node"),
                then=see(look, row.address),
            )
    return Seen(joined(f"{name}: {flags or 'no flag'}" for name, flags in wanted.items()))
