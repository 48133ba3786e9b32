"""The two ends of a path as they are typed: who asks, and whom."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from l4lab.checks.model import HOST, Vantage, Where
from l4lab.errors import UsageError
from l4lab.path.snapshot import Pod, Port, Service, Snapshot
from l4lab.topology import Topology

OUTSIDE = "outside"
NODE_PORTS = range(30000, 32768)
"""Where Kubernetes takes nodePorts from, unless told otherwise."""
_NODE_PORT = "nodeport:"
_PROTOCOL = re.compile(r"(?<=\d)/(tcp|udp|sctp)$", re.IGNORECASE)
_DOMAIN = ".svc.cluster.local"
_HIGHEST_PORT = 65535
_WEB = 80


@dataclass(frozen=True, kw_only=True)
class Client:
    """Who asks."""

    text: str
    machine: Vantage
    """Where its commands run: for a pod, the node it is on."""
    pod: Pod | None = None

    @property
    def place(self) -> str:
        """In words."""
        if self.pod:
            return f"pod {self.pod}"
        return self.machine.name or "outside"

    @property
    def namespace(self) -> str:
        """Where short names of Services begin to be looked for."""
        return self.pod.namespace if self.pod else "default"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Who is asked: by name or by address."""

    text: str
    name: str = ""
    """The name to ask DNS for; empty where an address is asked."""
    address: str = ""
    """Known from the start where no name is asked."""
    port: int
    protocol: str
    service: Service | None = None
    service_port: Port | None = None

    @property
    def asked(self) -> str:
        """What the client writes: name or address, and port."""
        return f"{self.name or self.address}:{self.port}"


def client(text: str, topology: Topology, snapshot: Snapshot) -> Client:
    """Who ``outside``, a machine's name, ``pod:NAME``, ``NAMESPACE/NAME`` or a pod's name is.

    Raises:
        UsageError: Nobody, or a pod that does not run.
    """
    if text == OUTSIDE:
        return Client(text=text, machine=HOST)
    machine = topology.machine(text)
    if machine:
        where = Where.NODE if machine in topology.nodes else Where.DBHOST
        return Client(text=text, machine=Vantage(where, text))
    wanted = text.removeprefix("pod:")
    namespace, _, name = wanted.rpartition("/")
    pod = snapshot.pod(namespace or "default", name)
    if pod is None:
        machines = [one.name for one in topology.machines]
        names = [OUTSIDE, *machines, *(str(one) for one in snapshot.pods)]
        raise UsageError(
            f"there is no client {text!r}",
            _nearest(wanted, names)
            or f"a client is {OUTSIDE}, a machine ({', '.join(machines)}) or a pod",
            "./l4lab kubectl get pods -A",
        )
    if not pod.container:
        raise UsageError(
            f"pod {pod} cannot ask anything", f"it is {pod.phase or 'not started'}, not running"
        )
    return Client(text=text, machine=Vantage(Where.NODE, pod.node), pod=pod)


