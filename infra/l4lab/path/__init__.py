"""The measured way of one connection: from a client, through the cluster, to what answers it."""

from __future__ import annotations

from collections.abc import Callable

from l4lab.checks.look import Look
from l4lab.checks.model import API, CannotMeasure
from l4lab.checks.reach import LiveReach, SharedReads
from l4lab.checks.verbs import WallClock
from l4lab.errors import MachineError
from l4lab.path.hops import assemble
from l4lab.path.measure import Tracer
from l4lab.path.model import Death, Hop, Mark, PacketPath
from l4lab.path.svg import to_svg
from l4lab.path.text import for_terminal, to_text
from l4lab.state import Access

__all__ = ["Death", "Hop", "Mark", "PacketPath", "for_terminal", "to_svg", "to_text", "trace"]


def trace(
    access: Access, client: str, target: str, *, doing: Callable[[str], None] = lambda _: None
) -> PacketPath:
    """Send one connection from ``client`` to ``target`` and follow it.

    Args:
        access: The way to the cluster; this process must be on the lab's network.
        client: ``outside``, a machine's name, ``pod:NAME`` or a pod's name.
        target: ``SERVICE``, ``NAMESPACE/SERVICE``, ``ADDRESS:PORT``, ``NODE:NODEPORT`` or
            ``nodeport:SERVICE``.
        doing: Told what is being done.

    Raises:
        MachineError: The API server, or the client's machine, does not answer.
        UsageError: Client or target mean nothing on this cluster.
    """
    with LiveReach(access, namespace="default") as reach:
        look = Look(
            reach=reach,
            shared=SharedReads(reach, max_age=0),
            vantage=API,
            topology=access.topology,
            namespace="default",
            lab="",
            clock=WallClock(),
        )
        try:
            return assemble(Tracer(look, access.topology, doing=doing).measure(client, target))
        except CannotMeasure as failed:
            raise MachineError(
                "the path cannot be measured", failed.why, failed.then or "./l4lab status"
            ) from failed
