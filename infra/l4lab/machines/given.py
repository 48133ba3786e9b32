"""Runs on a host that somebody gives us and prints what it is, as one JSON object.

It is sent over ssh to ``python3 -I - ADDRESS``, so one trip is enough, and uses the standard
library only. It changes nothing; ``demands.py`` judges what it says.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# What nodes need of their kernel, and where it shows when it is there without being a module.
MODULES = {
    "ip_vs": "/proc/net/ip_vs",
    "ip_vs_rr": "/proc/net/ip_vs",
    "nf_conntrack": "/proc/sys/net/netfilter",
    "overlay": "",  # a line of /proc/filesystems
    "vxlan": "",  # nothing shows it without making one
}
OURS = "# Written by l4lab"
KUBERNETES = Path("/etc/kubernetes")
UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
RUNTIMES = ("containerd", "docker", "crio", "k3s", "k3s-agent", "kubelet")
REMAINS = ("/var/lib/etcd", "/etc/cni/net.d", "/var/lib/cni", "/var/lib/calico", "/var/lib/kubelet")
LINKS = ("kube-ipvs0", "vxlan.calico", "cni0", "flannel.1")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What the roles write on nodes and take off again, and the note that is there before all of it and
# goes after it.
NODE_NOTE = Path("/var/lib/l4lab/found")
NODE_PATHS = (
    "/usr/local/bin/containerd",
    "/usr/local/bin/containerd-shim-runc-v2",
    "/usr/local/bin/ctr",
    "/usr/local/bin/kubeadm",
    "/usr/local/bin/kubectl",
    "/usr/local/bin/kubelet",
    "/etc/containerd",
    "/etc/kubernetes",
    "/opt/cni/bin",
    "/opt/containerd",
    "/var/lib/containerd",
)
# The labs' schema and user, and the file that is there while they are l4lab's.
DATABASE = "/var/lib/mysql/lab"
DATABASE_MARK = Path("/etc/mysql/mariadb.conf.d/60-l4lab.cnf")
DATABASE_USERS = "SELECT CONCAT('user lab@', Host) FROM mysql.global_priv WHERE User = 'lab'"
TIMEOUT = 10  # seconds for one command
LISTEN = "0A"  # TCP's state in /proc/net/tcp


def read(path: str | Path) -> str:
    """The text of a file, empty where there is none or it is closed to us."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def answer(*words: str) -> str | None:
    """What a command prints; None where it is not there, or does not end well."""
    program = shutil.which(words[0], path=PATH)
    if not program:
        return None
    try:
        done = subprocess.run(
            [program, *words[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def succeeds(*words: str) -> bool:
    """Whether a command is there and ends well."""
    return answer(*words) is not None


def missing_modules() -> list[str]:
    """The kernel modules that are neither loaded, nor built in, nor to be had."""
    shown = {name: bool(path) and Path(path).exists() for name, path in MODULES.items()}
    shown["overlay"] = "\toverlay\n" in read("/proc/filesystems")
    if not Path("/lib/modules", os.uname().release).is_dir():
        # This kernel has no modules at all. What it has it shows, but for this one.
        shown["vxlan"] = True
        return [name for name, there in shown.items() if not there]
    return [
        name
        for name, there in shown.items()
        if not there and not succeeds("modprobe", "-n", "-q", name)
    ]


def distribution() -> str:
    """Such as ``debian 12``."""
    facts = dict(line.split("=", 1) for line in read("/etc/os-release").splitlines() if "=" in line)
    return f"{facts.get('ID', '')} {facts.get('VERSION_ID', '')}".replace('"', "").strip()


def is_local(address: str) -> bool:
    """Whether this host has the address: only then may a socket be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def programs() -> dict[str, str]:
    """Names of programs by the sockets they hold, as far as we may look."""
    found: dict[str, str] = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            targets = [str(handle.readlink()) for handle in (process / "fd").iterdir()]
        except OSError:
            continue
        name = read(process / "comm").strip()
        found.update({target[8:-1]: name for target in targets if target.startswith("socket:[")})
    return found


def listening() -> list[dict[str, Any]]:
    """Sockets that wait for peers: protocol, address, port, and whose they are."""
    owners = programs()
    found = []
    for protocol, wanted in (("tcp", LISTEN), ("udp", "07")):
        for version in ("", "6"):
            for line in read(f"/proc/net/{protocol}{version}").splitlines()[1:]:
                words = line.split()
                if words[3] != wanted:
                    continue
                host, port = words[1].split(":")
                address = "*"
                if host.strip("0"):
                    # The kernel writes an address as one number in its own byte order.
                    raw = bytes.fromhex(host[:8])
                    address = socket.inet_ntoa(raw[::-1]) if not version else "6"
                found.append(
                    {
                        "protocol": protocol,
                        "address": address,
                        "port": int(port, 16),
                        "program": owners.get(words[9], ""),
                    }
                )
    return found


def routes() -> list[list[str]]:
    """Networks this host has a route to, and by which link."""
    found = []
    for line in read("/proc/net/route").splitlines()[1:]:
        link, target, mask = (line.split()[index] for index in (0, 1, 7))
        length = bin(int(mask, 16)).count("1")
        address = socket.inet_ntoa(bytes.fromhex(target)[::-1])
        if length:
            found.append([f"{address}/{length}", link])
    return found


def kubernetes() -> str:
    """Whether a cluster is here: absent, ours, or foreign."""
    marks = KUBERNETES / "l4lab"
    if (marks / "begun").exists() or (marks / "done").exists():
        return "ours"
    known = (KUBERNETES / "kubelet.conf", KUBERNETES / "admin.conf")
    return "foreign" if any(path.exists() for path in known) else "absent"


def runtimes() -> list[str]:
    """Services of container runtimes and clusters that l4lab did not write."""
    return [
        name
        for name in RUNTIMES
        if any(
            (Path(folder) / f"{name}.service").exists()
            and not read(Path(folder) / f"{name}.service").startswith(OURS)
            for folder in UNITS
        )
    ]


def remains() -> list[str]:
    """What a cluster that is gone has left."""
    found = []
    for folder in map(Path, REMAINS):
        try:
            if any(folder.iterdir()):
                found.append(str(folder))
        except OSError:
            continue
    links = read("/proc/net/dev")
    return found + [link for link in LINKS if f"{link}:" in links]


def is_taken(path: str) -> bool:
    """Whether there is a file, a link, or a folder with something in it."""
    try:
        return any(Path(path).iterdir())
    except OSError:
        return os.path.lexists(path)  # no folder, or closed to us


def theirs() -> list[str]:
    """What the roles would write over or remove, and is not l4lab's; empty folders are nobody's."""
    try:
        NODE_NOTE.stat()
    except FileNotFoundError:
        return [path for path in NODE_PATHS if is_taken(path)]
    except OSError:
        pass  # it is root's, which we are not: that is told anyhow
    return []


def database() -> list[str]:
    """The schema and users in MariaDB that have the labs' names and are not l4lab's."""
    if DATABASE_MARK.exists():
        return []
    users = answer("mariadb", "--batch", "--skip-column-names", "-e", DATABASE_USERS) or ""
    return [*(["schema lab"] if is_taken(DATABASE) else []), *users.splitlines()]


def look(address: str) -> dict[str, Any]:
    """All that is reported."""
    return {
        "time": time.time(),
        "uid": os.geteuid(),
        "distribution": distribution(),
        "architecture": os.uname().machine,
        "processors": len(os.sched_getaffinity(0)),
        "uml": "User Mode Linux" in read("/proc/cpuinfo"),
        "memory_mib": int(read("/proc/meminfo").split()[1]) >> 10,
        "disk_mib": shutil.disk_usage("/var").free >> 20,
        "cgroup2": Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        "systemd": Path("/run/systemd/system").exists(),
        "swap": [line.split()[0] for line in read("/proc/swaps").splitlines()[1:]],
        "missing_modules": missing_modules(),
        "address_is_local": is_local(address),
        "routes": routes(),
        "listening": listening(),
        "kubernetes": kubernetes(),
        "runtimes": runtimes(),
        "remains": remains(),
        "theirs": theirs(),
        "database": database(),
        "firewalls": [
            name
            for name, on in (
                ("ufw", "ENABLED=yes" in read("/etc/ufw/ufw.conf")),
                ("firewalld", succeeds("systemctl", "is-active", "--quiet", "firewalld")),
            )
            if on
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look(sys.argv[1])))
