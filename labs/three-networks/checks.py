"""What lab three-networks proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared

from . import addresses, exercises, ranges, reachability, tunnel

CHECKS = tuple(
    check for part in (ranges, addresses, reachability, tunnel) for check in declared(part, Check)
)
EXERCISES = tuple(declared(exercises, Exercise))
