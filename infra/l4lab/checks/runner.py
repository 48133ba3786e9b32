"""Runs the checks of a lab: which beside which, from where, and what is made of the outcome."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from l4lab.checks import diagnosis
from l4lab.checks.backlog import Backlog
from l4lab.checks.choice import choose
from l4lab.checks.kernel import IPVS, live_mode
from l4lab.checks.look import Look
from l4lab.checks.model import (
    API,
    CannotMeasure,
    Check,
    CheckResult,
    Exercise,
    Hopeless,
    Observation,
    State,
    Traffic,
    Unmet,
    Vantage,
    Where,
)
from l4lab.checks.reach import LiveReach, Reach, SharedReads, slowness
from l4lab.checks.report import LabReport, sort_results
from l4lab.checks.stage import Stage
from l4lab.checks.verbs import (
    ONCE,
    Clock,
    Eventually,
    Never,
    StoppableClock,
    Stopped,
    Verdict,
    judge,
)
from l4lab.lab import Lab
from l4lab.state import Access, write_private
from l4lab.topology import Role, Topology

_AT_ONCE = 32  # most of them wait: for the next look, or for a machine to be free
_SHARED_SECONDS = 0.3

Report = Callable[[CheckResult], None]


def run_lab(
    lab: Lab,
    access: Access,
    *,
    only: Sequence[str] | None = None,
    exercises: bool = True,
    patience: float = 1.0,
    evidence: bool = True,
    on_result: Report | None = None,
) -> LabReport:
    """Check a deployed lab on a running cluster.

    Args:
        lab: The lab.
        access: The way to the cluster; this process must be on the lab's network.
        only: Ids of the checks and exercises to run; all without it.
        exercises: Whether to run the steps that change something, too. They run after the
            checks, and only where all of those are green (unless ``only`` names them).
        patience: Scales all budgets: below 1 for a lab that is known to be broken.
        evidence: Whether to gather all there is about what is red; it takes a while.
        on_result: Called with each result as it comes, from any thread, one at a time.

    Raises:
        UsageError: ``only`` names a check that there is not, or not in kube-proxy's mode.
    """
    with LiveReach(access, namespace=lab.namespace) as reach:
        clock = StoppableClock()
        runner = Runner(
            lab=lab,
            reach=reach,
            topology=access.topology,
            clock=clock,
            patience=patience,
            on_result=on_result,
        )
        try:
            report = runner.run(only=only, exercises=exercises)
        finally:
            clock.stop()
        try:
            traces = diagnosis.trace_lines(report.results)
            write_private(access.paths.logs / f"checks-{lab.stack}.jsonl", traces)
            if report.red and evidence:
                folder = diagnosis.gather(
                    reach,
                    topology=access.topology,
                    namespace=lab.namespace,
                    lab=lab.stack,
                    results=report.results,
                    logs=access.paths.logs,
                )
                report = replace(report, diagnosis=folder)
        except Exception as failed:  # what was found counts more than the evidence for it
            report = replace(report, undiagnosed=f"{type(failed).__name__}: {failed}")
        return report


def fitting_checks(lab: Lab, access: Access) -> list[Check]:
    """The checks of a lab that hold in the mode kube-proxy runs in, in their order."""
    return choose(lab.checks, lab.name, only=None, mode=mode_of_proxy(lab, access))[0]


def mode_of_proxy(lab: Lab, access: Access) -> str:
    """Which mode kube-proxy runs in; this process must be on the lab's network."""
    with LiveReach(access, namespace=lab.namespace) as reach:
        return live_mode(reach, access.topology)


@dataclass(frozen=True)
class _Job:
    check: Check
    vantage: Vantage


