"""``classroom.yaml`` into frozen dataclasses, with all refusals, also of too large a class."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from l4lab.classroom import own
from l4lab.classroom.model import EACH, SHAPES, SHARED, Classroom, Limits, Student
from l4lab.classroom.reader import Reader
from l4lab.errors import SettingsError, UsageError
from l4lab.lab import get_lab
from l4lab.place import COURSE, COURSE_NODE_PORTS, Place
from l4lab.settings import Settings
from l4lab.topology import Topology

FILE: Final = "classroom.yaml"
_KEYS: Final = ("class", "shape", "clusters", "students", "labs", "limits")
_ID: Final = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_RESERVED: Final = re.compile(r"default|kube-.*|calico-.*|l4lab.*|results|last")
# Least and most of each limit; a lab's pods need some of each.
_BOUNDS: Final = {
    "at_once": (1, 16),
    "pods": (3, 110),
    "cpu": (3, 8000),
    "memory": (48, 8192),
    "days": (1, 366),
}

# What students share: node ports behind those the labs name, and what the cluster leaves a worker.
NODE_PORTS: Final = range(30400, 32768)
PODS_OF_A_NODE: Final = 110
_PODS_OF_THE_CLUSTER: Final = 12
_MEMORY_OF_THE_CLUSTER: Final = 700
_CPU_FREE: Final = 600


def load(path: Path, project: Path, settings: Settings, known: Mapping[str, Place]) -> Classroom:
    """Read a class.

    Args:
        path: The file.
        project: The project's folder, for its labs.
        settings: Of the cluster that the students share, or that each gets one like.
        known: Places that students of the class have already, by their ids: they keep them.

    Raises:
        SettingsError: The file cannot be read, or holds something that cannot be.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as failed:
        raise SettingsError(
            f"there is no file {path}", "it says who is in the class", "read docs/classroom.md"
        ) from failed
    except (OSError, UnicodeDecodeError) as failed:
        raise SettingsError(f"cannot read {path}", str(failed)) from failed
    except yaml.YAMLError as failed:
        said = " ".join(str(failed).split())
        raise SettingsError(f"{path} is not YAML", said, "mend that line") from failed
    return parse(raw, str(path), project=project, settings=settings, known=known)


def parse(
    raw: object, file: str, *, project: Path, settings: Settings, known: Mapping[str, Place]
) -> Classroom:
    """Turn what a file holds into a class.

    Raises:
        SettingsError: A key is unknown, a value has the wrong type or cannot be, or the cluster is
            too small for the class.
    """
    reader = Reader(file)
    table = reader.table("the file", raw, _KEYS)
    name = reader.text("class", table.get("class"))
    shape = table.get("shape", SHARED)
    if shape not in SHAPES:
        raise reader.wrong("shape", f"there is no {shape!r}", f"one of: {', '.join(SHAPES)}")
    limits = _limits(reader, table.get("limits", {}), shape)
    names = _students(reader, table.get("students"))
    if shape == EACH:
        clusters = own.clusters(reader, table.get("clusters"), tuple(names), project, settings)
        students = [
            Student(id=one, name=full, place=COURSE, settings=clusters[one])
            for one, full in names.items()
        ]
    else:
        if "clusters" in table:
            raise reader.wrong("clusters", "the students share one cluster", "shape: each")
        _fits(reader, len(names), limits, settings.topology)
        places = _places(reader, tuple(names), known)
        students = [Student(id=one, name=full, place=places[one]) for one, full in names.items()]
    return Classroom(
        name=name,
        students=tuple(students),
        labs=_labs(reader, table.get("labs"), project, shape),
        limits=limits,
        shape=shape,
    )


