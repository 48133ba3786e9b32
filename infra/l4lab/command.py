"""The one place that starts other programs, so that every failure is told alike.

Secrets never go into ``argv`` (any user can read it): pass them by ``input`` or a private file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from l4lab.errors import L4labError

_LATE = 124  # what coreutils' timeout returns
_streaming: set[subprocess.Popen[str]] = set()
_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of linux/prctl.h


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
        rc = _LATE
        out, err = _text(late.stdout), _text(late.stderr)
    except OSError as failed:
        raise CommandError(f"cannot run {words[0]}", failed.strerror or str(failed)) from failed
    result = Result(argv=words, rc=rc, stdout=out, stderr=err, seconds=time.monotonic() - started)
    if check and rc != 0:
        why = f"no end within {timeout:.0f} s" if rc == _LATE else f"exit code {rc}"
        last = f": {result.last_line}" if result.last_line else ""
        raise CommandError(f"{shlex.join(words)[:200]} failed", why + last, result=result)
    return result


def typed_on(machine: str, argv: Sequence[str]) -> str:
    """What a person types to run a command on a machine.

    Two shells read it, theirs and the machine's: ssh joins its words with blanks.
    """
    line = shlex.join(argv)
    return f"./l4lab ssh {machine} {line if line == ' '.join(argv) else shlex.quote(line)}"


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def stream(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    log: Path,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a long program, both outputs appended to ``log``, each line told to ``on_line``.

    The program is the head of a session of its own, which is ended with it: at the deadline, and
    when an exception (Ctrl-C) passes through.

    Raises:
        CommandError: It could not be started, failed, or ran out of time; ``details`` is the log.
    """
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("a") as file:
        file.write(f"+ {shlex.join(words)}\n")
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**os.environ, **env} if env else None,
                cwd=cwd,
                start_new_session=True,
            )
        except OSError as failed:
            raise CommandError(f"cannot run {words[0]}", failed.strerror or str(failed)) from failed
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            _end_session(process)

        timer = threading.Timer(timeout, expire)
        timer.start()
        _streaming.add(process)
        last = ""
        try:
            for line in process.stdout or ():
                file.write(line)
                last = line.strip() or last
                if on_line:
                    on_line(line.rstrip())
            process.wait()
        finally:
            timer.cancel()
            _streaming.discard(process)
            _end_session(process)
    if expired.is_set() or process.returncode:
        why = f"no end within {timeout:.0f} s" if expired.is_set() else last[-300:]
        name = Path(words[0]).name
        raise CommandError(
            f"{name} failed after {time.monotonic() - started:.0f} s", why, details=log
        )


def end_streams() -> None:
    """End all programs that ``stream`` runs in this process's threads; it raises there."""
    for process in tuple(_streaming):
        _end_session(process)


@contextlib.contextmanager
def passing_on_interrupts(process: subprocess.Popen[Any]) -> Iterator[threading.Event]:
    """While the block runs, hand SIGINT and SIGTERM on to the process; tell whether one came."""
    came = threading.Event()

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        came.set()
        process.send_signal(signal.SIGINT)  # the first: cancel and save; the second: end at once

    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread may handle signals; whoever runs us elsewhere does
        return
    before = {one: signal.signal(one, hand_on) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def end_with(parent: int) -> None:
    """Have this process interrupted when its parent is killed: what was done is saved then, too.

    Args:
        parent: Its process id, as the parent knows it.

    Raises:
        KeyboardInterrupt: The parent is dead already.
    """
    ctypes.CDLL(None).prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGINT)
    if os.getppid() != parent:
        raise KeyboardInterrupt


def _end_session(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
