"""Pulumi and Ansible in one process: gRPC must not wake up in the child that becomes Ansible."""

from __future__ import annotations

import subprocess
import sys

FORKS = """
import l4lab.__main__
import grpc, pexpect
from concurrent import futures

server = grpc.server(futures.ThreadPoolExecutor(2))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
grpc.channel_ready_future(channel).result(timeout=30)
for _ in range(10):
    child = pexpect.spawn("true")
    print(child.read().decode(), end="")
    child.close()
    assert child.exitstatus == 0, child
server.stop(0)
"""


def test_a_fork_while_grpc_is_at_work():
    done = subprocess.run(
        [sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120, check=False
    )
    # It tells of each fork that it has to do with.
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
