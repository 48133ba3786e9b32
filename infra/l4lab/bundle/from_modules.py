"""The bundle made from Go modules and Debian packages, for networks that reach only registries."""

from __future__ import annotations

from collections.abc import Mapping

from l4lab.bundle.disk import disk_part, root_part
from l4lab.bundle.golang import go_part
from l4lab.bundle.images import images_part
from l4lab.bundle.kernel import kernel_part
from l4lab.bundle.part import Part
from l4lab.bundle.python import python_part

COMPONENTS = ("containerd", "etcd", "cni", "kubernetes", "calico", "coredns", "pulumi")


def parts(*, local: bool = True) -> tuple[Part, ...]:
    """All parts of the bundle; each comes after those it needs."""
    return parts_with({}, local=local)


def parts_with(instead: Mapping[str, Part], *, local: bool = True) -> tuple[Part, ...]:
    """All parts of the bundle, some components made in another way.

    Args:
        instead: Parts by the name of the component whose programs they hold.
        local: Also what machines are made from; hosts that are there have kernel and disk.
    """
    components = {name: instead.get(name) or go_part(name) for name in COMPONENTS}
    images = images_part([components[name] for name in ("kubernetes", "etcd", "coredns", "calico")])
    if not local:
        return (python_part(), *components.values(), images)
    kernel = kernel_part()
    root = root_part()
    on_disk = [components[name] for name in ("kubernetes", "containerd", "cni", "calico")]
    disk = disk_part(root, kernel, images, on_disk)
    return (python_part(), *components.values(), kernel, root, images, disk)
