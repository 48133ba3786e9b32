#!/usr/bin/python
"""Ansible module: take out of a machine's network what kube-proxy and Calico put there, no more.

``kubeadm reset`` leaves it, and flushing tables would hit rules that are not ours, among them those
that let SSH in. So only what carries the names of kube-proxy and Calico goes: rules that jump to
their chains, the chains, their sets, links and routes, and IPVS services on cluster addresses. It
is written without ``ansible.module_utils``: see ``l4lab_look``.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

DOCUMENTATION = r"""
module: l4lab_unwire
short_description: Remove kube-proxy's and Calico's rules, sets, links and IPVS services
description:
  - Run it after kubelet, kube-proxy and Calico have ended, or they put everything back.
options:
  service_network:
    description: The cluster's service network; IPVS services on its addresses are removed.
    type: str
    required: true
  node_ports:
    description: First and last port of the NodePort range.
    type: list
    elements: int
    default: [30000, 32767]
  proxy_mode:
    description:
      - Remove only what kube-proxy keeps in other modes than this one, which it runs in now.
      - Calico's things, and what kubelet itself keeps, stay.
    type: str
    choices: [ipvs, nftables]
author: l4lab
"""

EXAMPLES = r"""
- name: Take the cluster out of the machine's network
  l4lab_unwire:
    service_network: 10.10.0.0/16

- name: Remove what kube-proxy has left of the mode before
  l4lab_unwire:
    service_network: 10.10.0.0/16
    proxy_mode: nftables
"""

RETURN = r"""
removed:
  description: What was removed, one entry each.
  returned: always
  type: list
"""

# Chains of kube-proxy, of kubelet (KUBE-MARK, KUBE-FIREWALL, canary) and of Calico's Felix.
OUR_CHAIN = re.compile(r"^(KUBE-|cali[-:])")
OUR_SET = re.compile(r"^(KUBE-|cali[46]0|cali[46]t)")
OUR_LINK = re.compile(r"^(kube-ipvs0|vxlan\.calico|cali[0-9a-f]{11})$")
# What kube-proxy keeps beside nftables' own tables. kubelet's chains are its own in all modes.
PROXY_CHAIN = re.compile(r"^KUBE-(?!KUBELET-CANARY$|IPTABLES-HINT$|FIREWALL$)")
PROXY_SET = re.compile(r"^KUBE-")
PROXY_LINK = re.compile(r"^kube-ipvs0$")
FLAVOURS = ("nft", "legacy")
TIMEOUT = 60  # seconds for one command


class CommandError(Exception):
    """A command failed; the text is one line."""


def run(words: list[str], *, text: str | None = None) -> str:
    """Run a command and return its output."""
    done = subprocess.run(
        words,
        input=text if text is not None else "",
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise CommandError(f"{shlex.join(words)}: exit code {done.returncode}: {last}")
    return done.stdout


def restore_script(saved: str, ours_are: re.Pattern[str] = OUR_CHAIN) -> tuple[str, list[str]]:
    """From the output of iptables-save: what removes our rules and chains, and their names."""
    script: list[str] = []
    names: list[str] = []
    table = ""
    deletions: list[str] = []
    chains: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            table, deletions, chains = line[1:], [], []
        elif line.startswith(":"):
            chain = line[1:].split()[0]
            if ours_are.match(chain):
                chains.append(chain)
        elif line.startswith("-A "):
            words = shlex.split(line)
            options = dict(itertools.pairwise(words))
            target = options.get("-j") or options.get("-g") or ""
            # Felix marks each of its rules by a comment; some have a second one, for people.
            marked = any(
                one == "--comment" and text.startswith("cali:")
                for one, text in itertools.pairwise(words)
            )
            calico = ours_are is OUR_CHAIN and marked
            ours = ours_are.match(target) or calico
            if ours and not ours_are.match(words[1]):
                deletions.append("-D" + line[2:])
        elif line == "COMMIT" and (chains or deletions):
            script += [f"*{table}", *deletions, *(f"-F {chain}" for chain in chains)]
            script += [*(f"-X {chain}" for chain in chains), "COMMIT"]
            names += [f"rule {table} {rule[3:]}" for rule in deletions]
            names += [f"chain {table} {chain}" for chain in chains]
    return "".join(f"{line}\n" for line in script), names


def remove_chains(ours_are: re.Pattern[str] = OUR_CHAIN) -> list[str]:
    """Remove our chains from every kind of iptables that the machine has."""
    removed = []
    for family in ("iptables", "ip6tables"):
        for flavour in FLAVOURS:
            save, restore = f"{family}-{flavour}-save", f"{family}-{flavour}-restore"
            if not shutil.which(save):
                continue
            try:
                saved = run([save])
            except CommandError:
                continue  # the kernel has no such tables: nothing of ours is in them
            script, names = restore_script(saved, ours_are)
            if names:
                run([restore, "--noflush"], text=script)
                removed += [f"{family} {flavour}: {name}" for name in names]
    return removed


def remove_tables() -> list[str]:
    """Remove the tables of kube-proxy's nftables mode."""
    removed: list[str] = []
    if not shutil.which("nft"):
        return removed
    for line in run(["nft", "list", "tables"]).splitlines():
        words = line.split()
        if words[:1] == ["table"] and words[-1] == "kube-proxy":
            run(["nft", "delete", *words])
            removed.append(f"nft {line}")
    return removed


