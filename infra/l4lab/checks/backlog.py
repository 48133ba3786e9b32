"""Whether kube-proxy has yet to write what it was told: no row is called wrong while it has."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime

from l4lab.checks.kernel import PROXY
from l4lab.checks.model import CannotMeasure, Vantage, Where
from l4lab.checks.reach import Reach, SharedReads
from l4lab.topology import Topology

ASK_METRICS = ("curl", "-sS", "-i", "-m", "15", f"{PROXY}/metrics")
"""kube-proxy's metrics, with the header that tells its time. On a busy machine a page took more
than 5 s."""

# When kube-proxy was last told of a change, when it last ended a round of writing, and how long
# rounds take. Each is there once for each IP family.
_PREFIX = "kubeproxy_sync_proxy_rules_"
_TOLD, _WRITTEN = f"{_PREFIX}last_queued_timestamp_seconds", f"{_PREFIX}last_timestamp_seconds"
_SECONDS, _ROUNDS = f"{_PREFIX}duration_seconds_sum", f"{_PREFIX}duration_seconds_count"

# The longest of 14 rounds that were looked at took 37 s, their mean was 13 s.
_LONGEST = 3.0

_FRESH_SECONDS = 2.0


def lags(page: str) -> bool:
    """Whether kube-proxy's metrics tell of a change that may not be written yet.

    A change it was told of while it wrote is left for the next round, though the end of that round
    is later than the change. So a change just before the end of a round counts as not written, for
    as long as the next may take.
    """
    now = 0.0
    values: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in page.splitlines():
        if line.lower().startswith("date:"):
            now = parsedate_to_datetime(line.partition(":")[2].strip()).timestamp()
        elif line.startswith(_PREFIX):
            name, _, value = line.rpartition(" ")
            name, _, labels = name.partition("{")
            if name in (_TOLD, _WRITTEN, _SECONDS, _ROUNDS):
                values[labels][name] = float(value)
    return any(_behind(family, now) for family in values.values())


def _behind(family: Mapping[str, float], now: float) -> bool:
    told, written = family[_TOLD], family[_WRITTEN]
    if told > written:
        return True
    # Without a number of rounds nothing was ever written, which the times have told.
    longest = _LONGEST * family[_SECONDS] / max(family[_ROUNDS], 1)
    return written - told < longest and now - written < longest


class Backlog:
    """Asks the kube-proxy of every node; askers at the same time share the answers."""

    def __init__(self, reach: Reach, topology: Topology) -> None:
        self._reach = SharedReads(reach, max_age=_FRESH_SECONDS)
        self._nodes = [Vantage(Where.NODE, node.name) for node in topology.nodes]

    def __call__(self) -> bool:
        """Whether any node's kernel is behind; a kube-proxy that does not answer is not."""
        with ThreadPoolExecutor(max_workers=len(self._nodes)) as pool:
            return any(list(pool.map(self._lags, self._nodes)))

    def _lags(self, node: Vantage) -> bool:
        try:
            said = self._reach.run(node, ASK_METRICS, timeout=20)
        except CannotMeasure:
            return False
        return said.succeeded and lags(said.stdout)
