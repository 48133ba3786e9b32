"""The bundle: all that goes on the machines, in one folder, with a manifest of SHA-256 digests.

Whatever made it, everything after it is the same: machines, playbooks and labs only see the folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tarfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from l4lab.bundle import from_upstream
from l4lab.bundle.debian import ensure_packages
from l4lab.bundle.failures import told
from l4lab.bundle.from_modules import parts
from l4lab.bundle.making import make_parts
from l4lab.bundle.part import (
    MANIFEST,
    Part,
    PartCache,
    locked,
    read_manifest,
    remove,
    verify,
    write_manifest,
)
from l4lab.bundle.python import LOCK
from l4lab.command import run
from l4lab.errors import BundleError
from l4lab.origin import MODULES, Origin
from l4lab.progress import Progress

_PACK_DEADLINE = 1800  # seconds, for a slow stick
_EVERY = Origin(maker="auto", local=False)  # any bundle serves who wants this one
BY_ROOT = (
    "run it once as root: sudo ./l4lab bundle --pack FILE; "
    "then, or with a FILE packed elsewhere: ./l4lab bundle --load FILE"
)


@dataclass(frozen=True)
class Bundle:
    """A finished bundle; kernel and disk are only in one that local machines are made of."""

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
    return parts(local=origin.local)


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
        origin: What it is made from; with ``auto``, one from upstream comes first. Where it need
            not have what local machines are made of, one that has it serves, too.
    """
    one = _there(origin)
    return Bundle(bundle_folder(one)) if one else None


def ensure(progress: Progress, *, origin: Origin = MODULES, again: bool = False) -> Bundle:
    """The bundle, made where it is not there, verified against its manifest.

    Args:
        progress: Gets one line a part.
        origin: What it is made from. With ``auto``, mirrors are asked only if none is there.
        again: Read every file anew instead of trusting files that did not change on disk.

    Raises:
        BundleError: A part could not be made, or a file is damaged.
    """
    with told("the bundle cannot be made", cache_folder()):
        found = find(origin)
        if found is None:
            found = _make(progress, _settled(origin, progress))
        verify(found.folder, again=again)
    return found


def repair(progress: Progress, *, origin: Origin = MODULES) -> Bundle:
    """Make again what is damaged; each thing that is there stays until the new one is whole.

    Raises:
        BundleError: A part could not be made.
    """
    with told("the bundle cannot be made", cache_folder()):
        cache = _cache()
        origin = _there(origin) or _settled(origin, progress)
        made = Bundle(bundle_folder(origin))
        damaged = {
            part.name
            for part in parts_of(origin)
            if cache.ready(part) and not _whole(cache.folder(part))
        }
        if damaged or not _whole(made.folder):
            made = _make(progress, origin, damaged=damaged)
            verify(made.folder, again=True)
    return made


def unmade(origin: Origin = MODULES) -> list[Part]:
    """The parts of a bundle that a build would make; with ``auto``, of the one from modules."""
    cache = _cache()
    return [part for part in parts_of(_concrete(origin)[-1]) if not cache.ready(part)]


def needed_gib(todo: Iterable[Part]) -> int:
    """How much free disk making those parts may take."""
    return math.ceil(sum(part.gib for part in todo))


def only_by_root(todo: Iterable[Part]) -> list[str]:
    """The names of those parts that this user cannot make."""
    return [part.name for part in todo if part.as_root and os.geteuid() != 0]


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


def _serving(origin: Origin) -> list[Origin]:
    """What serves who wants ``origin``, the best first; a bundle with more does."""
    return [
        replace(one, local=local)
        for one in _concrete(origin)
        for local in dict.fromkeys((origin.local, True))
    ]


def _there(origin: Origin) -> Origin | None:
    """The first that serves and whose bundle is there."""
    for one in _serving(origin):
        if (bundle_folder(one) / MANIFEST).is_file():
            return one
    return None


def _whole(folder: Path) -> bool:
    try:
        verify(folder, again=True)
    except BundleError:
        return False
    return True


def _settled(origin: Origin, progress: Progress) -> Origin:
    """What a bundle is made from that is not there, where that was left open.

    One that is there counts more than a better one: to make one takes long, and ``up`` must not
    wait for mirrors where there is no network. So this is not asked then.
    """
    if origin.maker != "auto":
        return origin
    upstream, modules = _concrete(origin)
    with progress.step("ask for official releases") as step:
        silent = from_upstream.silent_releases(origin)
        step.note = f"none of {', '.join(silent)}: made from modules" if silent else "they are had"
    for component, why in silent.items():
        progress.say(f"  {component}: {why}")
    return modules if silent else upstream


