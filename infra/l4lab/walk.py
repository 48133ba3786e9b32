"""Leads a learner through a lab: what to type, what it proves, what to see, and why.

The commands, their order and their checks are the lab's steps; the words are those of its guide.
The walk itself knows neither terminal nor cluster: it acts through its ``Hands``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import indent

from l4lab import actions, stack
from l4lab.checks import Exercise, LabReport, declared, explain, render_line
from l4lab.checks.choice import choose
from l4lab.cluster import Cluster
from l4lab.errors import UsageError
from l4lab.guide import Command, Guided, Section, Step, render, sections
from l4lab.lab import Lab
from l4lab.shell import Shell, ShellError
from l4lab.topology import Topology
from l4lab.walk_words import WORDS, Words, of_ipvs

DEADLINE = 120.0
"""Seconds a command may take before it is ended."""
_PATIENT = 600.0  # seconds to wait for what a learner makes by hand
_AGAIN_AFTER = 1.0  # seconds between two looks at what a cluster needs a moment for


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What the walk acts through.

    Attributes:
        write: Prints a text as it is.
        ask: Asks and returns the answer; None where nobody is there to answer.
        bash: Starts the bash that the commands run in.
        mode: Says which mode kube-proxy runs in.
        deployed: Whether the lab is deployed.
        deploy: Deploys it.
        check: Runs the checks and exercises with these ids.
        wait: Runs checks again and again until they are green.
        sleep: Waits so many seconds.
        now: Where time comes from, in seconds.
    """

    write: Callable[[str], None]
    ask: Callable[[str], str] | None
    bash: Callable[[], Shell]
    mode: Callable[[], str]
    deployed: Callable[[], bool]
    deploy: Callable[[], object]
    check: Callable[[Sequence[str]], LabReport]
    wait: Callable[[Sequence[str]], LabReport]
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic


def hands_of(
    cluster: Cluster,
    lab: Lab,
    *,
    write: Callable[[str], None],
    ask: Callable[[str], str] | None,
    config: Path | None = None,
) -> Hands:
    """The hands for a lab on a cluster.

    Args:
        cluster: The cluster; it must be up when the hands begin to act.
        lab: The lab.
        write: Prints a text as it is.
        ask: Asks and returns the answer; None where nobody is there.
        config: The settings file the commands must use, where it is not the project's own.
    """
    env = {"L4LAB_CONFIG": str(config.absolute())} if config else {}
    return Hands(
        write=write,
        ask=ask,
        bash=lambda: Shell(cluster.project, env=env),
        mode=lambda: actions.mode_of(cluster, lab),
        deployed=lambda: stack.status(lab, cluster.enter()).deployed,
        deploy=lambda: actions.deploy(cluster, lab),
        check=lambda ids: actions.check(cluster, lab, only=ids),
        wait=lambda ids: actions.watch(cluster, lab, only=ids, within=_PATIENT),
    )


@dataclass(frozen=True, kw_only=True)
class Walked:
    """How a walk ended: what was red at the last look, and the step it was left at."""

    red: tuple[str, ...]
    left_at: str | None = None


def step_of(lab: Guided, topology: Topology, name: str) -> Step:
    """The lab's step of that name.

    Raises:
        UsageError: There is none; the text names those there are.
    """
    steps = {step.id: step for step in lab.steps(topology)}
    if name not in steps:
        raise UsageError(
            f"lab {lab.name} has no step {name!r}",
            f"its steps are: {', '.join(steps)}",
            f"./l4lab lab {lab.name} --from {next(iter(steps))}",
        )
    return steps[name]


def in_mode(lab: Lab, topology: Topology, mode: str) -> tuple[Step, ...]:
    """The lab's steps with the commands and checks of one mode of kube-proxy's.

    A check that no step names, because it is not in mode ipvs, belongs to the step of its anchor.
    """
    steps = lab.steps(topology)
    named = {name for step in steps for name in step.checks}
    checks, exercises = choose(lab.checks, lab.name, only=None, mode=mode)
    fitting = {one.id: one.anchor for one in checks} | {one.id: one.anchor for one in exercises}
    return tuple(
        replace(
            step,
            do=step.commands(mode),
            checks=(
                *(name for name in step.checks if name in fitting),
                *(name for name in fitting if name not in named and fitting[name] == step.id),
            ),
        )
        for step in steps
    )


