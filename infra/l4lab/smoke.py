"""One run from nothing to nothing: cluster, labs, their checks, proof that all is gone, the end.

It is for CI: whatever happens (a red check, a crash, Ctrl-C, the deadline), the machines go, the
files are written, and the exit code says what came out.
"""

from __future__ import annotations

import contextlib
import io
import signal
import tarfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from l4lab import actions, page, report
from l4lab.bundle.catalog import version
from l4lab.checks import CheckResult, LabReport
from l4lab.checks.diagnosis import redacted
from l4lab.checks.report import printable, to_junit
from l4lab.cluster import Cluster
from l4lab.errors import CheckError, L4labError, UsageError
from l4lab.lab import Lab
from l4lab.proof import Scope, prove, settled

_INTERRUPTED = 130
_TEARDOWN = 120.0  # seconds of the deadline that are kept for the end; measured: 5 to 60
_SETTLE = 90.0  # seconds for what was destroyed to go; kubelet clears logs once a minute
_MAX_FILE = 200_000  # characters of one log in the archive: its end
_MAX_ARCHIVE = 20_000_000  # bytes of all of them, before packing


class DeadlinePassed(KeyboardInterrupt):
    """Time ran out: all that Ctrl-C ends, this ends in the same way."""


@dataclass
class Stage:
    """One stage of the run: how it ended, and in how many seconds."""

    title: str
    seconds: float = 0.0
    error: str = ""
    exit_code: int = 0
    skipped: bool = False


@dataclass
class Smoke:
    """What came out.

    Attributes:
        stages: In the order they ran.
        labs: The labs that were checked, with their reports.
        interrupted: What ended the run before its time; empty if nothing did.
        archive: The diagnostics, where something failed.
        kept: Whether the cluster was left up for somebody to look at.
    """

    stages: list[Stage] = field(default_factory=list)
    labs: list[tuple[Lab, LabReport]] = field(default_factory=list)
    interrupted: str = ""
    archive: Path | None = None
    kept: bool = False

    @property
    def exit_code(self) -> int:
        """0 if all is green; else what the first stage that was not says; 130 after Ctrl-C."""
        if self.interrupted == "Ctrl-C":
            return _INTERRUPTED
        first = next((stage.exit_code for stage in self.stages if stage.exit_code), 0)
        return first or (1 if self.interrupted else 0)

    def to_junit(self) -> str:
        """JUnit XML: the run's own stages as one suite, then one suite a lab."""
        # It is the text that we have just written ourselves.
        root = ET.fromstring(to_junit([one for _, one in self.labs]))  # noqa: S314
        suite = ET.Element(
            "testsuite",
            name="l4lab.smoke",
            tests=str(len(self.stages)),
            failures="0",
            errors=str(sum(bool(stage.exit_code) for stage in self.stages)),
            skipped=str(sum(stage.skipped for stage in self.stages)),
            time=f"{sum(stage.seconds for stage in self.stages):.3f}",
        )
        for stage in self.stages:
            case = ET.SubElement(
                suite,
                "testcase",
                classname="l4lab.smoke",
                name=stage.title,
                time=f"{stage.seconds:.3f}",
            )
            if stage.skipped:
                ET.SubElement(case, "skipped", message=stage.error)
            elif stage.exit_code:
                told = ET.SubElement(case, "error", message=stage.error.splitlines()[0])
                told.text = stage.error
        root.insert(0, suite)
        ET.indent(root)
        text = printable(ET.tostring(root, encoding="unicode"))
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'

    def to_html(self, cluster: Cluster) -> str:
        """The page about the cluster and its labs, with the run's stages."""
        topology = cluster.settings.topology
        return page.render(
            page.Page(
                topology=topology,
                made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
                proxy=cluster.settings.proxy,
                version=f"v{version('kubernetes')}",
                labs=tuple(report.lab_part(lab, topology, one) for lab, one in self.labs),
                stages=tuple(
                    page.StagePart(
                        title=stage.title,
                        state="skip" if stage.skipped else "error" if stage.exit_code else "pass",
                        seconds=stage.seconds,
                        text=stage.error,
                    )
                    for stage in self.stages
                ),
            )
        )

    def render(self) -> str:
        """The run for a person: one line a stage, then what each lab says."""
        lines = []
        for stage in self.stages:
            mark = "SKIP" if stage.skipped else "FAIL" if stage.exit_code else "PASS"
            lines.append(f"{mark}  {stage.seconds:7.1f} s  {stage.title}")
            lines += [f"      {line}" for line in stage.error.splitlines()]
        lines += [one.summary() for _, one in self.labs]
        if self.interrupted:
            lines.append(f"ended before its time: {self.interrupted}")
        if self.archive:
            lines.append(f"diagnostics: {self.archive}")
        if self.kept:
            lines.append("the cluster is still up; ./l4lab down ends it")
        return "\n".join(lines)


