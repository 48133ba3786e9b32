#!/usr/bin/python
"""Ansible module: bring a set of files and the services that read them into line, in one go.

What ``template``, ``file``, ``systemd_service`` and a handler do in a dozen round trips, this does
in one. It is written without ``ansible.module_utils`` on purpose: see ``l4lab_look``.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
module: l4lab_configure
short_description: Write files, then bring services into line with them
description:
  - Writes each file whole or not at all, and only if it differs.
  - If anything changed, runs the commands and restarts the running services that are named.
  - An interrupted or failed call is remembered, so the next one runs commands and restarts again.
options:
  name:
    description: Names the record of an unfinished call; unique on the machine.
    type: str
    required: true
  files:
    description: Files with path, content and mode (octal text, 0644 if not given).
    type: list
    elements: dict
    default: []
  links:
    description: Symbolic links with path and target. What else is at the path stays as it is.
    type: list
    elements: dict
    default: []
  absent_links:
    description: Symbolic links, with path and target, that must not be there.
    type: list
    elements: dict
    default: []
  absent:
    description: Files, and folders with all that is in them, that must not be there.
    type: list
    elements: str
    default: []
  commands:
    description: Commands (lists of words) to run in order when something changed.
    type: list
    elements: list
    default: []
  services:
    description: Services with name and state, started or enabled (left as it is otherwise).
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds each command may take.
    type: float
    default: 120
author: l4lab
"""

EXAMPLES = r"""
- name: Configure containerd
  l4lab_configure:
    name: containerd
    files:
      - path: /etc/containerd/config.toml
        content: "version = 3"
    services:
      - name: containerd
        state: started
"""

RETURN = r"""
done:
  description: What was changed, one entry each.
  returned: always
  type: list
"""

PENDING = Path("/var/lib/l4lab/pending")


class CommandError(Exception):
    """A command failed; the text is one line."""


class Setup:
    """One call: what it did so far, and whether it may do anything."""

    def __init__(self, *, check: bool, timeout: float, pending: Path) -> None:
        self.check = check
        self.timeout = timeout
        self.pending = pending
        self.done: list[str] = []
        self.diffs: list[dict[str, str]] = []

    def change(self, what: str) -> bool:
        """Note a change; return whether to make it. The first one is recorded on disk."""
        if not self.done and not self.check:
            self.pending.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.pending.touch()
        self.done.append(what)
        return not self.check

    def file(self, path: Path, content: str, mode: int) -> None:
        """Bring one file's content and mode into line."""
        try:
            before = path.read_text(errors="surrogateescape")
        except FileNotFoundError:
            before = None
        if before == content:
            if path.stat().st_mode & 0o7777 != mode and self.change(f"mode of {path}"):
                path.chmod(mode)
            return
        self.diffs.append(
            {
                "prepared": "".join(
                    difflib.unified_diff(
                        (before or "").splitlines(keepends=True),
                        content.splitlines(keepends=True),
                        f"{path} (before)",
                        f"{path} (after)",
                    )
                )
            }
        )
        if not self.change(str(path)):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", errors="surrogateescape") as file:
                file.write(content)
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def link(self, path: Path, target: str) -> None:
        """Make one symbolic link, where nothing is: a file or another link is somebody's own."""
        if path.is_symlink() or path.exists() or not self.change(str(path)):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def unlink(self, path: Path, target: str) -> None:
        """Remove one symbolic link, if it leads to ``target``."""
        ours = path.is_symlink() and str(path.readlink()) == target
        if ours and self.change(f"removed {path}"):
            path.unlink()

    def remove(self, path: Path) -> None:
        """Remove one file, or a folder with all that is in it."""
        if not (path.is_symlink() or path.exists()) or not self.change(f"removed {path}"):
            return
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def run(self, words: list[str]) -> str:
        """Run a command and return its output."""
        try:
            done = subprocess.run(
                words,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=self.timeout,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise CommandError(f"{' '.join(words)}: no end within {self.timeout:.0f} s") from None
        except OSError as failed:
            raise CommandError(f"{' '.join(words)}: {failed.strerror}") from failed
        if done.returncode != 0:
            lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            said = f"exit code {done.returncode}: {' / '.join(lines[-3:])}"
            raise CommandError(f"{' '.join(words)}: {said}")
        return done.stdout

    def services(self, wanted: list[dict[str, str]], *, changed: bool) -> None:
        """Enable, start or restart services.

        systemd reads its units again (a second and more on a small machine) only where one that it
        has loaded differs from its file; a new unit is read when it is first used.
        """
        for service in wanted:
            unit = service["name"]
            properties = "ActiveState,UnitFileState,NeedDaemonReload"
            shown = self.run(["systemctl", "show", "-p", properties, unit])
            state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
            active = state.get("ActiveState") in {"active", "activating", "reloading"}
            if state.get("NeedDaemonReload") == "yes" and not self.check:
                self.run(["systemctl", "daemon-reload"])
            if state.get("UnitFileState") != "enabled" and self.change(f"enabled {unit}"):
                self.run(["systemctl", "enable", "--quiet", "--no-reload", unit])
            if changed and active and self.change(f"restarted {unit}"):
                self.run(["systemctl", "restart", unit])
            started = service.get("state") == "started"
            if started and not active and self.change(f"started {unit}"):
                self.run(["systemctl", "start", unit])


def configure(arguments: dict[str, Any], *, pending: Path = PENDING) -> dict[str, Any]:
    """Do what the arguments ask for; return Ansible's result."""
    setup = Setup(
        check=bool(arguments.get("_ansible_check_mode")),
        timeout=float(arguments.get("timeout") or 120),
        pending=pending / arguments["name"],
    )
    unfinished = setup.pending.exists()
    if unfinished:
        setup.done.append("finished an interrupted call")
    try:
        for file in arguments.get("files") or []:
            setup.file(Path(file["path"]), file["content"], int(str(file.get("mode", "0644")), 8))
        for link in arguments.get("links") or []:
            setup.link(Path(link["path"]), link["target"])
        for path in arguments.get("absent") or []:
            setup.remove(Path(path))
        for link in arguments.get("absent_links") or []:
            setup.unlink(Path(link["path"]), link["target"])
        changed = bool(setup.done)
        if changed and not setup.check:
            for words in arguments.get("commands") or []:
                setup.run([str(word) for word in words])
        setup.services(arguments.get("services") or [], changed=changed)
    except (CommandError, OSError) as failed:
        return {"failed": True, "msg": str(failed), "changed": bool(setup.done), "done": setup.done}
    if setup.done and not setup.check:
        with contextlib.suppress(FileNotFoundError):
            setup.pending.unlink()
    result: dict[str, Any] = {"changed": bool(setup.done), "done": setup.done}
    if arguments.get("_ansible_diff"):
        result["diff"] = setup.diffs
    return result


def main(arguments: dict[str, Any]) -> int:
    """Answer Ansible on standard output."""
    result = configure(arguments)
    sys.stdout.write(json.dumps(result))
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main(json.loads(r"""<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>""")))