def checks_of(cluster: Cluster, lab: Lab, name: str) -> tuple[str, ...]:
    """Ids of the checks and exercises of a step, in the mode that kube-proxy runs in.

    Raises:
        UsageError: There is no such step, nothing proves it, or the cluster is not up.
    """
    topology = cluster.settings.topology
    step_of(lab, topology, name)  # a wrong name is told without a cluster, too
    mode = actions.mode_of(cluster, lab)
    step = next(step for step in in_mode(lab, topology, mode) if step.id == name)
    if not step.checks:
        raise UsageError(f"step {name!r} of lab {lab.name} has no checks in mode {mode}")
    return step.checks


def walk(
    lab: Lab,
    topology: Topology,
    hands: Hands,
    *,
    language: str = "en",
    start: str | None = None,
    color: bool = False,
) -> Walked:
    """Go through a lab's steps, from ``start`` or the first one.

    Raises:
        UsageError: There is no such step or language.
        KeyboardInterrupt: It was broken off; how to go on was told.
    """
    guided = lab.steps(topology)
    names = [step.id for step in guided]
    at = names.index(step_of(lab, topology, start).id) if start else 0
    guide = sections(render(lab, topology, language))
    words = WORDS[language]
    with _Bash(hands, words) as bash:
        one = _Walk(lab=lab, hands=hands, words=words, bash=bash, color=color)
        try:
            mode = hands.mode()
            steps = in_mode(lab, topology, mode)
            odd = {step.id for step in guided if of_ipvs(step, guide[step.id], mode)}
            if odd:
                hands.write(f"{words.other_mode.format(mode=mode)}\n")
            one.deployed(steps[at])
            bash.only_variables([command for step in steps[:at] for command in step.do])
            for number in range(at, len(steps)):
                at = number
                name = steps[at].id
                note = words.of_ipvs.format(mode=mode) if name in odd else ""
                one.step(steps[at], guide[name], f"{at + 1}/{len(steps)}", note)
        except (_Quit, KeyboardInterrupt) as ended:
            hands.write(f"\n{words.resume.format(lab=lab.name, step=names[at])}\n")
            if isinstance(ended, KeyboardInterrupt):
                raise
            return Walked(red=tuple(one.red), left_at=names[at])
    red = tuple(one.red)
    hands.write(f"\n{words.red.format(ids=', '.join(red)) if red else words.green}\n")
    return Walked(red=red)


class _Quit(Exception):  # noqa: N818  # a wish, not an error
    """The learner has had enough for now."""


class _Bash:
    """The shell of a walk: where one ends before its time, another goes on with its variables."""

    def __init__(self, hands: Hands, words: Words) -> None:
        self._hands = hands
        self._words = words
        self._shell = hands.bash()
        self._variables: list[Command] = []

    def __enter__(self) -> _Bash:
        return self

    def __exit__(self, *_error: object) -> None:
        self._shell.end()

    def only_variables(self, commands: Sequence[Command]) -> None:
        """Of commands that are not run here, those that set what later ones use."""
        for command in commands:
            if command.sets_a_variable and (differs := self._once(command, quiet=True)):
                self._hands.write(f"$ {command.text}\n")
                self._say(self._words.differs.format(what=differs))

    def run(self, command: Command) -> None:
        """Run a command before the learner's eyes, and say where it is not as promised."""
        self._hands.write(f"$ {command.text}\n")
        until = self._hands.now() + command.within
        while differs := self._once(command, quiet=False):
            if self._hands.now() >= until:
                self._say(self._words.differs.format(what=differs))
                return
            self._say(self._words.not_yet)
            self._hands.sleep(_AGAIN_AFTER)

    def _once(self, command: Command, *, quiet: bool) -> str | None:
        if self._shell.ended:
            self._shell = self._hands.bash()
            for known in self._variables:
                self._shell.run(known.text, timeout=DEADLINE)
        told = None if quiet else self._hands.write
        try:
            said = self._shell.run(command.text, timeout=DEADLINE, on_output=told)
        except ShellError as ended:
            self._hands.write("\n")
            return ended.brief
        if not quiet and said.output and not said.output.endswith("\n"):
            self._hands.write("\n")
        if command.sets_a_variable and command not in self._variables:
            self._variables.append(command)
        return command.differs(said.rc, said.output)

    def _say(self, text: str) -> None:
        self._hands.write(f"  {text}\n")


