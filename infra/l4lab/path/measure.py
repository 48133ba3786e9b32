"""Follows one connection through the cluster, and writes down what each place says of it.

Only reads, but for the one connection. A place that cannot be asked leaves a gap, told as such;
the rest is measured all the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from l4lab.checks.look import Look
from l4lab.checks.model import CannotMeasure, Fault, Vantage, Where
from l4lab.command import Result
from l4lab.errors import MachineError
from l4lab.path import ends, probe, proxy, wire
from l4lab.path.ends import Client, Target
from l4lab.path.measured import Kind, Measured
from l4lab.path.snapshot import read as read_snapshot
from l4lab.topology import Topology

_COUNTER_LOOKS = 13
_COUNTER_PAUSE = 0.25
"""The kernel counts every two seconds only."""
_DNS_SECONDS = 2
_DNS_TRIES = 2

_Value = TypeVar("_Value")


def source_ports() -> Iterator[int]:
    """Ports for the probe: below those that Linux hands out, and below nodePorts."""
    while True:
        yield random.randint(20000, 29999)  # noqa: S311 (no secret)


class Tracer:
    """Measures one path."""

    def __init__(
        self,
        look: Look,
        topology: Topology,
        *,
        ports: Iterator[int] | None = None,
        doing: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._look = look
        self._topology = topology
        self._ports = ports or source_ports()
        self._doing = doing
        self._within: list[str] = []
        self._pid = ""

    def measure(self, client: str, target: str) -> Measured:
        """Send the probe and ask everybody about it.

        Raises:
            CannotMeasure: The API server or the client's machine does not answer.
            MachineError: The client's pod cannot be entered.
            UsageError: Client or target mean nothing.
        """
        self._doing("ask the API")
        snapshot = read_snapshot(self._look)
        asker = ends.client(client, self._topology, snapshot)
        asked = ends.target(target, asker, self._topology, snapshot)
        found = Measured(client=asker, target=asked, topology=self._topology, snapshot=snapshot)
        if asker.pod:
            self._within = self._enter(asker)
        self._doing("ask DNS")
        self._resolve(found)
        if not found.address:
            return found
        self._address(found)
        self._before(found)
        self._doing("connect")
        try:
            found.outcome = probe.send(
                self._at(asker.machine),
                self._within,
                target=found.target,
                address=found.address,
                ports=self._ports,
            )
        except CannotMeasure as failed:
            raise MachineError(f"the probe did not run: {failed.why}", None, failed.then) from None
        if found.by_arp and not found.handler:
            self._found_by_arp(found)
        self._doing("follow the connection")
        self._follow(found)
        return found

    # --- places ---------------------------------------------------------------------------------

    def _at(self, vantage: Vantage) -> Look:
        return self._look.at(vantage)

    def _node(self, name: str) -> Look:
        return self._look.at(Vantage(Where.NODE, name))

    def _enter(self, client: Client) -> list[str]:
        """What to put before a command to run it in the pod's network.

        The machine's own tools are used there: an image need not have any.
        """
        pid = self._process(client.machine.name, client.pod.container if client.pod else "")
        if not pid:
            raise MachineError(
                f"{client.place} cannot be entered",
                f"no process of it was found on {client.machine.name}",
                "./l4lab kubectl get pods -A -o wide",
            )
        self._pid = pid
        return ["nsenter", "--net", "--target", pid]

    def _process(self, node: str, container: str) -> str:
        """The id of a process of that container: its control group carries the container's name."""
        if not container:
            return ""
        line = f"grep -ls {container} /proc/[0-9]*/cgroup"
        found = self._node(node).run(["sh", "-c", line]).stdout.split()
        ids = sorted(int(path.split("/")[2]) for path in found)
        return str(ids[0]) if ids else ""

    def _gap(self, found: Measured, hop: str, ask: Callable[[], _Value]) -> _Value | None:
        """The answer, or None with the reason kept for that hop."""
        try:
            return ask()
        except CannotMeasure as failed:
            found.problems[hop] = failed.why
            return None

    # --- before the connection ------------------------------------------------------------------

    def _resolve(self, found: Measured) -> None:
        target, here = found.target, self._at(found.client.machine)
        if not target.name:
            found.address = target.address
            return
        root = f"/proc/{self._pid}/root" if self._pid else ""
        found.resolver = wire.read_resolver(here.run(["cat", f"{root}/etc/resolv.conf"]).stdout)
        hosts = here.run(["cat", f"{root}/etc/hosts"]).stdout
        listed = wire.read_hosts(hosts, target.name)
        if listed:
            found.hosts_file, found.address = True, listed
        elif found.client.pod:
            self._ask_dns(found, here)
        else:
            self._ask_machine(found, here)

    def _ask_dns(self, found: Measured, here: Look) -> None:
        """Ask as a pod's resolver does: name by name down the search list, until one is known."""
        resolver = found.resolver
        if resolver is None or not resolver.servers:
            return
        for name in resolver.candidates(found.target.name):
            options = [
                f"+tries={_DNS_TRIES}",
                f"+time={_DNS_SECONDS}",
                "+noall",
                "+comments",
                "+answer",
            ]
            argv = [*self._within, "dig", *options, f"@{resolver.servers[0]}", name, "A"]
            question = wire.read_dig(name, here.run(argv))
            found.questions.append(question)
            if question.addresses:
                found.address = question.addresses[0]
            if question.addresses or question.rcode == "TIMEOUT":
                return

    def _ask_machine(self, found: Measured, here: Look) -> None:
        """Ask the way programs of a machine do; where it does not know, take the API's word."""
        name = found.target.name
        words = ["env", "RES_OPTIONS=timeout:1 attempts:1", "getent", "ahostsv4", name]
        result = here.run(words, shown=["getent", "ahostsv4", name])
        if result.succeeded and result.stdout.split():
            found.address = result.stdout.split()[0]
            found.questions.append(
                wire.Question(name=name, rcode="NOERROR", addresses=(found.address,))
            )
            return
        found.questions.append(wire.Question(name=name, rcode="NOTFOUND"))
        service = found.target.service
        if service and service.cluster_address:
            found.address, found.stands_in = service.cluster_address, True

    def _address(self, found: Measured) -> None:
        """What kind of address it is, who carries it, and which way the client would go."""
        found.kind = self._kind(found)
        nodes = self._topology.nodes
        with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
            asked = {node: pool.submit(self._links, node.name) for node in nodes}
            for node, job in asked.items():
                links = self._gap(found, "address", job.result)
                if links is not None:
                    found.bound[node.name] = wire.read_holders(links, found.address)
                    cards = wire.read_cards(links, str(node.address))
                    found.cards.update(dict.fromkeys(cards, node.name))
        argv = [*self._within, "ip", "-json", "route", "get", found.address]
        found.route = wire.read_route(self._at(found.client.machine).run(argv))
        found.client_address = found.route.source
        found.handler = self._handler(found)

    def _links(self, node: str) -> Result:
        # With -4 the cards' own addresses are left out.
        result = self._node(node).run(["ip", "-json", "address", "show"])
        if not result.succeeded:
            raise CannotMeasure(f"ip failed on {node}: {result.last_line}")
        return result

    def _kind(self, found: Measured) -> Kind:
        address, networks = found.address, self._topology.networks
        if ends.is_loopback(address):
            return Kind.LOOPBACK
        service = found.snapshot.service_at(address)
        if service:
            cluster = address == service.cluster_address
            return Kind.CLUSTER if cluster else Kind.EXTERNAL
        if address in {str(node.address) for node in self._topology.nodes}:
            # A port that is in the range of nodePorts, or that a Service has taken as one.
            return Kind.NODE_PORT if self._is_node_port(found.target) else Kind.NODE
        if found.snapshot.pod_at(address) or ends.inside(address, networks.pods):
            return Kind.POD
        return Kind.CLUSTER if ends.inside(address, networks.services) else Kind.FOREIGN

    @staticmethod
    def _is_node_port(target: Target) -> bool:
        port = target.service_port
        return bool(port and port.node_port == target.port) or target.port in ends.NODE_PORTS

    def _handler(self, found: Measured) -> str:
        """The node whose kernel decides: the address's owner, the client's own, by route or ARP."""
        nodes = {str(node.address): node.name for node in self._topology.nodes}
        if found.kind in (Kind.NODE, Kind.NODE_PORT):
            return nodes[found.address]
        if found.client.machine.name in nodes.values():
            return found.client.machine.name
        route = found.route
        if route is None or route.problem:
            return ""
        if found.by_arp:
            argv = ["ip", "-json", "neigh", "show", found.address]
            found.card = wire.read_neighbour(self._at(found.client.machine).run(argv))
            return found.cards.get(found.card, "")
        return nodes.get(route.gateway or found.address, "")

    def _found_by_arp(self, found: Measured) -> None:
        """Who took it, once the client has had to ask for the address."""
        found.handler = self._handler(found)
        if found.handler:
            self._before(found)
            # It would have the connection in it.
            found.before = None
        else:
            why = f"no node is known to have taken it: {found.taker}"
            found.problems |= {"proxy": why, "backend": why}

    def _before(self, found: Measured) -> None:
        """What the handling kernel holds before the connection."""
        if not (found.virtual and found.handler):
            return
        node, address = self._node(found.handler), found.destination
        protocol = found.target.protocol
        running = self._gap(found, "proxy", lambda: proxy.running(node))
        found.running = running
        reader = running.reader if running else None
        if reader is None:
            return
        found.entry = self._gap(found, "proxy", lambda: reader.entry(node, protocol, address))
        found.before = self._gap(found, "proxy", lambda: reader.count(node, protocol, address))

    # --- after the connection -------------------------------------------------------------------

    def _follow(self, found: Measured) -> None:
        self._at_handler(found)
        self._choose(found)
        if found.backend:
            self._to_backend(found)
        outcome = found.outcome
        if outcome and outcome.fault:
            self._post_mortem(found)
        self._count(found)

    def _at_handler(self, found: Measured) -> None:
        """The connection in the handling kernel: what its proxy did, and what it tracks."""
        if not (found.handler and found.outcome):
            return
        node, port = self._node(found.handler), self._port_there(found, found.outcome.port)
        reader = found.running.reader if found.running else None
        if reader and found.entry:
            address = found.destination
            found.taken = self._gap(found, "proxy", lambda: reader.taken(node, address, port))
        found.tracked = self._gap(found, "nat", lambda: self._tracked(found, found.handler, port))

    def _port_there(self, found: Measured, port: int) -> int:
        """The source port as the handling node sees it: a node rewrites what its pods send out."""
        home = found.client.machine.name
        if not found.client.pod or home == found.handler:
            return port
        found.tracked_home = self._gap(found, "nat", lambda: self._tracked(found, home, port))
        if not found.tracked_home:
            return port
        return int(found.tracked_home.reply.destination.rpartition(":")[2])

    def _tracked(self, found: Measured, node: str, port: int) -> wire.Tracked | None:
        protocol = found.target.protocol.lower()
        argv = ["conntrack", "-L", "-p", protocol, "--orig-port-src", str(port)]
        result = self._node(node).run(argv)
        if not result.succeeded:
            raise CannotMeasure(f"conntrack failed on {node}: {result.last_line}")
        # Another connection may have the same source port: ours goes to a known place.
        wanted = {found.destination, found.backend}
        entries = wire.read_conntrack(result.stdout)
        return next((one for one in entries if one.original.destination in wanted), None)

    @staticmethod
    def _choose(found: Measured) -> None:
        """The backend: as the proxy's table has it, else as connection tracking has it."""
        if not found.virtual:
            found.backend = found.destination
        elif found.taken:
            found.backend = found.taken.backend
        elif found.tracked and found.tracked.reply.source != found.destination:
            found.backend = found.tracked.reply.source
        host = found.backend.partition(":")[0]
        found.pod = found.snapshot.pod_at(host) if host else None
        found.endpoint = next((one for one in found.endpoints if str(one) == found.backend), None)

    def _to_backend(self, found: Measured) -> None:
        """The way from the handling node to the backend's, and what is seen there."""
        host = found.backend.partition(":")[0]
        if found.handler:
            argv = ["ip", "-json", "route", "get", host]
            onward = self._gap(found, "wire", lambda: self._node(found.handler).run(argv))
            found.onward = wire.read_route(onward) if onward else None
        there = found.backend_node
        nodes = [node.name for node in self._topology.nodes]
        if not found.outcome or there == found.handler or there not in nodes:
            return
        # A rewritten source has a new port, too: the one that answers are sent to.
        port = found.outcome.port
        if found.tracked:
            port = int(found.tracked.reply.destination.rpartition(":")[2])
        found.tracked_there = self._gap(found, "wire", lambda: self._tracked(found, there, port))

    def _post_mortem(self, found: Measured) -> None:
        """After a failure: who listens at the backend, and which firewall rules may have met it."""
        if place := self._backend_place(found):
            found.listeners = self._gap(found, "backend", lambda: self._sockets(found, *place))
        # Where nobody has noted the choice, it was one of those there are.
        backends = [found.backend] if found.backend else map(str, found.ready)
        hosts = (backend.partition(":")[0] for backend in backends)
        addresses = {one for one in (found.address, *hosts, found.client_address) if one}
        if found.outcome and found.outcome.fault in (Fault.TIMEOUT, Fault.REFUSED):
            nodes = dict.fromkeys((found.handler, found.backend_node))
            for name in nodes:
                if self._topology.machine(name):
                    ruleset = self._node(name).run(["nft", "list", "ruleset"])
                    found.rules[name] = wire.read_rules(ruleset.stdout, addresses)

    def _backend_place(self, found: Measured) -> tuple[str, list[str]] | None:
        """Where the backend's sockets are: a node, and what enters the pod's network there."""
        if found.pod:
            pid = self._process(found.pod.node, found.pod.container)
            return (found.pod.node, ["nsenter", "--net", "--target", pid]) if pid else None
        if found.kind is Kind.LOOPBACK and found.client.machine.name:
            return found.client.machine.name, self._within
        if found.kind in (Kind.NODE, Kind.NODE_PORT):
            return found.handler, []
        return None

    def _sockets(self, found: Measured, node: str, within: list[str]) -> dict[int, set[str]] | None:
        flags = {"TCP": "-ltn", "UDP": "-lun", "SCTP": "-lSn"}[found.target.protocol]
        result = self._node(node).run([*within, "ss", "-H", flags])
        return wire.read_listeners(result.stdout) if result.succeeded else None

    def _count(self, found: Measured) -> None:
        """The counter afterwards: it follows within two seconds where a connection was taken."""
        reader = found.running.reader if found.running else None
        if reader is None or found.before is None:
            return
        node, protocol = self._node(found.handler), found.target.protocol
        for _ in range(_COUNTER_LOOKS if found.taken else 1):
            found.after = self._gap(
                found, "proxy", lambda: reader.count(node, protocol, found.destination)
            )
            if found.after != found.before:
                return
            node.pause(_COUNTER_PAUSE)
