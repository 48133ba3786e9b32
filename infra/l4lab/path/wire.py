"""What the tools of a Linux machine say about packets: routes, connection tracking, sockets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from l4lab.command import Result


@dataclass(frozen=True, kw_only=True)
class Route:
    """The answer of ``ip -json route get``."""

    device: str = ""
    gateway: str = ""
    source: str = ""
    """The address the machine would send from."""
    local: bool = False
    """The machine itself has the address."""
    problem: str = ""
    """Why there is none."""

    def __str__(self) -> str:
        if self.problem:
            return f"none: {self.problem}"
        if self.local:
            return "to itself: the machine has this address"
        via = f"via {self.gateway} " if self.gateway else ""
        return f"{via}dev {self.device}"


def read_route(result: Result) -> Route:
    """The route that ``ip -json route get ADDRESS`` found."""
    if not result.succeeded:
        said = result.last_line.removeprefix("RTNETLINK answers: ")
        return Route(problem=said or f"ip ended with {result.rc}")
    found = json.loads(result.stdout)[0]
    kind = found.get("type", "unicast")
    if kind in ("unreachable", "prohibit", "blackhole"):
        return Route(problem=f"a route says {kind}")
    return Route(
        device=found.get("dev", ""),
        gateway=found.get("gateway", ""),
        source=found.get("prefsrc", ""),
        local=kind == "local",
    )


def read_holders(result: Result, address: str) -> tuple[str, ...]:
    """The interfaces that carry the address, of ``ip -json address show``'s output."""
    return tuple(
        link["ifname"]
        for link in json.loads(result.stdout)
        for entry in link.get("addr_info", [])
        if entry.get("local") == address
    )


def read_cards(result: Result, address: str) -> tuple[str, ...]:
    """The MACs of the interfaces that carry the address, of the same output."""
    holders = read_holders(result, address)
    return tuple(
        link["address"]
        for link in json.loads(result.stdout)
        if link["ifname"] in holders and "address" in link
    )


def read_neighbour(result: Result) -> str:
    """The MAC that ``ip -json neigh show ADDRESS`` has; empty where nobody answered ARP."""
    entries = json.loads(result.stdout or "[]") if result.succeeded else []
    return next((entry["lladdr"] for entry in entries if "lladdr" in entry), "")


@dataclass(frozen=True, kw_only=True)
class Tuple:
    """One direction of a tracked connection."""

    source: str
    destination: str
    """Both ``IP:port``."""

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """One entry of a machine's connection tracking."""

    state: str
    original: Tuple
    reply: Tuple
    replied: bool

    @property
    def masqueraded(self) -> bool:
        """Whether answers go to another address than the client's: its source was rewritten."""
        return self.host(self.reply.destination) != self.host(self.original.source)

    @staticmethod
    def host(end: str) -> str:
        """The address of an ``IP:port``."""
        return end.partition(":")[0]


_TUPLE = re.compile(r"src=(\S+) dst=(\S+) sport=(\d+) dport=(\d+)")


def read_conntrack(text: str) -> list[Tracked]:
    """The entries that ``conntrack -L`` printed; the newest is not told from the oldest."""
    found = []
    for line in text.splitlines():
        tuples = [
            Tuple(source=f"{one[0]}:{one[2]}", destination=f"{one[1]}:{one[3]}")
            for one in _TUPLE.findall(line)
        ]
        words = line.split()
        if len(tuples) == 2:  # noqa: PLR2004 (there and back)
            # A protocol without connections has no word for its state.
            state = words[3] if "=" not in words[3] else ""
            found.append(
                Tracked(
                    state=state,
                    original=tuples[0],
                    reply=tuples[1],
                    replied="[UNREPLIED]" not in words,
                )
            )
    return found


_LISTENER = re.compile(r"^(\S+):(\d+)$")


