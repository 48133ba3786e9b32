"""One file of a release, from whichever mirror has it, proved by its SHA-256 before it is used."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from l4lab.bundle.part import digest_of
from l4lab.bundle.pins import FirstUse, published
from l4lab.bundle.releases import FILE, File, Source, in_one_line
from l4lab.bundle.transfer import Amount, TransferError, Web
from l4lab.errors import BundleError

_ASK_LESS = "name another mirror in [bundle] of l4lab.toml, or build: ./l4lab bundle --from modules"
_PIN, _FIRST_USE = "pin", "first use"
Doing = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that is there, and how.

    Attributes:
        file: What it is called on all mirrors.
        sha256: Its digest.
        proved_by: ``pin`` (upstream.toml), ``first use``, or the address that published the digest.
        mirror: The address it came from.
    """

    file: str
    sha256: str
    proved_by: str
    mirror: str


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A file to bring: what it must be, where it grows, until when."""

    file: File
    sha256: str
    part: Path
    until: float
    doing: Doing


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Fetches files of releases into a folder."""

    web: Web
    first_use: FirstUse

    def fetch(self, file: File, found: list[Source], folder: Path, doing: Doing) -> Fetched:
        """Bring a file, unless it is there and right.

        Args:
            file: The file.
            found: Where it may be had, the best first.
            folder: Where it is put, under its name; what came of it stays there, to go on from.
            doing: Is told how far it is.

        Raises:
            BundleError: Nobody has it, what proves it is not known, or it is another than before.
        """
        doing(f"{file.name}: what proves it")
        sha256, proved_by, found, troubles = self._wanted(file, found)
        target = folder / file.name
        receipt = folder / f"{file.name}.receipt.json"
        if target.is_file() and receipt.is_file() and digest_of(target) == sha256:
            return Fetched(**json.loads(receipt.read_text()))
        folder.mkdir(parents=True, exist_ok=True)
        job = _Job(
            file=file,
            sha256=sha256,
            part=folder / f"{file.name}.part",
            until=time.monotonic() + self.web.limits.whole,
            doing=doing,
        )
        source = self._bring(job, found, troubles)
        if proved_by not in (_PIN, _FIRST_USE):
            self.first_use.remember(file.key, sha256=sha256, told_by=proved_by)
        got = Fetched(file=file.key, sha256=sha256, proved_by=proved_by, mirror=source.address)
        # Seen only now that it is proved, and known where from.
        receipt.write_text(json.dumps(asdict(got)))
        job.part.replace(target)
        job.part.with_name(job.part.name + ".json").unlink(missing_ok=True)
        return got

    def _wanted(
        self, file: File, found: list[Source]
    ) -> tuple[str, str, list[Source], dict[str, str]]:
        """The digest a file must have, who says so, and the sources that do not say otherwise."""
        if file.sha256:
            return file.sha256, _PIN, found, {}
        before = self.first_use.digest(file.key)
        troubles: dict[str, str] = {}
        agree: list[Source] = []
        # The project's own word first: a mirror that lies could lie about both.
        for source in sorted(found, key=lambda one: not one.official):
            try:
                told = published(self.web.text(source.address + file.checksum), file.name)
                why = f"{file.checksum} names no SHA-256 of it"
            except TransferError as failed:
                told, why = None, f"{file.checksum}: {failed}"
            if told and not before:
                return told, source.address, found, troubles
            if told and told != before:
                why = f"it publishes {told}"
            else:
                agree.append(source)
            if not told or told != before:
                troubles[source.name] = why
        if before and agree:
            return before, _FIRST_USE, [one for one in found if one in agree], troubles
        if before:
            raise BundleError(
                f"{file.name} is another than at its first use",
                f"it was {before}; {in_one_line(troubles)}",
                f"find out why; if that is right, delete [{json.dumps(file.key)}] in "
                f"{self.first_use.path}",
            )
        raise BundleError(
            f"nothing proves {file.name}",
            f"it is not pinned, and no mirror publishes its SHA-256: {in_one_line(troubles)}",
            f"pin it in {FILE.name}, or build: ./l4lab bundle --from modules",
        )

    def _bring(self, job: _Job, found: list[Source], troubles: dict[str, str]) -> Source:
        """Ask the mirrors in turn, again and again as long as more of the file comes."""
        limits, name = self.web.limits, job.file.name
        left, idle, first = list(found), 0, True
        while left and idle < limits.rounds and time.monotonic() < job.until:
            if not first:
                job.doing(f"{name}: waiting, {in_one_line(troubles)}")
                time.sleep(limits.pause)
            first, before = False, _size(job.part)
            for source in tuple(left):
                try:
                    self._try(job, source)
                except TransferError as failed:
                    troubles[source.name] = str(failed)
                    if failed.lasting:
                        left.remove(source)
                else:
                    return source
            idle = 0 if _size(job.part) > before else idle + 1
        raise BundleError(
            f"no mirror gives {name}",
            in_one_line(troubles) or f"not within {limits.whole:g} s",
            f"the same command goes on where it ended; {_ASK_LESS}",
        )

    def _try(self, job: _Job, source: Source) -> None:
        """Bring the rest of a file from one mirror and prove the whole."""

        def tell(amount: Amount) -> None:
            job.doing(f"{job.file.name} {amount}, {source.name}")

        resumed = _size(job.part) > 0
        self.web.bring(source.address + job.file.path, job.part, until=job.until, tell=tell)
        digest = digest_of(job.part)
        if digest == job.sha256:
            return
        job.part.unlink()
        if not resumed:
            raise TransferError(f"its SHA-256 is {digest}, {job.sha256} is right", lasting=True)
        # The beginning may be another mirror's, or damaged: this one gets its own chance.
        self._try(job, source)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
