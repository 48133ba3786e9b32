"""What makes a machine of the one base disk itself: address, names and SSH keys, as an archive.

The machine unpacks it at power-on, before its network; ``tools/disk`` holds the other half.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from l4lab.machines import keys
from l4lab.state import Paths
from l4lab.topology import Machine, Topology

_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
_LOGIN = "root/.ssh/authorized_keys"
_PRIVATE = (_HOST_KEY, _LOGIN)


def write(target: Path, machine: Machine, *, topology: Topology, paths: Paths) -> None:
    """Write the archive of ``machine`` to ``target``, whole or not at all, with mode 0600."""
    working = target.with_suffix(".new")
    working.unlink(missing_ok=True)
    working.touch(mode=0o600)
    with tarfile.open(working, "w") as archive:
        for name, text in _files(machine, topology, paths).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            entry.mode = 0o600 if name in _PRIVATE else 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    working.replace(target)


def _files(machine: Machine, topology: Topology, paths: Paths) -> dict[str, str]:
    networks = topology.networks
    host_key = keys.host_key(paths, machine.name)
    names = "".join(f"{other.address} {other.name}\n" for other in topology.machines)
    return {
        "etc/l4lab/machine": f"ADDRESS={machine.address}\nPREFIX={networks.nodes.prefixlen}\n"
        f"GATEWAY={networks.gateway}\n",
        "etc/hostname": f"{machine.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{names}",
        _HOST_KEY: host_key.read_text(),
        f"{_HOST_KEY}.pub": host_key.with_name(f"{host_key.name}.pub").read_text(),
        _LOGIN: (paths.ssh / f"{keys.CLIENT_KEY}.pub").read_text(),
    }
