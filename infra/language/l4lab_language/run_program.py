"""Runs one Pulumi program; what to run comes as a ``RunRequest`` on standard input.

It is started by path and imports nothing but the SDK: a project's own environment has no more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.pop(0)  # our folder: the program's is put there when it runs

try:
    import grpc  # type: ignore[import-untyped]  # ships no types
    import pulumi
    from pulumi.runtime import reset_options, run_in_stack, set_all_config
    from pulumi.runtime.proto import language_pb2
except ImportError as missing:
    sys.exit(
        f"{sys.executable} has no Pulumi SDK ({missing}): pip install pulumi into the project's "
        "environment"
    )

_TOLD = 32  # the exit code that says: the user has read why
_THREADS_A_SLOT = 4  # of the engine's own parallelism, as in the SDK's other hosts


def main() -> int:
    """Run the program, and tell the engine what is wrong with it."""
    request = language_pb2.RunRequest.FromString(sys.stdin.buffer.read())
    engine, *words = request.args
    set_all_config(dict(request.config), list(request.configSecretKeys))
    reset_options(
        project=request.project,
        stack=request.stack,
        root_directory=request.info.root_directory,
        parallel=request.parallel,
        engine_address=engine,
        monitor_address=request.monitor_address,
        preview=request.dryRun,
        organization=request.organization or "organization",
    )
    path = Path(request.info.program_directory, request.info.entry_point).resolve()
    os.chdir(request.pwd or request.info.root_directory)
    sys.argv = [str(path), *words]
    # A program that fails leaves futures nobody waits for; asyncio's complaints about them would
    # hide the reason.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    threads = ThreadPoolExecutor(max(request.parallel, 1) * _THREADS_A_SLOT)
    loop.set_default_executor(threads)
    # Cancelled: end at once, without a word.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(_TOLD))
    try:
        loop.run_until_complete(run_in_stack(lambda: _execute(path)))
    except pulumi.RunError as told:
        pulumi.log.error(str(told))
    except grpc.RpcError as failed:
        if failed.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            return _TOLD  # the engine is going; it knows why
        pulumi.log.error(f"the engine refused: {failed.details()}")
    except SystemExit as ended:
        return _status(ended)
    except Exception as failed:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{_story(failed, path)}")
    else:
        return 0
    finally:
        threads.shutdown(wait=True)
        loop.close()
    return _TOLD


def _execute(path: Path) -> None:
    if path.is_dir() and not (path / "__main__.py").is_file():
        raise pulumi.RunError(f"there is no program: {path} has no __main__.py")
    if path.is_file():  # runpy does the same for a folder
        sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


def _status(ended: SystemExit) -> int:
    """The exit code of a program that ended itself."""
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    pulumi.log.error(str(ended.code))
    return _TOLD


def _story(failed: Exception, path: Path) -> str:
    """The stack trace from the user's first line on: what is above it is ours and the SDK's."""
    frames: Any = traceback.TracebackException.from_exception(failed)
    own = path.parent if path.is_file() else path
    for number, frame in enumerate(frames.stack):
        if Path(frame.filename).is_relative_to(own):
            del frames.stack[:number]
            break
    return "".join(frames.format()).rstrip()


status = main()
sys.stdout.flush()
sys.stderr.flush()
sys.exit(status)