def pack(bundle: Bundle, target: Path) -> None:
    """Write the bundle as one file, to be carried to machines without a network.

    Raises:
        BundleError: It is damaged, or the file cannot be written.
    """
    verify(bundle.folder)
    held = sum(path.stat().st_blocks for path in bundle.folder.rglob("*")) >> 11
    # GNU tar and not tarfile: it leaves the holes out of the disk, which is mostly holes.
    words = ["tar", "--create", "--sparse", f"--file={target}"]
    words += [f"--directory={bundle.folder.parent}", bundle.folder.name]
    with told(f"cannot write {target}", target.parent, needed=f"the bundle takes {held} MiB"):
        run(words, timeout=_PACK_DEADLINE)


def load(source: Path) -> Bundle:
    """Take a bundle from a file that ``pack`` wrote, whatever it was made from.

    Raises:
        BundleError: It is not such a file, is damaged, or belongs to another catalogue.
    """
    known = {folder.name: folder for folder in map(bundle_folder, _serving(_EVERY))}
    working = bundle_folder().with_name(bundle_folder().name + ".load")
    shutil.rmtree(working, ignore_errors=True)
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
    except (OSError, tarfile.TarError) as failed:
        raise BundleError(f"cannot read {source}", str(failed)) from failed
    if first is None or first.name not in known:
        raise BundleError(
            f"{source} holds another bundle",
            f"it is {first.name if first else 'empty'}, this l4lab wants {' or '.join(known)}",
            "pack it with the same version of l4lab",
        )
    wanted = known[first.name]
    # GNU tar leaves out what would lie elsewhere; Debian 12's tarfile cannot.
    words = ["tar", "--extract", "--no-same-owner", f"--file={source}", f"--directory={working}"]
    needed = f"the file takes {source.stat().st_size >> 20} MiB"
    try:
        with told(f"cannot take the bundle from {source}", working.parent, needed=needed):
            working.mkdir(parents=True)
            run(words, timeout=_PACK_DEADLINE)
            verify(working / wanted.name, again=True)
            shutil.rmtree(wanted, ignore_errors=True)
            (working / wanted.name).rename(wanted)
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
    origins = _serving(_EVERY)
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
                remove(folder)
                folder.with_name(folder.name + ".verified.json").unlink(missing_ok=True)
                gone.append(folder)
    return gone


def _cache() -> PartCache:
    return PartCache(cache_folder() / "bundle" / "parts")


def _make(progress: Progress, origin: Origin, damaged: Collection[str] | None = None) -> Bundle:
    """Make what is missing; in a repair, also what is damaged, and the folder anew."""
    cache = _cache()
    cache.root.mkdir(parents=True, exist_ok=True)
    again = damaged or ()
    todo = [one for one in parts_of(origin) if one.name in again or not cache.ready(one)]
    names = only_by_root(todo)
    if names:
        raise BundleError(
            f"parts of the bundle must be made by root: {', '.join(names)}",
            "files in them belong to root, and making those needs the right to say so",
            BY_ROOT,
        )
    if todo:
        free = shutil.disk_usage(cache.root).free / 2**30
        needed = needed_gib(todo)
        if free < needed:
            raise BundleError(
                f"too little disk to build the bundle: {free:.0f} GiB are free",
                f"what is to be made takes up to {needed} GiB below {cache.root}",
                "free some, or put the cache elsewhere with L4LAB_CACHE",
            )
        _install_packages(todo, cache, progress)
    make_parts(todo, cache, progress, anew=again)
    return _assemble(cache, origin, anew=damaged is not None)


def _install_packages(todo: list[Part], cache: PartCache, progress: Progress) -> None:
    names = sorted({name for part in todo for name in part.packages})
    with progress.step("packages the build needs"):
        ensure_packages(names, cache.root / "packages.log")


def _assemble(cache: PartCache, origin: Origin, *, anew: bool) -> Bundle:
    """Put all parts into one folder, as hard links: nothing is there twice."""
    final = bundle_folder(origin)
    with locked(final.with_name(final.name + ".lock")):
        if anew or not (final / MANIFEST).is_file():
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
