"""What kube-proxy has told a node's kernel: one small interface for each of its modes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from l4lab.checks import ipvs, kernel, nft
from l4lab.checks.look import Look
from l4lab.checks.model import CannotMeasure

_ASK_MODE = ("curl", "-sS", "-m", "2", f"{kernel.PROXY}/proxyMode")
_CURL_LATE = 28


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one kernel holds for one address and port."""

    text: str
    """In the words of the mode's own tool."""
    live: tuple[str, ...]
    """Backends (``IP:port``) that get new connections."""
    gone: tuple[str, ...] = ()
    """Backends that get none any more."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What the kernel did with one connection."""

    backend: str
    state: str
    refused: bool = False
    """The backend itself sent the refusal, and it passed the kernel on its way back."""


class Proxy(Protocol):
    """Reads what a mode of kube-proxy keeps in the kernel of one node."""

    title: str

    def entry(self, look: Look, protocol: str, address: str) -> Entry | None:
        """What it holds for ``address`` (``IP:port``), or None.

        Raises:
            CannotMeasure: The table cannot be read.
        """
        ...

    def count(self, look: Look, protocol: str, address: str) -> int | None:
        """Connections the entry has taken so far; None where it is not there.

        Raises:
            CannotMeasure: The table cannot be read.
        """
        ...

    def taken(self, look: Look, address: str, port: int) -> Taken | None:
        """What became of the connection to ``address`` from the source port, or None.

        Raises:
            CannotMeasure: The table cannot be read.
        """
        ...

    def see(self, protocol: str, address: str) -> list[str]:
        """The command that shows the entry."""
        ...


_FLAGS = {"TCP": "-t", "UDP": "-u", "SCTP": "--sctp-service"}


class Ipvs:
    """Mode ipvs: a table of virtual servers, read with ipvsadm."""

    title = "IPVS"

    def entry(self, look: Look, protocol: str, address: str) -> Entry | None:
        """The row of the virtual server, or None."""
        table = ipvs.parse_table(self._run(look, "-Ln"))
        row = table.get((protocol, address))
        if row is None:
            return None
        return Entry(
            text=f"{protocol} {address} {row.scheduler} {row.flags}".strip(),
            live=tuple(backend.address for backend in row.live),
            gone=tuple(backend.address for backend in row.backends if backend.weight == 0),
        )

    def count(self, look: Look, protocol: str, address: str) -> int | None:
        """The connections of the row; the kernel brings this up to date every two seconds."""
        found = ipvs.parse_stats(self._run(look, "-Ln", "--stats", "--exact"))
        counters = found.get((protocol, address))
        return counters.total if counters else None

    def taken(self, look: Look, address: str, port: int) -> Taken | None:
        """The connection's entry in the table of connections, which is up to date at once."""
        for entry in ipvs.parse_connections(self._run(look, "-Lnc")):
            if entry.virtual == address and entry.source.rpartition(":")[2] == str(port):
                return Taken(
                    backend=entry.destination,
                    state=entry.state,
                    refused=entry.state == "CLOSE",
                )
        return None

    def see(self, protocol: str, address: str) -> list[str]:
        """The command that shows the row."""
        return ["ipvsadm", "-Ln", _FLAGS[protocol], address]

    @staticmethod
    def _run(look: Look, *flags: str) -> str:
        result = look.run(["ipvsadm", *flags])
        if not result.succeeded:
            raise CannotMeasure(f"ipvsadm failed on {look.vantage}: {result.last_line}")
        return result.stdout


class Nftables:
    """Mode nftables: maps that lead to chains; what was chosen is in connection tracking."""

    title = "nftables"

    def entry(self, look: Look, protocol: str, address: str) -> Entry | None:
        """The map's entry, the chain it leads to, and the endpoints that may be drawn there."""
        table = self._table(look)
        row = table.rows.get((protocol, address))
        if row is None:
            return None
        chain = table.chains[protocol, address]
        return Entry(
            text=f"{protocol} {address} {row.scheduler} {row.flags}".strip()
            + (f", chain {chain}" if chain else ""),
            live=tuple(backend.address for backend in row.live),
        )

    def count(self, look: Look, protocol: str, address: str) -> int | None:
        """None: kube-proxy's rules of this mode count nothing."""
        del look, protocol, address  # the contract's; there is nothing to ask for
        return None

    def taken(self, look: Look, address: str, port: int) -> Taken | None:
        """The connection's entry in connection tracking, where its destination was rewritten."""
        result = look.run(["conntrack", "-L"])
        if not result.succeeded:
            raise CannotMeasure(f"conntrack failed on {look.vantage}: {result.last_line}")
        for entry in kernel.translated(result.stdout):
            if entry.virtual == address and entry.source.rpartition(":")[2] == str(port):
                return Taken(
                    backend=entry.destination,
                    state=entry.state,
                    refused=entry.state == "CLOSE",
                )
        return None

    def see(self, protocol: str, address: str) -> list[str]:
        """The command that shows the table; an entry alone cannot be asked for."""
        del protocol, address
        return ["nft", "list", "table", "ip", "kube-proxy"]

    @staticmethod
    def _table(look: Look) -> nft.Table:
        result = look.run(nft.READ)
        if not result.succeeded:
            raise CannotMeasure(f"nft failed on {look.vantage}: {result.last_line}")
        try:
            return nft.parse(result.stdout)
        except (ValueError, KeyError, TypeError) as odd:
            raise CannotMeasure(f"nft's answer on {look.vantage} is odd: {odd!r}") from odd


_READERS: dict[str, type[Proxy]] = {"ipvs": Ipvs, "nftables": Nftables}


@dataclass(frozen=True, kw_only=True)
class Running:
    """Kube-proxy on one node, and how to read what it keeps."""

    mode: str
    """Its own answer; empty where it gives none."""
    reader: Proxy | None
    """None for a mode whose rules are not read."""
    problem: str = ""
    """Why it does not answer."""

    @property
    def title(self) -> str:
        """What takes the packets."""
        return self.reader.title if self.reader else "kube-proxy"


def running(look: Look) -> Running:
    """Ask kube-proxy of this node; what a silent one left in the kernel is read all the same.

    Raises:
        CannotMeasure: The node cannot be reached.
    """
    result = look.run(_ASK_MODE)
    mode = result.stdout.strip() if result.succeeded else ""
    if mode:
        reader = _READERS.get(mode)
        return Running(mode=mode, reader=reader() if reader else None)
    kept = look.run(["ipvsadm", "-Ln"])
    rows = kept.succeeded and ipvs.parse_table(kept.stdout)
    late = result.rc == _CURL_LATE
    problem = "no answer within 2 s" if late else result.last_line or "no answer"
    if rows:
        return Running(mode="", reader=Ipvs(), problem=problem)
    tables = look.run(["nft", "list", "tables"])
    ruled = tables.succeeded and "table ip kube-proxy" in tables.stdout
    return Running(mode="", reader=Nftables() if ruled else None, problem=problem)
