"""The lab's networks are asked directly, whatever the shell says of proxies."""

import os
from urllib.request import getproxies

import pytest
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import should_bypass_proxies

from l4lab import pulumi_cli
from l4lab.no_proxy import NAMES, variables
from l4lab.settings import parse

LAB = "127.0.0.1,localhost,192.168.128.0/24,10.244.0.0/16,10.10.0.0/16"
NETWORKS = parse({}, "none").topology.networks


@pytest.mark.parametrize(
    ("capitals", "small", "wanted"),
    [
        ("", "", LAB),
        ("a.example, b.example", "b.example,c.example", f"a.example,b.example,c.example,{LAB}"),
        ("", "localhost", "localhost,127.0.0.1,192.168.128.0/24,10.244.0.0/16,10.10.0.0/16"),
        ("a.example", "*", "*"),
    ],
)
def test_both_spellings_keep_what_either_has(monkeypatch, capitals, small, wanted):
    for name, value in zip(NAMES, (capitals, small), strict=True):
        monkeypatch.setenv(name, value)
    assert variables(NETWORKS) == {"NO_PROXY": wanted, "no_proxy": wanted}
    for name, value in variables(NETWORKS).items():
        monkeypatch.setenv(name, value)
    assert variables(NETWORKS) == {"NO_PROXY": wanted, "no_proxy": wanted}, "again is no more"


def test_who_enters_a_cluster_asks_it_directly(world, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "intranet.example")
    cluster = world.cluster()
    cluster.up()
    cluster.enter()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == f"intranet.example,{LAB}"


def test_pulumi_and_the_provider_ask_it_directly(world, monkeypatch):
    """The provider's client reads what urllib does, where small letters win."""
    cluster = world.cluster()
    cluster.up()
    access = cluster.enter()
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "intranet.example")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    for given in (
        pulumi_cli.environment(access, world.project),
        pulumi_cli.user_environment(access),
    ):
        with monkeypatch.context() as process:
            for name in NAMES:
                process.setenv(name, given[name])
            client = Configuration(host="https://192.168.128.11:6443")
            assert client.proxy == getproxies()["https"]
            assert should_bypass_proxies(client.host, client.no_proxy)
            assert should_bypass_proxies("https://intranet.example", client.no_proxy)
