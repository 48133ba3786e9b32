"""What lab selectorless proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared
from labs.selectorless import exercises, objects, server, traffic

CHECKS = tuple(check for part in (server, objects, traffic) for check in declared(part, Check))
EXERCISES = tuple(declared(exercises, Exercise))
