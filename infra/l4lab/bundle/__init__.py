"""The bundle: all that goes on the machines, in one folder, with a manifest of SHA-256 digests.

Whatever made it, everything after it is the same: machines, playbooks and labs only see the folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from l4lab.bundle import from_upstream
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
from l4lab.command import CommandError, run
from l4lab.errors import BundleError
from l4lab.origin import MODULES, Origin
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


def parts_of(origin: Origin) -> tuple[Part, ...]:
    """All parts of the bundle of one maker; ``origin`` is not ``auto``."""
    if origin.maker == "upstream":
        return from_upstream.parts(origin, cache_folder() / "bundle" / "upstream.lock")
    return parts()


def bundle_folder(origin: Origin = MODULES) -> Path:
    """Where the bundle of this catalogue lies, or will; its name says what it is made from."""
    # The Python packages count by what is wanted, not by the Python they were fetched for: a
    # machine with another Python takes all the rest of a bundle.
    keys = [part.key for part in parts_of(origin) if not part.inner and part.name != "python"]
    text = "\n".join([*keys, LOCK.read_text()])
    return cache_folder() / "bundle" / hashlib.sha256(text.encode()).hexdigest()[:16]


def find(origin: Origin = MODULES) -> Bundle | None:
    """The bundle of this catalogue if it is there whole; not verified.

    Args:
        origin: What it is made from; with ``auto``, one from upstream comes first.
    """
    for one in _concrete(origin):
        folder = bundle_folder(one)
        if (folder / MANIFEST).is_file():
            return Bundle(folder)
    return None


def ensure(progress: Progress, *, origin: Origin = MODULES, again: bool = False) -> Bundle:
    """The bundle, made where it is not there, verified against its manifest.

    Args:
        progress: Gets one line a part.
        origin: What it is made from. With ``auto``, mirrors are asked only if none is there.
        again: Read every file anew instead of trusting files that did not change on disk.

    Raises:
        BundleError: A part could not be made, or a file is damaged.
    """
    found = find(origin)
    if found is None:
        found = _make(progress, _settled(origin, progress))
    verify(found.folder, again=again)
    return found


def repair(progress: Progress, *, origin: Origin = MODULES) -> Bundle:
    """Throw away what is damaged, and make it again.

    Raises:
        BundleError: A part could not be made.
    """
    cache = _cache()
    origin = _settled(origin, progress)
    for part in parts_of(origin):
        if cache.ready(part):
            try:
                verify(cache.folder(part), again=True)
            except BundleError:
                shutil.rmtree(cache.folder(part))
    shutil.rmtree(bundle_folder(origin), ignore_errors=True)
    return ensure(progress, origin=origin, again=True)


def makers(bundle: Bundle) -> dict[str, Any]:
    """How each part was made, from the manifest: its maker, and for a release also its files.

    Empty for a bundle that was made before manifests told this.

    Raises:
        BundleError: There is no manifest.
    """
    found: dict[str, Any] = read_manifest(bundle.folder).get("parts", {})
    return found


def _concrete(origin: Origin) -> list[Origin]:
    makers = ("upstream", "modules") if origin.maker == "auto" else (origin.maker,)
    return [replace(origin, maker=maker) for maker in makers]


def _settled(origin: Origin, progress: Progress) -> Origin:
    """What the bundle is made from after all, where that was left open.

    A bundle that is there counts more than a better one: to make one takes long, and ``up`` must
    not wait for mirrors where there is no network.
    """
    if origin.maker != "auto":
        return origin
    upstream, modules = _concrete(origin)
    for one in (upstream, modules):
        if find(one):
            return one
    with progress.step("ask for official releases") as step:
        silent = from_upstream.silent_releases(origin)
        step.note = f"none of {', '.join(silent)}: made from modules" if silent else "they are had"
    for component, why in silent.items():
        progress.say(f"  {component}: {why}")
    return modules if silent else upstream


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
    """Take a bundle from a file that ``pack`` wrote, whatever it was made from.

    Raises:
        BundleError: It is not such a file, is damaged, or belongs to another catalogue.
    """
    known = {folder.name: folder for folder in map(bundle_folder, _concrete(Origin(maker="auto")))}
    working = bundle_folder().with_name(bundle_folder().name + ".load")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
            if first is None or first.name not in known:
                raise BundleError(
                    f"{source} holds another bundle",
                    f"it is {first.name if first else 'empty'}, "
                    f"this l4lab wants {' or '.join(known)}",
                    "pack it with the same version of l4lab",
                )
            wanted = known[first.name]
        # GNU tar leaves out what would lie elsewhere; Debian 12's tarfile cannot.
        run(
            ["tar", "--extract", "--no-same-owner", f"--file={source}", f"--directory={working}"],
            timeout=_PACK_DEADLINE,
        )
        verify(working / wanted.name, again=True)
        shutil.rmtree(wanted, ignore_errors=True)
        (working / wanted.name).rename(wanted)
    except (OSError, tarfile.TarError) as failed:
        raise BundleError(f"cannot read {source}", str(failed)) from failed
    except CommandError as failed:
        raise BundleError(f"cannot read {source}", failed.reason or failed.brief) from failed
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
    origins = _concrete(Origin(maker="auto"))
    needed = set(map(bundle_folder, origins)) | {
        root / path.relative_to(root).parts[0] for path in keep if path.is_relative_to(root)
    }
    cache = _cache()
    current = {cache.folder(part) for one in origins for part in parts_of(one)}
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


def _make(progress: Progress, origin: Origin) -> Bundle:
    cache = _cache()
    cache.root.mkdir(parents=True, exist_ok=True)
    todo = [part for part in parts_of(origin) if not cache.ready(part)]
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
        after = cache.fetching(todo[number]) if number < len(todo) else nullcontext()
        with progress.step(f"bundle {number}/{len(todo)}: {part.name}") as step, after:

            def doing(text: str, step: Step = step) -> None:
                step.doing = text

            step.note = _told(read_manifest(cache.make(part, doing)))
    return _assemble(cache, origin)


def _told(manifest: dict[str, Any]) -> str:
    """Which mirrors a part came from, for its line."""
    hosts = [urlsplit(one["mirror"]).netloc for one in manifest.get("releases", ())]
    return f"from {', '.join(dict.fromkeys(hosts))}" if hosts else ""


def _install_packages(todo: list[Part], cache: PartCache, progress: Progress) -> None:
    names = sorted({name for part in todo for name in part.packages})
    with progress.step("packages the build needs"):
        ensure_packages(names, cache.root / "packages.log")


def _assemble(cache: PartCache, origin: Origin) -> Bundle:
    """Put all parts into one folder, as hard links: nothing is there twice."""
    final = bundle_folder(origin)
    with locked(final.with_name(final.name + ".lock")):
        found = find(origin)
        if found is None:
            _link_parts(cache, final, origin)
    return Bundle(final)


def _link_parts(cache: PartCache, final: Path, origin: Origin) -> None:
    working = final.with_name(final.name + ".work")
    shutil.rmtree(working, ignore_errors=True)
    files: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for part in parts_of(origin):
        manifest = read_manifest(cache.folder(part))
        made[part.name] = {"maker": manifest.get("maker", "modules")}
        if "releases" in manifest:
            made[part.name]["releases"] = manifest["releases"]
        if part.inner:
            continue
        files |= manifest["files"]
        shutil.copytree(
            cache.folder(part),
            working,
            dirs_exist_ok=True,
            copy_function=os.link,
            ignore=shutil.ignore_patterns(MANIFEST),
        )
    about = {"bundle": final.name, "maker": origin.maker, "parts": made}
    write_manifest(working, about, files)
    shutil.rmtree(final, ignore_errors=True)
    working.rename(final)
