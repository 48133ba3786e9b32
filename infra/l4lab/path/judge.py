"""Where a connection died, and why: the first place where what was measured is not as it must be.

Each function looks at one hop, in the order a packet passes them, and either knows that the
packet died there or lets the next one look.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network

from l4lab.checks.look import as_typed
from l4lab.checks.model import Fault
from l4lab.path.beyond import at_backend, died, fault_of, silent, suspects
from l4lab.path.measured import Kind, Measured
from l4lab.path.model import Death
from l4lab.path.names import unknown_name
from l4lab.path.proxy import Nftables
from l4lab.path.snapshot import Service

_PROXIES = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-proxy -o wide"
_PROXY_LOGS = "./l4lab kubectl logs -n kube-system -l k8s-app=kube-proxy --tail=20"


def death(found: Measured) -> Death | None:
    """Where and why the connection died; None where it was answered."""
    if found.outcome and not found.outcome.fault:
        return _somebody_else(found)
    for look in _IN_ORDER:
        if ended := look(found):
            return ended
    fault = found.outcome.fault if found.outcome else None
    return Death(
        hop="answer",
        fault=fault or Fault.OTHER,
        seen=found.outcome.said if found.outcome else "no connection was made",
        causes=("nothing that was measured on the way differs from what it should be",),
        then="./l4lab kubectl get pods -A -o wide",
    )


def _somebody_else(found: Measured) -> Death | None:
    """An answer through an address that no kernel translates is the node's own."""
    known = found.running and found.running.reader and "proxy" not in found.problems
    if not (found.virtual and known) or found.entry or found.backend or not found.outcome:
        return None
    node = found.handler
    cause = f"the address is {node}'s own while it is bound there, and a program on it listens on "
    missing = _no_entry(found)
    return Death(
        hop="proxy",
        fault=Fault.WRONG_BACKEND,
        seen=f"{node} itself answered ({found.outcome.said}): it has no row for "
        f"{found.destination}",
        causes=(*(missing.causes if missing else ()), f"{cause}port {found.target.port}"),
        then=missing.then if missing else _PROXIES,
    )


# --- address and route --------------------------------------------------------------------------


def _route(found: Measured) -> Death | None:
    lost = found.route is not None and bool(found.route.problem)
    inner = found.kind in (Kind.CLUSTER, Kind.POD)
    if found.handler or not (lost or inner):
        return None
    client = found.client.place
    where = f"{client} has no route to {found.address}"
    if found.route and not lost:
        where = f"the route of {client} to {found.address} leads to no node ({found.route})"
    if not inner:
        return died(
            "route",
            fault_of(found),
            where,
            causes=("the network of this place is not set up",),
            then="./l4lab status",
        )
    what = "a cluster address is known" if found.kind is Kind.CLUSTER else "pods are reached"
    cause = f"{what} only in the kernels of the cluster's nodes, and {client} is not one"
    node = found.topology.nodes[-1].name
    way_in = f"./l4lab path {node} {found.destination}"
    service = found.target.service
    if service and any(port.node_port for port in service.ports):
        way_in = f"./l4lab path {found.client.text} nodeport:{service}"
    return died(
        "route",
        fault_of(found),
        where,
        causes=(cause, "from outside, ask a nodePort (a Service of type NodePort) instead"),
        then=way_in,
    )


def _unclaimed(found: Measured) -> Death | None:
    """An external address is nobody's, unless somebody says by ARP that it has it."""
    if found.handler or not found.by_arp:
        return None
    cause = "a machine that is no node has the same address, or a node cannot be asked"
    if not found.card and not any(found.bound.values()):
        cause = "no node holds the address: kube-proxy binds it in mode ipvs only"
    elif not found.card:
        cause = "the nodes that hold the address keep silent: strictARP, or arp_ignore, is set"
    return died(
        "route",
        fault_of(found),
        found.taker,
        causes=(cause,),
        then=as_typed(found.client.machine, ("ip", "neigh", "show", found.address)),
    )


# --- the choice of a backend --------------------------------------------------------------------


