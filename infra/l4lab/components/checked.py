"""What lets ``pulumi up`` prove a lab: its checks, as a component that depends on all its objects.

The component is in the lab's stack whoever deploys it, so ``l4lab deploy`` and ``pulumi up`` follow
each other without a difference. Only a proof binds checks to it: as resource hooks, which the
engine runs after it has made or updated the component and never in a preview.

A component has nothing of its own that could change. So hooks on the lab's objects note that one
of them was made or changed, and the component is updated exactly then. Until the checks were green
the note stays in a file: a red ``pulumi up`` is red again the next time, though nothing changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pulumi

TYPE: Final = "l4lab:labs:Checks"
_MOMENT: Final = "since"


Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What proves a lab.

    Attributes:
        names: The checks' ids, in their order.
        run: Runs them, telling a line for each, from any thread; returns one line when all are
            green, raises with their texts otherwise.
        owed: A file that is there while a change has not been proved.
    """

    names: tuple[str, ...]
    run: Callable[[Tell], str]
    owed: Path


class Checks(pulumi.ComponentResource):
    """The checks of a lab; its one input is the moment of the last change they were to prove."""

    def __init__(self, lab: str, opts: pulumi.ResourceOptions) -> None:
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        super().__init__(TYPE, lab, {_MOMENT: moment}, opts)
        self.register_outputs({})


def declare(
    lab: str, program: Callable[[], None], *, proof: Proof | None = None, why_not: str = ""
) -> None:
    """Run a lab's program, and declare its checks behind all it has declared.

    Args:
        lab: The lab's name, which is the component's.
        program: Declares the lab's objects.
        proof: What the hooks run; nothing without it.
        why_not: Told to the user where there is no proof.
    """
    made: list[pulumi.Resource] = []
    noting = _Noting(proof) if proof else None

    def watch(
        seen: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if isinstance(seen.resource, Checks):
            return None
        made.append(seen.resource)
        if noting is None or not isinstance(seen.resource, pulumi.CustomResource):
            return None
        opts = pulumi.ResourceOptions.merge(seen.opts, pulumi.ResourceOptions(hooks=noting.hooks))
        return pulumi.ResourceTransformationResult(seen.props, opts)

    pulumi.runtime.register_stack_transformation(watch)
    program()

    def behind_all(_urns: object) -> None:
        proving = _Proving(proof) if proof else None
        due = bool(noting and noting.due())
        checks = Checks(
            lab,
            pulumi.ResourceOptions(
                depends_on=made,
                hooks=proving.hooks if proving else None,
                ignore_changes=None if due else [_MOMENT],
            ),
        )
        if proof and proving:
            proving.component = checks
            checks.urn.apply(lambda _: pulumi.info(_plan(lab, proof, runs=proving.begun)))
        elif why_not:
            pulumi.info(f"the checks of lab {lab} do not run: {why_not}")

    # A URN is known when the engine is done with the resource, in previews too.
    pulumi.Output.all(*(one.urn for one in made)).apply(behind_all)


class _Noting:
    """Notes, in this run and in the file, that an object of the lab was made or changed."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self._seen = False
        # In a preview too: it tells whether the checks would run.
        on_preview = pulumi.ResourceHookOptions(on_dry_run=True)
        hook = pulumi.ResourceHook("l4lab-changed", self._note, on_preview)
        self.hooks = pulumi.ResourceHookBinding(after_create=[hook], after_update=[hook])

    def _note(self, _args: pulumi.ResourceHookArgs) -> None:
        self._seen = True
        if not pulumi.runtime.is_dry_run():
            self._proof.owed.touch(mode=0o600)

    def due(self) -> bool:
        return self._seen or self._proof.owed.exists()


class _Proving:
    """Runs the checks when the component was made or updated."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self.begun = False
        self.component: pulumi.Resource | None = None
        on_preview = pulumi.ResourceHookOptions(on_dry_run=True)
        begin = pulumi.ResourceHook("l4lab-begun", self._begin, on_preview)
        prove = pulumi.ResourceHook("l4lab-checks", self._prove)
        self.hooks = pulumi.ResourceHookBinding(
            before_create=[begin],
            before_update=[begin],
            after_create=[prove],
            after_update=[prove],
        )

    def _begin(self, _args: pulumi.ResourceHookArgs) -> None:
        self.begun = True

    async def _prove(self, _args: pulumi.ResourceHookArgs) -> None:
        self._proof.owed.touch(mode=0o600)
        loop = asyncio.get_running_loop()

        def tell(line: str) -> None:
            loop.call_soon_threadsafe(self._progress, line)

        # Beside the loop: the engine goes on talking to the program meanwhile.
        pulumi.info(await asyncio.to_thread(self._proof.run, tell))
        self._proof.owed.unlink(missing_ok=True)

    def _progress(self, line: str) -> None:
        """Show a line beside the component until the next one comes."""
        pulumi.info(line, self.component, ephemeral=True)


def _plan(lab: str, proof: Proof, *, runs: bool) -> str:
    checks = f"the {len(proof.names)} checks of lab {lab}"
    if not runs:
        tense = "would change" if pulumi.runtime.is_dry_run() else "changed"
        return f"nothing {tense}: {checks} are not run; to run them: ./l4lab check {lab}"
    tense = "would run" if pulumi.runtime.is_dry_run() else "run now"
    return f"{checks} {tense}: {', '.join(proof.names)}"
