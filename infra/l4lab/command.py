"""The one place that starts other programs, so that every failure is told alike.

Secrets never go into ``argv`` (any user can read it): pass them by ``input`` or a private file.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from l4lab.errors import L4labError


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished program left: exit code, both outputs, seconds it took."""

    argv: tuple[str, ...]
    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def succeeded(self) -> bool:
        """Whether the exit code was 0."""
        return self.rc == 0

    @property
    def last_line(self) -> str:
        """The last thing it said, from stderr where there is any."""
        lines = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return lines[-1] if lines else ""


@dataclass
class CommandError(L4labError):
    """A program failed, could not be started, or ran out of time (then ``result.rc`` is 124)."""

    result: Result | None = None


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    cwd: Path | None = None,
) -> Result:
    """Run a program to its end and return what it left.

    Args:
        argv: The program and its arguments; no shell is involved.
        timeout: Seconds after which it is killed; there is no default on purpose.
        check: Raise when the exit code is not 0.
        env: Variables added to ours.
        input: Text for its standard input; without it, standard input is empty.
        cwd: The folder it runs in.

    Raises:
        CommandError: It could not be started, ran out of time, or failed while ``check`` is set.
    """
    words = tuple(str(word) for word in argv)
    started = time.monotonic()
    try:
        done = subprocess.run(
            words,
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )
        rc, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        rc = 124  # what coreutils' timeout returns
        out, err = _text(late.stdout), _text(late.stderr)
    except OSError as failed:
        raise CommandError(f"cannot run {words[0]}", failed.strerror or str(failed)) from failed
    result = Result(argv=words, rc=rc, stdout=out, stderr=err, seconds=time.monotonic() - started)
    if check and rc != 0:
        why = f"no end within {timeout:.0f} s" if rc == 124 else f"exit code {rc}"  # noqa: PLR2004
        last = f": {result.last_line}" if result.last_line else ""
        raise CommandError(f"{shlex.join(words)[:200]} failed", why + last, result=result)
    return result


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
