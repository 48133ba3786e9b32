"""What a run of checks found, as text for people and as JSON and JUnit XML for machines."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4lab.checks.model import CheckResult, Fault, State
from l4lab.checks.network import spoken

_COLORS = {
    State.PASS: "32",
    State.FAIL: "31",
    State.ERROR: "35",
    State.SKIP: "33",
    State.FLAKY: "33",
}

# What usually is behind a failure of that class, the likeliest first; a check knows better.
_USUAL_CAUSES: Mapping[Fault, tuple[str, ...]] = {
    Fault.REFUSED: (
        "the address is there, but nothing serves that port: no backend, or a wrong port",
        "a firewall rule rejects the connection",
    ),
    Fault.TIMEOUT: (
        "packets are dropped on the way: a firewall rule, or a route that leads nowhere",
        "the backend's machine is down",
    ),
    Fault.UNREACHABLE: ("this place has no route to the address",),
    Fault.RESET: ("the backend ended the connection: it speaks another protocol, or restarts",),
    Fault.DNS: (
        "the name does not exist: Service or namespace is spelled differently",
        "cluster DNS does not answer: CoreDNS has no ready pod",
    ),
    Fault.HTTP: ("something else answers at that address",),
    Fault.WRONG_BACKEND: ("the Service selects other pods than the lab's",),
    Fault.SLOW_CONNECT: (
        "checksum offload is on at vxlan.calico, so packets leave with a wrong checksum",
        "the network between the nodes loses packets",
    ),
}

MAX_CAUSES = 4
_ENOUGH_CAUSES = 2


def causes_of(result: CheckResult) -> tuple[str, ...]:
    """Likely causes, ranked: what the hop and the check know, else what is usual."""
    vague = result.fault is not None and len(result.causes) < _ENOUGH_CAUSES
    usual = _USUAL_CAUSES.get(result.fault, ()) if result.fault and vague else ()
    return tuple(dict.fromkeys((*result.causes, *usual)))[:MAX_CAUSES]


def explain(result: CheckResult) -> str:
    """The text of a check that is not green: each line answers the question after the last."""
    if result.green:
        return ""
    rows = [("expected", result.expected), ("seen", result.seen)]
    answers = spoken(dict(result.counts)) if result.counts else ""
    if answers not in result.seen:
        rows.append(("answers", answers))
    if result.attempts > 1:
        since = f"failing for {result.failing_for:.0f} s, {result.attempts} attempts"
    else:
        since = "at the first attempt"
    rows.append(("since", since))
    if result.hop:
        rows.append(("differs", result.hop))
    for number, cause in enumerate(causes_of(result), start=1):
        rows.append(("causes" if number == 1 else "", f"{number}. {cause}"))
    rows.append(("next", result.then or f"read {result.guide}"))
    head = [f"{result.state.upper()} {result.id}, {result.vantage}: {result.title}"]
    if result.command:
        head.append(f"  $ {result.command}")
    lines = []
    for label, text in rows:
        first, *more = text.splitlines() or [""]
        lines.append(f"  {label:<9} {first}".rstrip())
        lines.extend(f"  {'':<9} {line}" for line in more)
    if result.then:
        lines.append(f"  {'guide':<9} {result.guide}")
    return "\n".join([*head, *lines])


@dataclass(frozen=True, kw_only=True)
class LabReport:
    """All results of one run over one lab."""

    lab: str
    results: tuple[CheckResult, ...]
    seconds: float
    factor: float = 1.0
    """How many times slower than normal the machines were."""
    diagnosis: Path | None = None
    """The folder with everything about the failure."""
    undiagnosed: str = ""
    """Why the evidence could not be kept."""

    @property
    def passed(self) -> bool:
        """Whether something was measured and nothing failed, broke or wobbled."""
        measured = any(result.state is State.PASS for result in self.results)
        return measured and all(result.green for result in self.results)

    @property
    def red(self) -> tuple[str, ...]:
        """Ids of the checks that are not green, in the order of the lab."""
        return tuple(dict.fromkeys(result.id for result in self.results if not result.green))

    def state_of(self, id: str) -> State:
        """The worst state of a check over all its vantages; skip when it did not run."""
        states = {result.state for result in self.results if result.id == id}
        order = (State.FAIL, State.ERROR, State.FLAKY, State.PASS)
        return next((state for state in order if state in states), State.SKIP)

    def to_json(self) -> str:
        """Everything but the raw traces, as JSON."""
        counts = Counter(result.state.value for result in self.results)
        return json.dumps(
            {
                "lab": self.lab,
                "passed": self.passed,
                "seconds": round(self.seconds, 2),
                "slowness": round(self.factor, 2),
                "diagnosis": str(self.diagnosis) if self.diagnosis else None,
                "undiagnosed": self.undiagnosed or None,
                "states": dict(sorted(counts.items())),
                "results": [as_data(result) for result in self.results],
            },
            indent=2,
            ensure_ascii=False,
        )

    def to_junit(self) -> str:
        """JUnit XML: one test case for each check and vantage."""
        return to_junit([self])

    def render(self, color: bool) -> str:
        """The report as text: one line a check and vantage, failures explained, the sum."""
        width = max((len(result.id) for result in self.results), default=0)
        lines = [render_line(result, width=width, color=color) for result in self.results]
        texts = [explain(result) for result in self.results if not result.green]
        for text in texts:
            lines += ["", text]
        return "\n".join([*lines, "", self.summary(color=color)])

    def summary(self, *, color: bool = False) -> str:
        """One line of what came out, and where the evidence lies when it is not all green."""
        states = Counter(result.state for result in self.results)
        words = ", ".join(f"{states[state]} {state}" for state in State if states[state])
        text = f"lab {self.lab}: {words or 'nothing was checked'} in {self.seconds:.1f} s"
        if round(self.factor, 1) > 1:
            text += f" (budgets x {self.factor:.1f}: slow machines)"
        if color:
            text = f"\033[{_COLORS[State.PASS if self.passed else State.FAIL]}m{text}\033[0m"
        if self.diagnosis:
            text += f"\nevidence: {self.diagnosis}"
        if self.undiagnosed:
            text += f"\nevidence was not kept: {self.undiagnosed}"
        return text


def to_junit(reports: Sequence[LabReport]) -> str:
    """JUnit XML of several labs: one test suite a lab, one test case a check and vantage."""
    root = ET.Element("testsuites")
    root.extend(_suite(report) for report in reports)
    ET.indent(root)
    text = printable(ET.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def printable(text: str) -> str:
    """``text`` without what commands may print and XML has no way to write."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def render_line(result: CheckResult, *, width: int = 0, color: bool = False) -> str:
    """One line about one result: state, id, vantage, what was seen."""
    state = f"{result.state.upper():<5}"
    if color:
        state = f"\033[{_COLORS[result.state]}m{state}\033[0m"
    seen = (result.seen.splitlines() or [""])[0]
    return f"{state} {result.id:<{width}}  {result.vantage}: {seen}"