class Runner:
    """One run over one lab; takes what it reaches through as arguments, for tests."""

    def __init__(
        self,
        *,
        lab: Lab,
        reach: Reach,
        topology: Topology,
        clock: Clock,
        patience: float = 1.0,
        shared_seconds: float = _SHARED_SECONDS,
        on_result: Report | None = None,
    ) -> None:
        self._lab = lab
        self._reach = reach
        self._topology = topology
        self._clock = clock
        self._patience = patience
        self._told = on_result
        self._telling = threading.Lock()
        self._shared = SharedReads(reach, max_age=shared_seconds)
        self._at_work = Backlog(reach, topology)
        self._started = clock.now()
        self._factor = 1.0
        self._mode = IPVS

    def run(self, *, only: Sequence[str] | None = None, exercises: bool = True) -> LabReport:
        """Run the checks and then the exercises.

        Raises:
            UsageError: ``only`` names a check that there is not, or not in kube-proxy's mode.
        """
        self._mode = live_mode(self._reach, self._topology)
        checks, steps = choose(self._lab.checks, self._lab.name, only=only, mode=self._mode)
        order = [check.id for check in checks] + [step.id for step in steps]
        jobs = [_Job(check, place) for check in checks for place in self._spread(check)]
        self._factor = self._calibrated()
        results = self._run_checks(jobs)
        for step in steps if exercises else ():
            red = [result.id for result in results if not result.green]
            if red and only is None:
                result = self._skipped(step, f"not tried while {red[0]} is red")
            else:
                result = self._exercise(step)
            results.append(self._tell(result))
        return LabReport(
            lab=self._lab.name,
            results=sort_results(results, order),
            seconds=self._clock.now() - self._started,
            factor=self._factor,
        )

    def _calibrated(self) -> float:
        try:
            return slowness(self._reach, Vantage(Where.NODE, self._topology.control_plane.name))
        except CannotMeasure:
            return 1.0  # the checks of that machine will tell

    def _spread(self, check: Check) -> list[Vantage]:
        places = []
        for vantage in check.vantages:
            if vantage.name:
                places.append(vantage)
            elif vantage.where is Where.NODE:
                places += [Vantage(Where.NODE, node.name) for node in self._topology.nodes]
            elif vantage.where is Where.DBHOST:
                machines = self._topology.with_role(Role.MARIADB)
                places += [Vantage(Where.DBHOST, machine.name) for machine in machines]
            else:
                places.append(vantage)
        return places

    def _run_checks(self, jobs: Sequence[_Job]) -> list[CheckResult]:
        silent = [job for job in jobs if job.check.traffic is Traffic.NONE]
        counted = [job for job in jobs if job.check.traffic is Traffic.COUNTED]
        sending = [job for job in jobs if job.check.traffic is Traffic.SOME]
        rounds: dict[str, list[_Job]] = {}
        for job in counted:
            rounds.setdefault(job.check.id, []).append(job)
        results: list[CheckResult] = []
        pool = ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="check")
        try:
            # Checks that send nothing run beside all others; each of those that count has the
            # Service to itself, from all nodes at once (every node has counters of its own). They
            # come last: a slow kube-proxy has then been waited for, all checks of it at once.
            reading = [pool.submit(self._check, job) for job in silent]
            results += _all([pool.submit(self._check, job) for job in sending])
            for group in rounds.values():
                results += _all([pool.submit(self._check, job) for job in group])
            results += _all(reading)
        except BaseException:
            if isinstance(self._clock, StoppableClock):
                self._clock.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        # Threads end in any order; vantages are told in the topology's.
        places = {(job.check.id, str(job.vantage)): rank for rank, job in enumerate(jobs)}
        return sorted(results, key=lambda result: places[result.id, result.vantage])

    def _check(self, job: _Job) -> CheckResult:
        check = job.check
        look = self._look(job.vantage)
        try:
            verdict = judge(
                check.verb,
                lambda: check.function(look),
                clock=self._clock,
                factor=self._factor,
                patience=self._patience,
                at_work=self._at_work,
            )
        except Stopped:
            raise
        except Exception as bug:
            verdict = self._broken(bug, look)
        return self._tell(self._result(check, look, verdict))

    def _exercise(self, step: Exercise) -> CheckResult:
        stage = Stage(
            budget=step.budget * self._patience,
            at_work=self._at_work,
            reach=self._reach,
            shared=self._shared,
            vantage=API,
            topology=self._topology,
            namespace=self._lab.namespace,
            lab=self._lab.name,
            clock=self._clock,
            factor=self._factor,
            mode=self._mode,
        )
        started = self._clock.now()
        try:
            verdict = judge(
                Eventually(within=0.0, hold=ONCE), lambda: step.function(stage), clock=self._clock
            )
        except Exception as bug:
            verdict = self._broken(bug, stage)
        finally:
            failed = stage.put_back()
        verdict = replace(verdict, seconds=self._clock.now() - started)
        if failed:
            verdict = replace(
                verdict,
                state=State.ERROR,
                unmet=None,
                error=CannotMeasure(
                    "could not put back: " + "; ".join(failed),
                    then=f"./l4lab deploy {self._lab.name}",
                ),
            )
        return self._result(step, stage, verdict)

    def _look(self, vantage: Vantage) -> Look:
        return Look(
            reach=self._reach,
            shared=self._shared,
            vantage=vantage,
            topology=self._topology,
            namespace=self._lab.namespace,
            lab=self._lab.name,
            clock=self._clock,
            factor=self._factor,
            mode=self._mode,
        )

    def _broken(self, bug: Exception, look: Look) -> Verdict:
        """A check that fails by itself is an error of ours: told, and kept with its stack."""
        look.trace.append(
            Observation(
                at=self._clock.now(),
                vantage=str(look.vantage),
                command="",
                argv=(),
                rc=-1,
                stdout="",
                stderr="".join(traceback.format_exception(bug)),
                seconds=0.0,
            )
        )
        why = f"the check itself broke: {type(bug).__name__}: {bug}"
        return Verdict(
            state=State.ERROR, attempts=1, seconds=0.0, error=CannotMeasure(why, final=True)
        )

    def _result(self, item: Check | Exercise, look: Look, verdict: Verdict) -> CheckResult:
        # The last command from the check's own place says best what was asked.
        own = [seen for seen in look.trace if seen.vantage == str(look.vantage) and seen.command]
        command = own[-1].command if own else ""
        result = CheckResult(
            id=item.id,
            title=item.title,
            why=item.why,
            kind="check" if isinstance(item, Check) else "exercise",
            vantage=str(look.vantage),
            state=verdict.state,
            expected=item.expect,
            seen=verdict.skipped,
            guide=f"labs/{self._lab.name}/README.md#{item.anchor}",
            command=command,
            attempts=verdict.attempts,
            seconds=verdict.seconds,
            failing_for=verdict.failing_for,
        )
        if verdict.seen:
            result = replace(result, seen=verdict.seen.text, counts=verdict.seen.counts)
        if verdict.state is State.FLAKY:
            again = f"./l4lab check {self._lab.name} --only {item.id}"
            result = replace(result, then=again)
        if verdict.error:
            result = replace(result, seen=verdict.error.why, then=verdict.error.then)
        if unmet := verdict.unmet:
            causes, then = tuple(unmet.causes), unmet.then
            hop: str | None = None
            if isinstance(item, Check) and not isinstance(unmet, Hopeless):
                hop, hop_causes, hop_then = _first_difference(item, look)
                causes, then = (*hop_causes, *causes), hop_then or then
            result = replace(
                result,
                expected=unmet.expected or item.expect,
                seen=str(unmet),
                fault=unmet.fault,
                counts=unmet.counts,
                hop=hop,
                causes=causes,
                then=then,
            )
        place = self._lab.place
        return replace(
            result,
            command=place.as_typed(result.command),
            then=place.as_typed(result.then) if result.then else None,
            trace=tuple(replace(seen, command=place.as_typed(seen.command)) for seen in look.trace),
        )

    def _skipped(self, item: Check | Exercise, why: str) -> CheckResult:
        verdict = Verdict(state=State.SKIP, attempts=0, seconds=0.0, skipped=why)
        return self._result(item, self._look(API), verdict)

    def _tell(self, result: CheckResult) -> CheckResult:
        if self._told:
            with self._telling:
                self._told(result)
        return result


def _first_difference(check: Check, look: Look) -> tuple[str | None, tuple[str, ...], str | None]:
    """Walk the hops of a failed check; the first that differs, its causes, its next command."""
    if isinstance(check.verb, Never):
        return None, (), None
    for hop in check.path:
        try:
            differs = hop.probe(look)
        except (Unmet, CannotMeasure) as found:
            differs = str(found)
        if differs:
            named = differs.startswith(hop.name)
            return differs if named else f"{hop.name}: {differs}", hop.causes, hop.then
    return None, (), None


def _all(futures: Sequence[Future[CheckResult]]) -> list[CheckResult]:
    return [future.result() for future in as_completed(futures)]
