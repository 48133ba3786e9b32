"""What the database's client says, as checks read it; and that its password is seen nowhere."""

import pytest

from l4lab.checks import CannotMeasure, Fault, Look, Stage, Vantage, Where
from l4lab.checks import database as client
from l4lab.checks.reach import SharedReads
from l4lab.command import Result
from tests.unit.checks.world import Clock, topology

NODE = Vantage(Where.NODE, "k8s-node01")
PASSWORD = "a-secret-word"

# Texts of Debian 12's client, and of older ones.
SAYINGS = {
    "ERROR 2002 (HY000): Can't connect to server on '10.10.1.2' (115)": (Fault.OTHER, 2002),
    "ERROR 2002 (HY000): Can't connect to server on '10.10.1.2' (110)": (Fault.TIMEOUT, 2002),
    "ERROR 2003 (HY000): Can't connect to MySQL server on '10.10.1.2' (111)": (
        Fault.REFUSED,
        2003,
    ),
    "ERROR 2003 (HY000): Can't connect to MySQL server on '10.10.1.2:3306' (113)": (
        Fault.UNREACHABLE,
        2003,
    ),
    "ERROR 2003 (HY000): Can't connect to MySQL server on 'x' (111 \"Connection refused\")": (
        Fault.REFUSED,
        2003,
    ),
    "ERROR 2013 (HY000): Lost connection to server at 'handshake: reading initial communication "
    "packet', system error: 104": (Fault.RESET, 2013),
    "ERROR 2005 (HY000): Unknown server host 'mysql' (-2)": (Fault.DNS, 2005),
    "ERROR 1045 (28000): Access denied for user 'lab'@'192.168.128.21' (using password: YES)": (
        Fault.MYSQL,
        1045,
    ),
    "ERROR 1044 (42000): Access denied for user 'lab'@'%' to database 'mysql'": (
        Fault.MYSQL,
        1044,
    ),
    "ERROR 2002 (HY000): Received error packet before completion of TLS handshake. The "
    "authenticity of the following error cannot be verified: 1130 - Host '192.168.128.21' is not "
    "allowed to connect to this MariaDB server": (Fault.MYSQL, 1130),
    "ERROR 1064 (42000) at line 1: You have an error in your SQL syntax": (Fault.MYSQL, 1064),
}


def left(*, rc=0, out="", err=""):
    return Result(argv=("mariadb",), rc=rc, stdout=out, stderr=err, seconds=0.1)


@pytest.mark.parametrize(("text", "meant"), SAYINGS.items())
def test_an_error_is_told_by_its_number(text, meant):
    said = client.read_client(left(rc=1, err=f"{text}\n"))
    assert (said.fault, said.number) == meant
    assert str(said.number) in str(said)
    assert not said.fine


def test_rows_are_split_into_columns():
    said = client.read_client(left(out="mariadb01\tlab@10.0.0.1\nb\t\n"))
    assert said.fine
    assert said.rows == (("mariadb01", "lab@10.0.0.1"), ("b", ""))


def test_a_client_that_hangs_is_a_time_out_and_one_that_is_not_there_measures_nothing():
    assert client.read_client(left(rc=124)).fault is Fault.TIMEOUT
    with pytest.raises(CannotMeasure, match="command not found"):
        client.read_client(left(rc=127, err="sh: mariadb: command not found\n"))


class Wire:
    """Answers each program by a table, and remembers what it was given to read."""

    def __init__(self, **answers):
        self.answers = answers
        self.commands, self.read = [], []

    def run(self, vantage, argv, *, timeout, stdin=None):
        self.commands.append((vantage, list(argv)))
        self.read.append(stdin)
        return self.answers.get(argv[0], left())

    def secret(self, name):
        return PASSWORD


def look_over(wire, kind=Look, **more):
    return kind(
        reach=wire,
        shared=SharedReads(wire, max_age=0),
        vantage=NODE,
        topology=topology(),
        namespace="default",
        lab="selectorless",
        clock=Clock(),
        **more,
    )


def asked(look, **more):
    return client.ask(look, "SELECT 1", host="10.10.1.2", port=3306, schema="lab", **more)


def test_the_password_is_read_by_the_client_and_kept_nowhere():
    wire = Wire(mariadb=left(out="1\n"))
    look = look_over(wire)
    assert asked(look, user="lab", password=look.secret("any")).rows == (("1",),)
    assert PASSWORD in wire.read[0]
    assert not [argv for _, argv in wire.commands if PASSWORD in " ".join(argv)]
    assert PASSWORD not in repr(look.trace)


def test_without_a_password_the_clients_own_options_count():
    wire = Wire(mariadb=left(out="1\n"))
    asked(look_over(wire))
    assert wire.read == [None]
    assert not [word for word in wire.commands[0][1] if word.startswith("--defaults")]


CONNECTION = "\n{}|000|0.0|:0||no\n"


@pytest.mark.parametrize(
    ("curl", "fault"),
    [
        (
            left(
                out=CONNECTION.format(7),
                err="* connect to 10.10.1.2 port 3306 failed: Connection refused\n",
            ),
            Fault.REFUSED,
        ),
        (
            left(
                out=CONNECTION.format(7),
                err="* connect to 10.10.1.2 port 3306 failed: No route to host\n",
            ),
            Fault.UNREACHABLE,
        ),
        (left(out=CONNECTION.format(28)), Fault.TIMEOUT),
    ],
)
def test_what_the_client_leaves_open_a_plain_connection_tells(curl, fault):
    text = "ERROR 2002 (HY000): Can't connect to server on '10.10.1.2' (115)\n"
    said = asked(look_over(Wire(mariadb=left(rc=1, err=text), curl=curl)))
    assert (said.fault, said.number) == (fault, 2002)


def test_listeners_are_the_local_addresses():
    text = (
        "LISTEN 0 80 0.0.0.0:3306 0.0.0.0:*\n"
        "LISTEN 0 80 [::]:3306 [::]:*\n"
        'LISTEN 0 80 127.0.0.1:3306 0.0.0.0:* users:(("x",pid=1,fd=2))\n'
    )
    look = look_over(Wire(ss=left(out=text)))
    assert client.listeners(look, 3306) == ["0.0.0.0", "[::]", "127.0.0.1"]  # noqa: S104


def test_a_machine_is_changed_with_its_undo_said_first():
    host = Vantage(Where.DBHOST, "mariadb01")
    wire = Wire()
    stage = look_over(wire, Stage, budget=1, at_work=lambda: False)
    stage.change_machine(host, ["stop", "it"], back=["start", "it"])
    assert stage.put_back() == []
    assert wire.commands == [(host, ["stop", "it"]), (host, ["start", "it"])]


def test_a_change_that_failed_is_undone_as_well_and_a_failed_undo_is_told():
    wire = Wire(stop=left(rc=1, err="no\n"), start=left(rc=1, err="cannot\n"))
    stage = look_over(wire, Stage, budget=1, at_work=lambda: False)
    with pytest.raises(CannotMeasure, match="stop failed on node k8s-node01: no"):
        stage.change_machine(NODE, ["stop"], back=["start"])
    assert stage.put_back() == [
        "./l4lab ssh k8s-node01 start: start failed on node k8s-node01: cannot"
    ]
