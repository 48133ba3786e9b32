"""A path drawn as SVG: self-contained, for a page of its own or inside a report.

Text stays text. Colours follow the reader's light or dark setting, and are those of paper in print.
"""

from __future__ import annotations

import hashlib
import textwrap
from dataclasses import dataclass
from html import escape

from l4lab.path.model import Hop, Mark, PacketPath

_WIDTH = 760
_MARGIN = 20
_HEAD = 68
_BOX = _WIDTH - 2 * _MARGIN - 40
_LEFT = _MARGIN + 40
_LINE = 18
_PAD = 12
_GAP = 26
_LABEL = 104
_VALUE_LETTERS = 74
_WIDE_LETTERS = 90
_LETTER = 7.25
"""Width of a letter of the text, which is of one width, in pixels."""

_SIGNS = {
    Mark.OK: "✓",
    Mark.NOTE: "!",
    Mark.DIED: "✗",
    Mark.UNREACHED: "",
    Mark.UNKNOWN: "?",
}

# The drawing stands in a page beside others: every rule is held to its own id.
_STYLE = """
#ID{--ink:#1c2430;--soft:#5b6675;--paper:#fff;--box:#f5f7fa;--edge:#c9d1dc;--ok:#1a7f4b;
--note:#9a6700;--died:#c62828;--diedbox:#fdecea;--unknown:#7b3fa0;background:var(--paper)}
@media screen and (prefers-color-scheme:dark){#ID{--ink:#e4e9f0;--soft:#9aa6b5;--paper:#12161c;
--box:#1c222b;--edge:#3a4452;--ok:#4cc38a;--note:#e0b050;--died:#ff7b72;--diedbox:#33191b;
--unknown:#c79bea}}
#ID text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;
fill:var(--ink)}
#ID .head{font:600 17px system-ui,"Segoe UI","DejaVu Sans",sans-serif}
#ID .title{font:600 14px system-ui,"Segoe UI","DejaVu Sans",sans-serif}
#ID .soft,#ID .place{fill:var(--soft)}
#ID .place{font:12px system-ui,"Segoe UI","DejaVu Sans",sans-serif}
#ID .sheet{fill:var(--paper)}
#ID .box{fill:var(--box);stroke:var(--edge);stroke-width:1}
#ID .box.died{fill:var(--diedbox);stroke:var(--died);stroke-width:1.5}
#ID .box.unreached{fill:none;stroke-dasharray:4 4}
#ID .arrow{stroke:var(--soft);stroke-width:2;fill:none}
#ID .arrow.back{stroke:var(--ok)}
#ID .tip{fill:var(--soft)}
#ID .tip.back{fill:var(--ok)}
#ID .disc{fill:var(--soft)}
#ID .disc.ok{fill:var(--ok)}#ID .disc.note{fill:var(--note)}#ID .disc.died{fill:var(--died)}
#ID .disc.unknown{fill:var(--unknown)}#ID .disc.unreached{fill:none;stroke:var(--edge)}
#ID .sign{font:700 12px system-ui,"DejaVu Sans",sans-serif;fill:var(--paper);text-anchor:middle}
#ID text.ok{fill:var(--ok)}#ID text.died{fill:var(--died)}
"""


@dataclass(frozen=True)
class _Line:
    """One line of text, at its place below the last."""

    label: str
    text: str
    style: str = ""


def to_svg(path: PacketPath) -> str:
    """The path as one ``<svg>`` element that stands by itself or in an HTML page."""
    mark = "path-" + hashlib.sha256(repr(path).encode()).hexdigest()[:10]
    parts: list[str] = []
    y = _HEAD
    tops: list[int] = []
    for number, hop in enumerate(path.hops):
        lines = _lines(hop)
        height = 2 * _PAD + _LINE * (1 + len(lines)) + (0 if lines else -4)
        tops.append(y + height // 2)
        parts.append(_box(hop, lines, y, height))
        y += height
        if number < len(path.hops) - 1:
            stopped = path.hops[number + 1].mark is Mark.UNREACHED
            parts.append("" if stopped else _arrow(y))
            y += _GAP
    if path.answered and len(tops) > 1:
        parts.append(_way_back(tops[0], tops[-1]))
    if path.death:
        y += _GAP
        text, used = _epitaph(path, y)
        parts.append(text)
        y += used
    height = y + _MARGIN
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" id="{mark}" role="img" '
            f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
            f'style="max-width:100%;height:auto">',
            f"<title>{escape(f'{path.client} → {path.target}: {path.headline}')}</title>",
            f"<style>{_STYLE.strip().replace('ID', mark)}</style>",
            f'<rect class="sheet" width="{_WIDTH}" height="{height}"/>',
            _head(path),
            *parts,
            "</svg>\n",
        ]
    )


