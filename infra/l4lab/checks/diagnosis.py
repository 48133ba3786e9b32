"""What is gathered when a check was not green: the state of every part a packet passes.

Only reads. Secrets are struck out, every file is cut to a bound, and what cannot be had is told
in the file it would have filled.
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from l4lab.checks.capture import capture, request_of
from l4lab.checks.model import API, CannotMeasure, CheckResult, Observation, Vantage, Where
from l4lab.checks.reach import Reach
from l4lab.checks.report import explain
from l4lab.state import write_private
from l4lab.topology import Topology

_MAX_CHARACTERS = 200_000
_MAX_TRACE_CHARACTERS = 5_000_000
_KEPT_BUNDLES = 5

_CLUSTER = {
    "events.txt": "get events -A --sort-by=.lastTimestamp",
    "nodes.txt": "get nodes -o wide",
    "describe.txt": "describe deployments,pods,services -n {namespace}",
    "endpointslices.json": "get endpointslices -n {namespace} -o json",
    "kube-proxy.log": "logs -n kube-system -l k8s-app=kube-proxy --prefix --tail=100",
    "coredns.log": "logs -n kube-system -l k8s-app=kube-dns --prefix --tail=100",
    "kube-system.txt": "get pods -n kube-system -o wide",
}

# One SSH command a machine: starting programs is what costs there.
_MACHINE = """
for c in 'ip -br address' 'ip route' 'ip neighbour' 'ip -d link show vxlan.calico' \
    'ethtool -k vxlan.calico' 'ipvsadm -Ln' 'ipvsadm -Ln --stats --exact' 'ipvsadm -Lnc' \
    'ipset list' 'nft list ruleset' 'conntrack -S' 'nstat -asz' 'cat /etc/resolv.conf' \
    'systemctl --failed --no-pager'; do
    echo "\\$ $c"; $c 2>&1 | head -n 400; echo
done
"""

_DATABASE = """
for c in 'ss -tlnp' 'ip -br address' 'nft list ruleset' 'systemctl status mariadb --no-pager' \
    'journalctl -u mariadb -n 60 --no-pager' 'mariadb -e "SELECT User, Host, Db FROM mysql.db"'; do
    echo "\\$ $c"; eval "$c" 2>&1 | head -n 400; echo
done
"""

_SECRETS = (
    # Certificates, keys and tokens in kubeconfigs and logs, and anything called a password.
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S),
        "PRIVATE KEY",
    ),
    (re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+"), "TOKEN"),
    (
        re.compile(
            r"(?i)(client-key-data|token|password|passwd|secret)(\"?\s*[:=]\s*)\"?[^\s\",]+"
        ),
        r"\1\2(struck out)",
    ),
    (re.compile(r"(?i)(bearer\s+)[\w.~+/=-]{8,}"), r"\1(struck out)"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), "(bootstrap token struck out)"),
)


def redacted(text: str) -> str:
    """``text`` without secrets, cut to the bound of one file."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    if len(text) > _MAX_CHARACTERS:
        text = text[:_MAX_CHARACTERS] + "\n(cut here)\n"
    return text


def trace_lines(results: Sequence[CheckResult]) -> str:
    """The raw trace of every check without secrets: one JSON object a command.

    Where it outgrows its bound, the last object says how many commands are left out.
    """
    lines: list[str] = []
    room = _MAX_TRACE_CHARACTERS
    seen = [(result.id, observation) for result in results for observation in result.trace]
    for place, (name, one) in enumerate(seen):
        # Struck out before it becomes JSON: quotes are among what a secret is known by.
        fields = {key: _struck_out(value) for key, value in asdict(one).items()}
        line = json.dumps({"check": name, **fields}, ensure_ascii=False) + "\n"
        room -= len(line)
        if room < 0:
            lines.append(json.dumps({"left_out": len(seen) - place}) + "\n")
            break
        lines.append(line)
    return "".join(lines)


def _struck_out(value: Any) -> Any:  # noqa: ANN401 (whatever an observation holds)
    if isinstance(value, str):
        return redacted(value)
    return [_struck_out(word) for word in value] if isinstance(value, tuple) else value


def gather(
    reach: Reach,
    *,
    topology: Topology,
    namespace: str,
    lab: str,
    results: Sequence[CheckResult],
    logs: Path,
) -> Path:
    """Write everything about a failed run to a folder of its own below ``logs``.

    Only the newest few such folders are kept.

    Returns:
        The folder.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = logs / f"checks-{lab}-{stamp}"
    red = [result for result in results if not result.green]
    places = {
        name: (API, ["kubectl", *words.format(namespace=namespace).split()])
        for name, words in _CLUSTER.items()
    }
    for node in topology.nodes:
        places[f"{node.name}.txt"] = (Vantage(Where.NODE, node.name), ["sh", "-c", _MACHINE])
    for machine in topology.databases:
        place = Vantage(Where.DBHOST, machine.name)
        places[f"{machine.name}-database.txt"] = (place, ["sh", "-c", _DATABASE])
    with ThreadPoolExecutor(max_workers=4) as pool:
        jobs = {
            name: pool.submit(_ask, reach, vantage, argv)
            for name, (vantage, argv) in places.items()
        }
        for name, job in jobs.items():
            write_private(folder / name, redacted(job.result()))
    write_private(folder / "failures.txt", "\n\n".join(explain(result) for result in red) + "\n")
    write_private(folder / "trace.jsonl", trace_lines(red))
    commands = dict.fromkeys(seen.command for result in red for seen in result.trace)
    write_private(folder / "replay.sh", redacted("\n".join(["#!/bin/sh", "set -x", *commands, ""])))
    if request := request_of(red):
        for name, packets in capture(reach, topology.nodes, request).items():
            file = folder / f"{name}.pcap"
            file.touch(mode=0o600)
            file.write_bytes(packets)
    write_private(folder / "index.html", _index(lab, red, folder, request))
    _forget_old(logs, lab)
    return folder


_TOLD = {
    "failures.txt": "every red check, explained",
    "trace.jsonl": "every command the red checks ran, and what it gave",
    "replay.sh": "the same commands, to be run again",
}


def _index(lab: str, red: Sequence[CheckResult], folder: Path, request: Observation | None) -> str:
    """A page over the folder: what is red, and what each file is."""
    files = sorted(file.name for file in folder.iterdir())
    packets = f"packets that passed while this was asked: {request.command}" if request else ""
    rows = [
        f'<li><a href="{html.escape(name)}">{html.escape(name)}</a> '
        f"{html.escape(packets if name.endswith('.pcap') else _TOLD.get(name, ''))}</li>"
        for name in files
    ]
    texts = [f"<pre>{html.escape(redacted(explain(result)))}</pre>" for result in red]
    title = f"Lab {html.escape(lab)}: {len(red)} not green"
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{title}</title>",
            "<style>body{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}",
            "pre{overflow:auto;padding:1rem;border:1px solid}</style>",
            f"<h1>{title}</h1>",
            *texts,
            "<h2>Evidence</h2><ul>",
            *rows,
            "</ul></html>",
            "",
        ]
    )


def _ask(reach: Reach, vantage: Vantage, argv: Sequence[str]) -> str:
    try:
        result = reach.run(vantage, argv, timeout=30)
    except CannotMeasure as failed:
        return f"not to be had: {failed}\n"
    return result.stdout + result.stderr


def _forget_old(logs: Path, lab: str) -> None:
    for folder in sorted(logs.glob(f"checks-{lab}-*-*/"))[:-_KEPT_BUNDLES]:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
