"""Why a name gave no address."""

from __future__ import annotations

import difflib

from l4lab.checks.model import Fault
from l4lab.path.measured import Measured
from l4lab.path.model import Death
from l4lab.path.snapshot import Service

_DNS_PODS = "./l4lab kubectl get pods -n kube-system -l k8s-app=kube-dns -o wide"


def unknown_name(found: Measured) -> Death | None:
    """The death of a connection whose name gave no address; None where it gave one."""
    if found.address:
        return None
    codes = [question.rcode for question in found.questions]
    service = found.target.service
    if not codes:
        return _death(
            f"{found.client.place} has no name server",
            causes=("its resolv.conf names none",),
            then=f"./l4lab ssh {found.client.machine.name} cat /etc/resolv.conf",
        )
    if service is None and codes[0] in ("NXDOMAIN", "NOTFOUND"):
        return _no_such_service(found, codes[-1])
    if codes[-1] in ("TIMEOUT", "SERVFAIL", "REFUSED"):
        return _no_dns(found, codes[-1])
    if service:
        return _without_address(found, service)
    return _no_such_service(found, codes[-1])


def _no_dns(found: Measured, code: str) -> Death:
    resolver = found.resolver
    server = resolver.servers[0] if resolver and resolver.servers else "nobody"
    silent = f"{server} does not answer"
    seen = silent if code == "TIMEOUT" else f"{server} answers {code} and no address"
    service = found.snapshot.service_at(server)
    if service is None:
        causes: tuple[str, ...] = (f"{server} is no Service of this cluster",)
        return _death(seen, causes=causes, then=_DNS_PODS)
    if not any(one.ready for one in found.snapshot.behind(service)):
        causes = (
            f"CoreDNS has no ready pod: Service {service} at {server} has no ready endpoint",
            "the Deployment coredns was scaled to 0, or its pods do not start",
        )
        return _death(seen, causes=causes, then=_DNS_PODS)
    causes = (
        f"CoreDNS runs, but packets between {found.client.place} and it are dropped",
        f"kube-proxy on {found.client.machine.name} does not keep the row of {server}:53",
    )
    return _death(seen, causes=causes, then=f"./l4lab path {found.client.text} {server}:53/udp")


def _without_address(found: Measured, service: Service) -> Death:
    """There is a Service of that name, and still no address."""
    seen = f"nobody knows the name {found.target.name}, although there is a Service {service}"
    if not service.cluster_address and not any(one.ready for one in found.snapshot.behind(service)):
        cause = f"it is {service.type} with no address of its own and no ready endpoint"
    elif found.client.pod:
        cause = "the pod does not ask cluster DNS (dnsPolicy), or CoreDNS lags behind the API"
    else:
        cause = "it has no cluster address, and its name is known only to pods"
    return _death(
        seen,
        causes=(cause,),
        then=f"./l4lab kubectl get service,endpointslices -n {service.namespace}",
    )


def _no_such_service(found: Measured, last: str) -> Death:
    name = found.target.name
    inside = "" if "." in name else f" in namespace {found.client.namespace}"
    causes = [f"there is no Service {name}{inside}", *_alike(found)]
    if "." in name and last == "SERVFAIL":
        causes.append("it is a name of the outside, and cluster DNS can ask nobody there")
    return _death(
        f"nobody knows the name {name}",
        causes=tuple(causes),
        then="./l4lab kubectl get services -A",
    )


def _alike(found: Measured) -> tuple[str, ...]:
    """Services with the same name elsewhere, and those spelled nearly like it."""
    name = found.target.name.partition(".")[0]
    services = found.snapshot.services
    same = [f"{one.namespace}/{one.name}" for one in services if one.name == name]
    near = difflib.get_close_matches(name, {one.name for one in services} - {name}, n=2, cutoff=0.6)
    said = []
    if same:
        said.append(f"there is one in another namespace: {', '.join(same)}")
    if near:
        said.append(f"the name is spelled differently: {' or '.join(near)}?")
    return tuple(said)


def _death(seen: str, *, causes: tuple[str, ...], then: str) -> Death:
    return Death(hop="dns", fault=Fault.DNS, seen=seen, causes=causes, then=then)
