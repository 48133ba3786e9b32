"""What the Pulumi CLI finds around it, what it keeps of a stack, and what is left of a dead one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from l4lab import no_proxy
from l4lab.errors import LockedError, StackError
from l4lab.state import Access, Paths, write_private

PROJECT: Final = "l4lab"
PROVIDER: Final = Path(__file__).resolve().parents[1] / "provider"
LANGUAGE: Final = PROVIDER.with_name("language")
_PLUGIN: Final = "pulumi-resource-kubernetes"
_HOST: Final = "pulumi-language-python"
_PASSPHRASE: Final = "pulumi-passphrase"  # noqa: S105  the name of a secret, not a secret


def is_running(pid: int) -> bool:
    """Whether a process of that number lives and is a Pulumi CLI (numbers are given out again)."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return name == "pulumi" and state != "Z"


def environment(access: Access, home: Path) -> dict[str, str]:
    """The variables the CLI and the provider get besides ours."""
    folders = [str(access.pulumi.parent), str(Path(sys.executable).parent)]
    official = _official_plugin(access.pulumi)
    if official is None:
        folders.insert(0, str(PROVIDER))
    else:
        _share_plugins(home, official)
    return {
        **_backend(access),
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }


def write_project(work: Path) -> None:
    """Write what the CLI looks for in its folder, at once and once: others may read it now."""
    path = work / "Pulumi.yaml"
    if not path.is_file():
        write_private(path, f"name: {PROJECT}\nruntime: python\nmain: .\n")


def user_environment(access: Access) -> dict[str, str]:
    """The variables a person's shell needs besides PATH, to work on the same stacks as we do."""
    home = access.paths.pulumi / "home"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if official := _official_plugin(access.pulumi):
        _share_plugins(home, official)
    variables = {**_backend(access), "PULUMI_HOME": str(home)}
    if missing_plugins(access.pulumi):
        variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return variables


def missing_plugins(pulumi: Path) -> dict[str, Path]:
    """Executables, by name, for the plugins that this host lacks: the bundle's, else ours.

    Args:
        pulumi: The CLI. One of an official release has official plugins beside it.
    """
    missing = {}
    beside = pulumi.with_name(_PLUGIN)
    official = _official_plugin(pulumi)
    if official in (None, beside):
        missing[_PLUGIN] = official or PROVIDER / _PLUGIN
    host, beside = shutil.which(_HOST), pulumi.with_name(_HOST)
    if beside.is_file():
        missing[_HOST] = beside
    elif not host or Path(host).resolve().parent == LANGUAGE:
        missing[_HOST] = LANGUAGE / _HOST
    return missing


def _backend(access: Access) -> dict[str, str]:
    """Which stacks, which cluster, and how both are reached."""
    access.paths.secret(_PASSPHRASE)
    return {
        "KUBECONFIG": str(access.paths.kubeconfig),
        **no_proxy.variables(access.topology.networks),
        "PULUMI_BACKEND_URL": access.paths.pulumi.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(access.paths.root / "secrets" / _PASSPHRASE),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
    }


def _share_plugins(home: Path, official: Path) -> None:
    """Let Pulumi find the plugin in the user's own plugin folder from a home of ours."""
    if official.is_dir() and not (home / "plugins").exists():
        (home / "plugins").symlink_to(official.parent)


def _official_plugin(pulumi: Path) -> Path | None:
    """The official Kubernetes plugin: beside the CLI, on PATH, or in the user's plugin folder.

    The one beside the CLI came with it in the bundle, in the version that fits the SDK.
    """
    beside = pulumi.with_name(_PLUGIN)
    if beside.is_file():
        return beside
    on_path = shutil.which(_PLUGIN)
    if on_path and Path(on_path).resolve().parent != PROVIDER:
        return Path(on_path)
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    version = metadata.version("pulumi-kubernetes")
    installed = home / "plugins" / f"resource-kubernetes-v{version}"
    return installed if (installed / _PLUGIN).is_file() else None


def checkpoint(paths: Paths, stack: str) -> Path:
    """The file that holds a stack's state."""
    return paths.pulumi / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def scratch(paths: Paths, stack: str) -> Path:
    """An empty private folder for what an operation on a stack writes for its own time.

    What an earlier one has left there, since it was killed, is removed.
    """
    folder = paths.pulumi / "scratch" / stack
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def kept_state(paths: Paths, stack: str) -> dict[str, Any] | None:
    """What Pulumi keeps of a stack: ``resources`` and ``pending_operations``; None if it is new.

    Raises:
        StackError: It cannot be read, as when it was cut off while it was written.
    """
    path = checkpoint(paths, stack)
    try:
        kept = json.loads(path.read_text())
        return dict((kept["checkpoint"] or {}).get("latest") or {})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as failed:
        raise StackError(
            f"cannot read the state of stack {stack}",
            str(failed),
            f"delete the file, then {_reset(stack)}: it finds objects by name and labels",
            path,
        ) from failed


def _reset(stack: str) -> str:
    lab, _, student = stack.partition(".")
    # A lab of a student is reset by its stack alone; the whole student by what is there.
    return f"./l4lab class reset --only {student}" if student else f"./l4lab reset {lab}"


def free_stale_lock(access: Access, stack: str) -> None:
    """Remove the stack's Pulumi lock if the process that took it is dead.

    Raises:
        LockedError: It lives.
    """
    folder = access.paths.pulumi / ".pulumi" / "locks" / "organization" / PROJECT / stack
    for path in folder.glob("*.json"):
        try:
            holder = json.loads(path.read_text())
        except (OSError, ValueError):
            holder = {}  # gone meanwhile, or cut off while it was written
        pid = int(holder.get("pid", 0))
        if holder.get("hostname", os.uname().nodename) != os.uname().nodename:
            who = f"process {pid} on host {holder['hostname']}"
            then = f"wait for it to end; if that host is no more: rm {shlex.quote(str(path))}"
        elif pid and is_running(pid):
            who = f"process {pid} (pulumi)"
            then = f"wait for it to end, or: kill -INT {pid}"
        else:
            path.unlink(missing_ok=True)
            continue
        raise LockedError(
            f"the stack of lab {stack} is in use",
            f"held by {who}",
            then,
        )
