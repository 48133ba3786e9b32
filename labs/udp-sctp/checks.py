"""What lab udp-sctp proves, in the order in which the guide teaches it."""

from __future__ import annotations

from l4lab.checks import Check, Exercise, declared

from . import exercises, kernel, objects, traffic

CHECKS = tuple(check for part in (objects, kernel, traffic) for check in declared(part, Check))
EXERCISES = tuple(declared(exercises, Exercise))
