"""Everything that was measured of one connection, as raw values: judged and told elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from l4lab.path.ends import Client, Target
from l4lab.path.probe import Outcome
from l4lab.path.proxy import Entry, Running, Taken
from l4lab.path.snapshot import Endpoint, Pod, Snapshot
from l4lab.path.wire import Question, Resolver, Route, Rule, Tracked
from l4lab.topology import Topology


class Kind(StrEnum):
    """What kind of address the client sends to."""

    CLUSTER = "cluster address"
    EXTERNAL = "external address"
    NODE_PORT = "nodePort"
    NODE = "node address"
    LOOPBACK = "loopback address"
    POD = "pod address"
    FOREIGN = "address outside the cluster"


@dataclass(kw_only=True)
class Measured:
    """What is known so far; what was not reached or could not be measured stays empty."""

    client: Client
    target: Target
    topology: Topology
    snapshot: Snapshot

    resolver: Resolver | None = None
    questions: list[Question] = field(default_factory=list)
    hosts_file: bool = False
    """The name's address is in the hosts file, so nobody was asked."""
    stands_in: bool = False
    """The client does not know the name; the address was taken from the API instead."""

    address: str = ""
    """The address the client sends to; empty where its name gave none."""
    kind: Kind = Kind.FOREIGN
    bound: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Interfaces that carry the address, by node; only nodes that could be asked."""
    cards: dict[str, str] = field(default_factory=dict)
    """The nodes by the MACs of their cards on the node network; only nodes that could be asked."""
    card: str = ""
    """The MAC that answered the client's ARP, where it asked for the address itself."""
    client_address: str = ""
    route: Route | None = None
    handler: str = ""
    """The node whose kernel the packets come to first (or are made in)."""

    running: Running | None = None
    entry: Entry | None = None
    before: int | None = None
    after: int | None = None
    outcome: Outcome | None = None
    taken: Taken | None = None
    tracked: Tracked | None = None
    """On the handling node."""
    tracked_home: Tracked | None = None
    """On the client pod's node, where another node handles it."""

    backend: str = ""
    """``IP:port``."""
    pod: Pod | None = None
    endpoint: Endpoint | None = None
    onward: Route | None = None
    """From the handling node to the backend."""
    tracked_there: Tracked | None = None
    """On the backend's own node, where that is another."""
    listeners: dict[int, set[str]] | None = None
    """Ports somebody listens on at the backend; looked at only after a failure."""
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    """Firewall rules that may have ended it, by node; looked at only after a failure."""
    problems: dict[str, str] = field(default_factory=dict)
    """Why a hop could not be measured, by its id."""

    @property
    def destination(self) -> str:
        """Where the client sends to."""
        return f"{self.address}:{self.target.port}" if self.address else ""

    @property
    def virtual(self) -> bool:
        """Whether a kernel must choose a backend."""
        if self.kind in (Kind.CLUSTER, Kind.EXTERNAL, Kind.NODE_PORT):
            return True
        return self.kind is Kind.LOOPBACK and self.target.service is not None

    @property
    def by_arp(self) -> bool:
        """Whether a client that is no node asks its own network who has the external address."""
        route, nodes = self.route, {node.name for node in self.topology.nodes}
        if self.kind is not Kind.EXTERNAL or route is None or self.client.machine.name in nodes:
            return False
        if self.machine_at(self.address):  # an externalIP may be a node's own
            return False
        return not (route.gateway or route.local or route.problem)

    @property
    def taker(self) -> str:
        """Whom the client's ARP has found, in words."""
        if not self.card:
            return f"nobody answers ARP for {self.address}"
        node = self.cards.get(self.card, "no node that could be asked")
        return f"{self.card} answers ARP for {self.address}, the card of {node}"

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """What the API has behind the Service's port."""
        if self.target.service is None:
            return ()
        return self.snapshot.behind(self.target.service, self.target.service_port)

    @property
    def ready(self) -> tuple[Endpoint, ...]:
        """Those of them that are ready."""
        return tuple(one for one in self.endpoints if one.ready)

    @property
    def backend_node(self) -> str:
        """The node of the backend, where it is a pod or a node of the cluster."""
        if self.pod:
            return self.pod.node
        return self.machine_at(self.backend.partition(":")[0])

    def machine_at(self, address: str) -> str:
        """The name of the machine that has this address; empty where none has."""
        machines = self.topology.machines
        return next((one.name for one in machines if str(one.address) == address), "")

    @property
    def local_only(self) -> bool:
        """Whether the Service wants backends of the handling node alone, for this client."""
        service = self.target.service
        if service is None:
            return False
        if self.kind is Kind.CLUSTER:
            return service.internal_local
        return service.external_local
