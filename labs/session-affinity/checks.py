"""What lab session-affinity proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared

from . import clients, exercises, kernel, objects

CHECKS = tuple(check for part in (objects, kernel, clients) for check in declared(part, Check))
EXERCISES = tuple(declared(exercises, Exercise))
