"""Which addresses the allocator may give: a few of the node network that no machine has."""

from __future__ import annotations

from ipaddress import IPv4Address

from l4lab.errors import UsageError
from l4lab.topology import Topology


def pool(topology: Topology, size: int) -> tuple[str, ...]:
    """``size`` addresses from the last quarter of the node network, the lowest first.

    They must be of that network, or nobody outside would ask for them by ARP; and they must be
    nobody's, or two would answer.

    Raises:
        UsageError: There are not so many.
    """
    network = topology.networks.nodes
    taken = {topology.networks.gateway, *(machine.address for machine in topology.machines)}
    first = int(network.network_address) + network.num_addresses * 3 // 4
    last = int(network.broadcast_address) - 1
    free = [one for one in map(IPv4Address, range(first, last + 1)) if one not in taken]
    if len(free) < size:
        raise UsageError(
            f"the node network {network} has no {size} free addresses",
            f"of its last quarter {len(free)} belong to no machine",
            "give [network] nodes a wider range, then: ./l4lab up",
        )
    return tuple(map(str, free[:size]))
