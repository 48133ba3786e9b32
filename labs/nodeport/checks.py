"""What lab nodeport proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared
from labs.nodeport import exercises, kernel, local, maps, objects, source, traffic

CHECKS = tuple(
    check
    for part in (objects, kernel, maps, traffic, source, local)
    for check in declared(part, Check)
)
EXERCISES = tuple(declared(exercises, Exercise))
