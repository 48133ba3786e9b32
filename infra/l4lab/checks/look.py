"""What a check's function is given: one vantage and the ways to look from it.

It only reads; what exercises get is a ``Stage``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from l4lab.checks import network
from l4lab.checks.admission import Admission, read_admission
from l4lab.checks.model import (
    API,
    CannotMeasure,
    Hopeless,
    Observation,
    Vantage,
    Where,
)
from l4lab.checks.reach import Reach, SharedReads
from l4lab.checks.verbs import Clock
from l4lab.command import Result, typed_on
from l4lab.topology import Topology

Json = dict[str, Any]

_KINDS = "deployments,pods,services,endpointslices"
_KEPT_CHARACTERS = 16_000
_KEPT_OBSERVATIONS = 100
_READING = frozenset({"get", "describe", "logs", "version", "auth", "api-resources"})
# States a container does not leave by itself.
_STUCK = frozenset(
    {
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "CrashLoopBackOff",
    }
)


def as_typed(vantage: Vantage, argv: Sequence[str]) -> str:
    """A command as a learner types it, from the folder of the project."""
    match vantage.where:
        case Where.HOST:
            return "./l4lab exec " + shlex.join(argv)
        case Where.API:
            return "./l4lab " + shlex.join(argv)
        case Where.POD:
            return f"./l4lab kubectl exec {vantage.name} -- {shlex.join(argv)}"
        case Where.NODE | Where.DBHOST:
            return typed_on(vantage.name, argv)


class Look:
    """One vantage, and what can be seen from it."""

    def __init__(
        self,
        *,
        reach: Reach,
        shared: SharedReads,
        vantage: Vantage,
        topology: Topology,
        namespace: str,
        lab: str,
        clock: Clock,
        factor: float = 1.0,
        mode: str = "ipvs",
        trace: list[Observation] | None = None,
    ) -> None:
        self._reach = reach
        self._shared = shared
        self._clock = clock
        self.vantage = vantage
        self.topology = topology
        self.namespace = namespace
        self.lab = lab
        self.factor = factor
        self.mode = mode  # kube-proxy's
        self.trace: list[Observation] = [] if trace is None else trace

    def at(self, vantage: Vantage) -> Look:
        """The same look from another place; both keep one trace."""
        return self._like(vantage, self.trace)

    def apart(self) -> Look:
        """The same look with a trace of its own."""
        return self._like(self.vantage, [])

    def _like(self, vantage: Vantage, trace: list[Observation]) -> Look:
        return Look(
            reach=self._reach,
            shared=self._shared,
            vantage=vantage,
            topology=self.topology,
            namespace=self.namespace,
            lab=self.lab,
            clock=self._clock,
            factor=self.factor,
            mode=self.mode,
            trace=trace,
        )

    def run(
        self,
        argv: Sequence[str],
        *,
        shown: Sequence[str] | None = None,
        timeout: float = 20,
        hidden: str | None = None,
    ) -> Result:
        """Run a command here.

        Args:
            argv: The command.
            shown: How a learner would put it, where it differs.
            timeout: Seconds, on a machine of normal speed.
            hidden: What the command reads on its standard input, such as a password: the only way
                in that no list of processes, no log and no trace shows.

        Raises:
            CannotMeasure: The vantage cannot be reached.
        """
        return self._observed(
            self._reach, argv, shown=shown, timeout=timeout * self.factor, hidden=hidden
        )

    def secret(self, name: str) -> str:
        """A secret of the cluster, to be handed on as ``hidden`` and in no other way.

        Raises:
            CannotMeasure: It was not made yet.
        """
        return self._reach.secret(name)

    def read(self, argv: Sequence[str], *, shown: Sequence[str] | None = None) -> Result:
        """Run a command that only reads; checks that ask the same at once share the answer.

        Raises:
            CannotMeasure: The vantage cannot be reached, or the command failed.
        """
        result = self._observed(self._shared, argv, shown=shown, timeout=20 * self.factor)
        if not result.succeeded:
            why = result.last_line or f"exit code {result.rc} after {result.seconds:.0f} s"
            raise CannotMeasure(f"{argv[0]} failed {self._here}: {why}")
        return result

    def kubectl(self, *words: str, shown: Sequence[str] | None = None) -> Result:
        """Ask the API server.

        Raises:
            CannotMeasure: It does not answer.
            ValueError: The verb would change something.
        """
        if words[0] not in _READING:
            raise ValueError(f"a check only looks: kubectl {words[0]}")
        return self.at(API).read(["kubectl", *words, "--request-timeout=10s"], shown=shown)

    def objects(self, shown: Sequence[str] | None = None) -> list[Json]:
        """The lab's Deployments, Pods, Services and EndpointSlices, read in one go."""
        text = self.kubectl("get", _KINDS, "-n", self.namespace, "-o", "json", shown=shown).stdout
        items: list[Json] = json.loads(text)["items"]
        return items

    def get(self, kind: str, name: str) -> Json:
        """The object of that kind (``Service``) and name.

        Raises:
            Hopeless: There is none: the lab is not deployed, or was changed.
        """
        shown = ["kubectl", "get", kind.lower(), name, "-o", "json"]
        for item in self.objects(shown):
            if item["kind"] == kind and item["metadata"]["name"] == name:
                return item
        raise Hopeless(
            f"there is no {kind} {name} in namespace {self.namespace}",
            causes=(f"the lab {self.lab} is not deployed", f"the {kind} was deleted or renamed"),
            then=f"./l4lab deploy {self.lab}",
        )

    def find(self, kind: str, labels: Mapping[str, str]) -> list[Json]:
        """All objects of that kind that carry these labels, without those being deleted."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        shown = ["kubectl", "get", kind.lower(), "-l", selector, "-o", "json"]
        return [
            item
            for item in self.objects(shown)
            if item["kind"] == kind
            and "deletionTimestamp" not in item["metadata"]
            and labels.items() <= item["metadata"].get("labels", {}).items()
        ]

    def dry_run(self, manifest: Json) -> Admission:
        """Ask the API server for its verdict on a new object, which it then throws away.

        Not all is asked then: of the allocators of cluster addresses and node ports, neither a
        taken address nor a port out of range is told. ``Stage.offer`` asks them, too.

        Raises:
            CannotMeasure: There is no verdict: the API server does not answer.
        """
        return self._submit(manifest, "--dry-run=server")

    def curl(self, url: str, *, times: int = 1) -> list[network.Answer]:
        """Make HTTP requests from here, each on a connection of its own.

        Raises:
            CannotMeasure: curl itself did not run.
        """
        limit = times * network.ATTEMPT_SECONDS + 10
        result = self.run(network.curl_argv(url, times=times), shown=["curl", url], timeout=limit)
        answers = network.read_curl(result)
        if len(answers) != times:
            raise CannotMeasure(f"curl did not run {self._here}: {result.last_line}")
        return answers

    def pause(self, seconds: float) -> None:
        """Wait a moment between two looks of one sample."""
        self._clock.sleep(seconds)

    def _submit(self, manifest: Json, *options: str) -> Admission:
        api, text = self.at(API), json.dumps(manifest)
        argv = ["kubectl", "create", *options, "-f", "-"]
        rest = ["-n", self.namespace, "-o", "json", "--request-timeout=10s"]
        result = api._observed(
            self._reach, [*argv, *rest], shown=argv, timeout=20 * self.factor, stdin=text
        )
        return read_admission(result)

    @property
    def _here(self) -> str:
        return f"on {self.vantage}" if self.vantage.where is not Where.API else "at the API"

    def _observed(
        self,
        reach: Reach | SharedReads,
        argv: Sequence[str],
        *,
        shown: Sequence[str] | None,
        timeout: float,
        stdin: str | None = None,
        hidden: str | None = None,
    ) -> Result:
        at = self._clock.now()
        typed = as_typed(self.vantage, shown or argv)
        if hidden is not None and not isinstance(reach, SharedReads):
            result = reach.run(self.vantage, argv, timeout=timeout, stdin=hidden)
        elif stdin is None or isinstance(reach, SharedReads):
            result = reach.run(self.vantage, argv, timeout=timeout)
        else:
            result = reach.run(self.vantage, argv, timeout=timeout, stdin=stdin)
            typed = f"echo {shlex.quote(stdin)} | {typed}"
        self.trace.append(
            Observation(
                at=at,
                vantage=str(self.vantage),
                command=typed,
                argv=tuple(argv),
                rc=result.rc,
                stdout=result.stdout[:_KEPT_CHARACTERS],
                stderr=result.stderr[:_KEPT_CHARACTERS],
                seconds=result.seconds,
            )
        )
        del self.trace[:-_KEPT_OBSERVATIONS]
        return result


def raise_if_stuck(pods: Iterable[Json]) -> None:
    """End a wait for pods that will not get ready by themselves.

    Raises:
        Hopeless: One is in such a state; the text names pod and reason.
    """
    for pod in pods:
        name = pod["metadata"]["name"]
        for status in pod.get("status", {}).get("containerStatuses", []):
            waiting = status.get("state", {}).get("waiting") or {}
            if waiting.get("reason") in _STUCK:
                raise Hopeless(
                    f"pod {name}: {waiting['reason']}: {waiting.get('message', '')}".strip(": "),
                    causes=("the image's name or tag is wrong", "the container ends at its start"),
                    then=f"./l4lab kubectl describe pod {name}",
                )
