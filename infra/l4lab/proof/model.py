"""Fingerprints of a state, and what two of them have in common: plain data."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l4lab import state
from l4lab.command import typed_on

API = "cluster"
"""Where the objects of the API are, as machines are where their own facts are."""

_SHOWN_LINES = 6
Facts = Mapping[str, Mapping[str, str]]
"""Where, what, and its value: ``facts["k8s-node01"]["IPVS TCP 10.10.0.10:53"]``."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Which facts belong to a fingerprint.

    Attributes:
        kind: ``cluster``, ``machines`` or ``namespace``.
        name: The namespace.
        marks: What names it on machines, whether or not it is still there: addresses,
            ``port:30380`` for nodePorts, ``schema:lab``, pods' links and folders.
        without: Objects to be passed over, as ``Deployment default/my-nginx``, with all that
            comes of them: pods, IPVS rows...
    """

    kind: str
    name: str = ""
    marks: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    @classmethod
    def cluster(cls, *, without: frozenset[str] = frozenset()) -> Scope:
        """All objects, and all of the machines."""
        return cls(kind="cluster", without=without)

    @classmethod
    def machines(cls) -> Scope:
        """The machines alone: there is no cluster, or there should be none."""
        return cls(kind="machines")

    @classmethod
    def namespace(
        cls, name: str, *, node_ports: Iterable[int] = (), schemas: Iterable[str] = ()
    ) -> Scope:
        """The objects of a namespace, and what kernels and the database hold for it.

        Args:
            name: The namespace.
            node_ports: NodePorts that are its own, whether or not they are in use.
            schemas: MariaDB schemas that are its own, with the accounts that have rights in them.
        """
        marks = {*(f"port:{port}" for port in node_ports), *(f"schema:{one}" for one in schemas)}
        return cls(kind="namespace", name=name, marks=frozenset(marks))

    @property
    def all_marks(self) -> frozenset[str]:
        """By these its facts are known."""
        return self.marks | {f"ns:{self.name}"}

    def __str__(self) -> str:
        return f"namespace {self.name}" if self.name else self.kind


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What was there at one moment, without what is alive by nature and without any secret.

    Attributes:
        scope: What it is about, in words.
        taken: When, in seconds since 1970.
        facts: By place (``cluster``, or a machine's name) and thing.
    """

    scope: str
    taken: float
    facts: Facts

    def to_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "scope": self.scope,
            "taken": self.taken,
            "facts": {where: dict(facts) for where, facts in self.facts.items()},
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Fingerprint:
        """From what ``to_data`` gave."""
        return cls(scope=data["scope"], taken=data["taken"], facts=data["facts"])


def write_json(path: Path, fingerprint: Fingerprint) -> None:
    """Keep a fingerprint in a private file, whole or not at all."""
    state.write_json(path, fingerprint.to_data())


def read_json(path: Path) -> Fingerprint | None:
    """The fingerprint that was kept in a file, or None where there is no such file."""
    data = state.read_json(path)
    return None if data is None else Fingerprint.from_data(data)


@dataclass(frozen=True, kw_only=True)
class Mend:
    """One command that takes one difference away.

    Attributes:
        where: ``cluster`` for kubectl, else the machine it runs on.
        argv: The command; for ``cluster`` its first word is ``kubectl``.
    """

    where: str
    argv: tuple[str, ...]

    def __str__(self) -> str:
        if self.where == API:
            return f"./l4lab {shlex.join(self.argv)}"
        return typed_on(self.where, self.argv)


@dataclass(frozen=True)
class Difference:
    """One fact that is not as it was.

    Attributes:
        where: ``cluster`` or a machine's name.
        what: The thing.
        before: What it was; None if it was not there.
        after: What it is; None if it is gone.
        mend: What takes the difference away, where one command can and may.
    """

    where: str
    what: str
    before: str | None
    after: str | None
    mend: Mend | None = None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.where}: {self.what}: is new" + _some(self.after)
        if self.after is None:
            return f"{self.where}: {self.what}: is gone" + _some(self.before)
        return f"{self.where}: {self.what}: {_changed(self.before, self.after)}"


@dataclass(frozen=True)
class Proof:
    """What two fingerprints have in common, and what not."""

    equal: int
    differences: tuple[Difference, ...] = field(default_factory=tuple)

    @property
    def clean(self) -> bool:
        """Whether all is as it was."""
        return not self.differences

    def render(self) -> str:
        """One line if it is clean, else one for each difference, with what would mend it."""
        if self.clean:
            return f"clean: {self.equal} facts equal"
        lines = [f"not clean: {len(self.differences)} differences, {self.equal} facts equal"]
        for one in self.differences:
            lines.append(f"  {one}")
            if one.mend:
                lines.append(f"    mend: {one.mend}")
        return "\n".join(lines)

    def to_data(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "clean": self.clean,
            "equal": self.equal,
            "differences": [
                {
                    "where": one.where,
                    "what": one.what,
                    "before": one.before,
                    "after": one.after,
                    "mend": str(one.mend) if one.mend else None,
                }
                for one in self.differences
            ],
        }


def _some(value: str | None) -> str:
    """A value, if it says something in a line."""
    return f": {value}" if value and "\n" not in value and " sha256:" not in f" {value}" else ""


def _changed(before: str, after: str) -> str:
    """What changed from one value to the other, line by line where there are more."""
    old, new = before.splitlines(), after.splitlines()
    if len(old) <= 1 and len(new) <= 1:
        return f"was {before or 'empty'}, is {after or 'empty'}"
    told = [
        f"{line[0]} {line[1:]}"
        for line in difflib.unified_diff(old, new, n=0, lineterm="")
        if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    more = f"; {len(told) - _SHOWN_LINES} more" if len(told) > _SHOWN_LINES else ""
    return "changed: " + "; ".join(told[:_SHOWN_LINES]) + more
