"""What an exercise's function is given: a look that changes things and puts everything back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from l4lab.checks.admission import Admission
from l4lab.checks.look import Json, Look, as_typed
from l4lab.checks.model import API, CannotMeasure, NotHere, Seen, State, Unmet, Vantage
from l4lab.checks.verbs import ONCE, Eventually, judge
from l4lab.command import Result
from l4lab.place import OWN_NAMESPACE


class Stage(Look):
    """A look that may change things. Every change is paired with its undoing."""

    def __init__(
        self,
        *,
        budget: float,
        at_work: Callable[[], bool],
        **rest: Any,  # noqa: ANN401 (as Look's)
    ) -> None:
        super().__init__(**rest)
        self._budget = budget
        self._at_work = at_work
        self._undo: list[tuple[str, Callable[[], object]]] = []

    def change(self, *words: str) -> Result:
        """Run a kubectl command that changes something.

        Raises:
            CannotMeasure: The API server did not take it.
        """
        result = self.at(API).run(["kubectl", *words, "-n", self.namespace])
        self._shared.forget()
        if not result.succeeded:
            raise CannotMeasure(f"kubectl {words[0]} failed: {result.last_line}", final=True)
        return result

    def offer(self, manifest: Json) -> Admission:
        """Really create an object that the API server should refuse.

        Where it is accepted nevertheless, it is deleted when everything is put back.

        Raises:
            CannotMeasure: There is no verdict: the API server does not answer.
        """
        kind, name = manifest["kind"].lower(), manifest["metadata"]["name"]

        def gone() -> None:
            self.change("delete", kind, name, "--ignore-not-found")

        self.undo(f"no {kind} {name}", gone)
        verdict = self._submit(manifest)
        self._shared.forget()
        return verdict

    def change_machine(
        self, vantage: Vantage, argv: Sequence[str], *, back: Sequence[str]
    ) -> Result:
        """Run a command that changes a machine; ``back`` is the one that undoes it.

        Raises:
            CannotMeasure: The machine cannot be reached, or the command failed.
            NotHere: The lab is in a namespace of a class, which shares the machines.
        """
        if self.namespace != OWN_NAMESPACE:
            raise NotHere("it changes a machine, and a class shares the machines")

        def carried_out(words: Sequence[str]) -> Result:
            result = self.at(vantage).run(words, timeout=60)
            self._shared.forget()
            if not result.succeeded:
                said = f"{words[0]} failed on {vantage}: {result.last_line}"
                raise CannotMeasure(said, final=True)
            return result

        self.undo(as_typed(vantage, back), lambda: carried_out(back))
        return carried_out(argv)

    def undo(self, what: str, how: Callable[[], object]) -> None:
        """Remember how to put a change back; say it before making the change."""
        self._undo.append((what, how))

    def put_back(self) -> list[str]:
        """Undo everything, the last change first; returns what could not be undone."""
        failed = []
        while self._undo:
            what, how = self._undo.pop()
            try:
                how()
            except (Unmet, CannotMeasure) as error:
                failed.append(f"{what}: {error}")
        return failed

    def wait(self, what: str, probe: Callable[[], Seen]) -> Seen:
        """Look again and again until the probe finds what it wants, within the budget.

        Raises:
            Unmet: Not within the budget; the text is what was waited for and the last thing seen.
            CannotMeasure: The probe could not look.
        """
        verdict = judge(
            Eventually(within=self._budget, every=0.3, hold=ONCE),
            probe,
            clock=self._clock,
            factor=self.factor,
            at_work=self._at_work,
        )
        if verdict.state is State.FAIL and verdict.unmet:
            unmet = verdict.unmet
            unmet.seen = f"{what}: {unmet.seen} (waited {verdict.seconds:.0f} s)"
            raise unmet
        if verdict.error:
            raise verdict.error
        return verdict.seen or Seen(what)