def read_listeners(text: str) -> dict[int, set[str]]:
    """Ports somebody listens on, with the addresses, of ``ss -H -ltn`` (or ``-lun``)."""
    found: dict[int, set[str]] = {}
    for line in text.splitlines():
        words = line.split()
        at = _LISTENER.match(words[3]) if len(words) > 3 else None  # noqa: PLR2004 (its columns)
        if at:
            found.setdefault(int(at.group(2)), set()).add(at.group(1))
    return found


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A firewall rule that can end a connection."""

    chain: str
    """Family, table and chain."""
    text: str

    def __str__(self) -> str:
        return f"{self.chain}: {self.text}"


_COUNTER = re.compile(r"counter packets \d+ bytes \d+ ")
_ENDS = re.compile(r"\b(drop|reject)\b")
# Chains of the cluster's own parts; what they end is meant to end.
_OWN = ("KUBE-", "cali-", "cali", "kube-")
# In mode nftables kube-proxy has a table of its own, of each family: its entries name addresses.
_PROXYS_TABLE = "kube-proxy"


def read_rules(text: str, addresses: set[str]) -> list[Rule]:
    """Rules of ``nft list ruleset`` that drop or reject, and may meet these addresses.

    Rules that name one of the addresses come first; then those in chains that are not the
    cluster's own and name no address at all. What kube-proxy's own table holds is its entry, and
    told as such.
    """
    named, general = [], []
    table = chain = ""
    for raw in text.splitlines():
        line = raw.strip()
        words = line.split()
        if line.startswith("table "):
            table = " ".join(words[1:3])
        elif line.startswith("chain "):
            chain = words[1]
        elif table.endswith(f" {_PROXYS_TABLE}"):
            continue
        elif _ENDS.search(line) and not line.startswith("type "):
            rule = Rule(chain=f"{table} {chain}", text=_COUNTER.sub("", line))
            if addresses & set(re.findall(r"\d+\.\d+\.\d+\.\d+", line)):
                named.append(rule)
            elif not chain.startswith(_OWN) and not re.search(r"\d+\.\d+\.\d+\.\d+", line):
                general.append(rule)
    return named + general


@dataclass(frozen=True, kw_only=True)
class Resolver:
    """What a place knows about names: its resolv.conf."""

    servers: tuple[str, ...]
    search: tuple[str, ...]
    dots: int

    def candidates(self, name: str) -> tuple[str, ...]:
        """The full names it asks for, in order: the search list first for a name of few dots."""
        if name.endswith("."):
            return (name,)
        listed = tuple(f"{name}.{domain}." for domain in self.search)
        itself = (f"{name}.",)
        return listed + itself if name.count(".") < self.dots else itself + listed


def read_resolver(text: str) -> Resolver:
    """What a resolv.conf says."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    dots = 1
    for line in text.splitlines():
        match line.split():
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search", *domains]:
                search = tuple(domain.rstrip(".") for domain in domains)
            case ["options", *options]:
                given = [word for word in options if word.startswith("ndots:")]
                dots = int(given[-1].partition(":")[2]) if given else dots
    return Resolver(servers=tuple(servers), search=search, dots=dots)


def read_hosts(text: str, name: str) -> str:
    """The IPv4 address a hosts file has for the name; empty where it has none."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if name in words[1:] and ":" not in words[0]:
            return words[0]
    return ""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question to a name server and what came back."""

    name: str
    rcode: str
    """``NOERROR``, ``NXDOMAIN``, ...; ``TIMEOUT`` where nobody answered."""
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    """Names the answer leads through (CNAME)."""

    def __str__(self) -> str:
        found = " → ".join([*self.aliases, ", ".join(self.addresses)]) if self.addresses else ""
        return f"{self.rcode} {self.name}" + (f" is {found}" if found else "")


_RCODE = re.compile(r"status: ([A-Z]+)")


def read_dig(name: str, result: Result) -> Question:
    """What ``dig +noall +comments +answer`` said about the name's IPv4 addresses."""
    found = _RCODE.search(result.stdout)
    addresses, aliases = [], []
    for line in result.stdout.splitlines():
        words = line.split()
        if not line.startswith(";") and len(words) >= 5:  # noqa: PLR2004 (its columns)
            if words[3] == "A":
                addresses.append(words[4])
            elif words[3] == "CNAME":
                aliases.append(words[4].rstrip("."))
    return Question(
        name=name.rstrip("."),
        rcode=found.group(1) if found else "TIMEOUT",
        addresses=tuple(addresses),
        aliases=tuple(aliases),
    )
