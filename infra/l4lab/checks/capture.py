"""What really passed the nodes: a red check's last request is made again while they all listen."""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from l4lab.checks.model import CannotMeasure, CheckResult, Fault, Observation, Vantage, Where
from l4lab.checks.reach import Reach
from l4lab.topology import Machine

SECONDS: Final = 5
_PAUSE: Final = 1.0  # between two requests: one comes when all have begun to listen
_ANSWERS_WITHIN: Final = 3.0
# These only ask; what else a check runs is not for us to do again.
_ASKING: Final = ("curl", "dig")
_OVER_THE_NETWORK: Final = frozenset(Fault) - {Fault.MYSQL}
# Heads of packets only, and nothing of the cluster's own talk: SSH, etcd, the API, kubelet.
_LISTEN: Final = (
    f"timeout {SECONDS} tcpdump -i any -n -U -s 96 -c 2000 -w - "
    "'not (tcp port 22 or tcp port 2379 or tcp port 2380 or tcp port 6443 or tcp port 10250)' "
    "2>/dev/null | base64 -w0"
)


def request_of(results: Sequence[CheckResult]) -> Observation | None:
    """The request to make again: the last of the first check that failed over the network."""
    for result in results:
        if result.green or result.fault not in _OVER_THE_NETWORK:
            continue
        asked = [seen for seen in result.trace if seen.argv and seen.argv[0] in _ASKING]
        if asked:
            return asked[-1]
    return None


def capture(reach: Reach, nodes: Sequence[Machine], request: Observation) -> dict[str, bytes]:
    """Listen on all nodes for ``SECONDS``, and meanwhile make the request again and again.

    Returns:
        A pcap file's content for each node that could listen.
    """
    with ThreadPoolExecutor(max_workers=max(len(nodes), 1)) as pool:
        heard = {node.name: pool.submit(_listen, reach, node.name) for node in nodes}
        _repeat(reach, request, list(heard.values()))
    return {name: said for name, done in heard.items() if (said := done.result())}


def _listen(reach: Reach, name: str) -> bytes:
    try:
        said = reach.run(Vantage(Where.NODE, name), ["sh", "-c", _LISTEN], timeout=SECONDS + 15)
        return base64.b64decode(said.stdout, validate=True)
    except (CannotMeasure, binascii.Error):
        return b""


def _repeat(reach: Reach, request: Observation, listeners: Sequence[Future[bytes]]) -> None:
    where, _, name = request.vantage.partition(" ")
    until = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(CannotMeasure):
            reach.run(Vantage(Where(where), name), request.argv, timeout=_ANSWERS_WITHIN)
        if time.monotonic() > until or all(one.done() for one in listeners):
            return
        time.sleep(_PAUSE)
