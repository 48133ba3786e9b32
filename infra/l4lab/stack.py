"""Deploys labs with Pulumi: each operation in a process of its own (``stack_process.py``).

Each lab is one stack of the project ``l4lab``, kept by the file backend in the cluster's state.

A process each, because gRPC, by which Pulumi's engine and a program talk, keeps threads: a fork of
a process that has them (Ansible's start, a class's processes) may crash, and threads from before
``driver.enter()`` stay outside the lab network. Here gRPC is never loaded.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from l4lab import engine_words, pulumi_cli
from l4lab.command import passing_on_interrupts
from l4lab.errors import L4labError, StackError
from l4lab.lab import Lab
from l4lab.state import Access, lock

QUIET: Final = frozenset({"same", "read", "refresh"})
"""Steps that change nothing on the cluster."""
_GRACE: Final = 30.0  # seconds to save what was done, when nobody listens any more


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a deployment, preview or destruction did (or would do).

    Attributes:
        stack: The stack's name, which is the lab's.
        changes: How many resources by action, such as ``{"create": 4}``; ``same`` among them.
        steps: What was begun on objects, such as ``update Service my-nginx``, in that order.
        outputs: What the program exports, secrets as ``[secret]``; empty after a destruction.
        seconds: How long it took.
        log: Pulumi's own output.
    """

    stack: str
    changes: Mapping[str, int]
    outputs: Mapping[str, Any]
    seconds: float
    log: Path
    steps: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether any resource was made, changed or deleted."""
        return any(count for action, count in self.changes.items() if action not in QUIET)

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


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the process of an operation is asked for.

    Attributes:
        verb: ``deploy``, ``preview`` or ``destroy``.
        lab: The lab.
        access: The cluster.
        asker: The number of the process that asks; when it dies, the operation is interrupted.
    """

    verb: str
    lab: Lab
    access: Access
    asker: int


def deploy(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Make the cluster hold what the lab declares; mends what was changed or deleted by hand.

    Raises:
        StackError: A resource was refused or did not come into order, with its reason.
        LockedError: Another l4lab works on this lab.
        KeyboardInterrupt: Ctrl-C; what was done is saved.
    """
    return _operate("deploy", lab, access, on_event)


def preview(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Tell what ``deploy`` would do, without doing it.

    Raises:
        StackError: The program or a resource would be refused.
        LockedError: Another l4lab works on this lab.
        KeyboardInterrupt: Ctrl-C.
    """
    return _operate("preview", lab, access, on_event)


def destroy(lab: Lab, access: Access, *, on_event: OnEvent | None = None) -> Outcome:
    """Delete what the lab's stack made, wait until it is gone, and forget the stack.

    Raises:
        StackError: A resource could not be deleted, with the reason.
        LockedError: Another l4lab works on this lab.
        KeyboardInterrupt: Ctrl-C; what was done is saved.
    """
    return _operate("destroy", lab, access, on_event)


def status(lab: Lab, access: Access) -> Status:
    """What the state knows of the lab's stack; the cluster is not asked.

    Raises:
        StackError: The state cannot be read.
    """
    state = pulumi_cli.kept_state(access.paths, lab.stack) or {}
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


def log_of(lab: Lab, access: Access, verb: str) -> Path:
    """Where Pulumi's own output of an operation is kept."""
    return access.paths.logs / f"stack-{lab.stack}-{verb}.log"


def _operate(verb: str, lab: Lab, access: Access, on_event: OnEvent | None) -> Outcome:
    """Hold the lab's stack, and have a process do the operation."""
    if not access.paths.kubeconfig.is_file():
        raise StackError(
            f"cannot {verb} lab {lab.name}",
            "there is no cluster: it has no kubeconfig",
            "./l4lab up",
        )
    request = Request(verb=verb, lab=lab, access=access, asker=os.getpid())
    with lock(access.paths.pulumi / f"{lab.stack}.lock", f"the stack of lab {lab.stack}"):
        pulumi_cli.free_stale_lock(access, lab.stack)
        pulumi_cli.kept_state(access.paths, lab.stack)  # Pulumi says little of a damaged one
        log = log_of(lab, access, verb)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.touch(mode=0o600)
        log.write_text("")
        return _answer_of(request, log, on_event)


def _answer_of(request: Request, log: Path, on_event: OnEvent | None) -> Outcome:
    scratch = pulumi_cli.scratch(request.access.paths, request.lab.stack)
    answer: Outcome | L4labError | None = None
    with (
        log.open("a") as said,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "l4lab.stack_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            # It finds l4lab and the labs as this process does.
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "TMPDIR": str(scratch),
            },
            # A group of its own: Ctrl-C reaches it once, from us.
            process_group=0,
        ) as process,
        passing_on_interrupts(process) as interrupted,
        _ended(process),
    ):
        requests, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        with contextlib.suppress(BrokenPipeError):  # it died: its exit code tells
            pickle.dump(request, requests)
            requests.close()
        for one in _messages(answers):
            if not isinstance(one, str):
                answer = one
            elif on_event:
                on_event(one)
        code = process.wait()
    if interrupted.is_set():
        raise KeyboardInterrupt
    if isinstance(answer, L4labError):
        raise answer
    if answer is None:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        again = request.lab.place.as_typed(f"./l4lab {request.verb} {request.lab.name}")
        raise StackError(
            f"cannot {request.verb} lab {request.lab.name}",
            f"its process ended early: {how}",
            f"read the log, then: {again}",
            log,
        )
    return answer


def _messages(stream: IO[bytes]) -> Iterator[str | Outcome | L4labError]:
    """What the process says: lines for a person, at last what became of it."""
    while True:
        try:
            yield pickle.load(stream)  # noqa: S301  from our own child
        except (EOFError, pickle.UnpicklingError):
            return


@contextlib.contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind when an exception passes through; it saves what it has done."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
