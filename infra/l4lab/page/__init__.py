"""One page about a cluster and its labs: plain data in, one self-contained HTML file out.

The page needs no network and no script: it works from a file, on a phone, on paper, in the dark.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jinja2

from l4lab.checks.diagnosis import redacted
from l4lab.checks.model import CheckResult, State
from l4lab.checks.report import LabReport, explain
from l4lab.page.picture import PodAt, ServiceAt, draw
from l4lab.path import PacketPath, to_svg
from l4lab.topology import Topology

__all__ = ["LabPart", "Page", "PodAt", "ServiceAt", "StagePart", "StepPart", "render", "style"]

_FOLDER = Path(__file__).parent
# Of what failed, much is wanted; of the rest, a proof that it was measured.
_SHOWN_COMMANDS = {True: 2, False: 12}
_SHOWN_CHARACTERS = {True: 800, False: 4_000}


@dataclass(frozen=True, kw_only=True)
class StepPart:
    """One step of a lab's guide and the results of its checks."""

    id: str
    heading: str
    results: tuple[CheckResult, ...]

    @property
    def state(self) -> State:
        """The worst state of its checks; skip when none was measured."""
        return _worst(self.results)


@dataclass(frozen=True, kw_only=True)
class LabPart:
    """One lab: its report in the order of its guide, and measured paths to its Services."""

    title: str
    report: LabReport
    steps: tuple[StepPart, ...]
    paths: tuple[PacketPath, ...] = ()

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.report.lab

    @property
    def counts(self) -> dict[str, int]:
        """How many results there are of each state that occurs, the worst state first."""
        found = Counter(result.state for result in self.report.results)
        return {state.value: found[state] for state in _ORDER if found[state]}


@dataclass(frozen=True, kw_only=True)
class StagePart:
    """One stage of a run that made the cluster: ``state`` is pass, error or skip."""

    title: str
    state: str
    seconds: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on the page.

    Attributes:
        topology: The cluster's machines and networks.
        made: When it was measured, as text.
        proxy: kube-proxy's mode.
        version: Kubernetes' version.
        labs: One part a lab.
        pods: The pods of the labs, where they are.
        services: The Services of the labs.
        stages: The stages of the run, where one run made cluster and labs.
    """

    topology: Topology
    made: str
    proxy: str
    version: str
    labs: tuple[LabPart, ...]
    pods: tuple[PodAt, ...] = ()
    services: tuple[ServiceAt, ...] = ()
    stages: tuple[StagePart, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every lab is green, and every stage went well."""
        went_well = all(stage.state == "pass" for stage in self.stages)
        return went_well and all(lab.report.passed for lab in self.labs)


_ORDER = (State.FAIL, State.ERROR, State.FLAKY, State.PASS, State.SKIP)


def style() -> str:
    """The style sheet of all our pages."""
    return (_FOLDER / "page.css").read_text()


def render(page: Page) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = to_svg
    return environment.get_template("page.html.j2").render(
        page=page,
        picture=draw(page.topology, page.pods, page.services),
        style=style(),
        explain=explain,
        evidence=_evidence,
        checks_of=_checks_of,
    )


def _worst(results: tuple[CheckResult, ...]) -> State:
    states = {result.state for result in results}
    return next((state for state in _ORDER if state in states), State.SKIP)


def _checks_of(step: StepPart) -> list[tuple[CheckResult, tuple[CheckResult, ...], State]]:
    """The step's checks, each with its results at all vantages and the worst of them."""
    names = dict.fromkeys(result.id for result in step.results)
    found = []
    for name in names:
        results = tuple(result for result in step.results if result.id == name)
        found.append((results[0], results, _worst(results)))
    return found


def _evidence(result: CheckResult) -> list[tuple[str, str]]:
    """The last commands of a check and what they gave: command and text, secrets taken out."""
    found: list[tuple[str, str]] = []
    longest = _SHOWN_CHARACTERS[result.green]
    for seen in result.trace[-_SHOWN_COMMANDS[result.green] :]:
        text = redacted(seen.stdout + seen.stderr)
        if len(text) > longest:
            text = text[:longest] + "\n(cut here)"
        found.append((redacted(seen.command), text.rstrip() or f"(nothing; exit code {seen.rc})"))
    return found
