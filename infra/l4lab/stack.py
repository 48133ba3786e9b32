"""Deploys labs with Pulumi; the only user of ``pulumi.automation``.

Each lab is one stack of the project ``l4lab``, kept by the file backend in the cluster's state.
Programs run inside this process (no language host), and where the official Kubernetes plugin is not
installed, the provider in ``infra/provider`` takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from pulumi import automation as auto
from pulumi.automation.events import EngineEvent, StepEventMetadata

from l4lab import pulumi_cli
from l4lab.errors import LockedError, StackError
from l4lab.lab import Lab
from l4lab.state import Access, Paths, lock

PROJECT: Final = "l4lab"
PROVIDER: Final = Path(__file__).resolve().parents[1] / "provider"
_PLUGIN: Final = "pulumi-resource-kubernetes"
_PASSPHRASE: Final = "pulumi-passphrase"  # noqa: S105  the name of a secret, not a secret
_QUIET: Final = frozenset({"same", "read", "refresh"})
"""Steps that change nothing on the cluster."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One thing that happens to one resource while a stack changes.

    Attributes:
        resource: Kind and name, such as ``Service my-nginx``.
        action: What is done to it: ``create``, ``update``, ``replace``, ``delete``...
        phase: Where that stands; ``waiting`` comes with what is still missing in ``text``.
        text: One line more, empty where there is nothing to say.
        seconds: Since the step began.
    """

    resource: str
    action: str
    phase: Literal["started", "waiting", "done", "failed"]
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a deployment, preview or destruction did (or would do).

    Attributes:
        lab: The lab's name.
        changes: How many resources by action, such as ``{"create": 4}``; ``same`` among them.
        outputs: What the program exports; empty for all but a deployment.
        seconds: How long it took.
        log: Pulumi's own output.
    """

    lab: str
    changes: Mapping[str, int]
    outputs: Mapping[str, Any]
    seconds: float
    log: Path

    @property
    def changed(self) -> bool:
        """Whether any resource was made, changed or deleted."""
        return any(count for action, count in self.changes.items() if action not in _QUIET)


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


OnEvent = Callable[[Progress], None]


