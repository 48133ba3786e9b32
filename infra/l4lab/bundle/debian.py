"""What the bundle takes from Debian's archive, by the machine's own apt settings and keys."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from l4lab.command import CommandError, run
from l4lab.errors import BundleError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def missing_packages(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are not installed on this machine."""
    names = list(names)
    if not names:
        return []
    asked = run(
        ["dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Abbrev}\n", *names],
        timeout=30,
        check=False,
    )
    have = {line.split()[0].split(":")[0] for line in asked.stdout.splitlines() if " ii" in line}
    return [name for name in names if name not in have]


def ensure_packages(names: Iterable[str], log: Path) -> None:
    """Install what is missing, where we are root or may use sudo without a password.

    Raises:
        BundleError: We may not, or apt-get failed.
    """
    missing = missing_packages(names)
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    by_hand = "sudo apt-get install " + " ".join(missing)
    prefix: list[str] = []
    if os.geteuid() != 0:
        prefix = ["sudo", "-n"]
        if (
            not shutil.which("sudo")
            or not run([*prefix, "true"], timeout=10, check=False).succeeded
        ):
            raise BundleError(
                f"Debian packages are missing: {' '.join(missing)}",
                "this user may not install packages",
                by_hand,
            )
    settings = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=120"]
    try:
        # An update first: a machine that was just made has no lists at all.
        run([*prefix, *settings, "update", "-qq"], timeout=300, check=False)
        done = run([*prefix, *settings, *command[1:]], timeout=900)
    except CommandError as failed:
        raise BundleError(
            f"could not install {' '.join(missing)}", failed.reason, by_hand
        ) from failed
    with log.open("a") as file:
        file.write(done.stdout + done.stderr)


def mirrors() -> dict[str, str]:
    """The archives that this machine's own apt uses: ``main`` and ``security`` to their address.

    Raises:
        BundleError: apt names no Debian archive here (another distribution, or no lists).
    """
    listed = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(COMPONENT)", "Created-By: Packages"],
        timeout=60,
    ).stdout
    found: dict[str, str] = {}
    for line in listed.splitlines():
        address, _, component = line.partition(" ")
        if component == "main" and re.search(r"/debian/?$", address):
            found.setdefault("main", address)
        elif component == "main" and re.search(r"/debian-security/?$", address):
            found.setdefault("security", address)
    if "main" not in found:
        raise BundleError(
            "apt names no Debian archive on this machine",
            "the bundle takes kernel source and packages from Debian's archive",
            "build the bundle on a Debian machine and copy it: ./l4lab bundle --pack FILE",
        )
    return found


def sources(suite: str) -> list[str]:
    """The ``deb`` lines of a stable suite with its updates, from this machine's archives."""
    known = mirrors()
    signed = f"[signed-by={KEYRING}]"
    lines = [f"deb {signed} {known['main']} {name} main" for name in (suite, f"{suite}-updates")]
    if "security" in known:
        lines.append(f"deb {signed} {known['security']} {suite}-security main")
    return lines


class Archive:
    """Another suite of Debian's archive, with lists of its own: the machine's stay as they are."""

    def __init__(self, folder: Path, suite: str) -> None:
        """Use ``folder`` for the lists of ``suite``."""
        self.folder = folder
        for name in ("state/lists/partial", "cache/archives/partial", "parts"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        source = folder / "sources.list"
        source.write_text(f"deb [signed-by={KEYRING}] {mirrors()['main']} {suite} main\n")
        self._options = [
            word
            for option in (
                f"Dir::State={folder}/state",
                f"Dir::Cache={folder}/cache",
                f"Dir::Etc::sourcelist={source}",
                f"Dir::Etc::sourceparts={folder}/parts",
                f"Dir::Etc::preferencesparts={folder}/parts",
                # A suite that is always moving may carry a Release file past its date.
                "Acquire::Check-Valid-Until=false",
                "APT::Sandbox::User=root",
            )
            for word in ("-o", option)
        ]

    def update(self) -> None:
        """Fetch the lists."""
        run(["apt-get", *self._options, "update", "-qq"], timeout=300)

    def search(self, pattern: str) -> list[str]:
        """Names of packages that match a regular expression."""
        found = run(["apt-cache", *self._options, "search", "--names-only", pattern], timeout=60)
        return [line.split(" ", 1)[0] for line in found.stdout.splitlines()]

    def download(self, package: str) -> Path:
        """Fetch a package's file into the folder and return it."""
        run(["apt-get", *self._options, "download", package], timeout=900, cwd=self.folder)
        return max(self.folder.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
