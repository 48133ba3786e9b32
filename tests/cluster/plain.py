"""A disk that l4lab had no hand in: plain Debian with systemd, sshd, sudo and Python, no more.

Only how it gets an address and its keys at boot is ours (the seed of local machines), for a cloud
does that to its machines too. It has no internet; its apt knows one archive, a folder on the disk
with the packages that the roles ask for, as an admin's mirror would have them.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from l4lab import bundle
from l4lab.bundle.catalog import catalog
from l4lab.bundle.debian import sources
from l4lab.bundle.disk import ROOT_DISK
from l4lab.bundle.golang import TOOLS
from l4lab.command import run
from l4lab.state import lock
from tests.cluster.host import into_host

BASE = (
    "apt", "ca-certificates", "dbus", "iproute2", "kmod", "openssh-server", "procps", "python3",
    "python3-apt", "sudo", "systemd", "systemd-sysv", "udev",
)  # fmt: skip
# What the roles install on nodes.
ROLE = Path(__file__).parents[2] / "playbooks/roles/prerequisites/vars/main.yml"
ASKED = tuple(yaml.safe_load(ROLE.read_text())["prerequisites_node_packages"].values())
SSHD = """\
# An admin's choice: keys only, and a second port.
Port 22
Port 2222
PasswordAuthentication no
UseDNS no
"""
# Nothing a lab's machine needs, and each costs time at boot or waits for hardware.
MASKED = ("systemd-udevd.service", "systemd-udev-trigger.service", "getty@tty1.service",
          "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
          "e2scrub_all.timer", "fstrim.timer", "systemd-timesyncd.service")  # fmt: skip
_DEADLINE = 900  # seconds; measured: about two minutes


@dataclass(frozen=True)
class PlainDisk:
    """What the local driver takes for a bundle: a kernel, and a disk that is not ours."""

    kernel: Path
    disk: Path


def plain_disk(suite: str | None = None) -> PlainDisk:
    """The disk of a Debian (the bundle's if none is named), kept by what it is made of."""
    suite = suite or catalog()["debian"]["suite"]
    kernel = bundle.find().kernel
    facts = [
        *map(inspect.getsource, (_build, _archive)),
        str((BASE, ASKED, SSHD, MASKED)),
        suite,
        *_seed_files(),
    ]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    folder = bundle.cache_folder() / "plain" / key
    with lock(folder.with_suffix(".lock"), "the plain disk"):
        if not (folder / "base.img").exists():
            working = folder.with_suffix(".new")
            shutil.rmtree(working, ignore_errors=True)
            working.mkdir()
            _build(working, suite)
            shutil.rmtree(working / "root")
            working.rename(folder)
    return PlainDisk(kernel, folder / "base.img")


def _seed_files() -> list[str]:
    disk = TOOLS / "disk"
    return [
        (disk / "usr/local/lib/l4lab/seed").read_text(),
        (disk / "etc/systemd/system/l4lab-seed.service").read_text(),
        str(ROOT_DISK),
    ]


def _build(working: Path, suite: str) -> None:
    # The packages the roles will ask for, as files: fetched beside, not installed.
    hook = working / "fetch"
    hook.write_text(
        "#!/bin/sh\nset -e\nexport APT_CONFIG=$MMDEBSTRAP_APT_CONFIG\n"
        f"apt-get -y -qq --download-only --no-install-recommends install {' '.join(ASKED)}\n"
        'mkdir -p "$1/srv/apt"\ncp "$1"/var/cache/apt/archives/*.deb "$1/srv/apt/"\n'
    )
    hook.chmod(0o755)
    root = working / "root"
    run(
        [
            *into_host(),  # tests are in a lab's network by now, from which no archive is reached
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(BASE)}",
            "--aptopt=APT::Install-Recommends false",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f'--customize-hook={hook} "$1"',
            "--format=directory",
            suite,
            root,
            *sources(suite),
        ],
        timeout=_DEADLINE,
    )
    _archive(root / "srv/apt")
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/apt ./\n")
    seed, unit, _ = _seed_files()
    target = root / "usr/lib/seed/seed"
    target.parent.mkdir()
    target.write_text(seed)
    target.chmod(0o755)
    units = root / "etc/systemd/system"
    (units / "seed.service").write_text(
        unit.replace("/usr/local/lib/l4lab/seed", str(Path("/") / target.relative_to(root)))
    )
    (units / "sysinit.target.wants").mkdir(exist_ok=True)
    (units / "sysinit.target.wants/seed.service").symlink_to("../seed.service")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    (root / "etc/ssh/sshd_config.d/site.conf").write_text(SSHD)
    for path in (root / "etc/ssh").glob("ssh_host_*"):
        path.unlink()
    (root / "etc/fstab").write_text("/dev/ubda / ext4 defaults,noatime 0 1\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("# no name server here\n")
    image = working / "base.img"
    run(
        ["mke2fs", "-q", "-t", "ext4", "-m", "0", "-E", "nodiscard", "-d", root, image, "8192M"],
        timeout=300,
    )


def _archive(folder: Path) -> None:
    """An index of a folder of packages: what apt asks for."""
    entries = []
    for package in sorted(folder.glob("*.deb")):
        control = run(["dpkg-deb", "--field", package], timeout=60).stdout.rstrip("\n")
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        size = package.stat().st_size
        entries.append(f"{control}\nFilename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n")
    if not entries:
        raise RuntimeError("apt fetched no packages")
    (folder / "Packages").write_text("\n".join(entries))
