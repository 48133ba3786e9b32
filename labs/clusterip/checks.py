"""What lab clusterip proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared
from labs.clusterip import exercises, kernel, maps, names, objects, traffic

CHECKS = tuple(
    check for part in (objects, kernel, maps, traffic, names) for check in declared(part, Check)
)
EXERCISES = tuple(declared(exercises, Exercise))