def target(text: str, asker: Client, topology: Topology, snapshot: Snapshot) -> Target:
    """Who is asked by ``text``.

    ``my-nginx``, ``ns/my-nginx`` and longer names are names, each with ``:port`` or without;
    ``ADDRESS:port`` and ``MACHINE:port`` are addresses; ``nodeport:SERVICE`` is the nodePort of a
    Service on the first worker. ``/udp`` or ``/sctp`` behind a port number says the protocol.

    Raises:
        UsageError: It cannot be read, or names a nodePort that is not there.
    """
    found = _PROTOCOL.search(text)
    protocol = found.group(1).upper() if found else ""
    wanted = text[: found.start()] if found else text
    if wanted.startswith(_NODE_PORT):
        return _node_port(text, wanted.removeprefix(_NODE_PORT), topology, snapshot)
    host, colon, number = wanted.partition(":")
    port = _port(text, number) if colon else 0
    machine = topology.machine(host)
    address = str(machine.address) if machine else host if _is_address(host) else ""
    if address:
        if not port:
            raise UsageError(f"{text} names no port", "an address is asked as ADDRESS:PORT")
        protocol = protocol or "TCP"
        service, chosen = virtual(address, port, protocol, topology, snapshot)
        return Target(
            text=text,
            address=address,
            port=port,
            protocol=protocol,
            service=service,
            service_port=chosen,
        )
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9./-]*[A-Za-z0-9.])?", host) or host.count("/") > 1:
        raise UsageError(
            f"{text!r} is no target",
            "a target is SERVICE, NAMESPACE/SERVICE, ADDRESS:PORT, NODE:NODEPORT or "
            "nodeport:SERVICE",
        )
    name, service = _named(host, asker.namespace, snapshot)
    chosen = None
    if service:
        fitting = [
            one for one in service.ports if port in (0, one.port) and protocol in ("", one.protocol)
        ]
        chosen = fitting[0] if fitting else None
    return Target(
        text=text,
        name=name,
        port=port or (chosen.port if chosen else _WEB),
        protocol=protocol or (chosen.protocol if chosen else "TCP"),
        service=service,
        service_port=chosen,
    )


def _named(host: str, near: str, snapshot: Snapshot) -> tuple[str, Service | None]:
    """The name to ask DNS for, from namespace ``near``, and the Service it must mean there."""
    if "/" in host:
        namespace, _, name = host.partition("/")
        asked = name if namespace == near else f"{name}.{namespace}"
        return asked, snapshot.service(namespace, name)
    short = host.rstrip(".").removesuffix(_DOMAIN).removesuffix(".svc")
    name, _, namespace = short.partition(".")
    return host, snapshot.service(namespace or near, name)


def virtual(
    address: str, port: int, protocol: str, topology: Topology, snapshot: Snapshot
) -> tuple[Service | None, Port | None]:
    """The Service that the address, or the address and port of a node, stands for; its port."""
    if address in {str(node.address) for node in topology.nodes} or is_loopback(address):
        found = snapshot.at_node_port(port, protocol)
        if found:
            return found
    service = snapshot.service_at(address)
    if service is None:
        return None, None
    for one in service.ports:
        if (one.port, one.protocol) == (port, protocol):
            return service, one
    return service, None


def is_loopback(address: str) -> bool:
    """Whether the address means the machine itself."""
    return IPv4Address(address).is_loopback


def inside(address: str, network: IPv4Network) -> bool:
    """Whether the address is one of the network's."""
    return IPv4Address(address) in network


def _node_port(text: str, wanted: str, topology: Topology, snapshot: Snapshot) -> Target:
    namespace, _, name = wanted.rpartition("/")
    service = snapshot.service(namespace or "default", name)
    if service is None:
        raise UsageError(
            f"there is no Service {wanted!r}",
            _nearest(wanted, (str(one) for one in snapshot.services)),
            "./l4lab kubectl get services -A",
        )
    chosen = next((one for one in service.ports if one.node_port), None)
    if chosen is None:
        raise UsageError(
            f"Service {service} has no nodePort",
            f"its type is {service.type}",
            f"./l4lab kubectl get service {service.flag}",
        )
    node = topology.nodes[1] if len(topology.nodes) > 1 else topology.nodes[0]
    return Target(
        text=text,
        address=str(node.address),
        port=chosen.node_port,
        protocol=chosen.protocol,
        service=service,
        service_port=chosen,
    )


def _port(text: str, number: str) -> int:
    if not number.isdecimal() or not 0 < int(number) <= _HIGHEST_PORT:
        raise UsageError(f"{number!r} in {text!r} is no port", f"ports are 1 to {_HIGHEST_PORT}")
    return int(number)


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _nearest(text: str, names: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(text, list(names), n=3, cutoff=0.5)
    return f"did you mean {', '.join(near)}?" if near else None
