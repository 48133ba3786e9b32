"""The process of one operation on one stack; the only user of ``pulumi.automation``.

``stack.py`` starts it: a ``Request`` comes on standard input, lines for a person and at last the
``Outcome`` or the error go to standard output, pickled. Programs run inside this process (no
language host), and where the official Kubernetes plugin is not installed, the provider in
``infra/provider`` takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode  # what Stack takes, exported nowhere else
from pulumi.automation.events import EngineEvent, StepEventMetadata

from l4lab import engine_words, pulumi_cli
from l4lab.command import end_with
from l4lab.components.checked import declare
from l4lab.components.surroundings import given
from l4lab.errors import L4labError, StackError
from l4lab.lab import Lab
from l4lab.pulumi_command import Cli
from l4lab.stack import QUIET, OnEvent, Outcome, Request, log_of
from l4lab.state import Access, Paths, write_private


def main() -> int:
    """Do what standard input asks for; 0: standard output holds the answer."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a program prints is for the log
    one_at_a_time = threading.Lock()

    def send(message: str | Outcome | L4labError) -> None:
        with one_at_a_time, contextlib.suppress(BrokenPipeError):
            pickle.dump(message, answers)
            answers.flush()

    request: Request = pickle.load(sys.stdin.buffer)  # noqa: S301  from our own parent
    end_with(request.asker)
    try:
        answer: Outcome | L4labError = operate(request, send)
    except L4labError as failed:
        answer = failed
    except KeyboardInterrupt:
        return 130
    send(answer)
    return 0


def operate(request: Request, on_event: OnEvent) -> Outcome:
    """Do one operation.

    Raises:
        StackError: A resource was refused, or did not come or go, with its reason.
    """
    lab, access = request.lab, request.access
    run = _Run(lab=lab, access=access, verb=request.verb, on_event=on_event)
    with _told(run):
        _recover(access.paths, lab.stack)
        run.open(_nothing if request.verb == "destroy" else _program(lab, access))
        heard: dict[str, Any] = {
            # A deployment mends what was changed by hand; an object that was deleted and made
            # anew by hand is the lab's all the same, and goes with it.
            "refresh": True,
            "color": "never",
            "suppress_progress": True,
            "on_output": run.write,
            "on_error": run.write,
            "on_event": run.hear,
        }
        if request.verb == "preview":
            run.stack.preview(**heard)
        elif request.verb == "deploy":
            run.stack.up(show_secrets=False, **heard)
        else:
            run.stack.destroy(show_secrets=False, remove=True, **heard)
    return run.outcome()


def _program(lab: Lab, access: Access) -> Callable[[], None]:
    """The lab's program, told of which cluster it is for."""

    def program() -> None:
        with given(access.topology, access.paths, lab.place):
            declare(lab.name, lab.program)

    return program


def _nothing() -> None:
    """The program of an operation that needs none."""


class _Stack(auto.Stack):
    """A stack that does not ask the CLI again, four times, for what the events have told."""

    def outputs(self) -> auto.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> auto.UpdateSummary:
        return auto.UpdateSummary("", datetime.now(UTC), "", {}, {}, "")