def _head(path: PacketPath) -> str:
    verdict = "ok" if path.answered else "died"
    return _text(_MARGIN, 28, f"{path.client} → {path.target}", "head") + _text(
        _MARGIN, 50, path.headline, f"place {verdict}"
    )


def _lines(hop: Hop) -> list[_Line]:
    found = []
    for number, (label, value) in enumerate(hop.rows):
        died = hop.mark is Mark.DIED and number == len(hop.rows) - 1
        # A label that is an address takes the room of two.
        wide = len(label) * _LETTER > _LABEL - 8
        room = _VALUE_LETTERS - (max(len(label) - 12, 0) if wide else 0)
        parts = textwrap.wrap(value, room, break_on_hyphens=False) or [""]
        for first, part in enumerate(parts):
            found.append(_Line(label if first == 0 else "", part, "died" if died else ""))
    return found


def _box(hop: Hop, lines: list[_Line], y: int, height: int) -> str:
    middle = y + _PAD + 8
    place = "not reached" if hop.mark is Mark.UNREACHED else hop.place
    parts = [
        f'<rect class="box {hop.mark}" x="{_LEFT}" y="{y}" width="{_BOX}" height="{height}" '
        'rx="8"/>',
        f'<circle class="disc {hop.mark}" cx="{_LEFT + 20}" cy="{middle}" r="9"/>',
        _text(_LEFT + 20, middle + 4, _SIGNS[hop.mark], "sign"),
        _text(_LEFT + 38, middle + 5, hop.title, "title"),
    ]
    if place:
        right = f'text-anchor="end" x="{_LEFT + _BOX - 14}" y="{middle + 5}"'
        parts.append(f'<text class="place" {right}>{escape(place)}</text>')
    below = middle + 10
    for line in lines:
        below += _LINE
        start = _LEFT + 38 + max(_LABEL, int(len(line.label) * _LETTER) + 10)
        if line.label:
            parts.append(_text(_LEFT + 38, below, line.label, line.style or "soft"))
        parts.append(_text(start, below, line.text, line.style))
    return "".join(parts)


def _arrow(y: int) -> str:
    x, end = _LEFT + 20, y + _GAP
    return (
        f'<path class="arrow" d="M{x} {y}V{end - 7}"/>'
        f'<path class="tip" d="M{x - 5} {end - 8}h10l-5 8z"/>'
    )


def _way_back(top: int, bottom: int) -> str:
    """The answer's way, from the last box to the first."""
    x = _MARGIN + 12
    return (
        f'<path class="arrow back" d="M{_LEFT} {bottom}H{x}V{top}H{_LEFT - 8}"/>'
        f'<path class="tip back" d="M{_LEFT - 8} {top - 5}v10l8 -5z"/>'
    )


def _epitaph(path: PacketPath, y: int) -> tuple[str, int]:
    died = path.death
    if died is None:
        return "", 0
    rows = [("seen", died.seen)]
    rows += [
        ("causes" if number == 1 else "", f"{number}. {cause}")
        for number, cause in enumerate(died.causes, start=1)
    ]
    rows.append(("next", died.then))
    parts, used = [], 0
    for label, value in rows:
        for first, part in enumerate(textwrap.wrap(value, _WIDE_LETTERS, break_on_hyphens=False)):
            used += _LINE
            if label and first == 0:
                parts.append(_text(_MARGIN, y + used - 6, label, "soft"))
            parts.append(_text(_MARGIN + 60, y + used - 6, part, ""))
    return "".join(parts), used


def _text(x: int, y: int, text: str, style: str) -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x}" y="{y}">{escape(text)}</text>' if text else ""