def smoke(
    cluster: Cluster,
    labs: Sequence[Lab],
    *,
    archive: Path,
    minutes: float | None = None,
    keep_on_failure: bool = False,
    show: Callable[[CheckResult], None] | None = None,
) -> Smoke:
    """Up, each lab deployed, checked and destroyed, proof, reset, down; see ``Smoke``.

    Args:
        cluster: A cluster that is not up.
        labs: The labs, in order. One that the cluster lacks a machine for is skipped.
        archive: Where diagnostics go, if something fails.
        minutes: Until all is over, its end included.
        keep_on_failure: Leave the cluster up after a failure; not after Ctrl-C or the deadline.
        show: Called with each check's result.

    Raises:
        UsageError: The cluster is up already, so its end would not be ours to make.
    """
    if cluster.record():
        raise UsageError(
            f"cluster {cluster.settings.topology.name} is there already",
            "smoke takes down what it has made, and would take down yours",
            "./l4lab down, or --config FILE with another cluster.name",
        )
    done = Smoke()
    try:
        with _interrupts(minutes):
            _work(done, cluster, labs, show)
    except KeyboardInterrupt as ended:
        late = isinstance(ended, DeadlinePassed)
        done.interrupted = f"the deadline of {minutes:g} minutes" if late else "Ctrl-C"
    failed = bool(done.exit_code)
    if failed:
        with _to_its_end(done, "diagnostics") as packing:
            done.archive = _pack(cluster, archive)
        if not packing.exit_code:  # then the archive is named, and that is all there is to say
            done.stages.remove(packing)
    done.kept = failed and keep_on_failure and not done.interrupted
    if not done.kept:
        with _to_its_end(done, "down"):
            cluster.down()
    return done


def _work(
    done: Smoke,
    cluster: Cluster,
    labs: Sequence[Lab],
    show: Callable[[CheckResult], None] | None,
) -> None:
    with _stage(done, "up"):
        cluster.up()
    if done.exit_code:
        return
    with _stage(done, "fingerprint before the labs"):
        before = settled(cluster.enter(), scope=Scope.cluster())
    if done.exit_code:
        return
    for lab in labs:
        _lab(done, cluster, lab, show)
    with _stage(done, "proof that the labs are gone"):
        left = prove(cluster.enter(), before, scope=Scope.cluster(), within=_SETTLE)
        if not left.clean:
            raise CheckError("the labs left something behind", left.render())
    with _stage(done, "reset"):
        off = cluster.reset()
        if off.proof and not off.proof.clean:
            raise CheckError("the cluster left something behind", off.proof.render())


def _lab(
    done: Smoke,
    cluster: Cluster,
    lab: Lab,
    show: Callable[[CheckResult], None] | None,
) -> None:
    lacking = _lacking(lab, cluster)
    if lacking:
        done.stages.append(Stage(lab.name, error=lacking, skipped=True))
        return
    with _stage(done, f"{lab.name}: deploy") as deployed:
        actions.deploy(cluster, lab)
    if deployed.exit_code:
        done.stages.append(Stage(f"{lab.name}: check", error="not deployed", skipped=True))
    else:
        with _stage(done, f"{lab.name}: check"):
            found = actions.check(cluster, lab, show=show)
            done.labs.append((lab, found))
            if not found.passed:
                raise CheckError("not all checks are green", ", ".join(found.red) or None)
    with _stage(done, f"{lab.name}: destroy"):
        actions.destroy(cluster, lab)


def _lacking(lab: Lab, cluster: Cluster) -> str:
    """What the lab needs that the cluster is not to have; empty if nothing."""
    try:
        lab.steps(cluster.settings.topology)
    except UsageError as told:
        return told.one_line
    return ""


@contextlib.contextmanager
def _stage(done: Smoke, title: str) -> Iterator[Stage]:
    """One stage: what goes wrong in it is noted, and the run goes on."""
    stage = Stage(title)
    done.stages.append(stage)
    began = time.monotonic()
    try:
        yield stage
    except L4labError as failed:
        stage.error, stage.exit_code = str(failed), failed.exit_code
    except KeyboardInterrupt:
        stage.error, stage.exit_code = "interrupted", 1
        raise
    except Exception as failed:
        stage.error, stage.exit_code = f"{type(failed).__name__}: {failed}", 1
    finally:
        stage.seconds = time.monotonic() - began


@contextlib.contextmanager
def _to_its_end(done: Smoke, title: str) -> Iterator[Stage]:
    """A stage after which the run goes on whatever happens: its end, and what it is to tell."""
    try:
        with _interrupts(None), _stage(done, title) as stage:
            yield stage
    except KeyboardInterrupt:
        done.interrupted = done.interrupted or "Ctrl-C"


@contextlib.contextmanager
def _interrupts(minutes: float | None) -> Iterator[None]:
    """Turn the end of the time, and a polite end from outside, into exceptions while it runs."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise DeadlinePassed

    def ended(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGALRM, late), (signal.SIGTERM, ended))
    }
    try:
        if minutes is not None:
            # No thread that waits: with one a plain user's process cannot enter the lab network.
            signal.setitimer(signal.ITIMER_REAL, max(minutes * 60 - _TEARDOWN, minutes * 30))
        yield
    finally:
        if minutes is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _pack(cluster: Cluster, target: Path) -> Path:
    """The logs, consoles and evidence of a failed run, without secrets, in one bounded file."""
    paths = cluster.paths
    files = [path for path in paths.logs.rglob("*") if path.is_file()]
    files += paths.machines.glob("*/console.log")
    secrets = [path.read_text().strip() for path in (paths.root / "secrets").glob("*")]
    room = _MAX_ARCHIVE
    with tarfile.open(target, "w:gz") as archive:
        # The newest say most about the failure.
        for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True):
            text = path.read_text(errors="replace")
            for secret in filter(None, secrets):
                text = text.replace(secret, "(struck out)")
            content = redacted(text[-_MAX_FILE:]).encode()
            room -= len(content)
            if room < 0:
                break
            entry = tarfile.TarInfo(f"diagnostics/{path.relative_to(paths.root)}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    target.chmod(0o600)
    return target
