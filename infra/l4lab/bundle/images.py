"""Container images, made with umoci from the bundle's programs and from Debian packages.

All of them lie in one OCI archive, so that the layer kube-proxy and Calico share is there once.
They carry the names kubeadm and the labs ask for; a machine never pulls.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l4lab.bundle.catalog import catalog, image_references
from l4lab.bundle.debian import sources
from l4lab.bundle.golang import TOOLS
from l4lab.bundle.part import Build, Part
from l4lab.command import run

_SEARCH_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEARCHED = ("usr/sbin", "usr/bin", "sbin", "bin")
_FILES = TOOLS / "images"

# Packages of the images that need more than one program. busybox gives them a shell.
_ROOTS = {
    "network": (
        "busybox",
        "conntrack",
        "ethtool",
        "ipset",
        "iproute2",
        "iptables",
        "kmod",
        "nftables",
    ),
    "nginx": ("busybox", "nginx-light"),
    "busybox": ("busybox",),
    "toolbox": (
        "bind9-dnsutils",
        "busybox",
        "ca-certificates",
        "conntrack",
        "curl",
        "iproute2",
        "mariadb-client-core",
        "openssl",
        "socat",
    ),
}


@dataclass(frozen=True)
class _Recipe:
    """An image: the root it starts from, the programs added, the command it runs."""

    root: str | None
    programs: tuple[str, ...]
    command: tuple[str, ...]


_RECIPES = {
    **{
        name: _Recipe(None, (f"kubernetes/bin/{name}",), (f"/usr/local/bin/{name}",))
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    },
    "kube-proxy": _Recipe(
        "network", ("kubernetes/bin/kube-proxy",), ("/usr/local/bin/kube-proxy",)
    ),
    "etcd": _Recipe(None, ("etcd/bin/etcd", "etcd/bin/etcdctl"), ("/usr/local/bin/etcd",)),
    "coredns": _Recipe(None, ("coredns/bin/coredns",), ("/usr/local/bin/coredns",)),
    "pause": _Recipe(None, ("/usr/bin/catatonit",), ("/usr/local/bin/catatonit", "-P")),
    "calico-node": _Recipe("network", ("calico/bin/calico-node",), ("/usr/local/bin/calico-node",)),
    "calico-kube-controllers": _Recipe(
        None, ("calico/bin/kube-controllers",), ("/usr/local/bin/kube-controllers",)
    ),
    "nginx": _Recipe("nginx", (), ("/usr/sbin/nginx", "-g", "daemon off;")),
    "busybox": _Recipe("busybox", (), ("/bin/sh",)),
    "toolbox": _Recipe("toolbox", ("kubernetes/bin/kubectl",), ("/bin/sh",)),
}


def images_part(programs: Sequence[Part]) -> Part:
    """The part that holds ``images/images.tar`` and the list of what is in it."""
    files = {str(path.relative_to(_FILES)): path.read_text() for path in _files()}
    return Part(
        name="images",
        inputs=f"{image_references()}\n{_RECIPES}\n{_ROOTS}\n{files}\n{catalog()['debian']['suite']}\n2",
        needs=tuple(programs),
        packages=("catatonit", "debian-archive-keyring", "mmdebstrap", "umoci"),
        as_root=True,
        gib=1,
        build=_build,
    )


def _files() -> list[Path]:
    return sorted(path for path in _FILES.rglob("*") if path.is_file())


def _build(build: Build) -> None:
    work = build.work / "images"
    shutil.rmtree(work, ignore_errors=True)
    layout = work / "layout"
    work.mkdir(parents=True)
    run(["umoci", "init", "--layout", layout], timeout=60)
    for root in _ROOTS:
        build.doing(f"packages of {root}")
        folder = work / root
        _make_root(root, folder, build)
        _umoci(build, "new", layout, f"root-{root}")
        _umoci(build, "insert", layout, f"root-{root}", folder, "/")
    for name, recipe in _RECIPES.items():
        build.doing(name)
        if recipe.root:
            _umoci(build, "tag", layout, f"root-{recipe.root}", name)
        else:
            _umoci(build, "new", layout, name)
        for program in recipe.programs:
            source = Path(program)
            if not source.is_absolute():
                component, _, rest = program.partition("/")
                source = build.needs[component] / rest
            _umoci(build, "insert", layout, name, source, f"/usr/local/bin/{source.name}")
        words = [f"--config.cmd={word}" for word in recipe.command]
        _umoci(
            build,
            "config",
            layout,
            name,
            f"--config.env={_SEARCH_PATH}",
            "--clear=config.entrypoint",
            *_entrypoint(name, recipe),
            *words,
        )
    for root in _ROOTS:
        run(["umoci", "rm", "--image", f"{layout}:root-{root}"], timeout=60)
    run(["umoci", "gc", "--layout", layout], timeout=120)
    _name_images(layout)
    build.doing("packing")
    target = build.out / "images"
    target.mkdir()
    run(
        [
            "tar",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "-cf",
            target / "images.tar",
            "-C",
            layout,
            ".",
        ],
        timeout=600,
    )
    (target / "images.json").write_text(json.dumps(image_references(), indent=1) + "\n")
    shutil.rmtree(work)


def _entrypoint(name: str, recipe: _Recipe) -> list[str]:
    """CoreDNS's manifest gives arguments only, so its program must be the entry point."""
    return (
        [f"--config.entrypoint={recipe.command[0]}", "--clear=config.cmd"]
        if name == "coredns"
        else []
    )


