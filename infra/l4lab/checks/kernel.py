"""What kube-proxy has told a node's kernel, in one shape for each of its modes.

Mode ipvs keeps rows in a table of virtual servers, mode nftables entries in maps; both lead from
protocol, address and port to backends, and both note which backend a connection was given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from l4lab.checks import ipvs, nft
from l4lab.checks.model import API, CannotMeasure, Vantage, Where
from l4lab.topology import Topology

if TYPE_CHECKING:
    from l4lab.checks.look import Look
    from l4lab.checks.reach import Reach

IPVS, NFTABLES = "ipvs", "nftables"
PROXY = "http://127.0.0.1:10249"
"""Where kube-proxy tells of itself, by default (``metricsBindAddress``)."""
ASK_MODE = ("curl", "-sS", "-m", "3", f"{PROXY}/proxyMode")
_ASK_SETTINGS = (
    "kubectl", "get", "configmap", "kube-proxy", "-n", "kube-system",
    "-o", "jsonpath={.data.config\\.conf}", "--request-timeout=10s",
)  # fmt: skip
_TITLES = {IPVS: "IPVS", NFTABLES: "nftables"}
_SCHEDULERS = {IPVS: "rr", NFTABLES: nft.SCHEDULER}
_TRACKED = re.compile(
    r"(?P<protocol>tcp|udp|sctp)\s+\d+ (?P<expires>\d+) (?:(?P<state>[A-Z]\w*) )?"
    r"src=(?P<src>\S+) dst=(?P<dst>\S+) sport=(?P<sport>\d+) dport=(?P<dport>\d+) .*?"
    r"src=(?P<from>\S+) dst=\S+ sport=(?P<port>\d+)"
)


def live_mode(reach: Reach, topology: Topology) -> str:
    """kube-proxy's mode: as the first node says whose kube-proxy answers, else as it is set.

    Where nobody answers at all it is ipvs, the mode of the course.
    """
    for node in topology.nodes:
        try:
            said = reach.run(Vantage(Where.NODE, node.name), ASK_MODE, timeout=10)
        except CannotMeasure:
            continue
        if said.succeeded and said.stdout.strip() in _TITLES:
            return said.stdout.strip()
    try:
        settings = reach.run(API, _ASK_SETTINGS, timeout=20)
    except CannotMeasure:
        return IPVS
    return NFTABLES if re.search(r"(?m)^mode: nftables$", settings.stdout) else IPVS


def title(look: Look) -> str:
    """What takes the packets: ``IPVS`` or ``nftables``."""
    return _TITLES[look.mode]


def scheduler(look: Look) -> str:
    """How a backend is chosen where nobody has changed it: ``rr`` or ``random``."""
    return _SCHEDULERS[look.mode]


DRAWS = 80
"""Requests that are enough to judge two backends drawn by chance."""


def sample(look: Look, turns: int) -> int:
    """How many requests tell whether two backends share alike: ``turns`` where they take turns."""
    return DRAWS if look.mode == NFTABLES else turns


def fair(look: Look, shares: Sequence[int]) -> bool:
    """Whether two backends got their shares of ``sample`` requests.

    Taking turns they differ by one at most. Of 80 fair draws one of two gets fewer than 16 less
    often than once in 70 million times: twice the sum of (80 over k) for k below 16, over 2^80.
    """
    if look.mode == NFTABLES:
        return min(shares) >= DRAWS // 5
    return max(shares) - min(shares) <= 1


def see(look: Look, address: str = "") -> str:
    """The command by which a learner sees the rows, or the one of ``address``, on this node."""
    node = f"./l4lab ssh {look.vantage.name}"
    if look.mode == NFTABLES:
        host, _, _ = address.partition(":")
        table = f"{node} nft list table ip kube-proxy"
        return f"{table} | grep '{host} '" if host else table
    return f"{node} ipvsadm -Ln{f' -t {address}' if address else ''}"


def rows(look: Look) -> dict[tuple[str, str], ipvs.Service]:
    """What this node's kernel holds, by (protocol, ``IP:port``).

    Raises:
        CannotMeasure: It cannot be read.
    """
    if look.mode == NFTABLES:
        return dict(table(look).rows)
    return ipvs.parse_table(look.read(["ipvsadm", "-Ln"]).stdout)


def table(look: Look) -> nft.Table:
    """kube-proxy's whole table of mode nftables.

    Raises:
        CannotMeasure: It cannot be read.
    """
    text = look.read(nft.READ, shown=["nft", "list", "table", "ip", "kube-proxy"]).stdout
    return _parsed(look, text)


def connections(look: Look) -> list[ipvs.Connection]:
    """The connections that this node's kernel has given to a backend, and the clients it keeps.

    Read afresh, and up to date at once. A client that is kept at a backend has source port 0.

    Raises:
        CannotMeasure: They cannot be read.
    """
    if look.mode == IPVS:
        return ipvs.parse_connections(_fresh(look, "ipvsadm", "-Lnc"))
    found = translated(_fresh(look, "conntrack", "-L"))
    return [*found, *_parsed(look, _fresh(look, *nft.READ)).remembered]


def translated(text: str) -> list[ipvs.Connection]:
    """Of the output of ``conntrack -L`` the connections whose destination was rewritten."""
    found = []
    for line in text.splitlines():
        if match := _TRACKED.match(line):
            virtual = f"{match['dst']}:{match['dport']}"
            destination = f"{match['from']}:{match['port']}"
            if virtual != destination:
                found.append(
                    ipvs.Connection(
                        state=match["state"] or "",
                        source=f"{match['src']}:{match['sport']}",
                        virtual=virtual,
                        destination=destination,
                        protocol=match["protocol"].upper(),
                        expires=int(match["expires"]),
                    )
                )
    return found


def _fresh(look: Look, *argv: str) -> str:
    result = look.run(argv)
    if not result.succeeded:
        raise CannotMeasure(f"{argv[0]} failed on {look.vantage}: {result.last_line}")
    return result.stdout


def _parsed(look: Look, text: str) -> nft.Table:
    try:
        return nft.parse(text)
    except (ValueError, KeyError, TypeError) as odd:
        raise CannotMeasure(f"nft's answer on {look.vantage} is odd: {odd!r}") from odd
