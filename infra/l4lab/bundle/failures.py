"""What programs and the file system say while a bundle is made, as the bundle's own error."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from l4lab.command import CommandError
from l4lab.errors import FULL_DISK, BundleError

NEEDED_GIB: Final = 20  # free disk for a cold build, kernel tree and Go's caches included
# What programs say of it, in the language of C.
_SAID: Final = ("no space left on device", "disk quota exceeded")
_COLD: Final = f"a build from nothing takes up to {NEEDED_GIB} GiB"


@contextlib.contextmanager
def told(
    what: str, folder: Path, *, log: Path | None = None, needed: str = _COLD
) -> Iterator[None]:
    """Tell a program that fails, or a file that cannot be written, while the block runs.

    Args:
        what: What cannot be done then: the brief line of the error.
        folder: What is written lies below it.
        log: Gets what the program said, and is named in the error.
        needed: How much disk it takes, for the error where that is full.

    Raises:
        BundleError: A program failed, or the system refused.
    """
    try:
        yield
    except CommandError as failed:
        said = failed.result.stdout + failed.result.stderr if failed.result else ""
        if log and said:
            with contextlib.suppress(OSError), log.open("a") as file:
                file.write(said)
        if any(words in f"{failed.reason}\n{said}".lower() for words in _SAID):
            raise _full(what, folder, needed) from failed
        raise BundleError(
            what,
            failed.one_line,
            failed.resolution or "mend what it says, then the same command goes on from here",
            details=failed.details or log,
        ) from failed
    except OSError as failed:
        if failed.errno in FULL_DISK:
            raise _full(what, folder, needed) from failed
        raise BundleError(
            what, str(failed), "L4LAB_CACHE puts the cache where this user may write"
        ) from failed


def _full(what: str, folder: Path, needed: str) -> BundleError:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(there).free >> 20
    return BundleError(
        f"{what}: the disk is full",
        f"{free} MiB are free below {folder}, and {needed}",
        "free some, or put the cache elsewhere with L4LAB_CACHE; parts that are whole stay",
    )
