"""kube-proxy's mode on each node, and what another mode has left there: found by looking."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from l4lab.checks import ipvs
from l4lab.checks.model import CannotMeasure, Vantage, Where
from l4lab.checks.reach import LiveReach, Reach
from l4lab.state import Access
from l4lab.topology import Topology

_SECTION = "=== "
# Each tool may be missing, or its part of the kernel: then nothing of its kind is there.
_LOOK = f"""
say() {{ echo '{_SECTION}'"$1"; shift; "$@" 2>/dev/null; }}
say mode curl -sS -m 3 http://127.0.0.1:10249/proxyMode
echo
say rows ipvsadm -Ln
say links ip -o link show
say sets ipset list -n
say tables nft list tables
say chains sh -c 'for kind in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy
do command -v $kind-save >/dev/null && $kind-save; done'
exit 0
"""
_NODE_PORTS = range(30000, 32768)
# kubelet keeps these itself, in all modes.
_KUBELETS = frozenset({"KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT", "KUBE-FIREWALL"})


@dataclass(frozen=True, kw_only=True)
class NodeProxy:
    """kube-proxy on one node."""

    node: str
    mode: str
    """Its own answer; empty where it gives none."""
    left: tuple[str, ...]
    """What there is of modes that it does not run in."""
    problem: str = ""
    """Why nothing is known."""


def look(access: Access) -> list[NodeProxy]:
    """Look at every node of a running cluster, at all of them at once."""
    with LiveReach(access, namespace="default") as reach:
        return look_through(reach, access.topology)


def look_through(reach: Reach, topology: Topology) -> list[NodeProxy]:
    """Look at every node by a way there is."""

    def one(node: str) -> NodeProxy:
        try:
            said = reach.run(Vantage(Where.NODE, node), ["sh", "-c", _LOOK], timeout=60)
        except CannotMeasure as failed:
            return NodeProxy(node=node, mode="", left=(), problem=str(failed))
        parts = sections(said.stdout)
        mode = "".join(parts.get("mode", [])).strip()
        if not said.succeeded or not mode:
            return NodeProxy(node=node, mode=mode, left=(), problem="kube-proxy does not answer")
        return NodeProxy(node=node, mode=mode, left=tuple(left_behind(parts, mode, topology)))

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, [node.name for node in topology.nodes]))


def sections(text: str) -> dict[str, list[str]]:
    """The output of the look, by the tool's part."""
    parts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(_SECTION):
            parts[line.removeprefix(_SECTION)] = []
        elif parts:
            parts[next(reversed(parts))].append(line)
    return parts


def left_behind(parts: dict[str, list[str]], mode: str, topology: Topology) -> Iterable[str]:
    """What kube-proxy keeps in modes other than ``mode``, of what was found on a node."""
    if mode != "nftables":
        for line in parts.get("tables", []):
            if line.split()[-1:] == ["kube-proxy"]:
                yield f"nft {line}"
    if mode == "ipvs":
        return
    for protocol, address in ipvs.parse_table("\n".join(parts.get("rows", []))):
        if _ours(address, topology):
            yield f"IPVS row {protocol} {address}"
    for line in parts.get("links", []):
        if re.match(r"\d+: kube-ipvs0[:@]", line):
            yield "link kube-ipvs0"
    yield from (f"ipset {name}" for name in parts.get("sets", []) if name.startswith("KUBE-"))
    for line in parts.get("chains", []):
        chain = line[1:].split()[0] if line.startswith(":") else ""
        if chain.startswith("KUBE-") and chain not in _KUBELETS:
            yield f"chain {chain}"


def _ours(address: str, topology: Topology) -> bool:
    host, _, port = address.rpartition(":")
    try:
        return IPv4Address(host) in topology.networks.services or int(port) in _NODE_PORTS
    except (AddressValueError, ValueError):
        return False


def clean(nodes: Iterable[NodeProxy], mode: str | None = None) -> bool:
    """Whether every node answers with one mode (``mode``, if given) and has nothing of others."""
    found = list(nodes)
    modes = {mode} if mode else {node.mode for node in found}
    return len(modes) == 1 and all(
        node.mode in modes and not node.left and not node.problem for node in found
    )


def data(nodes: Iterable[NodeProxy]) -> dict[str, Any]:
    """What was found, for machines."""
    found = list(nodes)
    return {"clean": clean(found), "nodes": [asdict(node) for node in found]}


def render(nodes: Iterable[NodeProxy]) -> str:
    """What was found, one line a node, and a last one that sums up."""
    found = list(nodes)
    lines = []
    for node in found:
        state = node.problem or ("clean" if not node.left else f"left: {', '.join(node.left)}")
        lines.append(f"  {node.node:<14} {node.mode or '-':<10} {state}")
    count = sum(not node.left and not node.problem for node in found)
    if clean(found):
        lines.append(f"{len(found)} nodes: clean")
    else:
        lines.append(f"{len(found)} nodes, {count} of them clean")
        if len({node.mode for node in found if node.mode}) > 1:
            lines.append("the nodes run in different modes")
    return "\n".join(lines)
