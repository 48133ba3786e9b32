"""Mirrors on loopback, and a guard that nothing else is ever asked."""

from __future__ import annotations

import copy
import socket

import pytest
from urllib3.util import connection

from l4lab.bundle import releases
from l4lab.bundle.transfer import Limits
from tests.unit.bundle.mirror import Mirror


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    """The projects' own addresses are a port where nobody listens; other hosts are an error."""
    real = connection.create_connection

    def guarded(address, *args, **options):
        assert address[0] == "127.0.0.1", f"a test asks {address}"
        return real(address, *args, **options)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    table = copy.deepcopy(releases.releases())
    for facts in table.values():
        facts["origin"] = f"http://127.0.0.1:{port}/v{{version}}"
    monkeypatch.setattr(releases, "releases", lambda: table)
    monkeypatch.setattr(connection, "create_connection", guarded)


@pytest.fixture
def table():
    """What ``upstream.toml`` holds, to be changed by a test."""
    return releases.releases()


@pytest.fixture
def mirror():
    with Mirror() as made:
        yield made


@pytest.fixture
def other():
    """A second mirror."""
    with Mirror() as made:
        yield made


@pytest.fixture
def limits():
    return Limits(probe=20, connect=20, stall=20, whole=60, pause=0, rounds=2, redirects=3)
