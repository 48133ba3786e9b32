"""How lab udp-sctp asks from many ports: a few at a time, and anew where nothing is heard."""

import importlib
import re
from types import SimpleNamespace

import pytest

from l4lab.checks import Unmet

traffic = importlib.import_module("labs.udp-sctp.traffic")

TARGET = "10.10.3.4:5300"
PORTS = [20001, 20002, 20003]


class Place:
    """A place to ask from, at which some ports hear nothing for some times."""

    factor = 1.0
    vantage = "node k8s-node01"

    def __init__(self, deaf):
        self.deaf = dict(deaf)
        self.asked = []

    def run(self, argv, **_rest):
        ports = [int(port) for port in re.findall(r"sourceport=(\d+)", " ".join(argv))]
        self.asked.append(ports)
        lines = []
        for port in ports:
            left = self.deaf.get(port, 0)
            self.deaf[port] = left - 1
            lines.append(f"{port} " if left > 0 else f"{port} echo-{port % 2} UDP")
        return SimpleNamespace(stdout="\n".join(lines), last_line="")


def test_a_datagram_that_was_lost_is_sent_again_from_its_port():
    place = Place({20002: 1})
    heard = traffic._heard(place, TARGET, PORTS)
    assert heard == {20001: "echo-1", 20002: "echo-0", 20003: "echo-1"}
    assert place.asked == [PORTS, [20002]]


def test_a_port_that_never_hears_anything_is_told():
    with pytest.raises(Unmet, match="a datagram from port 20002: TIMEOUT"):
        traffic._heard(Place({20002: 9}), TARGET, PORTS)