def deploy(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Make the cluster hold what the lab declares; mends what was changed or deleted by hand.

    Raises:
        StackError: A resource was refused or did not come into order, with its reason.
        LockedError: Another l4lab works on this lab.
    """
    with _opened(lab, access, verb="deploy", program=lab.program) as run:
        _recover(run)
        run.begin(on_event)
        done = run.stack.up(
            refresh=True,
            color="never",
            show_secrets=False,
            suppress_progress=True,
            on_output=run.write,
            on_error=run.write,
            on_event=run.hear,
        )
        outputs = {name: one.value for name, one in done.outputs.items() if not one.secret}
        return run.outcome(outputs=outputs)


def preview(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Tell what ``deploy`` would do, without doing it.

    Raises:
        StackError: The program or a resource would be refused.
        LockedError: Another l4lab works on this lab.
    """
    with _opened(lab, access, verb="preview", program=lab.program) as run:
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
    if not _checkpoint(access.paths, lab.name).is_file():
        return Status(lab=lab.name, deployed=False)
    run = _Run(lab=lab, access=access, verb="status")
    with _told(run):
        run.open(_nothing)
        state = run.stack.export_stack().deployment or {}
    objects = [one for one in state.get("resources") or [] if _is_object(one)]
    return Status(
        lab=lab.name,
        deployed=bool(objects),
        resources=tuple(f"{_kind(one['type'])} {one.get('id', '')}" for one in objects),
        troubles=tuple(
            f"{_resource(one['urn'])}: {error}"
            for one in objects
            for error in one.get("initErrors") or []
        ),
        pending=tuple(
            _resource(one["resource"]["urn"]) for one in state.get("pending_operations") or []
        ),
    )


def _nothing() -> None:
    """The program of an operation that needs none."""


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
        return self.access.paths.logs / f"stack-{self.lab.name}-{self.verb}.log"

    def open(self, program: Callable[[], None]) -> None:
        """Select the lab's stack, making it where it is new."""
        home, work = self.access.paths.pulumi / "home", self.access.paths.pulumi / "work"
        for folder in (home, work, self.access.paths.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        self.log.write_text("")
        self._stack = auto.create_or_select_stack(
            stack_name=self.lab.name,
            project_name=PROJECT,
            program=program,
            opts=auto.LocalWorkspaceOptions(
                work_dir=str(work),
                pulumi_home=str(home),
                env_vars=_environment(self.access, home),
                secrets_provider="passphrase",
                project_settings=auto.ProjectSettings(name=PROJECT, runtime="python", main="."),
                pulumi_command=pulumi_cli.Cli(self.access.pulumi),
            ),
        )

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
            self._step(event.res_outputs_event.metadata, "done")
        elif event.res_op_failed_event:
            step = event.res_op_failed_event.metadata
            self.failed.append(step.urn)
            self._step(step, "failed")
        elif event.diagnostic_event:
            said = event.diagnostic_event
            text, urn = _plain(said.message), said.urn or ""
            if said.severity == "error":
                self.errors.append((urn, text))
            elif said.ephemeral and urn in self._steps:
                self._say(urn, "waiting", text)
        elif event.summary_event:
            self.changes = {
                getattr(action, "value", action): count
                for action, count in event.summary_event.resource_changes.items()
            }

    def _step(self, step: StepEventMetadata, phase: Literal["started", "done", "failed"]) -> None:
        action = getattr(step.op, "value", step.op)
        if action in _QUIET or not step.type.startswith("kubernetes:"):
            return
        if phase == "started":
            self._steps[step.urn] = (action, time.monotonic())
        self._say(step.urn, phase, "")

    def _say(self, urn: str, phase: Literal["started", "waiting", "done", "failed"], text: str) -> None:
        action, since = self._steps.get(urn, ("", time.monotonic()))
        if self._on_event:
            self._on_event(
                Progress(
                    resource=_resource(urn),
                    action=action,
                    phase=phase,
                    text=text,
                    seconds=time.monotonic() - since,
                )
            )

    def outcome(self, outputs: Mapping[str, Any] | None = None) -> Outcome:
        return Outcome(
            lab=self.lab.name,
            changes=self.changes,
            outputs=outputs or {},
            seconds=time.monotonic() - self.started,
            log=self.log,
        )


@contextlib.contextmanager
def _opened(
    lab: Lab, access: Access, *, verb: str, program: Callable[[], None]
) -> Iterator[_Run]:
    """Hold the lab's stack for one operation, and tell what goes wrong as a StackError."""
    if not access.paths.kubeconfig.is_file():
        raise StackError(
            f"cannot {verb} lab {lab.name}", "there is no cluster: it has no kubeconfig", "l4lab up"
        )
    run = _Run(lab=lab, access=access, verb=verb)
    with lock(access.paths.pulumi / f"{lab.name}.lock", f"the stack of lab {lab.name}"):
        _free_stale_lock(lab, access)
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
            f"cannot {run.verb} lab {run.lab.name}", str(failed), "l4lab doctor"
        ) from failed


def _error(run: _Run, output: str) -> StackError:
    """The one error that matters of all that Pulumi said."""
    run.write(output)
    about = [one for one in run.errors if _is_object({"urn": one[0]})] or run.errors
    urn, reason = about[0] if about else ("", _last_words(output))
    what = f": {_resource(urn)}" if urn and "pulumi:pulumi:Stack" not in urn else ""
    next_step = f"mend it, then: l4lab {run.verb} {run.lab.name}"
    if "cannot reach the Kubernetes API" in reason:
        next_step = "l4lab status"
    elif "exists already" in reason:
        next_step = f"delete it, then: l4lab {run.verb} {run.lab.name}"
    return StackError(f"cannot {run.verb} lab {run.lab.name}{what}", reason, next_step, run.log)


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return told[-1] if told else lines[-1] if lines else "pulumi said nothing"


def _plain(message: str) -> str:
    """A diagnostic in one line, without the engine's colour marks and packing."""
    for mark in ("<{%reset%}>", "<{%bold%}>", "<{%fg 1%}>", "<{%fg 2%}>", "<{%fg 3%}>"):
        message = message.replace(mark, "")
    lines = [line.strip().removeprefix("* ") for line in message.splitlines()]
    kept = [line for line in lines if line and not line.endswith(("error occurred:", "occurred:"))]
    return " ".join(kept)


# -- what was left by an operation that was cut off


def _checkpoint(paths: Paths, stack: str) -> Path:
    return paths.pulumi / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def _free_stale_lock(lab: Lab, access: Access) -> None:
    """Remove the stack's Pulumi lock if the process that took it is dead.

    Raises:
        LockedError: It lives.
    """
    folder = access.paths.pulumi / ".pulumi" / "locks" / "organization" / PROJECT / lab.name
    for path in folder.glob("*.json"):
        try:
            holder = json.loads(path.read_text())
        except (OSError, ValueError):
            holder = {}  # gone meanwhile, or cut off while it was written
        pid = int(holder.get("pid", 0))
        if holder.get("hostname", os.uname().nodename) != os.uname().nodename:
            who = f"process {pid} on host {holder['hostname']}"
        elif pid and pulumi_cli.is_running(pid):
            who = f"process {pid} (pulumi)"
        else:
            path.unlink(missing_ok=True)
            continue
        raise LockedError(
            f"the stack of lab {lab.name} is in use",
            f"held by {who}",
            f"wait for it to end, or: kill -INT {pid}",
        )


def _recover(run: _Run) -> None:
    """Take into the state what an operation that was cut off may have made.

    Pulumi notes a creation before it asks for it. What the note tells is enough to name the object:
    it is put among the stack's resources, and the refresh that follows drops it if it was never made.
    """
    if '"pending_operations"' not in _checkpoint(run.access.paths, run.lab.name).read_text():
        return
    deployment = run.stack.export_stack()
    state = deployment.deployment or {}
    pending = state.pop("pending_operations", None) or []
    known = {one["urn"] for one in state.get("resources") or []}
    for operation in pending:
        one = operation["resource"]
        if operation["type"] != "creating" or one["urn"] in known or not _is_object(one):
            continue
        meta = one.get("inputs", {}).get("metadata", {})
        identity = "/".join(part for part in (meta.get("namespace"), meta.get("name")) if part)
        made = {**one, "id": identity, "outputs": one.get("inputs", {})}
        state.setdefault("resources", []).append(made)
    deployment.deployment = state
    run.stack.import_stack(deployment)
    if run.verb == "destroy":  # a deployment refreshes by itself
        run.stack.refresh(color="never", on_output=run.write, on_error=run.write)


# -- names and surroundings


def _is_object(resource: Mapping[str, Any]) -> bool:
    return "::kubernetes:" in str(resource["urn"]).replace("$kubernetes:", "::kubernetes:")


def _resource(urn: str) -> str:
    """``Service my-nginx`` for an URN."""
    _, _, rest = urn.partition("::")
    types, _, name = rest.partition("::")[2].partition("::")
    return f"{_kind(types)} {name}"


def _kind(token: str) -> str:
    return token.rsplit(":", 1)[-1]


def _environment(access: Access, home: Path) -> dict[str, str]:
    """The variables the CLI and the provider get besides ours."""
    access.paths.secret(_PASSPHRASE)
    folders = [str(access.pulumi.parent), str(Path(sys.executable).parent)]
    official = _official_plugin()
    if official is None:
        folders.insert(0, str(PROVIDER))
    elif official.is_dir() and not (home / "plugins").exists():
        (home / "plugins").symlink_to(official.parent)
    no_proxy = [os.environ.get("NO_PROXY", ""), "127.0.0.1", str(access.topology.networks.nodes)]
    return {
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        "KUBECONFIG": str(access.paths.kubeconfig),
        "NO_PROXY": ",".join(filter(None, no_proxy)),
        "PULUMI_BACKEND_URL": access.paths.pulumi.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(access.paths.root / "secrets" / _PASSPHRASE),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
    }


def _official_plugin() -> Path | None:
    """The official Kubernetes plugin: on PATH, or in the user's plugin folder; None if absent."""
    on_path = shutil.which(_PLUGIN)
    if on_path and Path(on_path).resolve().parent != PROVIDER:
        return Path(on_path)
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    version = metadata.version("pulumi-kubernetes")
    installed = home / "plugins" / f"resource-kubernetes-v{version}"
    return installed if (installed / _PLUGIN).is_file() else None
