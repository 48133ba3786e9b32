"""Options and order of all tests: quick ones first, those on real machines last, if asked."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

MACHINES = Path(__file__).parent / "cluster"


def pytest_configure(config):
    if config.getoption("--cluster"):
        config.pluginmanager.register(AtOnce(config))
    # What tests start finds the project, and the programs of this environment, as they do.
    project = Path(__file__).parents[1]
    # Tests talk gRPC to the provider and the language host, which l4lab itself never does. In the
    # child that is to become Ansible, gRPC would take up its work again and abort it before that
    # (https://github.com/grpc/grpc/issues/43055). It reads this once.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    os.environ["PYTHONPATH"] = f"{project / 'infra'}:{project}"
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"


def pytest_addoption(parser):
    parser.addoption(
        "--cluster", action="store_true", help="also run the tests on real local machines (minutes)"
    )
    parser.addoption(
        "--every-break",
        action="store_true",
        help="break the labs in every way there is, not in a few that stand for the others",
    )
    parser.addoption(
        "--hosts-suite",
        metavar="SUITE",
        help="with --cluster: the Debian of the given hosts, such as trixie; else the bundle's",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="also what would not fit into the time that a fresh machine has",
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if MACHINES in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.timeout(1500))
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="takes minutes more: add --long")
        for item in items:
            if "long" in item.keywords:
                item.add_marker(skip)
    if not config.getoption("--cluster"):
        skip = pytest.mark.skip(reason="needs real machines: add --cluster")
        for item in items:
            if "cluster" in item.keywords:
                item.add_marker(skip)
    items.sort(key=lambda item: "cluster" in item.keywords)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    """Where this run is one of several, leave its counts for the line that closes them all."""
    yield
    if tally := os.environ.get("L4LAB_TALLY"):
        counts = {kind: len(seen) for kind, seen in terminalreporter.stats.items() if kind}
        Path(tally).write_text(json.dumps(counts))
        terminalreporter.summary_stats = lambda: None


class AtOnce:
    """Tells what fails on machines when it fails: a run that is cut off has no summary."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        if report.failed and "cluster" in report.keywords:
            writer = self.config.get_terminal_writer()
            writer.line()
            writer.line(report.longreprtext)