@dataclass(kw_only=True)
class _Walk:
    """One walk: its steps' commands, checks and words, one after the other."""

    lab: Lab
    hands: Hands
    words: Words
    bash: _Bash
    color: bool
    red: list[str] = field(default_factory=list)

    def deployed(self, first: Step) -> None:
        """See that the lab is there; whoever wants makes it by hand."""
        if self.hands.deployed():
            return
        self._say(self.words.not_deployed.format(lab=self.lab.name))
        if self._ask(self.words.ask_deploy) != "k":
            self.hands.deploy()
            return
        self._say(self.words.by_hand)
        checks, _exercises = self._parted(first)
        self._prove(checks, waiting=True)

    def step(self, step: Step, section: Section, place: str, note: str) -> None:
        """One step: commands, checks, and what there is to see, with a note before it."""
        heading = f"{place}  {section.heading}"
        self._say("\n" + (f"\033[1m{heading}\033[0m" if self.color else heading))
        if step.do:
            self._commands(step.do)
        checks, exercises = self._parted(step)
        self._prove(checks)
        question = self.words.ask_exercise.format(ids=", ".join(exercises))
        if exercises and self._ask(question) != "s":
            self._prove(exercises, waits=False)
        for text in filter(None, (note, section.words)):
            self._say(f"\n{text}")

    def _commands(self, commands: Sequence[Command]) -> None:
        typed = "\n".join(command.text for command in commands)
        self._say(f"\n{indent(typed, '    ')}\n")
        if self._ask(self.words.ask_run) == "s":
            self.bash.only_variables(commands)
            return
        for command in commands:
            self.bash.run(command)

    def _prove(self, ids: Sequence[str], *, waiting: bool = False, waits: bool = True) -> None:
        """Run checks, until they are green or the learner goes on without.

        Only what changes nothing can be waited for by doing it again and again (``waits``).
        """
        if not ids:
            return
        while True:
            report = self.hands.wait(ids) if waiting else self.hands.check(ids)
            self._show(report)
            self.red = [*(name for name in self.red if name not in ids), *report.red]
            if not report.red or not self.hands.ask:
                return
            answer = self._ask(self.words.ask_red if waits else self.words.ask_failed)
            if answer == "s":
                return
            waiting = waits and answer == "w"

    def _show(self, report: LabReport) -> None:
        width = max((len(result.id) for result in report.results), default=0)
        self._say("")
        for result in report.results:
            self._say(render_line(result, width=width, color=self.color))
        for result in report.results:
            if not result.green:
                self._say("\n" + explain(result))

    def _parted(self, step: Step) -> tuple[list[str], list[str]]:
        """Ids of a step's checks, and of its exercises."""
        changing = {exercise.id for exercise in declared(self.lab.checks, Exercise)}
        return (
            [name for name in step.checks if name not in changing],
            [name for name in step.checks if name in changing],
        )

    def _ask(self, question: str) -> str:
        """The answer's first letter; nothing where nobody is there to answer."""
        if not self.hands.ask:
            return ""
        answer = self.hands.ask(question).strip().lower()[:1]
        if answer == "q":
            raise _Quit
        return answer

    def _say(self, text: str) -> None:
        self.hands.write(f"{text}\n")
