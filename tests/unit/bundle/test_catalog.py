"""The catalogue and the Go modules name the same versions."""

from __future__ import annotations

import re

import pytest

from l4lab.bundle import parts
from l4lab.bundle.catalog import catalog, image_references, version
from l4lab.bundle.golang import TOOLS, stamps

MODULES = {
    "kubernetes": "k8s.io/kubernetes",
    "containerd": "github.com/containerd/containerd/v2",
    "etcd": "go.etcd.io/etcd/server/v3",
    "cni": "github.com/containernetworking/plugins",
    "coredns": "github.com/coredns/coredns",
    "pulumi": "github.com/pulumi/pulumi/pkg/v3",
}


@pytest.mark.parametrize("component", MODULES)
def test_go_mod_pins_the_catalogue(component):
    text = (TOOLS / component / "go.mod").read_text()
    found = re.search(rf"{re.escape(MODULES[component])} v(\S+)", text)
    assert found.group(1) == version(component)


def test_every_kubernetes_version_is_the_same():
    text = (TOOLS / "kubernetes" / "go.mod").read_text()
    assert f"-X k8s.io/component-base/version.gitVersion=v{version('kubernetes')}" in stamps(
        "kubernetes"
    )
    minor = version("kubernetes").split(".", 1)[1]
    replaced = re.findall(r"^\s+k8s\.io/\S+ => k8s\.io/\S+ v0\.(\S+)$", text, re.M)
    assert len(replaced) > 25
    assert set(replaced) == {minor}


def test_sdk_and_cli_of_pulumi_are_one_version():
    project = (TOOLS.parents[1] / "pyproject.toml").read_text()
    assert f"pulumi=={version('pulumi')}" in project


def test_images_have_full_names():
    for name in image_references().values():
        assert re.fullmatch(r"(localhost|[a-z0-9.]+\.[a-z]+)/[a-z0-9/-]+:[A-Za-z0-9.-]+", name)
    assert image_references()["etcd"].endswith(catalog()["kubernetes"]["images"]["etcd"])


def test_needs_come_before_those_who_need_them():
    seen = set()
    for part in parts():
        assert {need.name for need in part.needs} <= seen
        seen.add(part.name)
