"""What the bundle's programs are made from, and the mirrors that have official releases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAKERS: Final = ("modules", "upstream", "auto")
RELEASED: Final = (
    "kubernetes",
    "containerd",
    "etcd",
    "coredns",
    "cni",
    "pulumi",
    "pulumi-kubernetes",
)
"""The components whose official releases are plain files."""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Another place that has releases.

    Attributes:
        everything: The address below which all components lie, as ``COMPONENT/vVERSION/``; empty
            where the mirror has only some.
        some: Pairs of a component and the address its files lie below; ``{version}`` in it stands
            for the version.
    """

    everything: str = ""
    some: tuple[tuple[str, str], ...] = ()

    def address(self, component: str, version: str) -> str | None:
        """Where the component's files lie, with a slash at the end; None if they do not."""
        if self.everything:
            return f"{self.everything.rstrip('/')}/{component}/v{version}/"
        address = dict(self.some).get(component)
        return address and address.replace("{version}", version).rstrip("/") + "/"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the bundle's programs come from.

    Attributes:
        maker: ``modules`` (built here from Go modules), ``upstream`` (official releases), or
            ``auto``: a bundle that is there, else upstream if it answers, else modules.
        mirrors: Asked for releases besides the official origins.
        local: Whether machines are made of it, too; hosts that are given have kernel and disk.
    """

    maker: str = "modules"
    mirrors: tuple[Mirror, ...] = ()
    local: bool = True


MODULES: Final = Origin()
