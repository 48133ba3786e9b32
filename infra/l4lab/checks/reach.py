"""How commands get to a vantage: a local process, SSH to a machine, or exec into a pod."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol

import paramiko

from l4lab.checks.listing import Listing
from l4lab.checks.model import CannotMeasure, Vantage, Where
from l4lab.command import CommandError, Result, run
from l4lab.errors import UsageError
from l4lab.state import Access
from l4lab.topology import Machine

_CONNECT_SECONDS = 10.0
# sshd takes ten sessions on one connection; a machine with one CPU gains nothing from more.
_SESSIONS = 4
_CHUNK = 65536
_PERCENT = "\x01"  # in no path


class Reach(Protocol):
    """Something that runs commands at a vantage."""

    def run(
        self, vantage: Vantage, argv: Sequence[str], *, timeout: float, stdin: str | None = None
    ) -> Result:
        """Run ``argv`` there and return what it left, whatever its exit code.

        Raises:
            CannotMeasure: The vantage cannot be reached, or the command cannot be started.
        """
        ...

    def secret(self, name: str) -> str:
        """A secret of the cluster, such as a password.

        Raises:
            CannotMeasure: It was not made yet.
        """
        ...


class LiveReach:
    """Reaches the machines and pods of a running cluster; keeps one connection a machine."""

    def __init__(self, access: Access, *, namespace: str) -> None:
        self._access = access
        self._namespace = namespace
        self._listing = Listing(access.paths.kubeconfig)
        self._machines = {
            machine.name: _Ssh(machine, access) for machine in access.topology.machines
        }

    def __enter__(self) -> LiveReach:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for machine in self._machines.values():
            machine.close()
        self._listing.close()

    def run(
        self, vantage: Vantage, argv: Sequence[str], *, timeout: float, stdin: str | None = None
    ) -> Result:
        """Run ``argv`` at the vantage.

        Args:
            vantage: A named one: ``NODES`` must have been spread out before.
            argv: For the vantage ``api`` its first word is ``kubectl``.
            timeout: Seconds; then the exit code is 124.
            stdin: What the command reads, kept out of its arguments and its environment.

        Raises:
            CannotMeasure: The vantage cannot be reached, or the command cannot be started.
        """
        if vantage.where in (Where.NODE, Where.DBHOST):
            if vantage.name not in self._machines:
                raise CannotMeasure(f"there is no machine {vantage.name}", final=True)
            return self._machines[vantage.name].run(argv, timeout=timeout, stdin=stdin)
        words = list(argv)
        if vantage.where is Where.API:
            if listed := self._listing.run(argv, timeout=timeout):
                return listed
            words = [*self._kubectl(), *words[1:]]
        elif vantage.where is Where.POD:
            into = ["exec", *(["-i"] if stdin is not None else []), "-n", self._namespace]
            words = [*self._kubectl(), *into, vantage.name, "--", *words]
        try:
            return run(words, timeout=timeout, check=False, input=stdin)
        except CommandError as failed:
            raise CannotMeasure(failed.one_line, final=True) from failed

    def secret(self, name: str) -> str:
        """A secret that the playbooks made for this cluster.

        Raises:
            CannotMeasure: It was not made yet.
        """
        try:
            return self._access.paths.kept_secret(name)
        except UsageError as missing:
            raise CannotMeasure(missing.one_line, then=missing.resolution, final=True) from missing

    def _kubectl(self) -> list[str]:
        return [str(self._access.kubectl), f"--kubeconfig={self._access.paths.kubeconfig}"]


def read_configuration(text: str, name: str) -> dict[str, Any]:
    """What an ssh configuration says of a host, its keys' paths as they are.

    ssh writes a percent sign of a path twice. Paramiko knows nothing of that, and would put
    something in for the second one.
    """
    found: dict[str, Any] = dict(
        paramiko.SSHConfig.from_text(text.replace("%%", _PERCENT)).lookup(name)
    )
    if "identityfile" in found:
        found["identityfile"] = [one.replace(_PERCENT, "%") for one in found["identityfile"]]
    return found


class _Ssh:
    """One kept SSH connection, opened at first use; its commands run side by side."""

    def __init__(self, machine: Machine, access: Access) -> None:
        self._machine = machine
        self._folder = access.paths.ssh
        self._config = access.paths.ssh_config
        self._client: paramiko.SSHClient | None = None
        self._opening = threading.Lock()
        self._sessions = threading.BoundedSemaphore(_SESSIONS)

    def run(self, argv: Sequence[str], *, timeout: float, stdin: str | None = None) -> Result:
        with self._sessions:
            started = time.monotonic()
            words = self._machine.as_root(argv)
            try:
                channel = self._transport().open_session(timeout=_CONNECT_SECONDS)
                with channel:
                    channel.exec_command(shlex.join(words))
                    if stdin is not None:
                        channel.sendall(stdin.encode())
                        channel.shutdown_write()
                    rc, out, err = _collect(channel, started + timeout)
            except (OSError, EOFError, paramiko.SSHException) as failed:
                raise CannotMeasure(
                    f"machine {self._machine.name} ({self._machine.address}) cannot be reached "
                    f"over SSH: {failed or type(failed).__name__}",
                    then="./l4lab status",
                    final=True,
                ) from failed
            return Result(
                argv=tuple(argv),
                rc=rc,
                stdout=out,
                stderr=err,
                seconds=time.monotonic() - started,
            )

    def close(self) -> None:
        if self._client:
            self._client.close()

    def _transport(self) -> paramiko.Transport:
        with self._opening:
            transport = self._client.get_transport() if self._client else None
            if transport is None or not transport.is_active():
                self._client = self._connect()
                transport = self._client.get_transport()
        if transport is None:
            raise paramiko.SSHException("the connection ended at once")
        return transport

    def _connect(self) -> paramiko.SSHClient:
        machine, address = self._machine, str(self._machine.address)
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        # Keys may be pinned by machine name or by address; paramiko looks only for the latter.
        asked = address if machine.port == 22 else f"[{address}]:{machine.port}"  # noqa: PLR2004
        pinned = paramiko.HostKeys(str(self._folder / "known_hosts"))
        for name in (asked, address, machine.name):
            for kind, key in (pinned.lookup(name) or {}).items():
                client.get_host_keys().add(asked, kind, key)
        # The configuration names the key and the host to go through, where there is one. Its proxy
        # into a lab network is not for us: this process is in there.
        configured = read_configuration(self._config.read_text(), machine.name)
        keys, jump = configured.get("identityfile"), configured.get("proxyjump")
        through = ["ssh", "-F", str(self._config), "-W", f"{address}:{machine.port}", str(jump)]
        client.connect(
            address,
            port=machine.port,
            username=machine.user,
            key_filename=keys,
            allow_agent=not keys,
            look_for_keys=not keys,
            sock=paramiko.ProxyCommand(shlex.join(through)) if jump else None,
            timeout=_CONNECT_SECONDS,
            banner_timeout=_CONNECT_SECONDS,
            auth_timeout=_CONNECT_SECONDS,
        )
        return client


def _collect(channel: paramiko.Channel, deadline: float) -> tuple[int, str, str]:
    """Both outputs and the exit code; 124 at the deadline, with what had come until then."""
    out, err = bytearray(), bytearray()
    try:
        # What is written to stderr meanwhile waits in the channel's window (2 MiB).
        for receive, into in ((channel.recv, out), (channel.recv_stderr, err)):
            while True:
                channel.settimeout(max(deadline - time.monotonic(), 0.01))
                chunk = receive(_CHUNK)
                if not chunk:
                    break
                into.extend(chunk)
        rc = channel.recv_exit_status()
    except TimeoutError:
        rc = 124
    return rc, out.decode(errors="replace"), err.decode(errors="replace")


class SharedReads:
    """Lets checks that read the same thing at the same moment read it once."""

    def __init__(self, reach: Reach, *, max_age: float) -> None:
        self._reach = reach
        self._max_age = max_age
        self._guard = threading.Lock()
        self._locks: dict[tuple[Vantage, tuple[str, ...]], threading.Lock] = {}
        self._last: dict[tuple[Vantage, tuple[str, ...]], tuple[float, Result]] = {}
        self._changed = 0.0

    def run(self, vantage: Vantage, argv: Sequence[str], *, timeout: float) -> Result:
        """As ``Reach.run``, or the result of the same command begun a moment ago."""
        oldest = time.monotonic() - self._max_age
        key = (vantage, tuple(argv))
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            began, result = self._last.get(key, (None, None))
            if result is not None and began is not None and began >= max(oldest, self._changed):
                return result
            began = time.monotonic()
            result = self._reach.run(vantage, argv, timeout=timeout)
            self._last[key] = (began, result)
            return result

    def forget(self) -> None:
        """Something was changed: share nothing that was read before now."""
        self._changed = time.monotonic()


_NORMAL_SECONDS = 0.05
_SLOWEST = 8.0


def slowness(reach: Reach, vantage: Vantage) -> float:
    """How many times slower than normal a machine is: 1 or more.

    Three times ``true`` over SSH; a normal local machine needs 50 ms. The one in the middle counts:
    the fastest knows nothing of others on the host, the slowest may be a hiccup.
    """
    times = sorted(reach.run(vantage, ["true"], timeout=20).seconds for _ in range(3))
    return min(max(times[1] / _NORMAL_SECONDS, 1.0), _SLOWEST)
