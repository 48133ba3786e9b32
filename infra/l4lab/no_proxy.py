"""What is asked directly where the environment names a proxy: none of the host's reaches the lab.

Programs differ in the spelling they read, and in which of the two wins: so both say the same.
"""

from __future__ import annotations

import os
from typing import Final

from l4lab.topology import Networks

NAMES: Final = ("NO_PROXY", "no_proxy")
_EVERYTHING: Final = "*"


def variables(networks: Networks) -> dict[str, str]:
    """Both variables: what either of them has now, this host, and a cluster's networks."""
    there = [word.strip() for name in NAMES for word in os.environ.get(name, "").split(",")]
    if _EVERYTHING in there:  # which some programs know only where it stands alone
        return dict.fromkeys(NAMES, _EVERYTHING)
    lab = map(str, (networks.nodes, networks.pods, networks.services))
    whole = dict.fromkeys([*there, "127.0.0.1", "localhost", *lab])
    return dict.fromkeys(NAMES, ",".join(filter(None, whole)))


def go_direct(networks: Networks) -> None:
    """Let this process, and what it starts from now on, ask a cluster's networks directly."""
    os.environ.update(variables(networks))
