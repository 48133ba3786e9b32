"""MariaDB as checks ask it: the client's command, what it said, and what its error numbers mean.

The password is never a word of a command. Machines get it as an option file on standard input;
a pod has its own option file from a Secret.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from l4lab.checks.look import Look
from l4lab.checks.model import CannotMeasure, Fault
from l4lab.command import Result

CONNECT_SECONDS = 3

_ERROR = re.compile(r"^ERROR (\d+)[^:]*: (.+)$", re.MULTILINE)
# An error sent before TLS is up is wrapped in one of the client's own.
_WRAPPED = re.compile(r"cannot be verified: (\d{4}) - (.+)$")
_ERRNO = re.compile(r"\((\d+)(?: \"[^\"]*\")?\)\s*$")
_SYSTEM_ERROR = re.compile(r"system error: (\d+)")

_UNKNOWN_HOST = 2005
_CLIENT_ERRORS = range(2000, 3000)
_FAULTS = {
    101: Fault.UNREACHABLE,
    104: Fault.RESET,
    110: Fault.TIMEOUT,
    111: Fault.REFUSED,
    113: Fault.UNREACHABLE,
}
_LATE = 124

MEANINGS = {
    1044: "the user may log in, but has no right to this schema",
    1045: "the password is not the one the server knows",
    1130: "no account of the server is for the address this connection comes from",
}
"""What the server's own refusals tell."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What came back from one run of the client."""

    fault: Fault | None = None
    rows: tuple[tuple[str, ...], ...] = ()
    number: int = 0
    """The error's number, the server's or the client's; 0 where there is none."""
    message: str = ""

    @property
    def fine(self) -> bool:
        """Whether the statements were carried out."""
        return self.fault is None

    def __str__(self) -> str:
        if self.fine:
            return "; ".join(" ".join(row) for row in self.rows) or "done"
        return f"{self.fault} (error {self.number}: {self.message})"


def client_argv(
    host: str, *, port: int, sql: str, schema: str, options: str | None = None
) -> list[str]:
    """The client's command: ``options`` is an option file, and must be its first word."""
    return [
        "mariadb",
        *([f"--defaults-extra-file={options}"] if options else []),
        "-h",
        host,
        "-P",
        str(port),
        f"--connect-timeout={CONNECT_SECONDS}",
        "-BN",
        "-D",
        schema,
        "-e",
        sql,
    ]


def option_file(user: str, password: str) -> str:
    """What a client reads to know who it is."""
    return f"[mariadb-client]\nuser = {user}\npassword = {password}\n"


def read_client(result: Result) -> Said:
    """What the command of ``client_argv`` said.

    Debian's client tells a refused connection and one without a route alike (errno 115, "in
    progress"): such a fault is ``OTHER`` here, and ``ask`` finds out which it is.

    Raises:
        CannotMeasure: The client itself did not run.
    """
    if result.succeeded:
        rows = tuple(tuple(line.split("\t")) for line in result.stdout.splitlines())
        return Said(rows=rows)
    if result.rc == _LATE:
        return Said(fault=Fault.TIMEOUT, message="no answer in time")
    found = _ERROR.search(result.stderr)
    if not found:
        raise CannotMeasure(f"the client did not run: {result.last_line}")
    number, message = int(found[1]), found[2].strip()
    if wrapped := _WRAPPED.search(message):
        number, message = int(wrapped[1]), wrapped[2].strip()
    if number not in _CLIENT_ERRORS:
        return Said(fault=Fault.MYSQL, number=number, message=message)
    if number == _UNKNOWN_HOST:
        return Said(fault=Fault.DNS, number=number, message=message)
    code = _SYSTEM_ERROR.search(message) or _ERRNO.search(message)
    fault = _FAULTS.get(int(code[1]), Fault.OTHER) if code else Fault.OTHER
    return Said(fault=fault, number=number, message=message)


def ask(
    look: Look,
    sql: str,
    *,
    host: str,
    port: int,
    schema: str,
    user: str = "",
    password: str | None = None,
) -> Said:
    """Run statements from here.

    Args:
        look: Where to ask from.
        sql: The statements.
        host: Name or address to connect to.
        port: Port to connect to.
        schema: The schema they are about.
        user: Who asks, where a password is given.
        password: Without one the client's own option file counts.

    Raises:
        CannotMeasure: The client did not run here.
    """
    plain = client_argv(host, port=port, sql=sql, schema=schema)
    if password is None:
        result = look.run(plain)
    else:
        argv = client_argv(host, port=port, sql=sql, schema=schema, options="/dev/stdin")
        result = look.run(argv, hidden=option_file(user, password))
    said = read_client(result)
    if said.fault is Fault.OTHER:
        # Nobody took the connection, or the client would know more: so this logs in nowhere.
        answer = look.curl(f"http://{host}:{port}/")[0]
        if answer.fault in (Fault.REFUSED, Fault.UNREACHABLE, Fault.TIMEOUT):
            return Said(fault=answer.fault, number=said.number, message=said.message)
    return said


def on_server(look: Look, sql: str) -> tuple[tuple[str, ...], ...]:
    """Run statements on the database host itself, as its administrator, through its own socket.

    Raises:
        CannotMeasure: The server does not run there, or refused.
    """
    result = look.run(["mariadb", "-BN", "-e", sql])
    if not result.succeeded:
        raise CannotMeasure(f"the database on {look.vantage.name} says: {result.last_line}")
    return tuple(tuple(line.split("\t")) for line in result.stdout.splitlines())


def listeners(look: Look, port: int) -> Sequence[str]:
    """The local addresses on which this machine listens on a TCP port.

    Raises:
        CannotMeasure: ``ss`` failed.
    """
    result = look.read(["ss", "-Hltn", f"sport = :{port}"])
    # State, two queues, local address:port, peer.
    return [line.split()[3].rsplit(":", 1)[0] for line in result.stdout.splitlines() if line]
