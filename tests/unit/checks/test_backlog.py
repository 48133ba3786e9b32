"""When kube-proxy has yet to write what it was told, as its own metrics say."""

import time
from email.utils import formatdate

import pytest

from l4lab.checks.backlog import ASK_METRICS, Backlog, lags
from l4lab.checks.model import CannotMeasure, Where
from l4lab.command import Result
from tests.unit.checks.world import topology

# As kube-proxy prints them: floating point in seconds since 1970, one line for each IP family.
METRICS = """\
HTTP/1.1 200 OK\r
Date: {now}\r
\r
# TYPE kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds gauge
kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{{ip_family="IPv4"}} {told}
kubeproxy_sync_proxy_rules_last_timestamp_seconds{{ip_family="IPv4"}} {written}
kubeproxy_sync_proxy_rules_duration_seconds_bucket{{ip_family="IPv4",le="+Inf"}} 10
kubeproxy_sync_proxy_rules_duration_seconds_sum{{ip_family="IPv4"}} 20.5
kubeproxy_sync_proxy_rules_duration_seconds_count{{ip_family="IPv4"}} 10
kubeproxy_sync_proxy_rules_service_changes_pending 0
"""
BEGAN = 1795943957.25


def page(*, told, written, now=100):
    """What kube-proxy prints; seconds after ``BEGAN``. A round of its takes 2.05 s."""
    return METRICS.format(
        told=f"{BEGAN + told:.10e}",
        written=repr(BEGAN + written),
        now=formatdate(BEGAN + now, usegmt=True),
    )


LAGGING, DONE = page(told=60.5, written=50), page(told=50, written=60.5)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (LAGGING, True),
        (DONE, False),
        (LAGGING.replace("IPv4", "IPv6") + DONE, True),
        # Told of something, and nothing was ever written.
        (LAGGING.replace("last_timestamp", "other"), True),
        # Told during a round that has ended since: the next has just begun, or is over by now.
        (page(told=94, written=98), True),
        (page(told=54, written=58), False),
        (page(told=80, written=98), False),
        ("", False),
    ],
)
def test_it_lags_where_it_may_have_been_told_after_it_began_to_write(metrics, expected):
    assert lags(metrics) is expected


class Proxies:
    """The kube-proxies of the nodes: what each prints, or why it cannot be asked."""

    def __init__(self, **printed):
        self.printed = printed
        self.asked = []

    def run(self, vantage, argv, *, timeout, stdin=None):
        assert (vantage.where, tuple(argv)) == (Where.NODE, ASK_METRICS)
        self.asked.append(vantage.name)
        said = self.printed.get(vantage.name.replace("-", "_"), DONE)
        if isinstance(said, Exception):
            raise said
        rc = 0 if said else 7  # curl's code for a refused connection
        return Result(argv=tuple(argv), rc=rc, stdout=said, stderr="", seconds=0.0)


def test_one_node_that_lags_is_enough():
    assert not Backlog(Proxies(), topology())()
    assert Backlog(Proxies(k8s_node02=LAGGING), topology())()


@pytest.mark.parametrize("silent", ["", CannotMeasure("host unreachable")])
def test_who_does_not_answer_is_not_waited_for(silent):
    assert not Backlog(Proxies(k8s_node01=silent), topology())()


def test_the_answer_is_asked_for_anew_after_a_while(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    proxies = Proxies(k8s_node01=LAGGING)
    backlog = Backlog(proxies, topology())
    assert backlog()
    assert backlog()
    assert sorted(proxies.asked) == ["k8s-master01", "k8s-node01", "k8s-node02"]
    proxies.printed.clear()
    now += 2.5
    assert not backlog()
