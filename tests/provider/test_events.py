"""Which event says why a controller's pods are refused; needs no API server."""

from datetime import UTC, datetime, timedelta

import pytest

from provider.l4lab_provider.api import ApiError
from provider.l4lab_provider.events import RECENT, refusal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = {"metadata": {"uid": "it", "namespace": "default"}}


class Cluster:
    """Answers with events, or refuses to."""

    def __init__(self, *events, refuses=None):
        self.events, self.refuses = list(events), refuses

    def kind(self, _version, kind):
        return kind

    def find(self, kind, *, namespace, labels):
        assert (kind, namespace, labels) == ("Event", "default", "")
        if self.refuses:
            raise self.refuses
        return self.events


def event(message, ago, *, uid="it", reason="FailedCreate", field="lastTimestamp"):
    at = (NOW - ago).isoformat()
    seen = {"series": {"lastObservedTime": at}} if field == "series" else {field: at}
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid}, **seen}


@pytest.mark.parametrize("field", ["lastTimestamp", "eventTime", "series"])
def test_the_newest_is_told(field):
    older = event("quota a", timedelta(seconds=9))
    newer = event("quota b", timedelta(seconds=3), field=field)
    assert refusal(Cluster(older, newer, older), OWNER, now=NOW) == "quota b"


@pytest.mark.parametrize(
    "other",
    [
        event("long ago", RECENT + timedelta(seconds=1)),
        event("another's", timedelta(0), uid="other"),
        event("it worked", timedelta(0), reason="SuccessfulCreate"),
    ],
    ids=lambda one: one["message"],
)
def test_what_is_over_or_another_s_is_not(other):
    assert refusal(Cluster(other), OWNER, now=NOW) is None


def test_who_may_not_read_events_is_told_nothing():
    forbidden = ApiError(403, {"message": "events is forbidden"})
    assert refusal(Cluster(refuses=forbidden), OWNER, now=NOW) is None
