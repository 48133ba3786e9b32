"""The only user of ansible-runner: runs a playbook and tells what it did where, and when."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import ansible_runner

from l4lab.errors import PlaybookError
from l4lab.state import Paths, write_private

# Every process of a run carries this variable, so its end can be made sure of.
_MARK = "L4LAB_PLAYBOOK_RUN"
_FINISHED = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_skipped": "skipped",
    "runner_on_unreachable": "unreachable",
}
_GRACE = 5.0  # seconds that Ansible has to end by itself when it is stopped
_TICK = 0.2  # seconds between two looks at the clock
_KEPT_RUNS = 5
_REASON_LENGTH = 500
_DEEPEST = 60  # characters of the state folder's path; what is added takes some 45


@dataclass(frozen=True, kw_only=True)
class TaskEvent:
    """A task began (status ``start``) or ended on a host.

    Attributes:
        host: The machine.
        play: The play's name.
        task: The task's name, behind its role's where it has one.
        status: start, ok, changed, failed, skipped or unreachable.
        started: Seconds from the run's beginning.
        seconds: How long it took; 0 at its start.
    """

    host: str
    play: str
    task: str
    status: str
    started: float
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HostStats:
    """How many tasks ended how on one host."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    skipped: int = 0


@dataclass(frozen=True, kw_only=True)
class PlaybookResult:
    """What a playbook did.

    Attributes:
        playbook: Its file name.
        hosts: Counts by host.
        tasks: Every task that ran, in the order of their ends: the timeline.
        seconds: How long the whole took, Ansible's own start included.
        log: Ansible's full output.
    """

    playbook: str
    hosts: Mapping[str, HostStats]
    tasks: tuple[TaskEvent, ...]
    seconds: float
    log: Path

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(host.changed for host in self.hosts.values())

    def busy_seconds(self) -> dict[str, float]:
        """The seconds that each host spent in tasks; the rest of a run it waited for others."""
        busy = dict.fromkeys(self.hosts, 0.0)
        for task in self.tasks:
            busy[task.host] = busy.get(task.host, 0.0) + task.seconds
        return busy


@dataclass
class _Watch:
    """Collects events while Ansible runs; called from the runner's thread."""

    began: float
    on_task: Callable[[TaskEvent], None] | None
    tasks: list[TaskEvent] = field(default_factory=list)
    hosts: dict[str, HostStats] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def event(self, event: Mapping[str, Any]) -> bool:
        """Take one event of the runner; False: it need not be kept as a file."""
        kind, data = event.get("event", ""), event.get("event_data", {})
        if kind == "runner_on_start":
            self._tell(self._task(data, "start", time.time() - self.began, 0.0))
        elif kind in _FINISHED:
            self._finished(kind, data)
        elif kind == "playbook_on_stats":
            self._stats(data)
        return False

    def _finished(self, kind: str, data: Mapping[str, Any]) -> None:
        status = _FINISHED[kind]
        result = data.get("res") or {}
        if status == "ok" and result.get("changed"):
            status = "changed"
        began = _timestamp(data.get("start"))
        started = began - self.began if began else time.time() - self.began
        task = self._task(data, status, started, float(data.get("duration") or 0.0))
        self.tasks.append(task)
        if status == "unreachable" or (status == "failed" and not data.get("ignore_errors")):
            self.failures.append(f"{task.host}: {task.task}: {_reason(result)}")
        self._tell(task)

    def _stats(self, data: Mapping[str, Any]) -> None:
        names = {
            "ok": "ok",
            "changed": "changed",
            "failures": "failed",
            "dark": "unreachable",
            "skipped": "skipped",
        }
        counts: dict[str, dict[str, int]] = {}
        for theirs, ours in names.items():
            for host, count in (data.get(theirs) or {}).items():
                counts.setdefault(host, {})[ours] = count
        self.hosts.update({host: HostStats(**values) for host, values in counts.items()})

    def _task(
        self, data: Mapping[str, Any], status: str, started: float, seconds: float
    ) -> TaskEvent:
        role, name = data.get("role"), str(data.get("task") or "")
        return TaskEvent(
            host=str(data.get("host") or ""),
            play=str(data.get("play") or ""),
            task=name if not role or name.startswith(f"{role} : ") else f"{role} : {name}",
            status=status,
            started=round(started, 2),
            seconds=round(seconds, 2),
        )

    def _tell(self, task: TaskEvent) -> None:
        if self.on_task:
            self.on_task(task)


