"""Hosts that somebody gives us, reached over SSH: l4lab owns none of them.

``up`` looks at all of them before anything is changed, and says everything that is wrong at once.
``down`` of the driver has nothing to end: the cluster takes itself off the hosts before, and they
stay as they were found.
"""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from l4lab.bundle import Bundle
from l4lab.command import CommandError, Result, run
from l4lab.errors import MachineError
from l4lab.machines import demands, given, host
from l4lab.machines.driver import MachineStatus
from l4lab.machines.keys import KNOWN_HOSTS, path_word
from l4lab.state import Paths, read_json, write_json, write_private
from l4lab.topology import API_PORT, Given, Machine, Topology

_JUMP = "l4lab-jump"
_CONTACT = 45  # seconds to log in and look around, twice ssh's own time to connect
_API_SECONDS = 5.0
_SSH_FAILED = 255
_NO_PYTHON = 127
_PORT = 22
# Root looks for itself; others by sudo, or else without, so that all the rest is still told.
_LOOK = (
    "command -v python3 >/dev/null 2>&1 || exit 127; "
    'if [ "$(id -u)" = 0 ]; then exec python3 -I - {address}; '
    "elif sudo -n true 2>/dev/null; then exec sudo -n python3 -I - {address}; "
    "else exec python3 -I - {address}; fi"
)


