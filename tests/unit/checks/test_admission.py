"""The API server's verdict on an object, and that a dry run can be nothing else."""

import json

import pytest

from l4lab.checks.admission import read_admission
from l4lab.checks.look import Look
from l4lab.checks.model import API, CannotMeasure, Vantage, Where
from l4lab.checks.reach import SharedReads
from l4lab.checks.stage import Stage
from l4lab.command import Result

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "tried"}, "spec": {}}
INVALID = 'The Service "tried" is invalid: spec.ports: Required value'


def result(rc=0, out="", err=""):
    return Result(argv=("kubectl",), rc=rc, stdout=out, stderr=err, seconds=0.1)


class Api:
    """An API server that answers each command with the next result."""

    def __init__(self, *results):
        self.results = list(results)
        self.asked = []

    def run(self, vantage, argv, *, timeout, stdin=None):
        self.asked.append((vantage, list(argv), stdin))
        return self.results.pop(0)


class StoppedClock:
    def now(self):
        return 0.0

    def sleep(self, seconds):
        raise AssertionError("nothing waits here")


def at(api, kind=Look, **rest):
    return kind(
        reach=api,
        shared=SharedReads(api, max_age=0),
        vantage=Vantage(Where.NODE, "k8s-node01"),
        topology=None,
        namespace="default",
        lab="a-lab",
        clock=StoppedClock(),
        **rest,
    )


def test_accepted_with_what_was_filled_in_and_with_warnings():
    made = {"spec": {"clusterIP": "10.10.1.2"}}
    text = "Warning: spec.SessionAffinity is ignored\n"
    verdict = read_admission(result(out=json.dumps(made), err=text))
    assert verdict.accepted
    assert verdict.object == made
    assert verdict.warnings == ("spec.SessionAffinity is ignored",)
    assert verdict.message == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (INVALID, INVALID),
        (
            'The Service "tried" is invalid: \n* spec.ports[0].name: Required value\n'
            "* spec.ports[1].name: Required value\n",
            'The Service "tried" is invalid: * spec.ports[0].name: Required value '
            "* spec.ports[1].name: Required value",
        ),
        (
            'Warning: old\nError from server (BadRequest): unknown field "spec.port"',
            'Error from server (BadRequest): unknown field "spec.port"',
        ),
    ],
)
def test_refused_with_the_reason_in_one_line(text, message):
    verdict = read_admission(result(rc=1, err=text))
    assert not verdict.accepted
    assert verdict.message == message


@pytest.mark.parametrize(
    "text",
    [
        "Unable to connect to the server: dial tcp 192.168.128.11:6443: i/o timeout",
        "The connection to the server 192.168.128.11:6443 was refused",
        "Error from server (Timeout): the server was unable to return a response",
        "Error from server (InternalError): an error on the server",
        "error: error parsing STDIN",
        "",
    ],
)
def test_what_is_no_verdict_is_not_taken_for_one(text):
    with pytest.raises(CannotMeasure):
        read_admission(result(rc=1, err=text))


def test_a_dry_run_is_asked_at_the_api_and_changes_nothing():
    api = Api(result(rc=1, err=INVALID))
    look = at(api)
    assert not look.dry_run(SERVICE).accepted
    ((vantage, argv, stdin),) = api.asked
    assert vantage == API
    assert argv[:3] == ["kubectl", "create", "--dry-run=server"]
    assert json.loads(stdin) == SERVICE
    typed = look.trace[-1].command
    assert typed.startswith("echo '{")
    assert typed.endswith("| ./l4lab kubectl create --dry-run=server -f -")


def test_what_is_offered_for_real_is_deleted_afterwards():
    api = Api(result(out="{}"), result())
    stage = at(api, Stage, budget=1, at_work=lambda: False)
    assert stage.offer(SERVICE).accepted
    assert stage.put_back() == []
    (_, offered, stdin), (_, deleted, _) = api.asked
    assert "--dry-run=server" not in offered
    assert json.loads(stdin) == SERVICE
    assert deleted[:5] == ["kubectl", "delete", "service", "tried", "--ignore-not-found"]
