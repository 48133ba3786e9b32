"""What a host holds, for the comparison of before and after: files, kernel, network, services."""

from __future__ import annotations

# Runs on the host with its own Python, as root.
HOSTPRINT = r"""
import hashlib, json, os, re, shutil, subprocess
from pathlib import Path

def run(*words):
    if not shutil.which(words[0], path="/usr/sbin:/usr/bin:/sbin:/bin"):
        return ""
    done = subprocess.run(words, capture_output=True, text=True)
    return done.stdout

# What is alive by nature, and what apt, dpkg and packages' scripts make; packages are compared
# apart.
LIVING = re.compile(
    r"^/(var/(log|cache|tmp|lib/(apt|dpkg|systemd/(deb-systemd-helper-enabled|timers|random-seed|timesync|catalog)|private|sudo))"
    r"|etc/(ld\.so\.cache|alternatives|networks$|(passwd|group|g?shadow)-$|apparmor\.d/local|mysql/my\.cnf$|systemd/system/[^/]+\.wants/(ipvsadm|nftables)\.service"
    r"|rc[0-9S]\.d/|\.pwd\.lock)|root/\.(ansible|bash_history)|home/admin/\.ansible)"
)

# The package tcpdump makes an account, for it does not want to read packets as root.
ACCOUNTS = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"}

def digest(path):
    if str(path) in ACCOUNTS:
        lines = [one for one in path.read_text().split("\n") if not one.startswith("tcpdump:")]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    if path.is_symlink():
        return "-> " + os.readlink(path)
    if path.is_dir():
        return "folder"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "special"

def files():
    found = {}
    for top in ("/etc", "/usr/local", "/opt", "/root", "/home", "/var", "/srv"):
        for folder, names, others in os.walk(top):
            for name in names + others:
                path = Path(folder) / name
                if not LIVING.match(str(path)):
                    found[str(path)] = digest(path)
    return found

owned = set()
for listing in Path("/var/lib/dpkg/info").glob("*.list"):
    owned.update(listing.read_text().split("\n"))
settings = run("sysctl", "-a", "-r",
    r"^(net\.ipv4\.(ip_forward|conf\.(all|default|vec0)\.|ip_nonlocal_bind)|fs\.inotify|vm\.(overcommit|panic)"
    r"|kernel\.(panic|keys\.root))").splitlines()
print(json.dumps({
    "packages": run("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines(),
    "owned": sorted(owned),
    "files": files(),
    "settings": settings,
    "links": run("ip", "-o", "-br", "link").splitlines(),
    "addresses": run("ip", "-o", "-br", "address").splitlines(),
    "routes": run("ip", "route", "show", "table", "all").splitlines(),
    "rules": run("ip", "rule").splitlines(),
    "chains": re.findall("chain (?:KUBE|cali)\S+", run("nft", "list", "ruleset")),
    "ipsets": run("ipset", "list", "-n").split(),
    "ipvs": run("ipvsadm", "-Sn").splitlines(),
    "mounts": sorted(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()),
    "swaps": Path("/proc/swaps").read_text(),
    "services": sorted(line.split()[0] for line in run("systemctl", "list-units", "--plain",
        "--no-legend", "--type=service", "--state=running,failed").splitlines()),
    "listening": sorted({line.split()[3] for line in run("ss", "-Hltn").splitlines()}),
}))
"""


def unlike(before, after):
    """What differs between two prints of a host, but for packages that were installed.

    Packages must only have been added; files of theirs may be new.
    """
    found = {}
    if set(before["packages"]) - set(after["packages"]):
        found["packages"] = sorted(set(before["packages"]) - set(after["packages"]))
    theirs = set(after["owned"])
    old, new = before["files"], after["files"]
    changed = {
        path: (old.get(path), new.get(path))
        for path in old.keys() | new.keys()
        if old.get(path) != new.get(path) and not (path not in old and path in theirs)
    }
    if changed:
        found["files"] = changed
    for what in before:
        if what not in ("packages", "owned", "files") and before[what] != after[what]:
            found[what] = (before[what], after[what])
    return found
