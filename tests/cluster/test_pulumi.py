"""Plain ``pulumi`` and ``kubectl`` in a person's shell, on the real cluster."""

import os
import shlex
import subprocess

import pytest

from l4lab import stack
from l4lab.lab import get_lab
from l4lab.retry import wait_for
from tests.cluster.conftest import NAME, PROJECT
from tests.cluster.hands import Hands


def lacks_row(hands, address):
    rows = hands.on(hands.far, "ipvsadm", "-Ln")
    return None if f"{address}:80" in rows else f"no row for {address}"


class Bash:
    """Runs lines as a person would, after ``eval "$(./l4lab env)"`` in the project's root."""

    def __init__(self, config):
        self.config = config
        # As in a fresh terminal: nothing of the test's own environment.
        known = {"HOME", "LANG", "L4LAB_CACHE", "XDG_CACHE_HOME", "TERM"}
        self.environment = {key: value for key, value in os.environ.items() if key in known}
        self.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    def run(self, line):
        prepared = f'eval "$(./l4lab env --config {shlex.quote(str(self.config))})" && {line}'
        done = subprocess.run(
            ["bash", "-c", prepared],
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout

    def well(self, line):
        status, output = self.run(line)
        assert status == 0, output
        return output


@pytest.fixture
def bash(access, no_lab, tmp_path):
    del no_lab
    config = tmp_path / "l4lab.toml"
    config.write_text(f'[cluster]\nname = "{NAME}"\n')
    found = Bash(config)
    yield found
    stack.destroy(get_lab(PROJECT, "clusterip"), access)


def test_a_plain_pulumi_up_proves_the_lab(bash, access):
    assert "Ready" in bash.well("kubectl get nodes")
    bash.well("pulumi stack init clusterip --color=never")
    assert "checks of lab clusterip would run: deployment," in bash.well(
        "pulumi preview -s clusterip --color=never"
    )
    up = bash.well("pulumi up -s clusterip --yes --skip-preview --color=never")
    assert "lab clusterip:" in up
    assert "created" in up

    again = bash.well("pulumi up -s clusterip --yes --color=never")
    assert "nothing changed" in again
    assert not stack.deploy(get_lab(PROJECT, "clusterip"), access).changed
    assert "clusterip" in bash.well("pulumi stack ls")

    bash.well("pulumi destroy -s clusterip --yes --color=never")
    assert bash.well("kubectl get services my-nginx --ignore-not-found").strip() == ""


@pytest.mark.long
def test_a_lab_that_does_not_work_turns_it_red(bash, access):
    """A node whose kube-proxy stands still does not learn of the Service: the API is all right."""
    hands = Hands(access)
    bash.well("pulumi stack init clusterip --color=never")
    hands.freeze_proxy(hands.far)
    try:
        status, output = bash.run("pulumi up -s clusterip --yes --skip-preview --color=never")
        address = hands.json("service", "my-nginx")["spec"]["clusterIP"]
    finally:
        hands.thaw_proxy(hands.far)
    assert status != 0
    assert f"FAIL ipvs-row, node {hands.far}" in output
    assert "expected" in output
    assert "causes" in output

    wait_for("kube-proxy", lambda: lacks_row(hands, address), within=120)
    mended = bash.well("pulumi up -s clusterip --yes --skip-preview --color=never")
    assert "lab clusterip:" in mended, "the checks are owed, though no object changed"
