"""Progress for people, on stderr: one line a step, with elapsed time and what it is doing now.

On a terminal the lines of running steps are redrawn; elsewhere (CI) a step prints when it ends, and
a sign of life twice a minute. Results never come through here: they belong on stdout.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO

_TELLING = 0.2  # seconds between two looks at what a step does
_LEAVING = 1.0  # seconds a thread that has ended is waited for
_HEARTBEAT = 30.0  # seconds between signs of life where there is no terminal


@dataclass
class Step:
    """One running step; ``doing`` is what it is at, shown behind its title."""

    title: str
    started: float = field(default_factory=time.monotonic)
    doing: str = ""
    note: str = ""

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.started


class _Painter:
    """The thread that shows a step while it runs; it can be stopped and go on."""

    def __init__(self, paint: Callable[[Step, threading.Event], None], step: Step) -> None:
        self._paint = paint
        self._step = step

    def start(self) -> None:
        """Show the step from now on."""
        self._over = threading.Event()
        arguments = (self._step, self._over)
        self._thread = threading.Thread(target=self._paint, args=arguments, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Show it no more; nothing of it runs when this returns."""
        self._over.set()
        self._thread.join()


_painters: list[_Painter] = []
# A process that is forked has none of these threads.
os.register_at_fork(after_in_child=_painters.clear)


@contextlib.contextmanager
def without_painters() -> Iterator[None]:
    """Stop all threads that show steps, for what the kernel lets no process do that has threads.

    To enter another user namespace is such a thing, and only plain users do.
    """
    stopped = list(_painters)
    for painter in stopped:
        painter.stop()
    until = time.monotonic() + _LEAVING
    # A thread that was joined is a moment on its way out of the kernel.
    while os.geteuid() != 0 and len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208  names
        if time.monotonic() > until:
            break
        time.sleep(0.001)
    try:
        yield
    finally:
        for painter in stopped:
            painter.start()


class Progress:
    """Shows steps, mostly one after the other, and keeps their times for the timeline of ``-v``."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.timeline: list[tuple[str, float]] = []
        self._terminal = self.stream.isatty()
        self._board: list[str] = []
        self._running: list[Step] = []
        self._drawn = 0  # lines of running steps on the terminal; the cursor is in the last
        self._drawing = threading.Lock()

    @property
    def terminal(self) -> bool:
        """Whether somebody watches lines being drawn anew."""
        return self._terminal and not self.quiet

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show ``title`` while the block runs; the block may set ``doing`` and ``note``."""
        step = Step(title)
        painter = _Painter(self._paint, step)
        self._running.append(step)
        painter.start()
        _painters.append(painter)
        failed = True
        try:
            yield step
            failed = False
        finally:
            _painters.remove(painter)
            painter.stop()
            self._running.remove(step)
            self.timeline.append((title, step.seconds))
            note = f"  {step.note}" if step.note else ""
            mark = "✗" if failed else "✓"
            self._write(f"{mark} {title:<44} {step.seconds:6.1f} s{note}", final=True)

    def say(self, text: str) -> None:
        """Print one line."""
        self._write(text, final=True)

    def board(self, lines: list[str]) -> None:
        """Show a block of lines in place of the last; off a terminal, print what is new in it."""
        if self._terminal:
            width, height = shutil.get_terminal_size()
            if len(lines) > height - 2:
                # What has left the screen cannot be drawn anew; the last line is the sum.
                lines = [*lines[: height - 3], *lines[-1:]]
            shown = [line[: width - 1] for line in lines]
            back = f"\x1b[{len(self._board)}A\x1b[J" if self._board else ""
            self._write(back + "\n".join(shown), final=True)
        else:
            shown = lines
            for line in lines:
                if line not in self._board:
                    self._write(line, final=True)
        self._board = shown

    def _paint(self, step: Step, over: threading.Event) -> None:
        if self.quiet:
            return
        while not over.wait(0.2 if self._terminal else _HEARTBEAT):
            shown = self._running if self._terminal else [step]
            lines = [f"· {one.title:<44} {one.seconds:6.1f} s  {one.doing}" for one in shown]
            self._write("\n".join(lines), final=not self._terminal)

    def _write(self, text: str, *, final: bool) -> None:
        if self.quiet:
            return
        try:
            with self._drawing:
                self._draw(text, final=final)
        except (BrokenPipeError, ValueError):  # the second is how a closed file says it
            self.quiet = True  # whoever watched has gone; the work goes on

    def _draw(self, text: str, *, final: bool) -> None:
        if self._terminal:
            self.stream.write("\r\x1b[K" + "\x1b[A\x1b[K" * (self._drawn - 1))
            self._drawn = 0
        if self._terminal and not final:
            width = shutil.get_terminal_size().columns
            lines = [line[: width - 1] for line in text.splitlines()]
            self._drawn = len(lines)
            self.stream.write("\n".join(lines))
        else:
            self.stream.write(text + "\n")
        self.stream.flush()


class Told(Progress):
    """Draws nothing: whoever asked is told what the running step is at, in one line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(quiet=True)
        self._tell = tell
        self._telling = threading.Lock()  # steps are looked at from a thread of their own

    def say(self, text: str) -> None:
        """Hand on one line."""
        with self._telling:
            self._tell(text.strip())

    def _paint(self, step: Step, over: threading.Event) -> None:
        last = None
        while True:
            line = f"{step.title}: {step.doing}" if step.doing else step.title
            if line != last:
                self.say(line)
                last = line
            if over.wait(_TELLING):
                return
