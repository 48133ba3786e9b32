"""The bundle with official releases in place of what is built from Go modules.

Kubernetes, containerd, etcd, CoreDNS, CNI plugins and Pulumi come as their projects release them.
Each such part has the tree of the one from modules, so all that follows is the same. What is no
plain file there (images, Calico) is made as it always is, and so are kernel and disk.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Final

from l4lab.bundle.fetch import Fetcher
from l4lab.bundle.from_modules import parts_with
from l4lab.bundle.part import Build, Part
from l4lab.bundle.pins import FirstUse
from l4lab.bundle.releases import (
    File,
    files_of_release,
    in_one_line,
    ranked,
    sources,
    unanswered,
)
from l4lab.bundle.transfer import Limits, Web
from l4lab.errors import BundleError
from l4lab.origin import RELEASED, Origin

LIMITS: Final = Limits()
# Which releases make a part; the others make the part of their name.
_RELEASES: Final = {"pulumi": ("pulumi", "pulumi-kubernetes")}
PARTS: Final = ("containerd", "etcd", "coredns", "cni", "kubernetes", "pulumi")


def parts(origin: Origin, first_use: Path, limits: Limits | None = None) -> tuple[Part, ...]:
    """All parts of the bundle; each comes after those it needs.

    Args:
        origin: Names the mirrors, and says whether machines are made of it.
        first_use: The file that remembers what each file was when it was first used.
        limits: When a transfer is given up.
    """
    released = {
        name: upstream_part(name, origin, first_use=first_use, limits=limits) for name in PARTS
    }
    return parts_with(released, local=origin.local)


def upstream_part(
    name: str, origin: Origin, *, first_use: Path, limits: Limits | None = None
) -> Part:
    """The part that holds a component's programs, as officially released.

    Its key follows from versions, files and pins, and not from mirrors: whoever gives a file, it is
    the same by its digest.
    """
    files = {one: files_of_release(one) for one in _RELEASES.get(name, (name,))}

    def build(build: Build) -> None:
        fetcher = Fetcher(web=Web(limits or LIMITS), first_use=FirstUse(first_use))
        got = []
        for component, wanted in files.items():
            build.doing(f"which mirror has {component}")
            found, silent = ranked(sources(component, origin), wanted[0], fetcher.web.answers)
            if not found:
                raise silence({component: in_one_line(silent)})
            for file in wanted:
                got.append(fetcher.fetch(file, found, build.work / component, build.doing))
                build.doing(f"unpacking {file.name}")
                unpack(build.work / component / file.name, file, build.out)
                with build.log.open("a") as log:
                    log.write(f"{got[-1]}\n")
        build.facts["maker"] = "upstream"
        build.facts["releases"] = [asdict(one) for one in got]

    return Part(name=name, inputs=f"upstream\n{files}\n1", build=build, gib=1)


def silence(silent: dict[str, str]) -> BundleError:
    """The error that nobody has the releases of some components."""
    return BundleError(
        f"no mirror answers for {', '.join(silent)}",
        in_one_line(silent),
        "name a mirror in [bundle] of l4lab.toml, or build: ./l4lab bundle --from modules",
    )


def silent_releases(origin: Origin, limits: Limits | None = None) -> dict[str, str]:
    """Components that no mirror answers for, and why; empty where upstream can be used."""
    return unanswered(RELEASED, origin, Web(limits or LIMITS))


def unpack(path: Path, file: File, out: Path) -> None:
    """Put the programs of a proved file into their places, and nothing else that is in it.

    Raises:
        BundleError: It is no archive, or lacks one.
    """
    wanted = dict(file.members)
    for place in wanted.values():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
    if "" in wanted:
        program = out / wanted[""]
        os.link(path, program)
        program.chmod(0o755)
        return
    scratch = path.with_name(path.name + ".out")
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                # Links are left out, too: what is wanted is a program and not a way to one.
                wants = name in wanted and member.isfile()
                content = archive.extractfile(member) if wants else None
                if content:
                    with scratch.open("wb") as copy:
                        shutil.copyfileobj(content, copy)
                    scratch.chmod(0o755)
                    scratch.replace(out / wanted.pop(name))
    except (OSError, EOFError, tarfile.TarError, zlib.error) as failed:
        raise BundleError(f"cannot unpack {file.name}", str(failed)) from failed
    if wanted:
        raise BundleError(
            f"{file.name} has another content than it should",
            f"it lacks {', '.join(wanted)}",
            "./l4lab bundle --from modules",
        )
