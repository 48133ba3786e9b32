"""Several questions of one check at once, told as if they had been asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from l4lab.checks.look import Look

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def side_by_side(
    look: Look, ask: Callable[[Look, _Item], _Answer], items: Sequence[_Item]
) -> list[_Answer]:
    """Ask about each item at the same time; the answers in the items' order.

    What is raised for an item ends it, as it would have in a loop: the trace holds what was seen
    up to that one, so that the last command in it is the one that did not do.

    Args:
        look: Where to ask from.
        ask: Asks about one item, with a look that it must use.
        items: What to ask about.
    """
    looks = [look.apart() for _ in items]
    with ThreadPoolExecutor(max_workers=max(len(items), 1)) as pool:
        asked = [pool.submit(ask, *both) for both in zip(looks, items, strict=True)]
    answers = []
    for own, one in zip(looks, asked, strict=True):
        look.trace.extend(own.trace)
        answers.append(one.result())
    return answers
