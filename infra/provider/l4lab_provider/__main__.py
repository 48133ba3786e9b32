"""Starts the provider: serves on a free port of loopback and tells the engine which."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]  # ships no types
from pulumi.runtime.proto import provider_pb2_grpc

from .servicer import Provider

_VERSION = "4.34.2"  # of the official plugin whose types we speak
_LONGEST_MESSAGE = 400 * 1024 * 1024  # as the engine's own
_WORKERS = 64  # each waiting resource holds one


def main() -> int:
    """Serve until the engine ends us, or has died."""
    # The engine has us in a process group of our own, so this is no Ctrl-C but its word that all is
    # done; it waits five seconds for whoever does not go.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    engine = sys.argv[1] if len(sys.argv) > 1 else None
    parent = os.getppid()
    server = grpc.server(
        ThreadPoolExecutor(_WORKERS),
        options=[
            ("grpc.max_receive_message_length", _LONGEST_MESSAGE),
            ("grpc.max_send_message_length", _LONGEST_MESSAGE),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(
        Provider(version=_VERSION, engine=engine), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent and not ended.wait(1):
        pass
    server.stop(None)
    return 0


status = main()
sys.stdout.flush()
os._exit(status)  # a request that still waits for a cluster must not keep us