class SshDriver:
    """Hosts that are there already."""

    name = "ssh"
    owns = False
    neighbours = 0

    def __init__(self, topology: Topology, paths: Paths) -> None:
        """Use the hosts of ``topology``, with what is known of them below ``paths``."""
        self.topology = topology
        self.paths = paths
        self.given = topology.given or Given()
        self.known = paths.ssh / KNOWN_HOSTS
        self.record = paths.root / "hosts.json"

    def obstacles(self) -> list[str]:
        """Why this host cannot reach them; empty when it may try."""
        found = [
            f"the program {name} is missing: apt-get install openssh-client"
            for name in ("ssh", "ssh-keygen")
            if not shutil.which(name)
        ]
        for key in ("identity", "host_keys"):
            path: Path | None = getattr(self.given, key)
            if path and not path.is_file():
                found.append(f"ssh.{key}: there is no file {path}")
        return found

    def up(self, bundle: Bundle, doing: Callable[[str], None]) -> None:
        """Log in to all hosts, pin their keys, and look whether they can be a cluster.

        Raises:
            MachineError: One cannot be reached or is not fit; all that is wrong is told.
        """
        del bundle  # the playbooks bring it
        self._write_config()
        doing("looking at the hosts")
        with ThreadPoolExecutor(len(self.topology.machines)) as pool:
            found = dict(
                zip(
                    [machine.name for machine in self.topology.machines],
                    pool.map(self._faults, self.topology.machines),
                    strict=True,
                )
            )
        wrong = {name: faults for name, faults in found.items() if faults}
        if wrong:
            raise MachineError(
                f"{len(wrong)} of {len(found)} hosts cannot be part of the cluster",
                "\n        ".join(f"{name}: {'; '.join(told)}" for name, told in wrong.items()),
                "mend it, then ./l4lab up; nothing was changed on any host",
            )
        write_json(self.record, {"hosts": [machine.name for machine in self.topology.machines]})

    def enter(self) -> None:
        """Nothing: the hosts are in this host's own network."""

    def refuse_paused(self) -> None:
        """Nothing: the hosts are not ours to stop."""

    def status(self) -> list[MachineStatus]:
        """Whether each host answers, and the key it is known by."""
        machines = self.topology.machines
        prints = self._fingerprints() if self.known.exists() else {}
        with ThreadPoolExecutor(len(machines)) as pool:
            answers = list(pool.map(self._answers, machines))
        return [
            MachineStatus(
                name=machine.name,
                running=answer,
                note=f"host key {prints.get(machine.name, 'not known yet')}"
                if answer
                else "SSH does not answer",
            )
            for machine, answer in zip(machines, answers, strict=True)
        ]

    def down(self, *, keep_disks: bool = False) -> None:
        """Forget the hosts, which run on; with ``keep_disks`` not even that."""
        if not keep_disks:
            self.record.unlink(missing_ok=True)
            shutil.rmtree(self.paths.ssh, ignore_errors=True)

    def _write_config(self) -> None:
        lines = ["# Written by l4lab up. Use: ssh -F THIS_FILE MACHINE"]
        jump = self.given.jump
        if jump:
            user, _, rest = jump.rpartition("@")
            name, _, port = rest.partition(":")
            lines += [f"Host {_JUMP}", f"  HostName {name}", f"  HostKeyAlias {_JUMP}"]
            lines += [f"  Port {port or _PORT}", *([f"  User {user}"] if user else [])]
        for machine in self.topology.machines:
            lines += [
                f"Host {machine.name} {machine.address}",
                f"  HostName {machine.address}",
                f"  HostKeyAlias {machine.name}",
                f"  User {machine.user}",
                f"  Port {machine.port}",
                *([f"  ProxyJump {_JUMP}"] if jump else []),
            ]
        lines.append("Host *")
        if self.given.identity:
            lines += [f"  IdentityFile {path_word(self.given.identity)}", "  IdentitiesOnly yes"]
        lines += [
            f"  UserKnownHostsFile {path_word(self.known)}",
            "  GlobalKnownHostsFile /dev/null",
            "  StrictHostKeyChecking yes",
            "  UpdateHostKeys no",
            "  HashKnownHosts no",
            "  BatchMode yes",
            "  ConnectTimeout 10",
            "  ServerAliveInterval 15",
            "  LogLevel ERROR",
        ]
        write_private(self.paths.ssh_config, "\n".join(lines) + "\n")
        if self.given.host_keys:
            write_private(self.known, self._given_keys(self.given.host_keys))
        if jump:
            self._pin(_JUMP)

    def _given_keys(self, file: Path) -> str:
        """The keys of our hosts from a known_hosts file, under the names we call them by."""
        names = {
            machine.name: (str(machine.address), machine.port) for machine in self.topology.machines
        }
        if self.given.jump:
            bastion, _, number = self.given.jump.rpartition("@")[2].partition(":")
            names[_JUMP] = (bastion, int(number or _PORT))
        lines = []
        for name, (address, port) in names.items():
            keys: list[str] = []
            for asked in (name, f"[{address}]:{port}", address):
                said = _run(["ssh-keygen", "-F", asked, "-f", file], timeout=10).stdout
                keys += [line for line in said.splitlines() if line and not line.startswith("#")]
            if not keys:
                raise MachineError(
                    f"{file} has no key of {name}",
                    f"it was looked for as {name}, {address} and [{address}]:{port}",
                    "add it, or leave ssh.host_keys out: then keys are pinned at first contact",
                )
            lines += [" ".join([name, *line.split()[1:3]]) for line in keys]
        return "\n".join(dict.fromkeys(lines)) + "\n"

    def _ssh(self, name: str, command: str, *, text: str = "", pin: bool = False) -> Result:
        # The first key a host shows is kept; a given one, or one seen before, must be shown again.
        first = ["-o", "StrictHostKeyChecking=accept-new"] if pin else []
        words = ["ssh", "-F", str(self.paths.ssh_config), *first, name, command]
        return _run(words, timeout=_CONTACT, text=text)

    def _pin(self, name: str) -> Result:
        """Meet a host for the first time: its key is kept whether or not we may log in."""
        return self._ssh(name, "true", pin=not self.given.host_keys)

    def _faults(self, machine: Machine) -> list[str]:
        begun = time.time()
        said = self._ssh(
            machine.name,
            _LOOK.format(address=machine.address),
            text=Path(given.__file__).read_text(),
            pin=not self.given.host_keys,
        )
        asked = (begun, time.time())
        if said.rc == _NO_PYTHON:
            return ["python3 is missing: apt-get install python3"]
        try:
            facts: dict[str, Any] = json.loads(said.stdout)
        except ValueError:
            what = "cannot be reached" if said.rc == _SSH_FAILED else "does not answer as it should"
            return [
                f"{machine.user}@{machine.address} port {machine.port} {what}: "
                f"{said.last_line or 'no answer'}{self._changed_key(said)}"
            ]
        earlier = read_json(self.record) or {}
        found = demands.faults(
            facts,
            machine,
            self.topology,
            asked=asked,
            known=machine.name in earlier.get("hosts", []),
        )
        if machine == self.topology.control_plane:
            found += api_faults(machine)
        return found

    def _changed_key(self, said: Result) -> str:
        if "verification failed" not in said.stderr:
            return ""
        return f" (not the key that is pinned in {self.known})"

    def _answers(self, machine: Machine) -> bool:
        if not self.given.jump:
            return host.speaks_ssh(machine)
        return self.paths.ssh_config.exists() and self._ssh(machine.name, "true").succeeded

    def _fingerprints(self) -> dict[str, str]:
        said = _run(["ssh-keygen", "-l", "-f", self.known], timeout=10).stdout
        words = [line.split() for line in said.splitlines()]
        return {line[2]: f"{line[1]} {line[-1]}" for line in words if len(line) > 3}  # noqa: PLR2004  # bits, digest, name, kind


def _run(argv: Sequence[str | Path], *, timeout: float, text: str = "") -> Result:
    try:
        return run(argv, timeout=timeout, check=False, input=text)
    except CommandError as failed:
        raise MachineError(
            failed.brief, failed.reason, "apt-get install openssh-client, then the same again"
        ) from failed


def api_faults(machine: Machine) -> list[str]:
    """What keeps this host from the API server to be: a refusal is an answer, silence is none."""
    try:
        with socket.create_connection((str(machine.address), API_PORT), timeout=_API_SECONDS):
            return []
    except ConnectionRefusedError:
        return []
    except OSError as failed:
        return [
            f"its port {API_PORT} cannot be reached from here ({failed.strerror or failed}): "
            "kubectl, Pulumi and checks from outside go there directly, not by SSH"
        ]
