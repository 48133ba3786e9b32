"""kube-proxy's table of nftables mode, read from ``nft -j``, in the shapes of the IPVS tables.

A map leads from address, protocol and port to a Service's chain; that chain draws an endpoint by
chance and rewrites the destination. With affinity each endpoint has a chain and a set of clients of
its own, and the Service's chain asks the sets first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from l4lab.checks.ipvs import Backend, Connection, Service

READ = ("nft", "-j", "list", "table", "ip", "kube-proxy")
SCHEDULER = "random"
_SERVICES = ("service-ips", "no-endpoint-services")
_NODE_PORTS = ("service-nodeports", "no-endpoint-nodeports")
_NODE_ADDRESSES = "nodeport-ips"

_Json = Mapping[str, Any]
_Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What one kernel holds for kube-proxy."""

    rows: Mapping[_Key, Service]
    """By (protocol, IP:port), as IPVS has them."""
    chains: Mapping[_Key, str]
    """The chain each row leads to."""
    drawn: Mapping[str, int]
    """Over how many endpoints a chain draws by chance."""
    remembered: Sequence[Connection]
    """Clients with affinity: where each is kept; source port 0, as IPVS writes it."""


@dataclass
class _Parts:
    """The table's objects by their names."""

    maps: dict[str, list[Any]] = field(default_factory=dict)
    sets: dict[str, _Json] = field(default_factory=dict)
    rules: dict[str, list[list[_Json]]] = field(default_factory=dict)


def parse(text: str) -> Table:
    """The output of ``READ``.

    Raises:
        ValueError: It is not nft's JSON.
    """
    parts = _parts(text)
    targets = dict(_targets(parts))
    rows: dict[_Key, Service] = {}
    remembered: list[Connection] = []
    for (protocol, address), chain in targets.items():
        endpoints = _endpoints(parts, chain)
        seconds = {int(one.clients.get("timeout", 0)) for one in endpoints if one.clients}
        rows[protocol, address] = Service(
            protocol=protocol,
            address=address,
            scheduler=SCHEDULER,
            flags=f"persistent {max(seconds)}" if seconds else "",
            backends=tuple(
                Backend(address=one.destination, forward="dnat", weight=1) for one in endpoints
            ),
        )
        for one in endpoints:
            remembered += _clients(one, protocol, address)
    drawn = {chain: _drawn(parts, chain) for chain in targets.values()}
    return Table(rows=rows, chains=targets, drawn=drawn, remembered=tuple(remembered))


def _parts(text: str) -> _Parts:
    parts = _Parts()
    for one in json.loads(text)["nftables"]:
        if "map" in one:
            parts.maps[one["map"]["name"]] = one["map"].get("elem", [])
        elif "set" in one:
            parts.sets[one["set"]["name"]] = one["set"]
        elif "rule" in one:
            parts.rules.setdefault(one["rule"]["chain"], []).append(one["rule"]["expr"])
    return parts


def _targets(parts: _Parts) -> Iterator[tuple[_Key, str]]:
    """The chain that each address, protocol and port leads to; empty where it is dropped."""
    for name in _SERVICES:
        for key, verdict in parts.maps.get(name, ()):
            address, protocol, port = _value(key)["concat"]
            yield (protocol.upper(), f"{address}:{port}"), _target(verdict)
    own = [_value(one) for one in parts.sets.get(_NODE_ADDRESSES, {}).get("elem", [])]
    for name in _NODE_PORTS:
        for key, verdict in parts.maps.get(name, ()):
            protocol, port = _value(key)["concat"]
            for address in own:
                yield (protocol.upper(), f"{address}:{port}"), _target(verdict)


def _value(element: Any) -> Any:  # noqa: ANN401 (an element is a value, or has one inside)
    wrapped = isinstance(element, dict) and "elem" in element
    return element["elem"]["val"] if wrapped else element


def _target(verdict: _Json) -> str:
    return next((verdict[one]["target"] for one in ("goto", "jump") if one in verdict), "")


@dataclass(frozen=True, kw_only=True)
class _Endpoint:
    destination: str
    """IP:port."""
    clients: _Json = field(default_factory=dict)
    """The set of clients that are kept there; empty without affinity."""


def _endpoints(parts: _Parts, chain: str) -> list[_Endpoint]:
    """What new connections are given to that no rule makes an exception of."""
    found: list[_Endpoint] = []
    known: _Json = {}
    for rule in parts.rules.get(chain, ()):
        if _is_exception(rule):
            continue
        for one in rule:
            if "set" in one:
                known = parts.sets.get(one["set"]["set"].removeprefix("@"), {})
            elif "dnat" in one:
                found += [_Endpoint(destination=to, clients=known) for to in _rewritten(one)]
            elif "vmap" in one:
                for _, verdict in one["vmap"]["data"]["set"]:
                    found += _endpoints(parts, _target(verdict))
            elif target := _target(one):
                found += _endpoints(parts, target)
    return found


def _is_exception(rule: list[_Json]) -> bool:
    """Whether a rule is for some clients only: those that are kept, the node's own, its pods."""
    asked = [one["match"]["left"] for one in rule if "match" in one]
    return any(left.get("meta", {}).get("key") != "l4proto" for left in asked)


def _rewritten(statement: _Json) -> list[str]:
    """The destinations, each ``IP:port``, that a dnat statement writes."""
    dnat = statement["dnat"]
    if isinstance(dnat["addr"], str):
        return [f"{dnat['addr']}:{dnat['port']}"]
    pairs = [value["concat"] for _, value in dnat["addr"]["map"]["data"]["set"]]
    return [f"{address}:{port}" for address, port in pairs]


def _drawn(parts: _Parts, chain: str) -> int:
    for rule in parts.rules.get(chain, ()):
        for one in rule:
            address = one.get("dnat", {}).get("addr")
            drawing = address.get("map", {}) if isinstance(address, dict) else one.get("vmap", {})
            number = drawing.get("key", {}).get("numgen", {})
            if number.get("mode") == SCHEDULER:
                return int(number["mod"])
    return 0


def _clients(endpoint: _Endpoint, protocol: str, address: str) -> Iterator[Connection]:
    for element in endpoint.clients.get("elem", []):
        inner = element.get("elem", {}) if isinstance(element, dict) else {}
        yield Connection(
            state="NONE",
            source=f"{_value(element)}:0",
            virtual=address,
            destination=endpoint.destination,
            protocol=protocol,
            expires=int(inner.get("expires", 0)),
        )
