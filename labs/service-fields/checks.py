"""What lab service-fields proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared

from . import addresses, exercises, kinds, ports, refusals

CHECKS = tuple(
    check for part in (addresses, ports, kinds, refusals) for check in declared(part, Check)
)
EXERCISES = tuple(declared(exercises, Exercise))
