"""The base disk of local machines: Debian, the bundle's programs, and the images already unpacked.

Every machine has a copy-on-write disk over this one file. Unpacking the images here, once, saves
each machine of each cluster minutes at its first start.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from l4lab.bundle.catalog import catalog, image_references
from l4lab.bundle.debian import sources
from l4lab.bundle.golang import TOOLS
from l4lab.bundle.part import Build, Part
from l4lab.command import run, stream
from l4lab.errors import BundleError

_FILES = TOOLS / "disk"
_NODE_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kubeadm", "kubectl")
# Nothing these do is wanted on a machine of a lab, and each costs time at boot.
_MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty@tty1.service",
    "ipvsadm.service",
    "logrotate.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-logind.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-random-seed.service",
    "systemd-timesyncd.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
)
# How a machine's kernel is told to use its disk. No barriers: a machine that dies leaves its writes
# in the host's cache, so only a crash of the host could lose them. The inode tables lie zeroed in a
# sparse file already: zeroing them again would fill every machine's copy-on-write disk.
ROOT_DISK = ("root=/dev/ubda", "rw", "rootfstype=ext4", "rootflags=nobarrier,noinit_itable")
_IMPORT_DEADLINE = 900  # seconds; measured: about one minute


def root_part() -> Part:
    """The part that holds ``root.tar``: a small Debian with what the machines need of it."""
    debian = catalog()["debian"]
    return Part(
        name="root",
        inputs=f"{debian}\n1",
        build=_build_root,
        packages=("debian-archive-keyring", "mmdebstrap"),
        inner=True,
        as_root=True,
        gib=1,
    )


def disk_part(root: Part, kernel: Part, images: Part, programs: Sequence[Part]) -> Part:
    """The part that holds ``disk/base.img``."""
    files = {str(path.relative_to(_FILES)): path.read_text() for path in _files()}
    return Part(
        name="disk",
        inputs=f"{catalog()['disk']}\n{files}\n{_MASKED}\n{_NODE_PROGRAMS}\n3",
        needs=(root, kernel, images, *programs),
        packages=("e2fsprogs",),
        as_root=True,
        gib=4,
        build=_build_disk,
    )


def _files() -> list[Path]:
    return sorted(path for path in _FILES.rglob("*") if path.is_file())


def _build_root(build: Build) -> None:
    debian = catalog()["debian"]
    stream(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(debian['packages'])}",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/info/*",
            "--format=tar",
            debian["suite"],
            build.out / "root.tar",
            *sources(debian["suite"]),
        ],
        timeout=1800,
        log=build.log,
        env=build.scratch,
        on_line=lambda line: build.doing(line.strip()[:70]),
    )


def _build_disk(build: Build) -> None:
    root = build.work / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(mode=0o755)
    build.doing("unpacking Debian")
    run(["tar", "-xf", build.needs["root"] / "root.tar", "-C", root], timeout=300)
    _customise(root, build)
    image = build.out / "disk" / "base.img"
    image.parent.mkdir()
    build.doing("writing the file system")
    run(
        [
            "mke2fs",
            "-q",
            "-t",
            "ext4",
            "-m",
            "0",
            "-L",
            "l4lab",
            "-E",
            "nodiscard",
            "-d",
            root,
            image,
            f"{catalog()['disk']['size_mib']}M",
        ],
        timeout=600,
    )
    shutil.rmtree(root)
    _import_images(build, image)


def _customise(root: Path, build: Build) -> None:
    shutil.copytree(_FILES, root, dirs_exist_ok=True)
    for program in _NODE_PROGRAMS:
        source = next(
            folder / "bin" / program
            for folder in build.needs.values()
            if (folder / "bin" / program).exists()
        )
        shutil.copy2(source, root / "usr/local/bin" / program)
    plugins = root / "opt/cni/bin"
    plugins.mkdir(parents=True)
    for component in ("cni", "calico"):
        for plugin in (build.needs[component] / "cni").iterdir():
            shutil.copy2(plugin, plugins / plugin.name)
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    units = root / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (units / "sysinit.target.wants").mkdir(exist_ok=True)
    (units / "sysinit.target.wants/l4lab-seed.service").symlink_to("../l4lab-seed.service")
    (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")
    # They are for one host each, whose role starts what it needs of them.
    for unit in ("mariadb.service", "nginx.service"):
        (units / "multi-user.target.wants" / unit).unlink(missing_ok=True)
    # Empty, not "uninitialized": that would make systemd enable every unit it finds.
    (root / "etc/machine-id").write_text("")
    # No pod sandbox starts where this file is missing.
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("# The lab network has no name server.\n")
    (root / "etc/hostname").unlink(missing_ok=True)
    about = {
        "programs": sorted(_NODE_PROGRAMS),
        "versions": {
            name: section["version"] for name, section in catalog().items() if "version" in section
        },
        "images": image_references(),
    }
    target = root / "usr/local/share/l4lab/bundle.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")


def _import_images(build: Build, image: Path) -> None:
    """Boot the disk once, with the image archive as its second disk, to unpack the images."""
    build.doing("unpacking the images in a machine")
    console = build.work / "console.log"
    console.unlink(missing_ok=True)
    uml = build.work / "uml"
    shutil.rmtree(uml, ignore_errors=True)
    uml.mkdir()
    cpu = min(os.sched_getaffinity(0))
    stream(
        [
            "taskset",
            "-c",
            str(cpu),
            build.needs["kernel"] / "kernel" / "linux",
            "umid=import",
            f"uml_dir={uml}/",
            f"ubd0={image}",
            f"ubd1r={build.needs['images']}/images/images.tar",
            *ROOT_DISK,
            "mem=1536M",
            "init=/usr/local/lib/l4lab/import-images",
            "con=null",
            "con0=null,fd:1",
            "seccomp=on",
            "panic=-1",
        ],
        timeout=_IMPORT_DEADLINE,
        log=console,
        env={"HOME": str(uml)},
        on_line=lambda line: build.doing(line.strip()[:70]),
    )
    said = console.read_text(errors="replace")
    with build.log.open("a") as log:
        log.write(said)
    missing = [name for name in image_references().values() if f"image: {name}" not in said]
    if "l4lab: images imported" not in said or missing:
        raise BundleError(
            "the images could not be unpacked on the base disk",
            f"missing: {', '.join(missing)}" if missing else said.strip().splitlines()[-1],
            "read the console in the log",
            details=build.log,
        )
