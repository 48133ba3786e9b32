"""Gives ``ssh`` a connection into a lab network (``ProxyCommand`` with ``ProxyUseFdpass``).

Run as ``python -I connect.py HOLDER.json HOST PORT`` with a socket as standard output: it enters
the network namespace, connects, hands the connection over and ends. So plain ``ssh -F``,
``ansible-playbook -i`` and the like work from the host's own network.
"""

from __future__ import annotations

import array
import ctypes
import json
import os
import socket
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # from <linux/sched.h>
CLONE_NEWNET = 0x40000000
_DEADLINE = 10  # seconds to connect


def enter(pid: int) -> None:
    """Move this process into the network namespace of process ``pid``.

    Raises:
        OSError: The process is gone, or the kernel refuses.
    """
    if Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    kinds = [("net", CLONE_NEWNET)]
    if os.geteuid() != 0:
        kinds.insert(0, ("user", CLONE_NEWUSER))
    # All are opened first: inside the user namespace the path may be closed to us.
    handles = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY), kind) for name, kind in kinds]
    for handle, kind in handles:
        if libc.setns(handle, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"/proc/{pid}/ns")
        os.close(handle)


def main(record: Path, host: str, port: str) -> int:
    """Connect and hand the connection to ssh."""
    try:
        enter(json.loads(record.read_text())["pid"])
        connection = socket.create_connection((host, int(port)), timeout=_DEADLINE)
    except OSError as failed:
        sys.stderr.write(f"l4lab: cannot reach {host} port {port}: {failed}; see ./l4lab status\n")
        return 1
    connection.setblocking(True)
    handle = array.array("i", [connection.fileno()])
    with socket.socket(fileno=os.dup(1)) as ssh:
        ssh.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, handle)])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
