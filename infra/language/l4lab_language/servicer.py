"""Answers the engine: what a Python program is, what it needs, and how it ran."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import grpc  # type: ignore[import-untyped]  # ships no types
from google.protobuf import (  # type: ignore[import-untyped]  # ships no types
    empty_pb2,
    json_format,
)
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

RUNNER: Final = Path(__file__).with_name("run_program.py")
TOLD: Final = 32
"""The exit code of a program whose error the user has already read."""
_PATIENCE: Final = 3  # seconds for a program to end by itself; the engine gives us five

_PACKAGES = """
import importlib.metadata, json, re
found = {one.metadata["Name"]: one for one in importlib.metadata.distributions()}
used = {re.split("[^A-Za-z0-9._-]", need)[0].lower().replace("_", "-")
        for one in found.values() for need in one.requires or ()}
print(json.dumps([[name, one.version, name.lower().replace("_", "-") in used]
                  for name, one in sorted(found.items())]))
"""


class Language(language_pb2_grpc.LanguageRuntimeServicer):
    """The engine's ``LanguageRuntime`` for Python."""

    def __init__(self, *, engine: str) -> None:
        self._engine = engine
        self._programs: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def Handshake(self, request: Any, _context: Any) -> Any:  # noqa: ANN401, N802  gRPC's
        """Take the engine's address from an engine that says it here."""
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401, N802
        """The version of the protocol we speak: the SDK's."""
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi"))

    def GetRequiredPackages(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401, N802
        """None: a plugin is looked for when a resource asks for it, on PATH too."""
        return language_pb2.GetRequiredPackagesResponse()

    def InstallDependencies(self, _request: Any, _context: Any) -> Iterator[Any]:  # noqa: ANN401, N802
        """Nothing is installed: the environment is there before the host is."""
        yield language_pb2.InstallDependenciesResponse(
            stdout=b"l4lab's Python language host installs nothing: the environment is ready\n"
        )

    def About(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
        """Which Python runs the program."""
        python = self._python(request.info, context)
        said = subprocess.run(
            [python, "-c", "import platform; print(platform.python_version())"],
            capture_output=True,
            text=True,
            check=False,
        )
        return language_pb2.AboutResponse(executable=python, version=said.stdout.strip())

    def GetProgramDependencies(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
        """The packages of the program's environment."""
        done = subprocess.run(
            [self._python(request.info, context), "-c", _PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            context.abort(grpc.StatusCode.INTERNAL, f"cannot list packages: {done.stderr}")
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=name, version=version)
                for name, version, is_used in json.loads(done.stdout)
                if request.transitiveDependencies or not is_used
            ]
        )

    def Run(self, request: Any, context: Any) -> Any:  # noqa: ANN401, N802
        """Run the program to its end; what it prints goes to the engine's log."""
        if request.attach_debugger:
            return language_pb2.RunResponse(
                error="l4lab's Python language host attaches no debugger"
            )
        python = self._python(request.info, context)
        request.args[:] = [self._engine, *request.args]
        try:
            program = subprocess.Popen(
                # -u: what is printed is told at once.
                [python, "-u", RUNNER],
                stdin=subprocess.PIPE,
            )
        except OSError as failed:
            return language_pb2.RunResponse(error=f"cannot start {python}: {failed}")
        with self._lock:
            self._programs.add(program)
        # The engine hangs up when the user has cancelled.
        context.add_callback(lambda: _end(program))
        # Settings may be secret: they are handed over by a pipe, not as arguments.
        with contextlib.suppress(BrokenPipeError):
            program.communicate(request.SerializeToString())
        with self._lock:
            self._programs.discard(program)
        return _response(program.wait())

    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: ANN401, N802
        """End the programs that run."""
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End the programs that run, and wait until they have ended."""
        with self._lock:
            programs = list(self._programs)
        for program in programs:
            _end(program)

    def _python(self, info: Any, context: Any) -> str:  # noqa: ANN401
        """The interpreter the project asks for: its virtualenv's, else the one we run on."""
        options = json_format.MessageToDict(info.options)
        if (toolchain := options.get("toolchain", "pip")) != "pip":
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"l4lab's Python language host knows no toolchain {toolchain!r}; "
                "name a virtualenv in Pulumi.yaml, or install the official language host",
            )
        if not (folder := options.get("virtualenv")):
            return sys.executable
        python = Path(info.root_directory, folder, "bin", "python")
        if not python.is_file():
            context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"there is no virtual environment at {python.parents[1]} (Pulumi.yaml names it)",
            )
        return str(python)


class Unknown(grpc.GenericRpcHandler):  # type: ignore[misc]  # has no types
    """Answers calls that a newer engine may make, so that a person can tell what is missing."""

    def service(self, call: Any) -> Any:  # noqa: ANN401
        """A handler that refuses by name."""
        refuse = _refusal(call.method.rpartition("/")[2] or "call without a name")
        return grpc.unary_unary_rpc_method_handler(refuse)


def _refusal(asked: str) -> Any:  # noqa: ANN401
    def refuse(*words: Any) -> None:  # noqa: ANN401  self too, where it is a method
        words[-1].abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"l4lab's Python language host (for Pulumi {metadata.version('pulumi')}) has no "
            f"{asked}: it runs programs and nothing else. The official language host has it",
        )

    return refuse


for _method in language_pb2.DESCRIPTOR.services_by_name["LanguageRuntime"].methods:
    if _method.name not in vars(Language):
        setattr(Language, _method.name, _refusal(_method.name))


def _response(status: int) -> Any:  # noqa: ANN401
    if status == 0:
        return language_pb2.RunResponse()
    if status == TOLD:
        return language_pb2.RunResponse(bail=True)
    how = f"was ended by signal {-status}" if status < 0 else f"exited with code {status}"
    return language_pb2.RunResponse(error=f"the program {how}")


def _end(program: subprocess.Popen[bytes]) -> None:
    if program.poll() is not None:
        return
    program.terminate()
    try:
        program.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        program.kill()