def _umoci(build: Build, verb: str, layout: Path, tag: str, *words: str | Path) -> None:
    image = f"--image={layout}:{tag}"
    done = run(["umoci", verb, image, *words], timeout=600, env=build.scratch)
    with build.log.open("a") as log:
        log.write(done.stdout + done.stderr)


def _make_root(name: str, folder: Path, build: Build) -> None:
    """Unpack packages without configuring them, and lay our files over them."""
    suite = catalog()["debian"]["suite"]
    done = run(
        [
            "mmdebstrap",
            "--variant=extract",
            f"--include={','.join(_ROOTS[name])}",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            suite,
            folder,
            *sources(suite),
        ],
        timeout=900,
        env=build.scratch,
    )
    with build.log.open("a") as log:
        log.write(done.stderr)
    for path in (
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "var/lib/apt",
        "var/cache",
        "var/lib/dpkg",
        "dev",
    ):
        shutil.rmtree(folder / path, ignore_errors=True)
    (folder / "etc").mkdir(exist_ok=True)
    for source in (_FILES / "all", _FILES / name):
        if source.is_dir():
            shutil.copytree(source, folder, dirs_exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    for applet in _applets(folder):
        if not any((folder / place / applet).exists() for place in _SEARCHED):
            (folder / "bin" / applet).symlink_to("busybox")
    if name == "network":
        # Debian's alternatives would make these; the nft form is the one Calico is told to use.
        for family in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                link = folder / "usr/sbin" / f"{family}{suffix}"
                link.unlink(missing_ok=True)
                link.symlink_to("xtables-nft-multi")
    if name == "nginx":
        for path in ("var/lib/nginx", "var/log/nginx", "run"):
            (folder / path).mkdir(parents=True, exist_ok=True)


def _applets(folder: Path) -> list[str]:
    """What this busybox can do; asked of itself, through the loader it was built for."""
    loader = folder / "lib64/ld-linux-x86-64.so.2"
    loader = loader if loader.exists() else folder / "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    libraries = folder / "lib/x86_64-linux-gnu"
    said = run([loader, "--library-path", libraries, folder / "bin/busybox", "--list"], timeout=30)
    return said.stdout.split()


def _name_images(layout: Path) -> None:
    """Write full references into the index: umoci's tags cannot hold a slash."""
    index_path = layout / "index.json"
    index = json.loads(index_path.read_text())
    references = image_references()
    for entry in index["manifests"]:
        tag = entry["annotations"]["org.opencontainers.image.ref.name"]
        entry["annotations"] = {"io.containerd.image.name": references[tag]}
    index_path.write_text(json.dumps(index))