@dataclass
class _Run:
    """One operation on one stack, and what was heard of it."""

    lab: Lab
    access: Access
    verb: str
    on_event: OnEvent
    started: float = field(default_factory=time.monotonic)
    changes: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    _stack: auto.Stack | None = None
    _steps: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def stack(self) -> auto.Stack:
        if self._stack is None:
            raise StackError(f"the stack of lab {self.lab.name} is not open")
        return self._stack

    @property
    def log(self) -> Path:
        return log_of(self.lab, self.access, self.verb)

    def open(self, program: Callable[[], None]) -> None:
        """Select the lab's stack, making it where it is new."""
        home, work = self.access.paths.pulumi / "home", self.access.paths.stack_work
        for folder in (home, work):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pulumi_cli.write_project(work)
        workspace = auto.LocalWorkspace(
            work_dir=str(work),
            pulumi_home=str(home),
            program=program,
            env_vars=pulumi_cli.environment(self.access, home),
            secrets_provider="passphrase",
            pulumi_command=Cli(self.access.pulumi),
        )
        known = pulumi_cli.checkpoint(self.access.paths, self.lab.stack).is_file()
        mode = StackInitMode.SELECT if known else StackInitMode.CREATE
        self._stack = _Stack(self.lab.stack, workspace, mode)

    def write(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(f"{line}\n")

    def hear(self, event: EngineEvent) -> None:
        """Take in one event of the engine, and pass on what a person wants to know."""
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata, "started")
        elif event.res_outputs_event:
            step = event.res_outputs_event.metadata
            if step.type == "pulumi:pulumi:Stack" and step.new:
                self.outputs = step.new.outputs or {}
            self._step(step, "done")
        elif event.res_op_failed_event:
            step = event.res_op_failed_event.metadata
            self.failed.append(step.urn)
            self._step(step, "failed")
        elif event.diagnostic_event:
            said = event.diagnostic_event
            text, urn = engine_words.plain(said.message), said.urn or ""
            if said.severity == "error":
                self.errors.append((urn, text))
            elif said.ephemeral and urn in self._steps:
                self._say(urn, text)
        elif event.summary_event:
            self.changes = {
                getattr(action, "value", action): count
                for action, count in event.summary_event.resource_changes.items()
            }

    def _step(self, step: StepEventMetadata, phase: str) -> None:
        action = getattr(step.op, "value", step.op)
        if action in QUIET or not step.type.startswith("kubernetes:"):
            return
        if phase == "started":
            self._steps[step.urn] = (action, time.monotonic())
            self.steps.append(f"{action} {engine_words.label(step.urn)}")
        self._say(step.urn, phase)

    def _say(self, urn: str, text: str) -> None:
        action, since = self._steps.get(urn, ("", time.monotonic()))
        seconds = time.monotonic() - since
        self.on_event(f"{action} {engine_words.label(urn)}: {text} ({seconds:.0f} s)".strip())

    def outcome(self) -> Outcome:
        return Outcome(
            stack=self.lab.stack,
            changes=self.changes,
            outputs=self.outputs,
            seconds=time.monotonic() - self.started,
            log=self.log,
            steps=tuple(self.steps),
        )


@contextlib.contextmanager
def _told(run: _Run) -> Iterator[None]:
    try:
        yield
    except auto.errors.CommandError as failed:
        raise _error(run, str(failed)) from failed
    except OSError as failed:
        raise StackError(
            f"cannot {run.verb} lab {run.lab.name}", str(failed), "./l4lab doctor"
        ) from failed


def _error(run: _Run, output: str) -> StackError:
    """The one error that matters of all that Pulumi said."""
    run.write(output)
    about = [one for one in run.errors if engine_words.is_object(one[0])] or run.errors
    urn, reason = about[0] if about else ("", engine_words.last_words(output))
    what = f": {engine_words.label(urn)}" if urn and "pulumi:pulumi:Stack" not in urn else ""
    brief = f"cannot {run.verb} lab {run.lab.stack}{what}"
    again = run.lab.place.as_typed(f"./l4lab {run.verb} {run.lab.name}")
    then = engine_words.next_step(reason, run.lab.place, again=again)
    return StackError(brief, reason, then, run.log)


# -- what was left by an operation that was cut off


def _recover(paths: Paths, stack: str) -> None:
    """Take into the state what an operation that was cut off may have made.

    Pulumi notes a creation before it asks for it. What the note tells is enough to name the object:
    it is put among the stack's resources, and the next refresh drops it if it is not there. What an
    update may have changed, that refresh sees by itself.

    The file is changed as it is: by the CLI all its secrets would go through plain files.

    Raises:
        StackError: It cannot be read.
    """
    path = pulumi_cli.checkpoint(paths, stack)
    state = pulumi_cli.kept_state(paths, stack)
    if not state or not (pending := state.pop("pending_operations", None)):
        return
    resources = state.setdefault("resources", [])
    for one in (op["resource"] for op in pending if op["type"] == "creating"):
        if engine_words.is_object(one["urn"]):
            _add(resources, one)
    whole = json.loads(path.read_text())
    whole["checkpoint"]["latest"] = state
    write_private(path, json.dumps(whole, indent=4))


def _add(resources: list[dict[str, Any]], begun: dict[str, Any]) -> None:
    """Put an object that may have been made among a stack's resources."""
    inputs = begun.get("inputs", {})
    meta = inputs.get("metadata", {})
    identity = "/".join(part for part in (meta.get("namespace"), meta.get("name")) if part)
    made = {**begun, "id": identity, "outputs": inputs}
    for at, known in enumerate(resources):
        if known["urn"] == begun["urn"] and not known.get("delete"):
            # In the place of its forerunner: that is gone if it bore the same name, else it is to
            # go, as the engine itself writes it down after a replacement.
            gone = known.get("pendingReplacement") or known.get("id") == identity
            resources[at : at + 1] = [made] if gone else [made, {**known, "delete": True}]
            return
    resources.append(made)


if __name__ == "__main__":
    sys.exit(main())
