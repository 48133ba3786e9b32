"""Objects on their way out: nothing is made of them, and their end is awaited."""

import threading

import pytest

from tests.provider.engine import ProviderError
from tests.provider.test_kinds import CORE, META, service

pytestmark = pytest.mark.server

CONFIG_MAP = CORE + "ConfigMap"
WANTED = {"metadata": META, "data": {"a": "1"}}
HOLDS = {"name": "it", "finalizers": ["lab.example/held"]}


@pytest.fixture
def path(engine):
    return f"/api/v1/namespaces/{engine.namespace}/configmaps/it"


@pytest.fixture
def going(engine, server, path):
    """A ConfigMap of somebody else whose end is held up."""
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": HOLDS}
    server.request("POST", path.rpartition("/")[0], body)
    server.request("DELETE", path)
    yield server.get(path)
    release(server, path)


def release(server, path):
    if "finalizers" in (server.get(path) or {"metadata": {}})["metadata"]:
        server.patch(path, {"metadata": {"finalizers": None}})


def released_meanwhile(server, path):
    thread = threading.Timer(0.5, release, (server, path))
    thread.start()
    return thread


def test_what_bears_the_name_still_is_outlasted(engine, server, path, going):
    engine.create(CONFIG_MAP, "it", WANTED, preview=True)
    with pytest.raises(ProviderError, match=r"still being deleted.* held by lab\.example/held"):
        engine.create(CONFIG_MAP, "it", WANTED, timeout=1)
    assert server.get(path)["metadata"]["uid"] == going["metadata"]["uid"]
    meanwhile = released_meanwhile(server, path)
    made = engine.create(CONFIG_MAP, "it", WANTED, timeout=60)
    meanwhile.join()
    assert made.outputs["metadata"]["uid"] != going["metadata"]["uid"]
    assert server.get(path)["data"] == {"a": "1"}


def test_it_is_not_taken_over(engine, going):
    assert engine.read(CONFIG_MAP, "it", f"{engine.namespace}/it") is None


@pytest.fixture
def ours(engine, server, path):
    """Of the stack, and deleted by somebody, but held up."""
    made = engine.create(CONFIG_MAP, "it", WANTED | {"metadata": HOLDS})
    server.request("DELETE", path)
    yield made
    release(server, path)


def test_one_of_the_stack_stays_in_its_state_and_is_made_anew(engine, server, path, ours):
    seen = engine.refresh(ours)
    assert "it is being deleted, held by lab.example/held" in seen.trouble
    with pytest.raises(ProviderError, match=r"held by lab\.example/held"):
        engine.update(seen, WANTED, timeout=1)
    meanwhile = released_meanwhile(server, path)
    made = engine.update(seen, WANTED, timeout=60)
    meanwhile.join()
    assert made.outputs["metadata"]["uid"] != ours.outputs["metadata"]["uid"]
    assert "deletionTimestamp" not in server.get(path)["metadata"]


def test_a_second_deletion_waits_too(engine, server, path, ours):
    seen = engine.refresh(ours)
    with pytest.raises(ProviderError, match=r"held by lab\.example/held"):
        engine.delete(seen, timeout=1)
    meanwhile = released_meanwhile(server, path)
    engine.delete(seen)
    meanwhile.join()
    assert server.get(path) is None


def test_a_service_that_is_going_is_not_ready(engine, server):
    made = engine.create(CORE + "Service", "it", service() | {"metadata": HOLDS})
    path = f"/api/v1/namespaces/{engine.namespace}/services/it"
    server.request("DELETE", path)
    assert "is being deleted" in engine.refresh(made).trouble
    release(server, path)
    assert engine.refresh(made) is None