def run_playbook(
    playbook: str,
    paths: Paths,
    *,
    project: Path,
    on_task: Callable[[TaskEvent], None] | None = None,
    timeout: float,
    meanwhile: Callable[[], None] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> PlaybookResult:
    """Run a playbook of the project on the machines of ``paths.inventory``.

    When this ends, in whatever way, no process of Ansible or its ssh is left.

    Args:
        playbook: File name in ``playbooks/``.
        paths: The cluster's state: inventory, logs, and Ansible's own data.
        project: The folder that holds ``playbooks/`` and ``ansible.cfg``.
        on_task: Told of each task's start and end, from another thread.
        timeout: Seconds until the run is given up.
        meanwhile: Called again and again until it ends; may raise to end a hopeless run.
        extra: Variables that come before all others.

    Raises:
        PlaybookError: A task failed, a machine could not be reached, or time ran out.
        KeyboardInterrupt: Ctrl-C; Ansible was ended first.
    """
    name = playbook.removesuffix(".yml")
    ident = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    private = paths.root / "ansible"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = paths.logs / f"{name}.log"
    watch = _Watch(began=time.time(), on_task=on_task)
    end_leftovers(paths)
    mark = f"{paths.root}:{ident}"
    prefix = Path(_sockets_prefix(paths.root))
    with tempfile.TemporaryDirectory(
        prefix=prefix.name, dir=prefix.parent, ignore_cleanup_errors=True
    ) as sockets:
        outcome: dict[str, Any] = {}
        arguments = {
            "private_data_dir": str(private),
            "ident": ident,
            "project_dir": str(project),
            "playbook": str(project / "playbooks" / playbook),
            "inventory": str(paths.inventory),
            "extravars": dict(extra or {}),
            "envvars": _environment(project, private, sockets=sockets, mark=mark),
            "settings": {"pexpect_timeout": 1, "suppress_ansible_output": True},
            "quiet": True,
            "suppress_env_files": True,
            "rotate_artifacts": _KEPT_RUNS,
            "event_handler": watch.event,
            "cancel_callback": watch.stop.is_set,
        }
        runner = threading.Thread(target=_run, args=(arguments, outcome), daemon=True)
        deadline = watch.began + timeout
        try:
            runner.start()
            while runner.is_alive() and time.time() < deadline:
                runner.join(_TICK)
                if meanwhile:
                    meanwhile()
            late = runner.is_alive()
        finally:
            _end(mark, runner, watch.stop, paths.root)
            _keep_log(private / "artifacts" / ident / "stdout", log, watch.tasks)
    if late:
        last = f"the last task was {watch.tasks[-1].task}" if watch.tasks else "no task ended"
        raise PlaybookError(f"{playbook} did not end within {timeout:.0f} s", last, details=log)
    _raise_failure(playbook, watch, outcome, log)
    return PlaybookResult(
        playbook=playbook,
        hosts=watch.hosts,
        tasks=tuple(watch.tasks),
        seconds=time.time() - watch.began,
        log=log,
    )


def end_leftovers(paths: Paths) -> None:
    """End what a killed l4lab left running; the caller holds the cluster's lock."""
    _kill(f"{paths.root}:", paths.root)


def _sockets_prefix(root: Path) -> str:
    """What names of folders for ssh's sockets begin with.

    The system limits a socket's name to about a hundred bytes, and ssh puts something in for what
    begins with a per cent sign, so below such a folder they lie elsewhere, under a name that still
    tells whose they are.
    """
    if len(str(root)) <= _DEEPEST and "%" not in str(root):
        return f"{root}/cp-"
    whose = hashlib.sha256(str(root).encode()).hexdigest()[:10]
    return f"{tempfile.gettempdir()}/l4lab-{whose}-"


def _run(arguments: dict[str, Any], outcome: dict[str, Any]) -> None:
    try:
        done = ansible_runner.run(**arguments)
        outcome["rc"] = done.rc
    except Exception as failed:  # it is handed to the thread that waits
        outcome["error"] = failed


def _environment(project: Path, private: Path, *, sockets: str, mark: str) -> dict[str, str]:
    return {
        _MARK: mark,
        "ANSIBLE_CONFIG": str(project / "ansible.cfg"),
        "ANSIBLE_HOME": str(private / "home"),
        # The runner turns it off where it is not set.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "1",
        "L4LAB_SSH_SOCKETS": sockets,
        # Ansible refuses to start in a locale it does not know.
        "LC_ALL": "C.UTF-8",
    }


def _raise_failure(playbook: str, watch: _Watch, outcome: Mapping[str, Any], log: Path) -> None:
    if outcome.get("rc") == 0:
        return
    if watch.failures:
        others = len(watch.failures) - 1
        more = f" (and {others} more)" if others else ""
        raise PlaybookError(
            f"{playbook} failed",
            watch.failures[0] + more,
            "read the log, mend it, and run this again",
            details=log,
        )
    error = outcome.get("error")
    if error:
        raise PlaybookError(f"{playbook} could not run", str(error), details=log) from error
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    marked = [line for line in lines if line.startswith(("ERROR", "[ERROR"))]
    reason = (marked or lines or [f"exit code {outcome.get('rc')}"])[-1 if not marked else 0]
    raise PlaybookError(f"{playbook} could not run", reason[:_REASON_LENGTH], details=log)


def _reason(result: Mapping[str, Any]) -> str:
    """One line on why a task failed, the most telling words first."""
    failed = [one for one in result.get("results") or [] if one.get("failed")]
    if failed:  # a loop: the item that failed says why
        result = failed[0]
    said = [str(result.get("msg") or "")]
    lines = str(result.get("stderr") or result.get("stdout") or "").strip().splitlines()
    # A failed program's own words say more than Ansible's about it.
    if lines and said[0].startswith(("non-zero return code", "MODULE FAILURE")):
        marked = [line for line in lines if "error" in line.lower()]
        said = [" / ".join((marked or lines)[-3:])]
    text = " ".join((said[0] or str(result.get("censored") or "no reason given")).split())
    return text[:_REASON_LENGTH]


def _timestamp(text: str | None) -> float | None:
    if not text:
        return None
    return datetime.fromisoformat(text).timestamp()


def _keep_log(written: Path, log: Path, tasks: list[TaskEvent]) -> None:
    """Write Ansible's output and, below it, the timeline."""
    try:
        said = written.read_text(errors="replace")
    except FileNotFoundError:
        said = ""
    lines = [
        f"{one.started:7.2f} s {one.seconds:+7.2f} s  {one.status:<11} {one.host:<14} {one.task}"
        for one in sorted(tasks, key=lambda one: one.started)
        if one.status != "skipped"
    ]
    timeline = ["", "TIMELINE", *lines, ""] if lines else []
    write_private(log, said + "\n".join(timeline))


# --- the end of a run: nothing of it is left --------------------------------------------------


def _end(mark: str, runner: threading.Thread, stop: threading.Event, root: Path) -> None:
    """End whatever is left of the run: Ansible gently first, then all, also ssh's helpers."""
    if runner.is_alive():
        for pid in _processes(mark, root, children_only=True):
            _signal(pid, signal.SIGINT)
        runner.join(_GRACE)
        stop.set()
    _kill(mark, root)
    if runner.ident is not None:
        runner.join(_GRACE)


def _kill(mark: str, root: Path) -> None:
    """Kill all processes of a run (of all runs of a cluster, where ``mark`` ends with a colon)."""
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        left = list(_processes(mark, root))
        if not left:
            break
        for pid in left:
            _signal(pid, signal.SIGKILL)
        time.sleep(_TICK / 4)


def _processes(mark: str, root: Path, *, children_only: bool = False) -> Iterator[int]:
    """Processes whose mark begins with ``mark``, or only the one that we started ourselves.

    ssh's kept connections write their title over their environment, so they are known by it.
    """
    wanted = f"{_MARK}={mark}".encode()
    title = f"ssh: {_sockets_prefix(root)}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            marked = any(variable.startswith(wanted) for variable in variables)
            if not marked and not (entry / "cmdline").read_bytes().startswith(title):
                continue
            # After the program's name, which may hold anything in its brackets: state and parent.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it ended meanwhile, or is not ours
        if state != "Z" and (not children_only or int(parent) == os.getpid()):
            yield int(entry.name)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
