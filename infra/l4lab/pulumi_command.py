"""Runs the Pulumi CLI for the automation API; only processes of a stack's operation load it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from l4lab.command import passing_on_interrupts
from l4lab.errors import StackError

OnLine = Callable[[str], Any]


class Cli(PulumiCommand):
    """Runs one Pulumi binary for the automation API.

    The API's own command asks the binary for its version first, hands down every ``PULUMI_*``
    variable of the caller, and leaves the process alone at Ctrl-C.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StackError("there is no Pulumi CLI", f"{path} does not exist", "./l4lab bundle")
        self.command = str(path)
        # The bundle pins the CLI to the version of the SDK.
        self.version = VersionInfo.parse(metadata.version("pulumi"))

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnLine | None = None,
        on_error: OnLine | None = None,
    ) -> CommandResult:
        """Run a command of the CLI to its end.

        Raises:
            pulumi.automation.CommandError: It failed.
            KeyboardInterrupt: Ctrl-C; the CLI was told, and has saved what it had done.
        """
        inherited = {key: value for key, value in os.environ.items() if key[:7] != "PULUMI_"}
        # A group of its own: Ctrl-C reaches the CLI once, from us; twice would make it drop all.
        with (
            subprocess.Popen(
                [self.command, "--non-interactive", *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env={**inherited, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                encoding="utf-8",
                errors="replace",
                process_group=0,
            ) as process,
            passing_on_interrupts(process) as interrupted,
        ):
            out, err = _Reader(process.stdout, on_output), _Reader(process.stderr, on_error)
            out.join()
            err.join()
            process.wait()
        result = CommandResult(stdout=out.text, stderr=err.text, code=process.returncode)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if result.code != 0:
            raise create_command_error(result)
        return result


class _Reader(threading.Thread):
    """Reads one output to its end, line by line."""

    def __init__(self, stream: IO[str] | None, on_line: OnLine | None) -> None:
        super().__init__(daemon=True)
        self._stream, self._on_line = stream, on_line
        self._lines: list[str] = []
        self.start()

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def run(self) -> None:
        for line in self._stream or ():
            self._lines.append(line.rstrip())
            if self._on_line:
                self._on_line(line.rstrip())
