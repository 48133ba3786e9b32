"""Guides as data: a lab's steps, and the texts that are rendered around them.

Commands are typed once, in the lab's ``steps.py``. The guides (``guide.md.j2``, ``guide.zh.md.j2``)
take them from there, the walk runs them, the tests prove them. What a lab's guide says of
addresses, ports and names comes from the lab's facts and the topology.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import jinja2

from l4lab.errors import UsageError
from l4lab.topology import Topology

LANGUAGES = {"en": ("guide.md.j2", "README.md"), "zh": ("guide.zh.md.j2", "README.zh.md")}
"""Each language's template, and the file it is rendered to; both lie in the lab's folder."""

_ANCHOR = re.compile(r'^<a id="([^"]+)"></a>\n', re.MULTILINE)
_HEADING = re.compile(r"^#+ +(.+)$")
_FENCED = re.compile(r"^```.*?^```$\n*", re.MULTILINE | re.DOTALL)
_SETS = re.compile(r"[A-Za-z_]\w*=(\$\(.*\)|[^\s;&|]*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of bash, as a learner types it in the project's folder."""

    text: str
    """It may set variables that later commands of the lab use."""
    shows: tuple[str, ...] = ()
    """Regular expressions (``re.MULTILINE``), each found somewhere in its output and errors."""
    rc: int | None = 0
    """Its exit code; None: any."""
    within: float = 0.0
    """Seconds in which it may be typed again until it is as promised: for what only looks at
    something that a cluster needs a moment for."""
    mode: str | None = None
    """kube-proxy's mode it is for; None: ipvs if it asks IPVS by name, else both."""

    def fits(self, mode: str) -> bool:
        """Whether there is something to see with it in that mode of kube-proxy's."""
        asks_ipvs = any("ipvs" in words for words in (self.text, *self.shows))
        return (self.mode or ("ipvs" if asks_ipvs else mode)) == mode

    @property
    def sets_a_variable(self) -> bool:
        """Whether it does nothing but set one: whoever begins later needs it all the same."""
        return _SETS.fullmatch(self.text.strip()) is not None

    def differs(self, rc: int, output: str) -> str | None:
        """What is not as promised, in one line; None when all is."""
        if self.rc is not None and rc != self.rc:
            return f"exit code {rc}, not {self.rc}"
        for pattern in self.shows:
            if not re.search(pattern, output, re.MULTILINE):
                return f"nothing like {pattern!r} in its output"
        return None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One section of the guide: what to type, and which checks prove what it says."""

    id: str
    """The section's anchor in the guide of every language."""
    do: tuple[Command, ...] = ()
    checks: tuple[str, ...] = ()
    """Ids of its checks and exercises in mode ipvs; each belongs to exactly one step."""

    def commands(self, mode: str = "ipvs") -> tuple[Command, ...]:
        """Those of its commands that show something in that mode of kube-proxy's."""
        return tuple(command for command in self.do if command.fits(mode))


class Guided(Protocol):
    """What a guide is made of; a ``Lab`` is this."""

    @property
    def name(self) -> str:
        """The lab's name."""

    @property
    def folder(self) -> Path:
        """Where its templates lie."""

    @property
    def facts(self) -> ModuleType:
        """Its data."""

    def steps(self, topology: Topology) -> tuple[Step, ...]:
        """Its steps, for that cluster."""


def language_of(environment: Mapping[str, str]) -> str:
    """The language of a person's locale, English where there is no guide in it."""
    names = ("LC_ALL", "LC_MESSAGES", "LANG")
    locale = next((environment[name] for name in names if environment.get(name)), "")
    language = locale.split("_")[0].split(".")[0]
    return language if language in LANGUAGES else "en"


def render(lab: Guided, topology: Topology, language: str) -> str:
    """A lab's guide as Markdown, for a cluster.

    In the template's scope are ``facts`` (the lab's), ``topology``, and ``do(id)``, which gives one
    fenced block with the commands of that step. Guides are for mode ipvs, that of the course.

    Raises:
        UsageError: There is no guide in that language, or its template names what does not exist.
    """
    if language not in LANGUAGES:
        raise UsageError(
            f"there is no guide in {language!r}", f"the languages are: {', '.join(LANGUAGES)}"
        )
    template, _file = LANGUAGES[language]
    steps = {step.id: step for step in lab.steps(topology)}

    def do(step_id: str) -> str:
        if step_id not in steps:
            raise UsageError(
                f"lab {lab.name} has no step {step_id!r}", f"its steps are: {', '.join(steps)}"
            )
        lines = [command.text for command in steps[step_id].commands()]
        return "\n".join(["```bash", *lines, "```"])

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(lab.folder),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  # Markdown of our own, no HTML of anybody's
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        return environment.get_template(template).render(facts=lab.facts, topology=topology, do=do)
    except jinja2.TemplateNotFound as failed:
        raise UsageError(f"lab {lab.name} has no {template}") from failed
    except jinja2.TemplateSyntaxError as failed:
        raise UsageError(
            f"labs/{lab.name}/{template} is wrong", f"line {failed.lineno}: {failed.message}"
        ) from failed
    except jinja2.UndefinedError as failed:
        raise UsageError(f"labs/{lab.name}/{template} is wrong", failed.message) from failed


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a guide that has an anchor."""

    heading: str
    text: str
    """All behind the heading, as Markdown."""

    @property
    def words(self) -> str:
        """Its text without the fenced blocks: what to see, and why."""
        return _FENCED.sub("", self.text).strip()


def sections(text: str) -> dict[str, Section]:
    """A guide split by its anchors (lines ``<a id="..."></a>``), in their order.

    A section ends where the next begins, or at the next heading that has no anchor.
    """
    parts = _ANCHOR.split(text)[1:]
    return {name: _section(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


def _section(body: str) -> Section:
    first, _, rest = body.strip().partition("\n")
    heading = _HEADING.match(first)
    if not heading:
        return Section(heading="", text=body.strip())
    kept: list[str] = []
    fenced = False
    for line in rest.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        if not fenced and _HEADING.match(line):
            break
        kept.append(line)
    return Section(heading=heading[1], text="\n".join(kept).strip())
