"""What lab externalname proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared
from labs.externalname import exercises, names, objects, site

CHECKS = tuple(check for part in (objects, names, site) for check in declared(part, Check))
EXERCISES = tuple(declared(exercises, Exercise))
