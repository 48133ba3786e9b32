"""Deploys labs with Pulumi; the only user of ``pulumi.automation``.

Each lab is one stack of the project ``l4lab``, kept by the file backend in the cluster's state.
Programs run inside this process (no language host), and where the official Kubernetes plugin is not
installed, the provider in ``infra/provider`` takes its place.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode  # what Stack takes, exported nowhere else
from pulumi.automation.events import EngineEvent, StepEventMetadata

from l4lab import engine_words, pulumi_cli
from l4lab.components.checked import declare
from l4lab.components.surroundings import given
from l4lab.errors import StackError
from l4lab.lab import Lab
from l4lab.state import Access, lock

_QUIET: Final = frozenset({"same", "read", "refresh"})
"""Steps that change nothing on the cluster."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a deployment, preview or destruction did (or would do).

    Attributes:
        stack: The stack's name, which is the lab's.
        changes: How many resources by action, such as ``{"create": 4}``; ``same`` among them.
        outputs: What the program exports, secrets as ``[secret]``; empty after a destruction.
        seconds: How long it took.
        log: Pulumi's own output.
    """

    stack: str
    changes: Mapping[str, int]
    outputs: Mapping[str, Any]
    seconds: float
    log: Path

    @property
    def changed(self) -> bool:
        """Whether any resource was made, changed or deleted."""
        return any(count for action, count in self.changes.items() if action not in _QUIET)

    @property
    def summary(self) -> str:
        """One line, such as ``4 create, 2 same``."""
        return ", ".join(f"{n} {action}" for action, n in self.changes.items()) or "nothing to do"


@dataclass(frozen=True, kw_only=True)
class Status:
    """What the state knows of a lab's stack.

    Attributes:
        lab: The lab's name.
        deployed: Whether there is anything of it.
        resources: Kind and ID of each Kubernetes object.
        troubles: What did not come into order: resource and reason.
        pending: Resources whose last change was cut off.
    """

    lab: str
    deployed: bool
    resources: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.deployed


OnEvent = Callable[[str], None]
"""Takes a line on what happens: ``create Service my-nginx: no endpoint is ready (3 s)``."""


def deploy(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Make the cluster hold what the lab declares; mends what was changed or deleted by hand.

    Raises:
        StackError: A resource was refused or did not come into order, with its reason.
        LockedError: Another l4lab works on this lab.
    """
    with _opened(lab, access, verb="deploy", program=_program(lab, access)) as run:
        _recover(run)
        run.begin(on_event)
        run.stack.up(
            refresh=True,
            color="never",
            show_secrets=False,
            suppress_progress=True,
            on_output=run.write,
            on_error=run.write,
            on_event=run.hear,
        )
        return run.outcome()


