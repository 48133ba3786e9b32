"""The decorators a lab's ``checks.py`` is written with.

A decorated function becomes a ``Check`` or an ``Exercise`` that lies in its own module and nowhere
else: labs share no registry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TypeVar

from l4lab.checks.model import Change, Check, Exercise, Function, Hop, Traffic, Vantage
from l4lab.checks.verbs import Eventually, Verb


def check(
    *,
    id: str,
    title: str,
    why: str,
    expect: str,
    anchor: str,
    vantage: Vantage | Sequence[Vantage],
    verb: Verb | None = None,
    traffic: Traffic = Traffic.NONE,
    path: Sequence[Hop] = (),
    mode: str | None = None,
) -> Callable[[Function], Check]:
    """Make a check of a function.

    Args:
        id: Unique in the lab; what ``only`` takes.
        title: What is true when it passes.
        why: One sentence of teaching.
        expect: What the function expects to see.
        anchor: The heading of the lab's guide that explains it.
        vantage: Where to look from; ``NODES`` stands for one line a node.
        verb: When it must be true; by default soon, and then steadily.
        traffic: What it sends through the Service.
        path: The hops to walk when it fails, in the order a request takes them.
        mode: kube-proxy's mode in which it holds (``ipvs``, ``nftables``); in others it is left
            out. Without it, it holds in all.
    """

    def make(function: Function) -> Check:
        return Check(
            id=id,
            title=title,
            why=why,
            expect=expect,
            anchor=anchor,
            vantages=(vantage,) if isinstance(vantage, Vantage) else tuple(vantage),
            verb=verb or Eventually(),
            traffic=traffic,
            path=tuple(path),
            function=function,
            mode=mode,
        )

    return make


def exercise(
    *,
    id: str,
    title: str,
    why: str,
    expect: str,
    anchor: str,
    budget: float = 60,
    mode: str | None = None,
) -> Callable[[Change], Exercise]:
    """Make an exercise of a function; the words mean what they mean for a check.

    Args:
        id: Unique in the lab.
        title: What it shows.
        why: One sentence of teaching.
        expect: What the change must bring about.
        anchor: The heading of the lab's guide that explains it.
        budget: Seconds for each wait inside it, on a machine of normal speed.
        mode: kube-proxy's mode in which it holds; in others it is left out.
    """

    def make(function: Change) -> Exercise:
        return Exercise(
            id=id,
            title=title,
            why=why,
            expect=expect,
            anchor=anchor,
            budget=budget,
            function=function,
            mode=mode,
        )

    return make


_Kind = TypeVar("_Kind", Check, Exercise)


def declared(module: ModuleType, kind: type[_Kind]) -> list[_Kind]:
    """The checks (or exercises) a module declares, in the order it declares them.

    A lab with many gathers those of its parts in a tuple; the tuple's order counts then.
    """
    found: list[_Kind] = []
    for value in vars(module).values():
        values = value if isinstance(value, tuple) else (value,)
        found += [one for one in values if isinstance(one, kind) and one not in found]
    return found
