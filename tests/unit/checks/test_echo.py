"""Questions by socat: what is typed, and what its words are taken for."""

import subprocess

import pytest

from l4lab.checks import Fault
from l4lab.checks.echo import (
    AT_ONCE,
    at_once_argv,
    echo_argv,
    longest,
    read_at_once,
    read_reply,
)

STAMP = "2026/11/23 19:44:04 socat[2418] E "


def test_each_protocol_has_its_own_end():
    assert echo_argv("TCP", "10.10.3.4:53")[-1] == "TCP4:10.10.3.4:53,connect-timeout=3"
    assert echo_argv("UDP", "10.10.3.4:53", source_port=7)[-1] == (
        "UDP4:10.10.3.4:53,sourceport=7,null-eof"
    )
    assert echo_argv("SCTP", "10.10.3.4:53", seconds=4.5) == [
        *["socat", "-t", "4.5", "-"],
        "SCTP4:10.10.3.4:53,connect-timeout=4.5,shut-none",
    ]


def test_an_answer_names_pod_and_protocol():
    reply = read_reply("echo-1 SCTP\n")
    assert (reply.fine, reply.server, reply.protocol) == (True, "echo-1", "SCTP")
    assert str(reply) == "echo-1"


@pytest.mark.parametrize(
    ("said", "fault", "spoken"),
    [
        ("connect(5, AF=2 10.10.3.4:53, 16): Connection refused", Fault.REFUSED, "REFUSED"),
        ("read(5, 0x5500000a7000, 8192): Connection refused", Fault.REFUSED, "REFUSED"),
        ("connecting to AF=2 10.10.3.4:53: Connection timed out", Fault.TIMEOUT, "TIMEOUT"),
        (
            "connect(5, AF=2 10.10.3.4:53, 16): No route to host",
            Fault.UNREACHABLE,
            "UNREACHABLE (No route to host)",
        ),
        (
            "write(5, 0x5500000a7000, 12): Operation not permitted",
            Fault.OTHER,
            "OTHER (Operation not permitted)",
        ),
    ],
)
def test_a_failure_is_named_without_addresses_of_memory(said, fault, spoken):
    reply = read_reply(STAMP + said + "\n")
    assert reply.fault is fault
    assert str(reply) == spoken


def test_silence_is_a_time_out():
    assert read_reply("").fault is Fault.TIMEOUT


def test_many_are_asked_at_once_by_a_real_shell():
    asked = {
        "one": ["printf", "echo-1 UDP\n"],
        "two": ["sh", "-c", f"echo '{STAMP}read(5): Connection refused' >&2; exit 1"],
        "three": ["true"],
    }
    said = subprocess.run(
        at_once_argv(asked), check=True, capture_output=True, text=True, timeout=30
    ).stdout
    replies = read_at_once(said)
    assert {label: str(reply) for label, reply in replies.items()} == {
        "one": "echo-1",
        "two": "REFUSED",
        "three": "TIMEOUT",
    }


def test_never_more_than_a_few_are_asked_side_by_side():
    labels = [f"a{number}" for number in range(2 * AT_ONCE + 1)]
    script = at_once_argv({label: ["true"] for label in labels})[-1]
    sizes = [turn.count("&\n") for turn in script.split("wait")]
    assert sizes == [AT_ONCE, AT_ONCE, 1, 0]
    assert set(read_at_once(_run(script))) == set(labels)
    assert longest(len(labels), 3) == 9


def _run(script):
    words = ["sh", "-c", script]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout
