"""``l4lab path``: its output, its file and its exit code."""

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from l4lab import cli
from l4lab import path as packet_path
from l4lab.cluster import Cluster
from l4lab.errors import UsageError
from tests.unit.path import test_deaths as deaths


@pytest.fixture
def command(monkeypatch, world):
    """The command line over the world in memory."""

    def trace(_access, client, target, *, doing):
        doing("connect")
        return world.follow(client, target)

    monkeypatch.setattr(packet_path, "trace", trace)
    monkeypatch.setattr(Cluster, "enter", lambda _: SimpleNamespace())
    return lambda *words: CliRunner().invoke(cli.main, ["path", *words], prog_name="l4lab")


def test_an_answered_path_is_drawn(command):
    done = command("client", "my-nginx")
    assert done.exit_code == 0
    assert done.stdout.startswith("client → my-nginx   answered: HTTP 200")
    assert "$ ./l4lab" not in done.stdout
    assert "$ ./l4lab ssh" in command("client", "my-nginx", "-v").stdout


def test_a_path_that_died_ends_with_one(command, world, tmp_path):
    client, target = deaths.nobody_listens(world)
    done = command(client, target, "--json", "--svg", str(tmp_path / "path.svg"))
    assert done.exit_code == 1
    assert json.loads(done.stdout)["death"]["hop"] == "backend"
    assert (tmp_path / "path.svg").read_text().startswith("<svg ")


def test_an_end_that_means_nothing_is_a_wrong_usage(command):
    done = command("clent", "my-nginx")
    assert done.exit_code == UsageError.exit_code == 2
    assert "did you mean client?" in done.stderr
