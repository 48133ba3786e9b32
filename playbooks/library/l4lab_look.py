#!/usr/bin/python
"""Ansible module: one look at a machine, for all roles to decide by.

It is written without ``ansible.module_utils`` on purpose: a module that uses them unpacks and
compiles them on the machine at each call, a third of a second on a small one. This one is sent
as it is, with its arguments in place of the marker at the end.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: l4lab_look
short_description: Report what the l4lab roles need to know of a machine
description:
  - Reads kernel, swap, cgroups, installed bundle files and the state of Kubernetes.
  - Changes nothing.
options:
  address:
    description: The address by which the other machines know this one.
    type: str
    required: true
  commands:
    description: Programs that must be on the machine.
    type: list
    elements: str
    default: []
author: l4lab
"""

EXAMPLES = r"""
- name: Look at the machine
  l4lab_look:
    address: 192.168.128.11
    commands: [runc, iptables]
  register: prerequisites_machine
"""

RETURN = r"""
uml:
  description: Whether this is a User-Mode Linux kernel.
  returned: always
  type: bool
kubernetes:
  description: absent, foreign (not made by l4lab), partial (interrupted) or ready.
  returned: always
  type: str
booted:
  description: When a local machine was started, in seconds of the epoch; 0 for others.
  returned: always
  type: int
ca_sha256:
  description: Digest of the cluster's CA certificate, empty where there is none.
  returned: always
  type: str
"""

KUBERNETES = Path("/etc/kubernetes")
MARKS = KUBERNETES / "l4lab"
INSTALLED = Path("/usr/local/share/l4lab")
NOTE = Path("/var/lib/l4lab/found")
# Begins every file that the roles write.
OURS = "# Written by l4lab"
# Where systemd's resolver keeps the real servers; its /etc/resolv.conf only names itself.
RESOLV_CONFS = ("/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")


def read(path: str | Path) -> str:
    """The text of a file, empty where there is none."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def installed_files() -> dict[str, str]:
    """The bundle's files on this machine by path, with the digests they had when installed."""
    found: dict[str, str] = {}
    for record in sorted(INSTALLED.glob("*.json")):
        try:
            files = json.loads(record.read_text()).get("files", {})
            found.update({path: facts["sha256"] for path, facts in files.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # an unreadable record is no record: the files are installed again
    return found


def nameservers() -> list[str]:
    """The name servers that pods would be given, but for one that the roles named."""
    text = next((text for text in map(read, RESOLV_CONFS) if text), "")
    if text.startswith(OURS):
        return []
    lines = (line.split() for line in text.splitlines())
    return [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]


def kubernetes_state(root: Path = KUBERNETES) -> str:
    """How far Kubernetes is set up here, by the marks that the roles leave."""
    marks = root / "l4lab"
    joined = (root / "kubelet.conf").exists()
    if (marks / "begun").exists() or ((marks / "done").exists() and not joined):
        return "partial"
    if (marks / "done").exists():
        return "ready"
    return "foreign" if joined or (root / "admin.conf").exists() else "absent"


def is_local(address: str) -> bool:
    """Whether this machine has the address: only then may a socket be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def booted() -> int:
    """When the machine was started, in seconds of the epoch.

    Only for local machines, which have the host's clock from their first moment: one that is set
    later moves this time with it, and whatever started before would seem to be of another start.
    """
    lines = (line.split() for line in read("/proc/stat").splitlines())
    return next((int(words[1]) for words in lines if words[:1] == ["btime"]), 0)


def read_only(mounts: str) -> bool:
    """Whether the root file system can only be read: ext4 turns so where its disk refuses.

    Newer kernels still say ``rw`` then, and ``emergency_ro``.
    """
    lines = (line.split() for line in mounts.splitlines())
    return any(
        words[1] == "/" and not {"ro", "emergency_ro"}.isdisjoint(words[3].split(","))
        for words in lines
    )


def look(address: str, commands: list[str]) -> dict[str, Any]:
    """All that is reported."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    certificate = read(KUBERNETES / "pki" / "ca.crt")
    memory = read("/proc/meminfo").split()
    uml = "User Mode Linux" in read("/proc/cpuinfo")
    return {
        "uml": uml,
        "address_is_local": is_local(address),
        "cgroup2": Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        "ipvs": Path("/proc/net/ip_vs").exists(),
        "modules": Path("/proc/modules").exists(),
        "memory_mib": int(memory[1]) // 1024 if len(memory) > 1 else 0,
        "missing_commands": [name for name in commands if not shutil.which(name, path=path)],
        "swap": [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]],
        "read_only": read_only(read("/proc/mounts")),
        "nameservers": nameservers(),
        # The base disk of local machines is made from the bundle: all of it is there.
        "base_disk": (INSTALLED / "bundle.json").exists(),
        "installed": installed_files(),
        # It is there before anything that the roles bring to a host of somebody's, and goes last.
        "noted": NOTE.exists(),
        "kubernetes": kubernetes_state(),
        "booted": booted() if uml else 0,
        "ca": certificate,
        "ca_sha256": hashlib.sha256(certificate.encode()).hexdigest() if certificate else "",
    }


def main(arguments: dict[str, Any]) -> int:
    """Answer Ansible on standard output."""
    report = look(arguments["address"], arguments.get("commands") or [])
    sys.stdout.write(json.dumps({"changed": False, **report}))
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")))
