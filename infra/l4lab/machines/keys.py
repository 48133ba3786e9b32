"""SSH keys of one cluster: one key to log in with, one host key a machine, all pinned."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from l4lab.machines import connect
from l4lab.state import Paths, write_private
from l4lab.topology import Topology

CLIENT_KEY = "id_ed25519"
KNOWN_HOSTS = "known_hosts"


def ensure_key(path: Path) -> str:
    """Make an ed25519 key pair at ``path`` unless it is there; return the public half."""
    public = path.with_name(path.name + ".pub")
    if not (path.exists() and public.exists()):
        key = Ed25519PrivateKey.generate()
        private_text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        public_text = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        write_private(path, private_text.decode())
        write_private(public, public_text.decode() + "\n")
    return public.read_text().strip()


def host_key(paths: Paths, name: str) -> Path:
    """Where a machine's host key lies."""
    return paths.ssh / "hosts" / name


def path_word(path: Path) -> str:
    """A path as the ssh configuration has it: one word, whatever letters are in it."""
    return f'"{_no_token(str(path))}"'


def _no_token(text: str) -> str:
    return text.replace("%", "%%")  # a single one begins what ssh puts something in for


def write_client_files(paths: Paths, topology: Topology, holder: Path | None) -> None:
    """Write known_hosts and the ssh configuration that reaches every machine by name.

    Args:
        paths: Where they go.
        topology: The machines.
        holder: The record of the process that holds the lab network, where there is one.
    """
    known = []
    lines = ["# Written by l4lab up. Use: ssh -F THIS_FILE MACHINE"]
    for machine in topology.machines:
        public = ensure_key(host_key(paths, machine.name))
        known.append(f"{machine.name},{machine.address} {public}")
        lines += [
            f"Host {machine.name} {machine.address}",
            f"  HostName {machine.address}",
            f"  HostKeyAlias {machine.name}",
            f"  User {machine.user}",
            f"  Port {machine.port}",
        ]
    lines += [
        "Host *",
        f"  IdentityFile {path_word(paths.ssh / CLIENT_KEY)}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {path_word(paths.ssh / KNOWN_HOSTS)}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  PasswordAuthentication no",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 15",
        "  LogLevel ERROR",
    ]
    if holder:
        words = shlex.join([sys.executable, "-I", connect.__file__, str(holder)])
        lines += [f"  ProxyCommand {_no_token(words)} %h %p", "  ProxyUseFdpass yes"]
    write_private(paths.ssh / KNOWN_HOSTS, "\n".join(known) + "\n")
    write_private(paths.ssh_config, "\n".join(lines) + "\n")
