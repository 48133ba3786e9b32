"""A path drawn for a terminal: hops from top to bottom, arrows between them."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable

from l4lab.path.model import Hop, Mark, PacketPath

_MARKS = {
    Mark.OK: ("●", "32"),
    Mark.NOTE: ("◐", "33"),
    Mark.DIED: ("✗", "31"),
    Mark.UNREACHED: ("○", "2"),
    Mark.UNKNOWN: ("?", "35"),
}
_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"
_TITLE = 15
_NARROWEST, _USUAL, _WIDEST = 60, 100, 120
_LABEL_LIMIT = 22


def for_terminal(path: PacketPath, *, see: bool = False) -> str:
    """The path as it fits standard output: coloured, and as wide, only where it is a terminal."""
    terminal = sys.stdout.isatty()
    width = min(shutil.get_terminal_size().columns, _WIDEST) if terminal else _USUAL
    return to_text(path, color=terminal, width=width, see=see)


def to_text(path: PacketPath, *, color: bool, width: int = _USUAL, see: bool = False) -> str:
    """The path as lines of text.

    Args:
        path: The path.
        color: Whether to colour it (for a terminal).
        width: Columns to keep within.
        see: Add to each hop the command that shows it.
    """
    paint = _painter(color)
    width = max(width, _NARROWEST)
    verdict = paint(path.headline, _GREEN if path.answered else _RED)
    lines = [f"{paint(path.client, _BOLD)} → {paint(path.target, _BOLD)}   {verdict}", ""]
    labels = [label for hop in path.hops for label, _ in hop.rows]
    column = min(max((len(label) for label in labels), default=0), _LABEL_LIMIT) + 2
    for number, hop in enumerate(path.hops):
        last = number == len(path.hops) - 1
        lines += _hop(hop, column, width, paint, last=last, see=see)
    if path.death:
        lines += ["", *_death(path, width, paint)]
    return "\n".join(line.rstrip() for line in lines)


def _painter(color: bool) -> Callable[[str, str], str]:
    return lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if color and text else text


def _hop(
    hop: Hop,
    column: int,
    width: int,
    paint: Callable[[str, str], str],
    *,
    last: bool,
    see: bool,
) -> list[str]:
    sign, code = _MARKS[hop.mark]
    title = paint(f"{hop.title:<{_TITLE}}", _DIM if hop.mark is Mark.UNREACHED else _BOLD)
    place = paint(hop.place, _DIM) if hop.place and hop.mark is not Mark.UNREACHED else ""
    if hop.mark is Mark.UNREACHED:
        place = paint("not reached", _DIM)
    lines = [f"  {paint(sign, code)} {title} {place}"]
    bar = " " if last else "│"
    indent = _TITLE - 4
    for label, value in hop.rows:
        room = max(width - indent - column - 5, 20)
        died = hop.mark is Mark.DIED and (label, value) == hop.rows[-1]
        for number, part in enumerate(textwrap.wrap(value, room, break_on_hyphens=False) or [""]):
            name = f"{label if number == 0 else '':<{column}}"
            shown = paint(name + part, _RED) if died else paint(name, _DIM) + part
            lines.append(f"  {bar}  {' ' * (indent - 10)}{shown}")
    if see and hop.see and hop.rows:
        lines.append(f"  {bar}  {' ' * (indent - 10)}{paint('$ ' + hop.see, _DIM)}")
    if not last:
        lines.append(f"  {'▼' if hop.mark not in (Mark.DIED, Mark.UNREACHED) else ' '}")
    return lines


def _death(path: PacketPath, width: int, paint: Callable[[str, str], str]) -> list[str]:
    died = path.death
    if died is None:
        return []
    rows = [("died", paint(path.headline.removeprefix("died "), _RED)), ("seen", died.seen)]
    rows += [
        ("causes" if number == 1 else "", f"{number}. {cause}")
        for number, cause in enumerate(died.causes, start=1)
    ]
    rows.append(("next", died.then))
    lines = []
    for label, value in rows:
        # A command stays on one line, to be copied.
        whole = label == "next" or "\x1b" in value
        parts = [value] if whole else textwrap.wrap(value, width - 12, break_on_hyphens=False)
        lines += [
            f"  {label if number == 0 else '':<9} {part}" for number, part in enumerate(parts)
        ]
    return lines
