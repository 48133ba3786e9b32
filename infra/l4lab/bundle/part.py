"""Parts of the bundle: made once, kept in the cache under the digest of what they are made from.

A part is a folder. It is built in a working folder beside its place and moved there when it is
whole, so an interrupted build leaves nothing that looks finished. A lock a part keeps two builds
apart: the second waits, then finds the part ready.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from l4lab.bundle.failures import told
from l4lab.command import run
from l4lab.errors import BundleError

MANIFEST = "manifest.json"
MOUNTS = Path("/proc/self/mounts")
_BLOCK = 1 << 20
_SCRATCH = "tmp"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: what it is made from, and how.

    Attributes:
        name: Its name in progress lines and in the cache.
        inputs: Everything its content follows from, as text (versions, configuration, recipe).
        build: Makes it; see ``Build``.
        needs: Parts it is made from.
        packages: Debian packages the build needs on this machine.
        inner: Only other parts use it: it does not go into the bundle.
        as_root: Only root can make it. Not in its key: it says who, and not what.
        gib: Free disk its build may take, with what stays in Go's caches; nor is this in its key.
    """

    name: str
    inputs: str
    build: Callable[[Build], None]
    needs: tuple[Part, ...] = ()
    packages: tuple[str, ...] = ()
    inner: bool = False
    as_root: bool = False
    gib: float = 0.0

    @property
    def key(self) -> str:
        """The digest of all it follows from, its needs' included."""
        digest = hashlib.sha256(f"{self.name}\0{self.inputs}".encode())
        for need in self.needs:
            digest.update(need.key.encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a build function gets.

    Attributes:
        out: An empty folder to fill: its tree is the part.
        work: A folder that outlives an interrupted build, to go on from.
        log: Where programs' output goes.
        needs: The folders of the parts it needs, by name.
        doing: Tells the progress line what it is at.
        facts: What the build adds to the part's manifest about how it was made.
    """

    out: Path
    work: Path
    log: Path
    needs: dict[str, Path]
    doing: Callable[[str], None]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def scratch(self) -> dict[str, str]:
        """Variables that keep what programs write for a moment off /tmp, often small memory."""
        folder = self.work / _SCRATCH
        folder.mkdir(exist_ok=True)
        return {"TMPDIR": str(folder), "GOTMPDIR": str(folder)}


@dataclass(frozen=True)
class PartCache:
    """The folder where finished parts lie."""

    root: Path

    def folder(self, part: Part) -> Path:
        """Where the part lies, or will."""
        return self.root / f"{part.name}-{part.key}"

    def ready(self, part: Part) -> bool:
        """Whether the part is there whole."""
        return (self.folder(part) / MANIFEST).is_file()

    def make(self, part: Part, doing: Callable[[str], None], *, anew: bool = False) -> Path:
        """Build the part unless it is there; return its folder.

        Args:
            part: The part.
            doing: Is told what is being done.
            anew: Build it though it is there; what is there stays until the new one is whole.

        Raises:
            BundleError: The build failed; ``details`` is its log.
        """
        final = self.folder(part)
        if self.ready(part) and not anew:
            return final
        log = self.root / f"{part.name}.log"
        with told(f"part {part.name} of the bundle cannot be made", self.root, log=log):
            self.root.mkdir(parents=True, exist_ok=True)
            doing("waiting for another build of it")
            with locked(self.root / f"{part.name}-{part.key}.lock"):
                if not self.ready(part) or anew:
                    doing("starting")
                    self._build(part, log, doing)
        return final

    def _build(self, part: Part, log: Path, doing: Callable[[str], None]) -> None:
        final = self.folder(part)
        working = final.with_name(final.name + ".work")
        out = working / "out"
        # A half-filled output is worthless; what the build keeps beside it is not.
        shutil.rmtree(out, ignore_errors=True)
        remove(working / _SCRATCH)
        out.mkdir(parents=True)
        build = Build(
            out=out,
            work=working,
            log=log,
            needs={need.name: self.folder(need) for need in part.needs},
            doing=doing,
        )
        part.build(build)
        doing("taking digests")
        about = {"part": part.name, "key": part.key, **build.facts}
        write_manifest(out, about, files_of(out))
        shutil.rmtree(final, ignore_errors=True)
        out.rename(final)
        remove(working)


def remove(folder: Path) -> None:
    """Delete a working folder.

    A killed mmdebstrap leaves mounts in it, /sys among them: what lies below those is not ours.

    Raises:
        CommandError: A mount cannot be taken off.
    """
    points = [line.split()[1] for line in MOUNTS.read_text().splitlines()]
    plain = [point.replace(r"\040", " ") for point in points]
    for point in reversed([one for one in plain if one.startswith(f"{folder.resolve()}/")]):
        run(["umount", "--lazy", point], timeout=30)
    shutil.rmtree(folder, ignore_errors=True)


def files_of(folder: Path) -> dict[str, Any]:
    """SHA-256 and size in bytes of every file below ``folder``, by relative path."""
    return {
        str(path.relative_to(folder)): {"sha256": digest_of(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def write_manifest(folder: Path, about: dict[str, Any], files: dict[str, Any]) -> None:
    """Write the manifest of ``folder``: what it is, and what ``files_of`` says of its files."""
    text = json.dumps({**about, "files": files}, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of ``folder``.

    Raises:
        BundleError: There is none that can be read.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as failed:
        raise BundleError(
            f"the bundle in {folder} has no readable manifest",
            str(failed),
            "./l4lab bundle --repair",
        ) from failed
    return manifest


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def verify(folder: Path, *, again: bool = False) -> dict[str, Any]:
    """Check every file of ``folder`` against its manifest and return the manifest.

    A file whose size, times and inode are those of its last good reading is not read again
    (reading the disk image takes seconds), unless ``again`` is set.

    Raises:
        BundleError: A file is missing or damaged, or there is no manifest.
    """
    manifest = read_manifest(folder)
    seen_path = folder.with_name(folder.name + ".verified.json")
    try:
        seen = json.loads(seen_path.read_text())
    except (OSError, ValueError):
        seen = {}
    now = {}
    for name, facts in manifest["files"].items():
        path = folder / name
        try:
            status = path.stat()
        except OSError as failed:
            raise _damaged(path, "it is missing") from failed
        mark = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        if again or seen.get(name) != mark:
            if status.st_size != facts["size"]:
                raise _damaged(path, f"{status.st_size} bytes where {facts['size']} are right")
            if digest_of(path) != facts["sha256"]:
                raise _damaged(path, "its SHA-256 is not the manifest's")
        now[name] = mark
    if now != seen:
        # A bundle may be another user's; then each reads all of it each time.
        with suppress(OSError):
            seen_path.write_text(json.dumps(now))
    return manifest


def _damaged(path: Path, why: str) -> BundleError:
    return BundleError(
        f"the bundle is damaged: {path.name}", f"{path}: {why}", "./l4lab bundle --repair"
    )


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file while the block runs; yields whether it is held.

    Args:
        path: The lock file; made where it is not there.
        wait: Wait for whoever holds it, instead of going on without it.

    Raises:
        BundleError: The lock file cannot be made.
    """
    with told(f"cannot lock {path.name}", path.parent):
        file = path.open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
