"""The parts of a bundle, two at once: what the build of one leaves idle, the other's uses."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from l4lab.bundle.part import Part, PartCache, read_manifest
from l4lab.command import end_streams
from l4lab.errors import BundleError
from l4lab.progress import Progress, Step

# Where the list of parts is taken from, a build each. The components stand in front: these are
# Go's, of which one uses what the one before it has compiled. The kernel stands behind them.
_FRONT, _BACK = 1, -1
_ENDING = 0.2  # seconds between two looks whether builds have ended that were told to


@dataclass(frozen=True, kw_only=True)
class _Turn:
    """A part that is being made, and its line."""

    part: Part
    side: int
    step: Step
    line: contextlib.ExitStack


def make_parts(
    parts: Iterable[Part], cache: PartCache, progress: Progress, *, anew: Collection[str] = ()
) -> None:
    """Make parts, each after those of them that it needs.

    Args:
        parts: What to make.
        cache: Where they go.
        progress: Gets a line each.
        anew: The names of those that are made though they are there.

    Raises:
        BundleError: One could not be made. The build beside it is ended, too; what it has done
            stays where it can go on from there.
    """
    waiting = list(parts)
    total = len(waiting)
    running: dict[Future[Path], _Turn] = {}
    with ThreadPoolExecutor(2) as pool:
        try:
            while waiting or running:
                for side in {_FRONT, _BACK} - {turn.side for turn in running.values()}:
                    part = _next(waiting, running.values(), side)
                    if part:
                        waiting.remove(part)
                        turn = _begin(progress, part, side, f"{total - len(waiting)}/{total}")
                        doing = partial(setattr, turn.step, "doing")
                        again = part.name in anew
                        running[pool.submit(cache.make, part, doing, anew=again)] = turn
                for made in wait(running, return_when=FIRST_COMPLETED).done:
                    _finish(running.pop(made), made)
        finally:
            _end(running)


def _next(waiting: list[Part], running: Collection[_Turn], side: int) -> Part | None:
    """The first, from one side of the list, that needs none of those yet to be made."""
    missing = {part.name for part in waiting} | {turn.part.name for turn in running}
    able = (one for one in waiting[::side] if missing.isdisjoint(need.name for need in one.needs))
    return next(able, None)


def _begin(progress: Progress, part: Part, side: int, number: str) -> _Turn:
    line = contextlib.ExitStack()
    step = line.enter_context(progress.step(f"bundle {number}: {part.name}"))
    return _Turn(part=part, side=side, step=step, line=line)


def _finish(turn: _Turn, made: Future[Path]) -> None:
    with turn.line:
        turn.step.note = _mirrors(read_manifest(made.result()))


def _end(running: dict[Future[Path], _Turn]) -> None:
    """End what is still being made, because something else failed or Ctrl-C was pressed."""
    for turn in running.values():
        turn.step.note = "ended with the other"
    left = set(running)
    while left:
        end_streams()
        left = wait(left, timeout=_ENDING).not_done
    for made, turn in running.items():
        with contextlib.suppress(BundleError), turn.line:
            made.result()


def _mirrors(manifest: dict[str, Any]) -> str:
    """Which mirrors a part came from, for its line."""
    hosts = [urlsplit(one["mirror"]).netloc for one in manifest.get("releases", ())]
    return f"from {', '.join(dict.fromkeys(hosts))}" if hosts else ""
