"""The host as it is outside the lab network: what must be the same before and after a cluster."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Opened while the test process is still in the host's own network.
HOST_NETWORK = os.open("/proc/self/ns/net", os.O_RDONLY)


def into_host():
    """The words that put a program into the host's own network."""
    return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{HOST_NETWORK}", "--"]


def outside(*argv, timeout=60, **options):
    """Run a program in the host's own network, as a person at a terminal would."""
    return subprocess.run(
        [*into_host(), *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        **options,
    )


def processes(text):
    """The processes whose command line names ``text``."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in words:
                found[int(folder.name)] = words
    return found


def fingerprint():
    """Links, routes, firewall, namespaces and mounts of the host."""
    commands = {
        "links": ["ip", "-o", "-br", "link"],
        "routes": ["ip", "route", "show", "table", "all"],
        "rules": ["nft", "list", "ruleset"],
        "named namespaces": ["ip", "netns", "list"],
    }
    seen = {name: outside(*argv).stdout for name, argv in commands.items()}
    seen["mounts"] = Path("/proc/self/mounts").read_text()
    return seen
