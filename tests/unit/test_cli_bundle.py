"""``l4lab bundle``: what it is made from, and what is told of it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from l4lab import bundle, cli, console
from l4lab.bundle import Bundle

RELEASE = {
    "file": "cni/v1/cni.tgz",
    "mirror": "http://mirror.example/cni/v1/",
    "proved_by": "first use",
    "sha256": "a" * 64,
}
PARTS = {"cni": {"maker": "upstream", "releases": [RELEASE]}, "etcd": {"maker": "modules"}}


@pytest.fixture(autouse=True)
def asked(tmp_path, monkeypatch):
    """The origins that were asked for; each has a bundle of its own."""
    found = []

    def ensure(_progress, *, origin, again):
        del again
        found.append(origin)
        return Bundle(tmp_path / origin.maker)

    monkeypatch.setattr(console, "PROJECT", tmp_path)
    monkeypatch.delenv("L4LAB_CONFIG", raising=False)
    monkeypatch.setattr(bundle, "ensure", ensure)
    monkeypatch.setattr(
        bundle, "repair", lambda progress, origin: ensure(progress, origin=origin, again=True)
    )
    monkeypatch.setattr(bundle, "find", lambda origin: Bundle(tmp_path / origin.maker))
    monkeypatch.setattr(
        bundle, "makers", lambda made: PARTS if made.folder.name != "modules" else {}
    )
    return found


def l4lab(*words):
    done = CliRunner().invoke(cli.main, ["bundle", *words], prog_name="l4lab")
    assert done.exit_code in (0, 2), done.output
    return done


def test_modules_unless_said_otherwise(asked):
    done = l4lab()
    assert [one.maker for one in asked] == ["modules"]
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["--repair"]])
def test_the_settings_say_it_and_the_command_line_says_otherwise(asked, tmp_path, words):
    (tmp_path / "l4lab.toml").write_text(
        '[bundle]\nfrom = "upstream"\nmirrors = ["http://mirror.example"]\n'
    )
    assert "The settings want another" not in l4lab(*words).stdout
    assert "The settings want another" in l4lab(*words, "--from", "auto").stdout
    assert [one.maker for one in asked] == ["upstream", "auto"]
    assert {one.mirrors[0].everything for one in asked} == {"http://mirror.example"}


def test_mirror_and_digest_are_told(tmp_path):
    lines = l4lab("--from", "upstream").stdout.splitlines()
    assert lines[:3] == [
        f"The bundle is whole: {tmp_path / 'upstream'}",
        "  cni/v1/cni.tgz from http://mirror.example/cni/v1/",
        f"    SHA-256 {'a' * 64}, by first use",
    ]
    assert json.loads(l4lab("--from", "upstream", "--json").stdout)["parts"] == PARTS


def test_other_makers_are_refused(asked):
    done = l4lab("--from", "images")
    assert done.exit_code == 2
    assert "'modules', 'upstream', 'auto'" in done.stderr
    assert asked == []
