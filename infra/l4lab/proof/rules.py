"""Firewall rules as facts: no counters, no handles, no hashes; their order kept, for it matters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from l4lab.proof.objects import Fact, Living

# Felix marks each of its rules with a digest of it and of those before.
_COMMENT: Final = re.compile(r' -m comment --comment "?cali:[\w-]{16}"?')
# How Felix spreads packets over the chains of a node's pods: a new tree for each set of pods; and
# what it keeps for namespaces, service accounts and policies of pods that are on the node just now.
_DISPATCH: Final = re.compile(
    r"cali-(from|to)-wl-dispatch|cali-(pri|pro|pi|po)-|cali-(from|set)-endpoint-mark$"
)
# kube-proxy writes these while there are Services of such a kind; the sets' members are facts.
_WHILE_NEEDED: Final = re.compile(
    r"--match-set KUBE-(NODE-PORT|EXTERNAL-IP|LOAD-BALANCER|HEALTH-CHECK)"
)
# The chains of one pod: from it and to it.
_OF_A_POD: Final = re.compile(r"cali-(?:tw|fw|sm)-(cali[0-9a-f]{11})$")


def iptables(saved: str, flavour: str, living: Living, node: str) -> Iterator[Fact]:
    """From the output of iptables-save: one fact a chain that holds something."""
    for (table, chain), (policy, rules) in _chains(saved).items():
        if _DISPATCH.match(chain):
            continue
        found = _OF_A_POD.match(chain)
        marks = frozenset(found.groups() if found else ())
        if found and not marks.isdisjoint(pod.link for pod in living.on(node)):
            continue
        if policy == "ACCEPT" and not rules:
            continue  # a chain of the kernel's own, as it is without anything
        lines = ([f"policy {policy}"] if policy not in ("ACCEPT", "-") else []) + rules
        yield Fact(what=f"{flavour} {table} {chain}", value="\n".join(lines), marks=marks)


def _chains(saved: str) -> dict[tuple[str, str], tuple[str, list[str]]]:
    found: dict[tuple[str, str], tuple[str, list[str]]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            found[table, chain] = (policy, [])
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            if chain.startswith("KUBE-") and _WHILE_NEEDED.search(rule):
                continue
            entry = found.setdefault((table, chain), ("-", []))
            entry[1].append(_COMMENT.sub("", f" {rule}").strip())
    return found


def nftables(ruleset: str) -> Iterator[Fact]:
    """From the output of ``nft -s list table``: one fact a chain, set or map."""
    table = ""
    name, lines = "", list[str]()
    for raw in ruleset.splitlines():
        line = raw.strip()
        if raw.startswith("table "):
            table = " ".join(line.split()[1:3])
            yield Fact(what=f"nft table {table}", value="there")
        elif re.match(r"(chain|set|map|flowtable|counter|quota) ", line) and line.endswith("{"):
            name, lines = line.removesuffix(" {"), []
        elif line == "}" and name:
            yield Fact(what=f"nft {table} {name}", value="\n".join(lines))
            name = ""
        elif name and line:
            lines.append(line)
