"""Starts the language host: serves on a free port of loopback and tells the engine which."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc  # type: ignore[import-untyped]  # ships no types
from pulumi.runtime.proto import language_pb2_grpc

from .servicer import Language, Unknown

_LONGEST_MESSAGE = 400 * 1024 * 1024  # as the engine's own
_WORKERS = 16


def main() -> int:
    """Serve until the engine ends us, or has died."""
    if len(sys.argv) < 2:  # noqa: PLR2004  the engine's address comes last
        sys.stderr.write("pulumi-language-python is started by Pulumi, with the engine's address\n")
        return 2
    # The engine has us in a process group of our own, so this is no Ctrl-C but its word that all
    # is done; it waits five seconds for whoever does not go.
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    parent = os.getppid()
    language = Language(engine=sys.argv[-1])
    server = grpc.server(
        ThreadPoolExecutor(_WORKERS),
        options=[
            ("grpc.max_receive_message_length", _LONGEST_MESSAGE),
            ("grpc.max_send_message_length", _LONGEST_MESSAGE),
        ],
    )
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(language, server)
    server.add_generic_rpc_handlers((Unknown(),))  # after all we know
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while os.getppid() == parent and not ended.wait(1):
        pass
    language.stop()
    server.stop(None)
    return 0


status = main()
sys.stdout.flush()
os._exit(status)  # a request that still waits must not keep us