def _loopback(found: Measured) -> Death | None:
    if found.kind is not Kind.LOOPBACK or not found.target.service or found.entry:
        return None
    machine = found.client.machine.name
    own = found.topology.machine(machine)
    if not own:
        return None
    return died(
        "proxy",
        fault_of(found),
        f"nothing on {machine} takes {found.destination}",
        causes=("a nodePort is not served on loopback addresses in modes ipvs and nftables",),
        then=f"./l4lab path {found.client.text} {own.name}:{found.target.port}",
    )


def _no_entry(found: Measured) -> Death | None:
    if not found.virtual or found.entry or "proxy" in found.problems:
        return None
    if found.running is None or (found.running.mode and found.running.reader is None):
        return None
    service, port = found.target.service, found.target.service_port
    seen = f"the kernel of {found.handler} has no row {found.target.protocol} {found.destination}"
    if service and port:
        return _lagging(found, seen)
    if service:
        listed = ", ".join(f"{one.port}/{one.protocol}" for one in service.ports)
        return died(
            "proxy",
            fault_of(found),
            seen,
            causes=(f"Service {service} has no port {found.target.port}: it has {listed}",),
            then=f"./l4lab kubectl describe service {service.flag}",
        )
    what = "nodePort" if found.kind is Kind.NODE_PORT else "cluster address"
    number = found.target.port if found.kind is Kind.NODE_PORT else found.address
    return died(
        "proxy",
        fault_of(found),
        seen,
        causes=(f"no Service has the {what} {number}",),
        then="./l4lab kubectl get services -A",
    )


def _lagging(found: Measured, seen: str) -> Death:
    """The API knows better than the kernel."""
    node, running = found.handler, found.running
    if running and not running.mode:
        causes: tuple[str, ...] = (
            f"kube-proxy on {node} is stopped or hangs ({running.problem}), so its kernel "
            "is not kept up to date",
        )
        return died("proxy", fault_of(found), seen, causes=causes, then=_PROXIES)
    causes = (
        f"kube-proxy on {node} has not caught up with the API",
        "somebody took it out of the kernel by hand",
    )
    return died("proxy", fault_of(found), seen, causes=causes, then=_PROXY_LOGS)


def _not_let_in(found: Measured) -> Death | None:
    """What loadBalancerSourceRanges does not name is dropped before there is a choice."""
    service, outcome, client = found.target.service, found.outcome, found.client_address
    if found.kind is not Kind.EXTERNAL or not (service and outcome and client):
        return None
    if outcome.connected or found.taken or not (found.handler and service.source_ranges):
        return None
    # A node that asks its own address is let in.
    ranges = [IPv4Network(one, strict=False) for one in service.source_ranges if ":" not in one]
    if client == found.address or any(IPv4Address(client) in one for one in ranges):
        return None
    listed = ", ".join(service.source_ranges)
    return died(
        "proxy",
        fault_of(found),
        f"{found.handler} took nothing from {client} for {found.destination}",
        causes=(f"{client} is not in loadBalancerSourceRanges of Service {service}: {listed}",),
        then=f"./l4lab kubectl describe service {service.flag}",
    )


def _no_backend(found: Measured) -> Death | None:
    service = found.target.service
    if not found.entry or found.entry.live or found.taken or service is None:
        return None
    seen = f"the row of {found.destination} on {found.handler} has no backend"
    if not found.ready:
        return died(
            "proxy",
            fault_of(found),
            seen,
            causes=_why_no_endpoints(found, service),
            then=f"./l4lab kubectl describe service {service.flag}",
        )
    if found.local_only and found.handler not in _homes(found):
        return died(
            "proxy",
            fault_of(found),
            seen,
            causes=(_nobody_local(found, service),),
            then=_at_home(found, service),
        )
    return _lagging(found, f"{seen}, although the API has {len(found.ready)} ready endpoints")


