"""The Pulumi CLI as a process: what it finds around it, and how it is started and ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error
from semver import VersionInfo

from l4lab.errors import LockedError, StackError
from l4lab.state import Access, Paths, write_private

PROJECT: Final = "l4lab"
PROVIDER: Final = Path(__file__).resolve().parents[1] / "provider"
LANGUAGE: Final = PROVIDER.with_name("language")
_PLUGIN: Final = "pulumi-resource-kubernetes"
_HOST: Final = "pulumi-language-python"
_PASSPHRASE: Final = "pulumi-passphrase"  # noqa: S105  the name of a secret, not a secret

OnLine = Callable[[str], Any]


class Cli(PulumiCommand):
    """Runs one Pulumi binary for the automation API.

    The API's own command asks the binary for its version first, hands down every ``PULUMI_*``
    variable of the caller, and leaves the process alone at Ctrl-C.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StackError("there is no Pulumi CLI", f"{path} does not exist", "./l4lab bundle")
        self.command = str(path)
        # The bundle pins the CLI to the version of the SDK.
        self.version = VersionInfo.parse(metadata.version("pulumi"))

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: OnLine | None = None,
        on_error: OnLine | None = None,
    ) -> CommandResult:
        """Run a command of the CLI to its end.

        Raises:
            pulumi.automation.CommandError: It failed.
            KeyboardInterrupt: Ctrl-C; the CLI was told, and has saved what it had done.
        """
        inherited = {key: value for key, value in os.environ.items() if key[:7] != "PULUMI_"}
        # A group of its own: Ctrl-C reaches the CLI once, from us; twice would make it drop all.
        with (
            subprocess.Popen(
                [self.command, "--non-interactive", *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env={**inherited, **additional_env, "PULUMI_AUTOMATION_API": "true"},
                encoding="utf-8",
                errors="replace",
                process_group=0,
            ) as process,
            _passing_on_interrupts(process) as interrupted,
        ):
            out, err = _Reader(process.stdout, on_output), _Reader(process.stderr, on_error)
            out.join()
            err.join()
            process.wait()
        result = CommandResult(stdout=out.text, stderr=err.text, code=process.returncode)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if result.code != 0:
            raise create_command_error(result)
        return result


class _Reader(threading.Thread):
    """Reads one output to its end, line by line."""

    def __init__(self, stream: IO[str] | None, on_line: OnLine | None) -> None:
        super().__init__(daemon=True)
        self._stream, self._on_line = stream, on_line
        self._lines: list[str] = []
        self.start()

    @property
    def text(self) -> str:
        return "\n".join(self._lines)

    def run(self) -> None:
        for line in self._stream or ():
            self._lines.append(line.rstrip())
            if self._on_line:
                self._on_line(line.rstrip())


@contextlib.contextmanager
def _passing_on_interrupts(process: subprocess.Popen[str]) -> Iterator[threading.Event]:
    """While the block runs, hand SIGINT and SIGTERM on to the process; tell whether one came."""
    came = threading.Event()

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        came.set()
        process.send_signal(signal.SIGINT)  # the first: cancel and save; the second: end at once

    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread may handle signals; whoever runs us elsewhere does
        return
    before = {one: signal.signal(one, hand_on) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


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
    official = _official_plugin()
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
    if official := _official_plugin():
        _share_plugins(home, official)
    variables = {**_backend(access), "PULUMI_HOME": str(home)}
    if missing_plugins():
        variables["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
    return variables


def missing_plugins() -> dict[str, Path]:
    """Executables of ours, by name, for the official plugins that this host lacks."""
    missing = {} if _official_plugin() else {_PLUGIN: PROVIDER / _PLUGIN}
    host = shutil.which(_HOST)
    if not host or Path(host).resolve().parent == LANGUAGE:
        missing[_HOST] = LANGUAGE / _HOST
    return missing


def _backend(access: Access) -> dict[str, str]:
    """Which stacks, which cluster, and how both are reached."""
    access.paths.secret(_PASSPHRASE)
    no_proxy = [*os.environ.get("NO_PROXY", "").split(","), "127.0.0.1"]
    no_proxy.append(str(access.topology.networks.nodes))
    return {
        "KUBECONFIG": str(access.paths.kubeconfig),
        "NO_PROXY": ",".join(filter(None, dict.fromkeys(no_proxy))),
        "PULUMI_BACKEND_URL": access.paths.pulumi.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(access.paths.root / "secrets" / _PASSPHRASE),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
    }


def _share_plugins(home: Path, official: Path) -> None:
    """Let Pulumi find the plugin in the user's own plugin folder from a home of ours."""
    if official.is_dir() and not (home / "plugins").exists():
        (home / "plugins").symlink_to(official.parent)


def _official_plugin() -> Path | None:
    """The official Kubernetes plugin: on PATH, or in the user's plugin folder; None if absent."""
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
        elif pid and is_running(pid):
            who = f"process {pid} (pulumi)"
        else:
            path.unlink(missing_ok=True)
            continue
        raise LockedError(
            f"the stack of lab {stack} is in use",
            f"held by {who}",
            f"wait for it to end, or: kill -INT {pid}",
        )
