"""The bundle: all that goes on the machines, in one folder, with a manifest of SHA-256 digests.

Whatever made it, everything after it is the same: machines, playbooks and labs only see the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l4lab.bundle.debian import ensure_packages
from l4lab.bundle.from_modules import parts
from l4lab.bundle.part import (
    MANIFEST,
    Part,
    PartCache,
    locked,
    read_manifest,
    verify,
    write_manifest,
)
from l4lab.bundle.python import LOCK
from l4lab.command import run
from l4lab.errors import BundleError
from l4lab.progress import Progress, Step

_PACK_DEADLINE = 1800  # seconds, for a slow stick
NEEDED_GIB = 20  # free disk for a cold build, kernel tree and Go's caches included


@dataclass(frozen=True)
class Bundle:
    """A finished bundle."""

    folder: Path

    @property
    def kubectl(self) -> Path:
        """The kubectl of the cluster's version."""
        return self.folder / "bin" / "kubectl"

    @property
    def pulumi(self) -> Path:
        """The Pulumi CLI."""
        return self.folder / "bin" / "pulumi"

    @property
    def kernel(self) -> Path:
        """The User-Mode Linux kernel."""
        return self.folder / "kernel" / "linux"

    @property
    def disk(self) -> Path:
        """The base disk of local machines."""
        return self.folder / "disk" / "base.img"


def cache_folder() -> Path:
    """Where things that outlive a clone are kept: ``L4LAB_CACHE``, else ``~/.cache/l4lab``."""
    own = os.environ.get("L4LAB_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "l4lab"


def bundle_folder() -> Path:
    """Where the bundle of this catalogue lies, or will; its name says what it is made from."""
    # The Python packages count by what is wanted, not by the Python they were fetched for: a
    # machine with another Python takes all the rest of a bundle.
    keys = [part.key for part in parts() if not part.inner and part.name != "python"]
    text = "\n".join([*keys, LOCK.read_text()])
    return cache_folder() / "bundle" / hashlib.sha256(text.encode()).hexdigest()[:16]


def find() -> Bundle | None:
    """The bundle of this catalogue if it is there whole; not verified."""
    folder = bundle_folder()
    return Bundle(folder) if (folder / MANIFEST).is_file() else None


def ensure(progress: Progress, *, again: bool = False) -> Bundle:
    """The bundle, made where it is not there, verified against its manifest.

    Args:
        progress: Gets one line a part.
        again: Read every file anew instead of trusting files that did not change on disk.

    Raises:
        BundleError: A part could not be made, or a file is damaged.
    """
    found = find()
    if found is None:
        found = _make(progress)
    verify(found.folder, again=again)
    return found


def repair(progress: Progress) -> Bundle:
    """Throw away what is damaged, and make it again.

    Raises:
        BundleError: A part could not be made.
    """
    cache = _cache()
    for part in parts():
        if cache.ready(part):
            try:
                verify(cache.folder(part), again=True)
            except BundleError:
                shutil.rmtree(cache.folder(part))
    shutil.rmtree(bundle_folder(), ignore_errors=True)
    return ensure(progress, again=True)


def pack(bundle: Bundle, target: Path) -> None:
    """Write the bundle as one file, to be carried to machines without a network."""
    verify(bundle.folder)
    # GNU tar and not tarfile: it leaves the holes out of the disk, which is mostly holes.
    run(
        [
            "tar",
            "--create",
            "--sparse",
            f"--file={target}",
            f"--directory={bundle.folder.parent}",
            bundle.folder.name,
        ],
        timeout=_PACK_DEADLINE,
    )


def load(source: Path) -> Bundle:
    """Take a bundle from a file that ``pack`` wrote.

    Raises:
        BundleError: It is not such a file, is damaged, or belongs to another catalogue.
    """
    wanted = bundle_folder()
    working = wanted.with_name(wanted.name + ".load")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
            if first is None or first.name != wanted.name:
                raise BundleError(
                    f"{source} holds another bundle",
                    f"it is {first.name if first else 'empty'}, this l4lab wants {wanted.name}",
                    "pack it with the same version of l4lab",
                )
            archive.extractall(working, filter="data")
        verify(working / wanted.name, again=True)
        shutil.rmtree(wanted, ignore_errors=True)
        (working / wanted.name).rename(wanted)
    except (OSError, tarfile.TarError) as failed:
        raise BundleError(f"cannot read {source}", str(failed)) from failed
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return Bundle(wanted)


def prune(keep: Iterable[Path]) -> list[Path]:
    """Delete bundles and parts of other catalogues from the cache.

    Args:
        keep: Files that are still needed; the bundle a file lies in stays.

    Returns:
        What was deleted.
    """
    root = bundle_folder().parent
    needed = {bundle_folder()} | {
        root / path.relative_to(root).parts[0] for path in keep if path.is_relative_to(root)
    }
    cache = _cache()
    current = {cache.folder(part) for part in parts()}
    gone = []
    for folder in (*root.glob("*"), *cache.root.glob("*")):
        here = folder in needed | current | {cache.root} or folder.suffix == ".load"
        if here or not folder.is_dir():
            continue
        # Somebody may be at it right now: then it is no old one.
        with locked(
            folder.with_name(folder.name.removesuffix(".work") + ".lock"), wait=False
        ) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)
                folder.with_name(folder.name + ".verified.json").unlink(missing_ok=True)
                gone.append(folder)
    return gone


def _cache() -> PartCache:
    return PartCache(cache_folder() / "bundle" / "parts")


def _make(progress: Progress) -> Bundle:
    cache = _cache()
    cache.root.mkdir(parents=True, exist_ok=True)
    todo = [part for part in parts() if not cache.ready(part)]
    if todo:
        free = shutil.disk_usage(cache.root).free / 2**30
        if free < NEEDED_GIB:
            raise BundleError(
                f"too little disk to build the bundle: {free:.0f} GiB are free",
                f"a build from nothing takes up to {NEEDED_GIB} GiB below {cache.root}",
                "free some, or put the cache elsewhere with L4LAB_CACHE",
            )
        _install_packages(todo, cache, progress)
    for number, part in enumerate(todo, 1):
        with progress.step(f"bundle {number}/{len(todo)}: {part.name}") as step:

            def doing(text: str, step: Step = step) -> None:
                step.doing = text

            cache.make(part, doing)
    return _assemble(cache)


def _install_packages(todo: list[Part], cache: PartCache, progress: Progress) -> None:
    names = sorted({name for part in todo for name in part.packages})
    with progress.step("packages the build needs"):
        ensure_packages(names, cache.root / "packages.log")


def _assemble(cache: PartCache) -> Bundle:
    """Put all parts into one folder, as hard links: nothing is there twice."""
    final = bundle_folder()
    with locked(final.with_name(final.name + ".lock")):
        found = find()
        if found is None:
            _link_parts(cache, final)
    return Bundle(final)


def _link_parts(cache: PartCache, final: Path) -> None:
    working = final.with_name(final.name + ".work")
    shutil.rmtree(working, ignore_errors=True)
    files: dict[str, Any] = {}
    for part in parts():
        if part.inner:
            continue
        files |= read_manifest(cache.folder(part))["files"]
        shutil.copytree(
            cache.folder(part),
            working,
            dirs_exist_ok=True,
            copy_function=os.link,
            ignore=shutil.ignore_patterns(MANIFEST),
        )
    write_manifest(working, {"bundle": final.name, "maker": "modules"}, files)
    shutil.rmtree(final, ignore_errors=True)
    working.rename(final)
