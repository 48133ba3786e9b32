"""One bash that stays: commands are given to it one by one, as a person types them.

Variables that one command sets are there for the next. Its commands get no input: what would ask
somebody ends instead.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import secrets
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from l4lab.errors import L4labError

_BASH = ("bash", "--noprofile", "--norc")
_BLOCK = 65536
_GRACE = 2.0  # seconds between asking what runs to end, and ending it


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command left: exit code, outputs and errors as they came, seconds it took."""

    rc: int
    output: str
    seconds: float


class ShellError(L4labError):
    """A command did not end in time, or ended the shell itself: its variables are lost."""


class Shell:
    """A running bash; leaving its block ends it and all it has started."""

    def __init__(
        self,
        folder: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: Sequence[str | Path] = (),
    ) -> None:
        """Start it.

        Args:
            folder: Where it begins.
            env: Variables added to ours.
            before: Words put before ``bash``, such as a program that enters a namespace.
        """
        self._process = subprocess.Popen(
            [*map(str, before), *_BASH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        if not self._process.stdin or not self._process.stdout:
            raise ShellError("bash was started without pipes")
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdout.fileno(), False)

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def run(
        self, text: str, *, timeout: float, on_output: Callable[[str], None] | None = None
    ) -> Said:
        """Run a command in the shell itself.

        Args:
            text: The command, of any number of lines.
            timeout: Seconds after which the shell and all it runs are ended.
            on_output: Called with each piece of output as it comes.

        Raises:
            ShellError: It ran out of time, or the shell has ended.
        """
        if self.ended:
            raise ShellError("the shell has ended", "an earlier command ended it")
        mark = f"l4lab-{secrets.token_hex(16)}"
        told = on_output or (lambda _piece: None)
        # Its own newline parts the mark from output that does not end in one.
        line = f"eval {shlex.quote(text)} </dev/null; printf '\\n{mark} %d\\n' $?\n"
        started = time.monotonic()
        try:
            self._stdin.write(line.encode())
            self._stdin.flush()
        except BrokenPipeError as failed:
            self.end()
            raise ShellError("the shell has ended", "something killed it") from failed
        output = self._until(f"\n{mark} ", started + timeout, told, text, timeout)
        said, _, rest = output.partition(f"\n{mark} ")
        return Said(rc=int(rest), output=said, seconds=time.monotonic() - started)

    def _until(
        self, mark: str, deadline: float, told: Callable[[str], None], text: str, timeout: float
    ) -> str:
        """All output up to the line with the mark, which is not told."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        output, shown = "", 0
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.end()
                    raise ShellError(
                        f"no end within {timeout:.0f} s: {text}", _last_line(output) or None
                    )
                block = os.read(self._stdout.fileno(), _BLOCK)
                output += decoder.decode(block, final=not block)
                place = output.find(mark)
                whole = place >= 0 and output.endswith("\n")
                # What may still become the mark waits.
                safe = place if place >= 0 else _without_beginning_of(mark, output)
                if safe > shown:
                    told(output[shown:safe])
                    shown = safe
                if whole:
                    return output
                if not block:
                    self.end()
                    raise ShellError(f"the shell was ended by: {text}", _last_line(output) or None)

    def end(self) -> None:
        """End the shell, and all that still runs in it."""
        if self.ended:
            return
        # Until it is waited for, the shell's id is its group's and nobody else's.
        _signal(self._process.pid, signal.SIGTERM)
        self._drain(time.monotonic() + _GRACE)
        _signal(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._stdout.close()

    @property
    def ended(self) -> bool:
        """Whether it is over, so that another one has to be started."""
        return self._process.returncode is not None

    def _drain(self, deadline: float) -> None:
        """Read until nobody writes any more: then all that ran has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                if selector.select(left) and not os.read(self._stdout.fileno(), _BLOCK):
                    return


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _without_beginning_of(mark: str, output: str) -> int:
    """How much of the output cannot be the beginning of the mark."""
    for length in range(min(len(mark), len(output)), 0, -1):
        if output.endswith(mark[:length]):
            return len(output) - length
    return len(output)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
