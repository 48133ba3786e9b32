"""Where on a cluster a lab is: the course's own place, or a student's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COURSE_NODE_PORTS: Final = range(30380, 30390)
"""The node ports that the labs' facts name; a student's are as many."""
OWN_NAMESPACE: Final = "default"
"""Where labs are that nobody in particular does."""
CLASS: Final = "l4lab/class"
"""The label of all that a class puts on a cluster, its students' namespaces among it."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a lab is.

    Attributes:
        student: Whose it is; nobody's in particular without it.
        namespace: Where its objects are.
        first_node_port: The first of the node ports that are its own.
    """

    student: str = ""
    namespace: str = OWN_NAMESPACE
    first_node_port: int = COURSE_NODE_PORTS.start

    @property
    def node_ports(self) -> range:
        """The node ports that are its own."""
        return range(self.first_node_port, self.first_node_port + len(COURSE_NODE_PORTS))

    def as_typed(self, command: str) -> str:
        """A command of l4lab as it must be typed for this place."""
        if not self.student:
            return command
        if command.startswith("./l4lab kubectl ") and " -A" not in command:
            before, rest = "./l4lab kubectl ", command.removeprefix("./l4lab kubectl ")
            known = " -n " in command or "--namespace" in command
            return command if known else f"{before}-n {self.namespace} {rest}"
        for verb in ("deploy", "check"):
            if command.startswith(f"./l4lab {verb} "):
                lab = command.split()[2]
                return f"./l4lab class {verb} {lab} --only {self.student}"
        for verb in ("destroy", "reset"):
            if command.startswith(f"./l4lab {verb} "):
                return f"./l4lab class reset --lab {command.split()[2]} --only {self.student}"
        return command


COURSE: Final = Place()
"""The course's own place."""