def _limits(reader: Reader, raw: object, shape: str) -> Limits:
    given = reader.table("limits", raw, tuple(_BOUNDS))
    if shape == EACH and (idle := [key for key in given if key != "at_once"]):
        raise reader.wrong(
            f"limits.{idle[0]}",
            "it is for students who share a cluster; with shape each a cluster is the student's",
            "leave it out: l4lab.toml says how large the machines are",
        )
    for key, value in given.items():
        least, most = _BOUNDS[key]
        # bool is an int to Python, not to a person
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise reader.wrong(
                f"limits.{key}", f"{value!r} cannot be", f"a whole number from {least} to {most}"
            )
    limits = Limits(**given)
    for key, unit in (("cpu", "thousandths of a processor"), ("memory", "MiB")):
        share = getattr(limits, key)
        if share < limits.pods:  # a pod's part would be 0, which is no bound
            raise reader.wrong(
                f"limits.{key}",
                f"{share} {unit} are less than one for each of {limits.pods} pods",
                f"at least {limits.pods}, or a smaller limits.pods",
            )
    return limits


def _students(reader: Reader, raw: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, entry in enumerate(reader.items("students", raw), start=1):
        key = f"students[{number}]"
        fields = {"id": entry} if isinstance(entry, str) else entry
        given = reader.table(key, fields, ("id", "name"))
        id_ = given.get("id")
        if not isinstance(id_, str) or not _ID.fullmatch(id_):
            raise reader.wrong(
                f"{key}.id",
                f"{id_!r} cannot name a namespace",
                "up to 40 of a-z, 0-9 and -, a letter first",
            )
        if _RESERVED.fullmatch(id_):
            raise reader.wrong(f"{key}.id", f"{id_!r} has another meaning", "choose another id")
        if id_ in found:
            raise reader.wrong(f"{key}.id", f"{id_!r} is there twice", "an id of their own each")
        found[id_] = reader.text(f"{key}.name", given.get("name", id_))
    return found


def _labs(reader: Reader, raw: object, project: Path, shape: str) -> tuple[str, ...]:
    names = reader.items("labs", raw)
    for number, name in enumerate(names, start=1):
        key = f"labs[{number}]"
        if not isinstance(name, str):
            raise reader.wrong(key, f"{name!r} is not a text", "the name of a lab")
        try:
            lab = get_lab(project, name)
            if shape == SHARED:
                lab.at(Place(student="anybody", namespace="anybody"))
        except UsageError as failed:
            right = "leave it out" if failed.resolution is None else failed.resolution
            raise reader.wrong(key, failed.one_line, right) from failed
    return tuple(dict.fromkeys(names))


def _fits(reader: Reader, count: int, limits: Limits, topology: Topology) -> None:
    """Whether the workers can give every student what the limits promise, all at once."""
    workers = topology.workers
    each = len(workers)
    memory = sum(max(machine.memory_mib - _MEMORY_OF_THE_CLUSTER, 0) for machine in workers)
    free = {
        "pods": (limits.pods, each * (PODS_OF_A_NODE - _PODS_OF_THE_CLUSTER), "pods"),
        "memory": (limits.memory, memory, "MiB"),
        "cpu": (limits.cpu, each * _CPU_FREE, "thousandths of a processor"),
    }
    for key, (wanted, there, unit) in free.items():
        if count * wanted > there:
            raise reader.wrong(
                "students",
                f"{count} students x {wanted} {unit} are {count * wanted}, and the {each} workers "
                f"have {there} left for them",
                f"at most {there // wanted} students, a smaller limits.{key}, or more workers",
            )


def _places(reader: Reader, ids: tuple[str, ...], known: Mapping[str, Place]) -> dict[str, Place]:
    """A place for each student: the one that is known, else the first that nobody has."""
    size = len(COURSE_NODE_PORTS)
    taken = {place.first_node_port for place in known.values()}
    free = iter([port for port in NODE_PORTS[: -size + 1 : size] if port not in taken])
    places = {}
    for one in ids:
        if one in known:
            places[one] = known[one]
            continue
        first = next(free, None)
        if first is None:
            raise reader.wrong(
                "students",
                f"the node ports are used up at {one}: {size} a student of {len(NODE_PORTS)}, "
                f"and {len(taken)} students have theirs",
                f"at most {len(NODE_PORTS) // size} students; for one who has left: leave {one} "
                f"out, ./l4lab class down --only OLD, then put {one} back",
            )
        places[one] = Place(student=one, namespace=one, first_node_port=first)
    return places