def remove_sets(ours_are: re.Pattern[str] = OUR_SET) -> list[str]:
    """Remove our ipsets; those that hold other sets go first."""
    if not shutil.which("ipset"):
        return []
    try:
        names = [name for name in run(["ipset", "list", "-n"]).split() if ours_are.match(name)]
    except CommandError:
        return []  # no ipset in this kernel
    removed = []
    left = names
    while left:
        still: list[str] = []
        for name in left:
            try:
                run(["ipset", "destroy", name])
                removed.append(f"ipset {name}")
            except CommandError:
                still.append(name)
        if len(still) == len(left):
            raise CommandError(f"these ipsets are still in use: {' '.join(still)}")
        left = still
    return removed


def our_services(
    saved: str, network: ipaddress.IPv4Network, ports: Iterable[int]
) -> list[tuple[str, str]]:
    """From the output of ``ipvsadm -Sn``: our services as flag and address."""
    wanted = set(ports)
    found = []
    for line in saved.splitlines():
        words = line.split()
        if len(words) < 3 or words[0] != "-A" or words[1] not in {"-t", "-u", "--sctp-service"}:  # noqa: PLR2004
            continue
        host, _, port = words[2].rpartition(":")
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            continue
        in_network = isinstance(address, ipaddress.IPv4Address) and address in network
        if in_network or int(port) in wanted:
            found.append((words[1], words[2]))
    return found


def remove_services(network: ipaddress.IPv4Network, ports: Iterable[int]) -> list[str]:
    """Remove our IPVS services."""
    if not shutil.which("ipvsadm"):
        return []
    try:
        saved = run(["ipvsadm", "-Sn"])
    except CommandError:
        return []  # no IPVS in this kernel
    removed = []
    for flag, address in our_services(saved, network, ports):
        run(["ipvsadm", "-D", flag, address])
        removed.append(f"IPVS {address}")
    return removed


def remove_connections(network: ipaddress.IPv4Network) -> list[str]:
    """Let the kernel forget connections to Services of the cluster, which it keeps for minutes."""
    if not shutil.which("conntrack"):
        return []
    try:
        lines = run(["conntrack", "-D", "--orig-dst", str(network)]).splitlines()
    except CommandError:
        return []  # there was none
    return [f"{len(lines)} connections to {network}"]


def remove_links() -> list[str]:
    """Remove our links, the routes Calico made, and quieten the kernel's own tunl0."""
    removed = []
    for link in json.loads(run(["ip", "-j", "addr", "show"]) or "[]"):
        name = link["ifname"]
        if OUR_LINK.match(name):
            run(["ip", "link", "delete", name])
            removed.append(f"link {name}")
        elif name == "tunl0" and "UP" in link.get("flags", []):
            run(["ip", "addr", "flush", "dev", name])
            run(["ip", "link", "set", name, "down"])
            removed.append("link tunl0 (down: the kernel keeps it)")
    # Felix marks its routes with protocol 80; those to blackholes have no link to go with.
    for line in run(["ip", "-4", "route", "show", "proto", "80"]).splitlines():
        if line.strip():
            run(["ip", "-4", "route", "delete", *line.split(), "proto", "80"])
            removed.append(f"route {line.strip()}")
    return removed


def remove_dummy() -> list[str]:
    """Remove the link that carries the cluster addresses in mode ipvs."""
    removed = []
    for link in json.loads(run(["ip", "-j", "link", "show"]) or "[]"):
        if PROXY_LINK.match(link["ifname"]):
            run(["ip", "link", "delete", link["ifname"]])
            removed.append(f"link {link['ifname']}")
    return removed


def unwire(arguments: dict[str, Any]) -> dict[str, Any]:
    """Do what the arguments ask for; return Ansible's result."""
    first, last = arguments.get("node_ports") or [30000, 32767]
    network = ipaddress.IPv4Network(arguments["service_network"])
    removed: list[str] = []
    if arguments.get("_ansible_check_mode"):
        return {"changed": False, "skipped": True, "removed": removed}
    mode = arguments.get("proxy_mode")
    ports = range(first, last + 1)
    try:
        # Rules before the sets that they match on.
        if mode == "ipvs":
            removed += remove_tables()
        elif mode == "nftables":
            removed += remove_services(network, ports)
            removed += remove_dummy()
            removed += remove_chains(PROXY_CHAIN)
            removed += remove_sets(PROXY_SET)
            # A connection that IPVS carried is on no way any more, and would hang until its client
            # gives up (CoreDNS's to the API server: most of a minute). Forgotten, its next packet
            # is taken by the new rules: it goes on, or is refused at once.
            if removed:
                removed += remove_connections(network)
        else:
            removed += remove_services(network, ports)
            removed += remove_connections(network)
            removed += remove_links()
            removed += remove_chains()
            removed += remove_tables()
            removed += remove_sets()
    except (CommandError, OSError, ValueError, subprocess.TimeoutExpired) as failed:
        return {"failed": True, "msg": str(failed), "changed": bool(removed), "removed": removed}
    return {"changed": bool(removed), "removed": removed}


def main(arguments: dict[str, Any]) -> int:
    """Answer Ansible on standard output."""
    result = unwire(arguments)
    sys.stdout.write(json.dumps(result))
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")))
