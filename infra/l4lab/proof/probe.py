"""Runs on a machine and prints what it holds of a cluster, as one JSON object of texts.

It is sent over ssh to ``python3 -I -``, so one trip is enough, and uses the standard library only.
It changes nothing. What may be secret leaves the machine as a digest.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMANDS = {
    "links": ["ip", "-j", "-d", "address", "show"],
    "routes": ["ip", "-4", "route", "show", "table", "all"],
    "rules": ["ip", "-4", "rule", "show"],
    "ipvs": ["ipvsadm", "-Sn"],
    "ipsets": ["ipset", "save"],
    "iptables-nft": ["iptables-nft-save"],
    "iptables-legacy": ["iptables-legacy-save"],
    "ip6tables-nft": ["ip6tables-nft-save"],
    "sockets": ["ss", "-Hltnup"],
}
# These are what iptables-nft keeps in nftables; its own program tells them better.
IPTABLES = {"filter", "nat", "mangle", "raw", "security"}
# Folder, how deep its names count, and whether what is in its files does, too.
FOLDERS = (
    ("/etc/cni/net.d", 1, True),
    ("/etc/kubernetes", 3, True),
    ("/var/lib/kubelet", 1, False),
    ("/var/lib/kubelet/pods", 1, False),
    ("/var/lib/etcd", 1, False),
    ("/var/lib/cni/results", 1, False),
    ("/var/lib/calico", 1, False),
    ("/run/calico", 1, False),
    ("/var/log/pods", 1, False),
    ("/var/log/calico", 1, False),
    (str(Path.home() / ".kube"), 1, False),
)
TIMEOUT = 20  # seconds for one command
PASSWORD = re.compile(r"(PASSWORD|USING) '([^']*)'")


def run(words: list[str], text: str = "") -> str:
    """What a command prints; nothing where the machine lacks it or its kernel's half."""
    if not shutil.which(words[0], path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"):
        return ""
    done = subprocess.run(
        words, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    return done.stdout


def digest(data: bytes) -> str:
    """A short digest."""
    return "sha256:" + hashlib.sha256(data).hexdigest()[:16]


def nft() -> str:
    """The ruleset, without the tables that iptables-nft keeps."""
    said = []
    for line in run(["nft", "list", "tables"]).splitlines():
        words = line.split()
        if words[:1] == ["table"] and not (words[1] in {"ip", "ip6"} and words[2] in IPTABLES):
            said.append(run(["nft", "-s", "list", *words]))
    return "".join(said)


def conntrack(network: str) -> list[str]:
    """To which service addresses there are connections, each once: ``tcp 10.10.3.4 80``."""
    if not network:
        return []
    services, found = ipaddress.ip_network(network), set()
    for line in run(["conntrack", "-L"]).splitlines():
        match = re.match(r"(\w+) .*?dst=([\d.]+)", line)
        if match and ipaddress.ip_address(match[2]) in services:
            port = re.search(r"dport=(\d+)", line)
            found.add(f"{match[1]} {match[2]} {port[1] if port else '-'}")
    return sorted(found)


def files() -> dict[str, str]:
    """What is in the folders of CNI, kubelet and the like: a digest, or nothing but the name."""
    found: dict[str, str] = {}
    for name, depth, digests in FOLDERS:
        _files(Path(name), depth, found, digests=digests)
    return found


def _files(folder: Path, depth: int, found: dict[str, str], *, digests: bool) -> None:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    found[f"{folder}/"] = ""
    for entry in entries:
        try:
            if entry.is_dir() and not entry.is_symlink():
                found[f"{entry}/"] = ""
                if depth > 1:
                    _files(entry, depth - 1, found, digests=digests)
            elif entry.is_file():
                found[str(entry)] = digest(entry.read_bytes()) if digests else ""
        except OSError:
            continue  # gone meanwhile


def results() -> dict[str, str]:
    """Whose network the CNI plugins remember: namespace and name of the pod, by file."""
    found = {}
    for path in Path("/var/lib/cni/results").glob("*"):
        try:
            arguments = dict(json.loads(path.read_text()).get("cniArgs") or [])
        except (OSError, ValueError):
            arguments = {}
        space, pod = arguments.get("K8S_POD_NAMESPACE", "?"), arguments.get("K8S_POD_NAME", "?")
        found[str(path)] = f"{space}/{pod}"
    return found


def names(folder: str, pattern: str) -> list[str]:
    """The names below a folder that match."""
    return sorted(path.name for path in Path(folder).glob(pattern))


def database() -> dict[str, Any] | None:
    """Schemas with their tables, and accounts with their rights; None where no server runs."""
    if not Path("/run/mysqld/mysqld.sock").exists():
        return None

    def rows(statement: str) -> list[list[str]]:
        said = run(["mariadb", "--batch", "--skip-column-names"], statement)
        return [line.split("\t") for line in said.splitlines()]

    tables = rows(
        "SELECT CONCAT('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables "
        "WHERE table_schema NOT IN ('mysql','sys','information_schema','performance_schema')"
    )
    sums = rows(f"CHECKSUM TABLE {', '.join(row[0] for row in tables)}") if tables else []
    accounts = rows("SELECT QUOTE(user), QUOTE(host) FROM mysql.global_priv")
    grants = {}
    for user, host in accounts:
        said = rows(f"SHOW GRANTS FOR {user}@{host}")
        grants[f"{user}@{host}"] = sorted(
            PASSWORD.sub(lambda match: f"{match[1]} {digest(match[2].encode())}", row[0])
            for row in said
        )
    return {
        "schemas": [row[0] for row in rows("SHOW DATABASES")],
        "tables": {row[0]: row[1] for row in sums},
        "accounts": grants,
    }


def main(arguments: dict[str, Any]) -> int:
    """Print everything."""
    seen: dict[str, Any] = {name: run(words) for name, words in COMMANDS.items()}
    seen["nft"] = nft()
    seen["services"] = arguments.get("services", "")
    seen["conntrack"] = conntrack(arguments.get("services", ""))
    seen["files"] = files()
    seen["cni results"] = results()
    seen["network namespaces"] = names("/run/netns", "cni-*")
    seen["cgroups"] = names("/sys/fs/cgroup/kubepods.slice", "**/kubepods-*pod*.slice")
    seen["database"] = database()
    with os.fdopen(1, "w") as answer:
        json.dump(seen, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