def preview(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Tell what ``deploy`` would do, without doing it.

    Raises:
        StackError: The program or a resource would be refused.
        LockedError: Another l4lab works on this lab.
    """
    with _opened(lab, access, verb="preview", program=_program(lab, access)) as run:
        run.begin(on_event)
        run.stack.preview(
            refresh=True,
            color="never",
            suppress_progress=True,
            on_output=run.write,
            on_error=run.write,
            on_event=run.hear,
        )
        return run.outcome()


def destroy(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Delete what the lab's stack made, wait until it is gone, and forget the stack.

    Raises:
        StackError: A resource could not be deleted, with the reason.
        LockedError: Another l4lab works on this lab.
    """
    with _opened(lab, access, verb="destroy", program=_nothing) as run:
        _recover(run)
        run.begin(on_event)
        run.stack.destroy(
            # An object that was deleted and made anew by hand is the lab's all the same.
            refresh=True,
            color="never",
            show_secrets=False,
            suppress_progress=True,
            remove=True,
            on_output=run.write,
            on_error=run.write,
            on_event=run.hear,
        )
        return run.outcome()


def status(lab: Lab, access: Access) -> Status:
    """What the state knows of the lab's stack; the cluster is not asked.

    Raises:
        StackError: The state cannot be read.
    """
    if not pulumi_cli.checkpoint(access.paths, lab.stack).is_file():
        return Status(lab=lab.name, deployed=False)
    run = _Run(lab=lab, access=access, verb="status")
    with _told(run):
        run.open(_nothing)
        state = run.stack.export_stack().deployment or {}
    objects = [one for one in state.get("resources") or [] if engine_words.is_object(one["urn"])]
    return Status(
        lab=lab.name,
        deployed=bool(objects),
        resources=tuple(f"{engine_words.kind(one['type'])} {one.get('id', '')}" for one in objects),
        troubles=tuple(
            f"{engine_words.label(one['urn'])}: {error}"
            for one in objects
            for error in one.get("initErrors") or []
        ),
        pending=tuple(
            engine_words.label(one["resource"]["urn"])
            for one in state.get("pending_operations") or []
        ),
    )


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
    started: float = field(default_factory=time.monotonic)
    changes: dict[str, int] = field(default_factory=dict)
    errors: list[tuple[str, str]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    _stack: auto.Stack | None = None
    _on_event: OnEvent | None = None
    _steps: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def stack(self) -> auto.Stack:
        if self._stack is None:
            raise StackError(f"the stack of lab {self.lab.name} is not open")
        return self._stack

    @property
    def log(self) -> Path:
        return self.access.paths.logs / f"stack-{self.lab.stack}-{self.verb}.log"

    def open(self, program: Callable[[], None]) -> None:
        """Select the lab's stack, making it where it is new."""
        home, work = self.access.paths.pulumi / "home", self.access.paths.stack_work
        for folder in (home, work, self.access.paths.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pulumi_cli.write_project(work)
        self.log.touch(mode=0o600)
        self.log.write_text("")
        workspace = auto.LocalWorkspace(
            work_dir=str(work),
            pulumi_home=str(home),
            program=program,
            env_vars=pulumi_cli.environment(self.access, home),
            secrets_provider="passphrase",
            pulumi_command=pulumi_cli.Cli(self.access.pulumi),
        )
        known = pulumi_cli.checkpoint(self.access.paths, self.lab.stack).is_file()
        mode = StackInitMode.SELECT if known else StackInitMode.CREATE
        self._stack = _Stack(self.lab.stack, workspace, mode)

    def begin(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event

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
        if action in _QUIET or not step.type.startswith("kubernetes:"):
            return
        if phase == "started":
            self._steps[step.urn] = (action, time.monotonic())
        self._say(step.urn, phase)

    def _say(self, urn: str, text: str) -> None:
        action, since = self._steps.get(urn, ("", time.monotonic()))
        if self._on_event:
            seconds = time.monotonic() - since
            label = engine_words.label(urn)
            self._on_event(f"{action} {label}: {text} ({seconds:.0f} s)".strip())

    def outcome(self) -> Outcome:
        return Outcome(
            stack=self.lab.stack,
            changes=self.changes,
            outputs=self.outputs,
            seconds=time.monotonic() - self.started,
            log=self.log,
        )


@contextlib.contextmanager
def _opened(lab: Lab, access: Access, *, verb: str, program: Callable[[], None]) -> Iterator[_Run]:
    """Hold the lab's stack for one operation, and tell what goes wrong as a StackError."""
    if not access.paths.kubeconfig.is_file():
        raise StackError(
            f"cannot {verb} lab {lab.name}",
            "there is no cluster: it has no kubeconfig",
            "./l4lab up",
        )
    run = _Run(lab=lab, access=access, verb=verb)
    with lock(access.paths.pulumi / f"{lab.stack}.lock", f"the stack of lab {lab.stack}"):
        pulumi_cli.free_stale_lock(access, lab.stack)
        with _told(run):
            run.open(program)
            yield run


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
    again = run.lab.place.as_typed(f"./l4lab {run.verb} {run.lab.name}")
    next_step = f"mend it, then: {again}"
    if "cannot reach the Kubernetes API" in reason:
        next_step = "./l4lab status"
    elif "exists already" in reason:
        next_step = f"delete it, then: {again}"
    return StackError(f"cannot {run.verb} lab {run.lab.stack}{what}", reason, next_step, run.log)


# -- what was left by an operation that was cut off


def _recover(run: _Run) -> None:
    """Take into the state what an operation that was cut off may have made.

    Pulumi notes a creation before it asks for it. What the note tells is enough to name the object:
    it is put among the stack's resources, and the refresh that follows drops it if it is not there.
    """
    if (
        '"pending_operations"'
        not in pulumi_cli.checkpoint(run.access.paths, run.lab.stack).read_text()
    ):
        return
    deployment = run.stack.export_stack()
    state = dict(deployment.deployment or {})
    pending = state.pop("pending_operations", None) or []
    known = {one["urn"] for one in state.get("resources") or []}
    for operation in pending:
        one = operation["resource"]
        if (
            operation["type"] != "creating"
            or one["urn"] in known
            or not engine_words.is_object(one["urn"])
        ):
            continue
        meta = one.get("inputs", {}).get("metadata", {})
        identity = "/".join(part for part in (meta.get("namespace"), meta.get("name")) if part)
        made = {**one, "id": identity, "outputs": one.get("inputs", {})}
        state.setdefault("resources", []).append(made)
    deployment.deployment = state
    run.stack.import_stack(deployment)
    if run.verb == "destroy":  # a deployment refreshes by itself
        run.stack.refresh(color="never", on_output=run.write, on_error=run.write)
