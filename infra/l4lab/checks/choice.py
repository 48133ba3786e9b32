"""Which checks and exercises of a lab are run: those asked for, that fit kube-proxy's mode."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from l4lab.checks.declare import declared
from l4lab.checks.model import Check, Exercise
from l4lab.errors import UsageError


def choose(
    module: ModuleType, lab: str, *, only: Iterable[str] | None, mode: str
) -> tuple[list[Check], list[Exercise]]:
    """The lab's checks and exercises that hold in ``mode``; of those the ones asked for, if any.

    Raises:
        UsageError: ``only`` names one that does not exist, or does not hold in this mode.
    """
    every: list[Check | Exercise] = [*declared(module, Check), *declared(module, Exercise)]
    known = {one.id: one for one in every}
    fitting = [one for one in every if one.mode in (None, mode)]
    for name in sorted(set(only or ())):
        if name not in known:
            raise UsageError(
                f"lab {lab} has no check {name!r}",
                f"its checks are: {', '.join(one.id for one in fitting)}",
                f"./l4lab check {lab}",
            )
        if known[name] not in fitting:
            raise UsageError(
                f"check {name} is about kube-proxy's mode {known[name].mode}",
                f"the cluster's kube-proxy runs in mode {mode}",
                f"./l4lab check {lab}, or ./l4lab proxy {known[name].mode}",
            )
    chosen = [one for one in fitting if only is None or one.id in only]
    return (
        [one for one in chosen if isinstance(one, Check)],
        [one for one in chosen if isinstance(one, Exercise)],
    )