def as_data(result: CheckResult) -> dict[str, Any]:
    """A result as plain data, without its trace; times are rounded to milliseconds."""
    return {
        "id": result.id,
        "title": result.title,
        "why": result.why,
        "kind": result.kind,
        "vantage": result.vantage,
        "state": result.state.value,
        "command": result.command,
        "expected": result.expected,
        "seen": result.seen,
        "counts": dict(result.counts),
        "fault": result.fault.value if result.fault else None,
        "hop": result.hop,
        "causes": list(causes_of(result)) if not result.green else [],
        "next": result.then,
        "attempts": result.attempts,
        "seconds": round(result.seconds, 3),
        "failing_for": round(result.failing_for, 3),
        "guide": result.guide,
    }


def sort_results(results: Sequence[CheckResult], order: Sequence[str]) -> tuple[CheckResult, ...]:
    """Results in the order in which the lab declares its checks; vantages keep theirs."""
    ranks = {name: rank for rank, name in enumerate(order)}
    return tuple(sorted(results, key=lambda result: ranks[result.id]))


def _suite(report: LabReport) -> ET.Element:
    states = Counter(result.state for result in report.results)
    suite = ET.Element(
        "testsuite",
        name=f"l4lab.{report.lab}",
        tests=str(len(report.results)),
        failures=str(states[State.FAIL] + states[State.FLAKY]),
        errors=str(states[State.ERROR]),
        skipped=str(states[State.SKIP]),
        time=f"{report.seconds:.3f}",
    )
    suite.extend(_case(report.lab, result) for result in report.results)
    return suite


def _case(lab: str, result: CheckResult) -> ET.Element:
    case = ET.Element(
        "testcase",
        classname=f"l4lab.{lab}",
        name=f"{result.id} [{result.vantage}]",
        time=f"{result.seconds:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (
        ("vantage", result.vantage),
        ("kind", result.kind),
        ("attempts", str(result.attempts)),
        ("command", result.command),
        ("guide", result.guide),
    ):
        ET.SubElement(properties, "property", name=name, value=value)
    if result.state is State.SKIP:
        ET.SubElement(case, "skipped", message=result.seen)
    elif not result.green:
        tag = "error" if result.state is State.ERROR else "failure"
        told = ET.SubElement(case, tag, message=result.seen, type=result.fault or result.state)
        told.text = explain(result)
    return case
