"""What a machine holds as facts: kernel tables, links, routes, folders, sockets, the database."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from l4lab.proof import rules
from l4lab.proof.objects import Fact, Living

Seen = Mapping[str, Any]

_FLAGS: Final = {"-t": "TCP", "-u": "UDP", "--sctp-service": "SCTP", "-f": "FWM"}
_POD_LINK: Final = re.compile(r"cali[0-9a-f]{11}$")
_ADDRESS: Final = re.compile(r"\d+\.\d+\.\d+\.\d+")
_UID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}"
)
_NODE_PORTS: Final = range(30000, 32768)
_FIRST_CHOSEN_PORT: Final = 32768
"""From here on the kernel chooses ports for programs that name none."""
_DEBIANS_SCHEMAS: Final = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
_DEBIANS_ACCOUNTS: Final = frozenset({"'mariadb.sys'@'localhost'", "'mysql'@'localhost'"})
# Debian's own administrator, without a password, known by the socket only.
_ROOT: Final = "'root'@'localhost'"
_UNTOUCHED: Final = re.compile(
    r"GRANT ALL PRIVILEGES ON \*\.\* TO `root`@`localhost` IDENTIFIED VIA mysql_native_password "
    r"USING sha256:f1234d75178d892a OR unix_socket WITH GRANT OPTION\nGRANT PROXY ON [^\n]*"
)
# kubelet and Calico rewrite these; the token in the second is renewed every day.
_REWRITTEN: Final = re.compile(r"_state$|/calico-kubeconfig$|/kubelet\.conf$")

OF_GONE: Final = " of gone Service"
# What kube-proxy writes for a Service, by what its facts are called.
_PROXYS: Final = re.compile(r"IPVS |ipset KUBE-\S+ member |address \S+ on kube-ipvs0$")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def facts(seen: Seen, living: Living, *, node: str) -> Iterator[Fact]:
    """All facts of one machine, but for what a living pod or a passed-over object explains."""
    found = [
        *_links(seen["links"], living, node),
        *_routes(seen["routes"], seen["rules"], living, node),
        *ipvs(seen["ipvs"], living),
        *ipsets(seen["ipsets"], living),
        *(
            fact
            for name in ("iptables-nft", "iptables-legacy", "ip6tables-nft")
            for fact in rules.iptables(seen[name], name, living, node)
        ),
        *rules.nftables(seen["nft"]),
        *_conntrack(seen["conntrack"], living),
        *_files(seen["files"], seen["cni results"], living, node),
        *_kubelets(seen, living, node),
        *_sockets(seen["sockets"]),
        *_database(seen["database"]),
    ]
    network = ipaddress.ip_network(seen.get("services") or "0.0.0.0/32")
    return (
        replace(fact, what=fact.what + OF_GONE) if _of_gone(fact, living, network) else fact
        for fact in found
        if living.without.isdisjoint(fact.marks)
    )


def _of_gone(fact: Fact, living: Living, network: Network) -> bool:
    """Whether a row of kube-proxy is for a Service that is gone: it will go, too, seconds later."""
    if not _PROXYS.match(fact.what) or not living.services.isdisjoint(fact.marks):
        return False
    return any(
        mark.startswith("port:")
        or (_ADDRESS.fullmatch(mark) and ipaddress.ip_address(mark) in network)
        for mark in fact.marks
    )


def _named(text: str, living: Living) -> str:
    """A text with the addresses of pods that live replaced by their names."""
    return _ADDRESS.sub(lambda match: living.names.get(match[0], match[0]), text)


def _links(text: str, living: Living, node: str) -> Iterator[Fact]:
    explained = {pod.link for pod in living.on(node)}
    for link in json.loads(text or "[]"):
        name = link["ifname"]
        if name in explained:
            continue
        marks = frozenset({name} if _POD_LINK.match(name) else ())
        kind = (link.get("linkinfo") or {}).get("info_kind", link.get("link_type", ""))
        state = "up" if "UP" in link.get("flags", []) else "down"
        yield Fact(what=f"link {name}", value=f"{kind}, mtu {link['mtu']}, {state}", marks=marks)
        for one in link.get("addr_info", []):
            if one.get("family") != "inet":
                continue
            address = f"{one['local']}/{one['prefixlen']}"
            marks = frozenset({one["local"]})
            yield Fact(what=f"address {address} on {name}", value="there", marks=marks)


def _routes(text: str, policy: str, living: Living, node: str) -> Iterator[Fact]:
    explained = {pod.link for pod in living.on(node)}
    for line in text.splitlines():
        words = line.split()
        # The kernel derives table local from the addresses, which are facts.
        if "table local" in line or not words or explained.intersection(words):
            continue
        yield Fact(what=f"route {' '.join(words)}", value="there", marks=frozenset(words[:2]))
    for line in policy.splitlines():
        yield Fact(what=f"rule {' '.join(line.split())}", value="there")


def ipvs(saved: str, living: Living) -> Iterator[Fact]:
    """From the output of ``ipvsadm -Sn``: one fact a service, its backends in order of name.

    How many pods of a workload are ready just now is no fact: that is how the workload is doing.
    """
    services: dict[str, tuple[list[str], list[str]]] = {}
    for line in saved.splitlines():
        words = line.split()
        if words[:1] not in (["-A"], ["-a"]) or words[1] not in _FLAGS:
            continue
        what = f"IPVS {_FLAGS[words[1]]} {words[2]}"
        if words[0] == "-A":
            services.setdefault(what, ([" ".join(words[3:])], []))
        elif words[0] == "-a" and what in services:
            # A backend that only waits for the end of its connections is on its way out.
            address = words[4].rpartition(":")[0]
            if words[-2:] == ["-w", "0"] and address not in living.names:
                continue
            services[what][1].append(_named(" ".join(words[4:]), living))
    for what, (head, backends) in services.items():
        address, _, port = what.split()[2].rpartition(":")
        marks = {address}
        if port.isdigit() and int(port) in _NODE_PORTS:
            marks.add(f"port:{port}")
        yield Fact(what=what, value="\n".join(head + sorted(set(backends))), marks=frozenset(marks))


def ipsets(saved: str, living: Living) -> Iterator[Fact]:
    """From the output of ``ipset save``: one fact a set and one a member."""
    for line in saved.splitlines():
        verb, name, rest = f"{line}  ".split(" ", 2)
        if verb == "create":
            # The rest says how large its hash has grown, and from which number it starts.
            kind = rest.split()[0]
            yield Fact(what=f"ipset {name}", value=kind)
        elif verb == "add":
            member = rest.strip()
            addresses = _ADDRESS.findall(member)
            if addresses and addresses[0] in living.names:
                continue  # a pod that lives: it is here because of where it happens to run
            marks = {*addresses, *([f"port:{member}"] if member.isdigit() else [])}
            yield Fact(what=f"ipset {name} member {member}", value="there", marks=frozenset(marks))


def _conntrack(lines: Iterable[str], living: Living) -> Iterator[Fact]:
    for line in lines:
        protocol, address, port = line.split()
        if address not in living.services:
            yield Fact(
                what=f"conntrack {protocol} to gone Service {address}:{port}",
                value="there",
                marks=frozenset({address}),
            )


def _files(
    found: Mapping[str, str], results: Mapping[str, str], living: Living, node: str
) -> Iterator[Fact]:
    names = {pod.name for pod in living.on(node)}
    uids = {uid for pod in living.on(node) for uid in pod.uids}
    for path, digest in found.items():
        uid = _UID.search(path)
        marks = frozenset({uid[0]} if uid and "/pods/" in path else ())
        if marks & uids or results.get(path) in names:
            continue
        if path in results:
            yield Fact(
                what=f"CNI result of gone pod {results[path]}",
                value="there",
                marks=frozenset({f"pod:{results[path]}"}),
            )
            continue
        value = digest if not _REWRITTEN.search(path) else ""
        yield Fact(what=f"file {path}", value=value or "there", marks=marks)


def _kubelets(seen: Seen, living: Living, node: str) -> Iterator[Fact]:
    uids = {uid for pod in living.on(node) for uid in pod.uids}
    for group in seen["cgroups"]:
        uid = group.rpartition("-pod")[2].removesuffix(".slice").replace("_", "-")
        if uid not in uids:
            yield Fact(what=f"cgroup of gone pod {uid}", value="there", marks=frozenset({uid}))
    own = sum(not pod.host_network for pod in living.on(node))
    if (more := len(seen["network namespaces"]) - own) > 0:
        yield Fact(what="network namespaces of no pod that lives", value=str(more))


def _sockets(text: str) -> Iterator[Fact]:
    for line in text.splitlines():
        words = line.split()
        address, _, port = words[4].rpartition(":")
        if int(port) >= _FIRST_CHOSEN_PORT:
            continue
        program = re.search(r'\(\("([^"]+)"', line)
        yield Fact(
            what=f"socket {words[0]} {address}:{port}", value=program[1] if program else "kernel"
        )


def _database(seen: Seen | None) -> Iterator[Fact]:
    if seen is None:
        return
    for schema in seen["schemas"]:
        if schema not in _DEBIANS_SCHEMAS:
            yield Fact(
                what=f"schema {schema}", value="there", marks=frozenset({f"schema:{schema}"})
            )
    for table, checksum in seen["tables"].items():
        schema = table.partition(".")[0]
        yield Fact(
            what=f"table {table}",
            value=f"checksum {checksum}",
            marks=frozenset({f"schema:{schema}"}),
        )
    for account, grants in seen["accounts"].items():
        if account in _DEBIANS_ACCOUNTS:
            continue
        if account == _ROOT and _UNTOUCHED.fullmatch("\n".join(grants)):
            continue
        of = re.findall(r" ON `((?:[^`]|``)+)`\.", " ".join(grants))
        marks = frozenset("schema:" + name.replace(chr(92), "") for name in of)
        yield Fact(what=f"account {account}", value="\n".join(grants), marks=marks)
