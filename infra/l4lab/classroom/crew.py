"""Works for many students at once: a process a student, within a limit, one live line each.

Processes, not threads: Pulumi's engine and its programs are safest with one operation a process,
and what dies or is killed takes nobody else along. They are forked from this one, which has read
all modules already; a fresh interpreter would read them for seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from l4lab.classroom.model import Outcome, Student
from l4lab.command import end_with
from l4lab.errors import L4labError
from l4lab.progress import Progress

Tell = Callable[[str], None]
Work = Callable[[Student, Tell], Outcome]

_REDRAW = 0.2
_GRACE = 30.0  # seconds to save what was done, after Ctrl-C


@dataclass
class _Turn:
    """One student's process, as seen from here."""

    student: Student
    started: float
    process: ForkProcess
    pipe: Connection
    doing: str = ""
    outcome: Outcome | None = None

    def line(self, title: str) -> str:
        seconds = time.monotonic() - self.started
        return f"· {self.student.id:<16} {title:<20} {seconds:6.1f} s  {self.doing}"


def work_for_all(
    students: Iterable[Student], work: Work, *, title: str, at_once: int, progress: Progress
) -> list[Outcome]:
    """Do ``work`` for each student; what fails for one is told in that one's outcome.

    Args:
        students: For whom, in this order.
        work: Done in a process of its own; it may tell what it is at.
        title: What is done, in the live lines.
        at_once: How many at once.
        progress: Where the lines go.

    Returns:
        An outcome each, in the order of ``students``.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the processes have ended.
    """
    chosen = list(students)
    waiting = list(reversed(chosen))
    running: list[_Turn] = []
    done: dict[str, Outcome] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_begin(waiting.pop(), work))
            _listen(running)
            for turn in [one for one in running if one.outcome]:
                running.remove(turn)
                turn.process.join(_GRACE)
                done[turn.student.id] = turn.outcome or _died(turn)
                if not progress.terminal:
                    progress.say(_finished(done[turn.student.id], title))
            if progress.terminal:
                progress.board(_lines(chosen, done, running, title))
    finally:
        _end(running)
    return [done[student.id] for student in chosen]


def _begin(student: Student, work: Work) -> _Turn:
    context = multiprocessing.get_context("fork")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_do, args=(student, work, theirs, os.getpid()), daemon=False)
    started = time.monotonic()
    process.start()
    theirs.close()
    return _Turn(student=student, started=started, process=process, pipe=mine)


def _do(student: Student, work: Work, pipe: Connection, parent: int) -> None:
    """The whole life of a student's process."""
    started = time.monotonic()

    def tell(text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens any more: it is about to end
            pipe.send(text)

    try:
        # It has the locks of all students, which must not outlive the process that is named there.
        end_with(parent)
        outcome = work(student, tell)
    except L4labError as failed:
        outcome = _failed(student, failed.one_line, started, next_=failed.resolution)
    except KeyboardInterrupt:
        outcome = _failed(student, "interrupted", started)
    except Exception as bug:
        last = traceback.extract_tb(bug.__traceback__)[-1]
        where = f"{os.path.basename(last.filename)}:{last.lineno}"  # noqa: PTH119  (a text)
        outcome = _failed(student, f"{type(bug).__name__} at {where}: {bug}", started)
    with contextlib.suppress(OSError):
        pipe.send(outcome)
    pipe.close()
    sys.stderr.flush()
    # Threads and exit handlers of libraries belong to the process this was forked from.
    os._exit(0)


def _failed(student: Student, note: str, started: float, *, next_: str | None = None) -> Outcome:
    seconds = time.monotonic() - started
    return Outcome(student=student.id, ok=False, seconds=seconds, note=note, next=next_)


def _listen(running: list[_Turn]) -> None:
    """Take in what the processes say; one that ends without a word has died."""
    for pipe in wait([turn.pipe for turn in running], timeout=_REDRAW):
        turn = next(one for one in running if one.pipe is pipe)
        try:
            said = turn.pipe.recv()
        except (EOFError, OSError):
            turn.outcome = _died(turn)
            continue
        if isinstance(said, Outcome):
            turn.outcome = said
        else:
            turn.doing = said


def _died(turn: _Turn) -> Outcome:
    turn.process.join(_GRACE)
    code = turn.process.exitcode
    how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
    return _failed(turn.student, f"its process died: {how}", turn.started)


def _end(running: list[_Turn]) -> None:
    """After Ctrl-C: the processes were told, too, and save what they have done."""
    deadline = time.monotonic() + _GRACE
    for turn in running:
        turn.process.join(max(deadline - time.monotonic(), 0.1))
        if turn.process.is_alive():
            turn.process.kill()
            turn.process.join(1)


def _finished(outcome: Outcome, title: str) -> str:
    mark = "✓" if outcome.ok else "✗"
    return f"{mark} {outcome.student:<16} {title:<20} {outcome.seconds:6.1f} s  {outcome.note}"


def _lines(
    chosen: list[Student], done: dict[str, Outcome], running: list[_Turn], title: str
) -> list[str]:
    turns = {turn.student.id: turn for turn in running}
    lines = []
    for student in chosen:
        if student.id in done:
            lines.append(_finished(done[student.id], title))
        elif student.id in turns:
            lines.append(turns[student.id].line(title))
        else:
            lines.append(f"  {student.id:<16} {title:<20}         waits")
    good = sum(one.ok for one in done.values())
    return [*lines, f"{good} well, {len(done) - good} failed, {len(chosen) - len(done)} to go"]
