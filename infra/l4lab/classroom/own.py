"""Which cluster each student gets with ``shape: each``, read from settings files, with refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from l4lab import settings as settings_files
from l4lab.classroom.reader import Reader
from l4lab.errors import SettingsError
from l4lab.settings import LONGEST_NAME, Settings
from l4lab.topology import Topology

_ID: Final = "{id}"


def clusters(
    reader: Reader, pattern: object, ids: Sequence[str], project: Path, base: Settings
) -> dict[str, Settings]:
    """The settings of each student's cluster, which is called ``CLUSTER-ID``.

    Args:
        reader: For the refusals; its file's folder is where a relative pattern starts.
        pattern: The settings files' path with ``{id}`` in it; None for clusters like ``base``.
        ids: The students.
        project: The project's folder.
        base: The project's own settings.

    Raises:
        SettingsError: A name is too long, a file is missing or wrong, hosts are given twice.
    """
    if pattern is None and base.topology.given:
        raise reader.wrong(
            "shape",
            "the settings name hosts that are there already, and each student needs their own",
            "clusters: clusters/{id}.toml, a settings file for each student",
        )
    found = {}
    for one in ids:
        name = name_of(base.topology, one)
        if len(name) > LONGEST_NAME:
            raise reader.wrong(
                "students",
                f"the cluster of {one!r} would be called {name}: {len(name)} characters",
                f"{LONGEST_NAME} at most: a shorter id, or a shorter cluster.name in l4lab.toml",
            )
        wanted = base if pattern is None else _read(reader, pattern, one, name, project)
        found[one] = replace(wanted, topology=replace(wanted.topology, name=name))
    _refuse_hosts_twice(reader, found)
    return found


def name_of(topology: Topology, student: str) -> str:
    """What a student's cluster is called, in the class of the cluster of that topology."""
    return f"{topology.name}-{student}"


def _read(reader: Reader, pattern: object, student: str, name: str, project: Path) -> Settings:
    if not isinstance(pattern, str) or _ID not in pattern:
        raise reader.wrong(
            "clusters", f"{pattern!r} does not name a file for each student", "clusters/{id}.toml"
        )
    here = Path(reader.file).absolute().parent
    path = here / Path(pattern.replace(_ID, student)).expanduser()
    if not path.is_file():
        raise reader.wrong(
            "clusters", f"there is no file {path}", f"a settings file for {student}, as l4lab.toml"
        )
    found = settings_files.load(path, project)
    if found.topology.name not in (name, settings_files.parse({}, str(path)).topology.name):
        raise SettingsError(
            f"{path}: cluster.name is wrong",
            f"a class calls the cluster of {student} {name}",
            "leave it out",
        )
    return found


def _refuse_hosts_twice(reader: Reader, found: dict[str, Settings]) -> None:
    """Two clusters on one host would be told late, and by one of the two only."""
    taken: dict[tuple[str, str, int], str] = {}
    for student, settings in found.items():
        given = settings.topology.given
        for machine in settings.topology.machines if given else ():
            key = (given.jump if given else "", str(machine.address), machine.port)
            other = taken.setdefault(key, student)
            if other != student:
                raise reader.wrong(
                    "clusters",
                    f"{machine.address} port {machine.port} is given to {other} and to {student}",
                    "hosts of their own for each student",
                )
