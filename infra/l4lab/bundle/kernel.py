"""The kernel of local machines: User-Mode Linux, built from Debian's kernel source package."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from l4lab.bundle.catalog import catalog
from l4lab.bundle.debian import Archive
from l4lab.bundle.golang import TOOLS
from l4lab.bundle.part import Build, Part
from l4lab.command import run, stream
from l4lab.errors import BundleError

CONFIG = TOOLS / "kernel" / "config"
_PACKAGES = (
    "bc",
    "bison",
    "flex",
    "gcc",
    "libc6-dev",
    "libelf-dev",
    "libssl-dev",
    "make",
    "xz-utils",
)


def kernel_part() -> Part:
    """The part that holds ``kernel/linux``, an ordinary program that is a Linux kernel."""
    wanted = catalog()["kernel"]
    return Part(
        name="kernel",
        inputs=f"{wanted}\n{CONFIG.read_text()}\n1",
        build=_build,
        packages=_PACKAGES,
        gib=3,
    )


def _build(build: Build) -> None:
    wanted = catalog()["kernel"]
    tree = build.work / "source"
    unpacked = build.work / "unpacked"
    if not unpacked.exists():
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        build.doing("finding the newest kernel source")
        archive = Archive(build.work / "archive", wanted["suite"])
        archive.update()
        package = _newest(archive.search(r"^linux-source-[0-9.]+$"), wanted["minimum"])
        build.doing(f"fetching {package}")
        downloaded = archive.download(package)
        build.doing(f"unpacking {downloaded.name}")
        run(["dpkg-deb", "-x", downloaded, build.work / "package"], timeout=600)
        source = next((build.work / "package" / "usr" / "src").glob("linux-source-*.tar.xz"))
        run(["tar", "-xf", source, "-C", tree, "--strip-components=1"], timeout=900)
        downloaded.unlink()
        shutil.rmtree(build.work / "package")
        unpacked.write_text(downloaded.name + "\n")
    cpus = len(os.sched_getaffinity(0))
    target = ["make", "ARCH=um", f"-j{cpus}"]
    build.doing("configuring")
    stream([*target, "defconfig"], timeout=300, log=build.log, env=build.scratch, cwd=tree)
    with (tree / ".config").open("a") as file:
        file.write(CONFIG.read_text())
    stream([*target, "olddefconfig"], timeout=300, log=build.log, env=build.scratch, cwd=tree)
    _require(tree / ".config")
    count = 0

    def compiled(line: str) -> None:
        nonlocal count
        count += 1
        build.doing(f"{count} steps, {line.strip()[:60]}")

    # A step of make that is done stays done: an interrupted build goes on here.
    stream(
        [*target, "linux"],
        timeout=3600,
        log=build.log,
        on_line=compiled,
        env=build.scratch,
        cwd=tree,
    )
    (build.out / "kernel").mkdir()
    run(["strip", "-o", build.out / "kernel" / "linux", tree / "linux"], timeout=60)
    shutil.copy2(tree / ".config", build.out / "kernel" / "config")
    shutil.copy2(unpacked, build.out / "kernel" / "source")


def _newest(packages: list[str], minimum: str) -> str:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", text))

    good = [name for name in packages if number(name) >= number(minimum)]
    if not good:
        raise BundleError(
            f"Debian's archive has no kernel source of {minimum} or newer",
            f"it has: {', '.join(packages) or 'none'}",
        )
    return max(good, key=number)


def _require(config: Path) -> None:
    """Refuse a configuration that silently lost what we asked for (renamed or unmet options)."""
    have = set(config.read_text().splitlines())
    lost = [
        line
        for line in CONFIG.read_text().splitlines()
        if line.startswith("CONFIG_") and line not in have
    ]
    if lost:
        raise BundleError("the kernel does not take our configuration", ", ".join(lost))