def _why_no_endpoints(found: Measured, service: Service) -> tuple[str, ...]:
    known = found.snapshot.behind(service)
    if any(one.ready for one in known):
        return (
            "its EndpointSlice has endpoints, but for other ports: the names of the ports in the "
            "slice and in the Service differ",
        )
    if known:
        return (f"none of its {len(known)} endpoints is ready: the pods start, or fail",)
    if not service.selector:
        return ("it has no selector, and nobody has made an EndpointSlice for it",)
    wanted = ",".join(f"{key}={value}" for key, value in service.selector.items())
    fitting = [
        pod
        for pod in found.snapshot.pods
        if pod.namespace == service.namespace and service.selector.items() <= pod.labels.items()
    ]
    if not fitting:
        return (
            f"Service {service} has no endpoint: no pod has the labels of its selector {wanted}",
            "the Deployment was scaled to 0, or its pods carry another label",
        )
    states = ", ".join(f"{pod.name} {pod.phase}" for pod in fitting[:3])
    port = found.target.service_port
    named = port is not None and not port.target.isdecimal()
    return (
        *(
            (f"no container of its pods has a port named {port.target} (targetPort)",)
            if named and port
            else ()
        ),
        f"its pods have no address yet: {states}",
    )


def _wrong_backend(found: Measured) -> Death | None:
    """The kernel chose somebody whom the API no longer names."""
    if not found.taken or not found.target.service or found.endpoint:
        return None
    listed = ", ".join(str(one) for one in found.ready) or "none"
    seen = f"the kernel chose {found.backend}, but the API's endpoints are: {listed}"
    return _lagging(found, seen)


def _goes_around(found: Measured) -> Death | None:
    """Policy Local keeps the source, so a backend on another node answers past this one.

    Where a node has no pod of the Service, the kernel is given the others' pods all the same.
    """
    outcome, tracked, service = found.outcome, found.tracked, found.target.service
    if not (service and outcome and not outcome.connected and tracked and found.local_only):
        return None
    if tracked.masqueraded or found.backend_node in ("", found.handler) or found.client.pod:
        return None
    return died(
        "nat",
        fault_of(found),
        f"the source is kept, so {found.backend_node} answers {found.client.place} directly and "
        f"not through {found.handler}, from an address it never asked",
        causes=(_nobody_local(found, service),),
        then=_at_home(found, service),
    )


def _homes(found: Measured) -> list[str]:
    """The nodes with a ready endpoint."""
    return sorted({one.node for one in found.ready if one.node})


def _at_home(found: Measured, service: Service) -> str:
    """What asks a node with an endpoint instead, where the client can choose its node."""
    homes = _homes(found)
    if not homes:
        return f"./l4lab kubectl describe service {service.flag}"
    if found.kind in (Kind.CLUSTER, Kind.EXTERNAL):
        return f"./l4lab kubectl get pods -n {service.namespace} -o wide"
    return f"./l4lab path {found.client.text} {homes[0]}:{found.target.port}"


def _nobody_local(found: Measured, service: Service) -> str:
    policy = "internal" if found.kind is Kind.CLUSTER else "external"
    return (
        f"{policy}TrafficPolicy is Local and no pod of {service} is on {found.handler}: "
        f"they are on {', '.join(_homes(found))}"
    )


def _not_taken(found: Measured) -> Death | None:
    """There is a row with backends, and it never saw the connection."""
    entry, outcome = found.entry, found.outcome
    if not entry or not entry.live or found.taken or found.backend or not outcome:
        return None
    if "proxy" in found.problems:
        return None
    node = found.handler
    seen = f"the packet did not reach the row of {found.destination} on {node}"
    cause = f"a firewall rule on {node} meets it before the row does"
    if found.running and found.running.title == Nftables.title:
        # The choice is noted with the connection, and that only when its first packet has left.
        seen = f"no connection to {found.destination} has left {node}"
        cause = f"a firewall rule on {node} drops it, before the row or behind it"
    return died(
        "proxy",
        fault_of(found),
        seen,
        causes=(*suspects(found, node), cause),
        then=f"./l4lab ssh {node} nft list ruleset",
    )


_IN_ORDER: tuple[Callable[[Measured], Death | None], ...] = (
    unknown_name,
    _route,
    silent,
    _unclaimed,
    _loopback,
    _no_entry,
    _not_let_in,
    _no_backend,
    _wrong_backend,
    _goes_around,
    _not_taken,
    at_backend,
)
