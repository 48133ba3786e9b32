"""Labs are folders: whatever lies in ``labs/`` with its parts is a lab, there is no list."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from l4lab.errors import UsageError
from l4lab.guide import Step
from l4lab.place import COURSE, Place
from l4lab.topology import Topology

PARTS = (
    "README.md",
    "facts.py",
    "program.py",
    "checks.py",
    "steps.py",
    "guide.md.j2",
    "guide.zh.md.j2",
)


@dataclass(frozen=True)
class Lab:
    """One lab: a folder of ``labs/``, and the place on the cluster where it is done."""

    folder: Path
    place: Place = COURSE

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def stack(self) -> str:
        """The name of its Pulumi stack: its own, and a student's behind it."""
        student = self.place.student
        return f"{self.name}.{student}" if student else self.name

    @property
    def namespace(self) -> str:
        """Where its objects are."""
        return self.place.namespace

    def at(self, place: Place) -> Lab:
        """The same lab in another place.

        Raises:
            UsageError: The place is a student's, and a class cannot share the lab.
        """
        if place.student and not getattr(self.facts, "SHARED", False):
            why = getattr(self.facts, "NOT_SHARED", "its facts do not say that it can be shared")
            raise UsageError(f"lab {self.name} is not for a class on one cluster", why)
        return replace(self, place=place)

    @property
    def facts(self) -> ModuleType:
        """The lab's data: ``TITLE``, ``NAMESPACE``, ``OBJECTS``, names, ports, labels."""
        return self._part("facts")

    @property
    def title(self) -> str:
        """One line on what the lab teaches."""
        title: str = self.facts.TITLE
        return title

    @property
    def objects(self) -> frozenset[tuple[str, str]]:
        """Kind and name of all that its program, its steps and its exercises make."""
        return frozenset(getattr(self.facts, "OBJECTS", ()))

    @property
    def program(self) -> Callable[[], None]:
        """The Pulumi program: a function that declares the lab's resources."""
        function: Callable[[], None] = self._part("program").program
        return function

    @property
    def checks(self) -> ModuleType:
        """The module that holds the lab's checks."""
        return self._part("checks")

    def steps(self, topology: Topology) -> tuple[Step, ...]:
        """The steps of the lab's guide, in their order, for that cluster.

        Raises:
            UsageError: The lab has no ``steps.py``.
        """
        if not (self.folder / "steps.py").is_file():
            raise UsageError(f"lab {self.name} has no steps yet", "there is no steps.py")
        steps: tuple[Step, ...] = self._part("steps").steps(topology)
        return steps

    def _part(self, part: str) -> ModuleType:
        # Folder names are Kubernetes names (three-networks), so they are imported by text.
        return importlib.import_module(f"labs.{self.name}.{part}")


def find_labs(project: Path) -> dict[str, Lab]:
    """All labs of the project by name, in the order of their folders."""
    return {
        folder.name: Lab(folder)
        for folder in sorted((project / "labs").iterdir())
        if (folder / "facts.py").is_file()
    }


def get_lab(project: Path, name: str) -> Lab:
    """The lab called ``name``.

    Raises:
        UsageError: There is none; the text names those there are.
    """
    labs = find_labs(project)
    if name not in labs:
        known = ", ".join(labs)
        near = difflib.get_close_matches(name.casefold(), labs, n=1)
        then = f"did you mean {near[0]}?" if near else "./l4lab labs"
        raise UsageError(f"there is no lab {name!r}", f"the labs are: {known}", then)
    return labs[name]
