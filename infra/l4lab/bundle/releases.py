"""Official releases: which files they are (``upstream.toml``), and which mirrors have them."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from l4lab.bundle.catalog import version
from l4lab.bundle.python import LOCK
from l4lab.bundle.transfer import TransferError, Web
from l4lab.errors import BundleError
from l4lab.origin import Mirror, Origin

FILE: Final = Path(__file__).with_name("upstream.toml")
_PLUGIN: Final = "pulumi-kubernetes"
_AT_ONCE: Final = 8


@dataclass(frozen=True, kw_only=True)
class File:
    """One file of a release.

    Attributes:
        component: What it is a release of.
        version: Its version, without a leading ``v``.
        path: Where it lies below the component's address.
        checksum: Where the file lies that publishes its SHA-256.
        sha256: The digest it is pinned to; None if it is not.
        members: Programs in it and where they go in the bundle; a file that is one program itself
            has the one pair of an empty name and its place.
    """

    component: str
    version: str
    path: str
    checksum: str
    sha256: str | None
    members: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """What it is called on all mirrors together."""
        return f"{self.component}/v{self.version}/{self.path}"

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A mirror's address for one component; ``official``: that of the project itself."""

    address: str
    official: bool = False

    @property
    def name(self) -> str:
        """What it is called in progress and errors."""
        return urlsplit(self.address).netloc


@functools.cache
def releases() -> dict[str, Any]:
    """``upstream.toml`` as nested dictionaries, a table a component."""
    return tomllib.loads(FILE.read_text())


def release_version(component: str) -> str:
    """The version of a component's release, without a leading ``v``.

    Pulumi's engine asks for the version of the plugin that the Python package names, so that one
    counts, and stands in no second place.
    """
    if component != _PLUGIN:
        return version(component)
    found = re.search(rf"^{_PLUGIN}==([\w.+-]+)", LOCK.read_text(), re.MULTILINE)
    if not found:
        raise BundleError(f"{LOCK.name} names no version of {_PLUGIN}", f"it is {LOCK}")
    return found[1]


def files_of_release(component: str) -> tuple[File, ...]:
    """The files of a component's release that the bundle wants."""
    number = release_version(component)
    table = releases()[component]
    found = []
    for template, facts in table["files"].items():
        path = template.replace("{version}", number)
        members = facts.get("members") or {"": facts["place"]}
        found.append(
            File(
                component=component,
                version=number,
                path=path,
                checksum=table["checksum"].replace("{path}", path).replace("{version}", number),
                sha256=facts.get("sha256"),
                members=tuple(
                    (name.replace("{version}", number), place) for name, place in members.items()
                ),
            )
        )
    return tuple(found)


def sources(component: str, origin: Origin) -> tuple[Source, ...]:
    """Where a component's files may be had: the mirrors of the settings, then its own project."""
    number = release_version(component)
    official = Mirror(some=((component, releases()[component]["origin"]),))
    named = [mirror.address(component, number) for mirror in origin.mirrors]
    last = official.address(component, number) or ""
    return (
        *(Source(address=address) for address in dict.fromkeys(named) if address),
        Source(address=last, official=True),
    )


def ranked(
    found: tuple[Source, ...], file: File, answers: Callable[[str], float]
) -> tuple[list[Source], dict[str, str]]:
    """Those sources that have a file, the first that answers first, the official one last.

    Whoever names mirrors wants them to be used; so the official one is for what they lack.

    Args:
        found: The sources, all of which are asked at once.
        file: The file they are asked for.
        answers: Says in how many seconds an address answers; raises ``TransferError``.

    Returns:
        The sources, and why each of the others is not among them.
    """

    def ask(source: Source) -> float | str:
        try:
            return answers(source.address + file.path)
        except TransferError as failed:
            return str(failed)

    with ThreadPoolExecutor(_AT_ONCE) as crew:
        said = dict(zip(found, crew.map(ask, found), strict=True))
    silent = {source.name: why for source, why in said.items() if isinstance(why, str)}
    seconds = {source: one for source, one in said.items() if not isinstance(one, str)}
    return sorted(seconds, key=lambda one: (one.official, seconds[one])), silent


def unanswered(components: tuple[str, ...], origin: Origin, web: Web) -> dict[str, str]:
    """Components whose releases nobody has that answers, and what was said instead."""
    silent = {}
    for component in components:
        good, troubles = ranked(
            sources(component, origin), files_of_release(component)[0], web.answers
        )
        if not good:
            silent[component] = in_one_line(troubles)
    return silent


def in_one_line(troubles: dict[str, str]) -> str:
    """What each mirror said, for an error's reason."""
    return "; ".join(f"{name}: {why}" for name, why in troubles.items())
