"""Whether kube-proxy has yet to write what it was told: no row is judged while it has."""

from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from l4lab.checks.model import CannotMeasure, Vantage, Where
from l4lab.checks.reach import Reach
from l4lab.checks.verbs import Clock
from l4lab.topology import Topology

ASK_METRICS = ("curl", "-sS", "-m", "5", "http://127.0.0.1:10249/metrics")
"""kube-proxy's metrics, at the address it serves them by default (``metricsBindAddress``)."""

# What kube-proxy's own health check compares: when it was last told, and when it last had it all
# written. Both are there once for each IP family.
_PREFIX = "kubeproxy_sync_proxy_rules_"
_TOLD, _WRITTEN = f"{_PREFIX}last_queued_timestamp_seconds", f"{_PREFIX}last_timestamp_seconds"

_FRESH_SECONDS = 2.0


def lags(metrics: str) -> bool:
    """Whether kube-proxy's metrics tell of a change that is not written yet."""
    told: dict[str, float] = defaultdict(float)
    written: dict[str, float] = defaultdict(float)
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        name, _, labels = name.partition("{")
        if name in (_TOLD, _WRITTEN):
            (told if name == _TOLD else written)[labels] = float(value)
    return any(when > written[family] for family, when in told.items())


class Backlog:
    """Asks the kube-proxy of every node; askers at the same time share one answer."""

    def __init__(self, reach: Reach, topology: Topology, clock: Clock) -> None:
        self._reach = reach
        self._topology = topology
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._answer = False

    def __call__(self) -> bool:
        """Whether any node's kernel is behind; a kube-proxy that does not answer is not."""
        with self._lock:
            now = self._clock.now()
            if self._asked is None or not 0 <= now - self._asked < _FRESH_SECONDS:
                nodes = self._topology.nodes
                with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
                    self._answer = any(list(pool.map(self._behind, [n.name for n in nodes])))
                self._asked = self._clock.now()
            return self._answer

    def _behind(self, node: str) -> bool:
        try:
            said = self._reach.run(Vantage(Where.NODE, node), ASK_METRICS, timeout=10)
        except CannotMeasure:
            return False
        return said.succeeded and lags(said.stdout)
