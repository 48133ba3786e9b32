import secrets

import pytest

from tests.provider.engine import Engine
from tests.provider.server import FakeKubelet, Server, binaries


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder, missing = binaries()
    if missing:
        pytest.skip(missing)
    running = Server(tmp_path_factory.mktemp("server"), folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def kubelet(server):
    fake = FakeKubelet(server)
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def namespace(server):
    """A namespace of the test's own, with its default service account."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    server.request("POST", "/api/v1/namespaces", body)
    server.wait_for_account(name)
    yield name
    server.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def shared_engine(server):
    with Engine({"KUBECONFIG": str(server.kubeconfig)}) as running:
        running.configure()
        yield running


@pytest.fixture
def engine(shared_engine, kubelet, namespace):
    """The provider's real process, asked as Pulumi's engine asks it."""
    shared_engine.namespace = namespace
    return shared_engine
