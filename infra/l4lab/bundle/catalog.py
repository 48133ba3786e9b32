"""The catalogue: every pinned version, read from ``catalog.toml``."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("catalog.toml")


@functools.cache
def catalog() -> dict[str, Any]:
    """The catalogue as nested dictionaries, section by section."""
    return tomllib.loads(FILE.read_text())


def version(component: str) -> str:
    """The pinned version of ``component``, without a leading ``v``."""
    text: str = catalog()[component]["version"]
    return text


def image_references() -> dict[str, str]:
    """The full reference of every image in the bundle, by the name of what runs in it."""
    kubernetes = catalog()["kubernetes"]
    release = f"v{kubernetes['version']}"
    calico = f"v{version('calico')}"
    registry = "registry.k8s.io"
    return {
        **{
            name: f"{registry}/{name}:{release}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
            )
        },
        "etcd": f"{registry}/etcd:{kubernetes['images']['etcd']}",
        "coredns": f"{registry}/coredns/coredns:{kubernetes['images']['coredns']}",
        "pause": f"{registry}/pause:{kubernetes['images']['pause']}",
        "calico-node": f"docker.io/calico/node:{calico}",
        "calico-kube-controllers": f"docker.io/calico/kube-controllers:{calico}",
        "nginx": f"docker.io/library/nginx:{catalog()['images']['nginx']}",
        "busybox": f"docker.io/library/busybox:{catalog()['images']['busybox']}",
        "toolbox": f"localhost/l4lab/toolbox:{catalog()['images']['toolbox']}",
    }
