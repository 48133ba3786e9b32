"""What lab loadbalancer proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared
from labs.loadbalancer import exercises, kernel, maps, objects, traffic

PARTS = (objects, kernel, maps, traffic)
CHECKS = tuple(check for part in PARTS for check in declared(part, Check))
EXERCISES = tuple(declared(exercises, Exercise))
