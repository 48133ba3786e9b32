import secrets
from ipaddress import IPv4Address, IPv4Network

import pytest

from l4lab.state import Access, Paths
from l4lab.topology import Machine, Networks, Role, Topology
from tests.provider.bad import Space
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


@pytest.fixture
def access(server, kubelet, tmp_path):
    folder, _ = binaries()
    if not (folder / "pulumi").is_file():
        pytest.skip(f"{folder} lacks pulumi")
    paths = Paths(tmp_path / "state of a cluster")  # a space, as a user's folder may have
    paths.root.mkdir(mode=0o700)
    server.write_kubeconfig(paths.kubeconfig)
    machine = Machine(
        name="master", role=Role.CONTROL_PLANE, address=IPv4Address("192.168.128.11"), memory_mib=1
    )
    networks = Networks(
        nodes=IPv4Network("192.168.128.0/24"),
        pods=IPv4Network("10.244.0.0/16"),
        services=IPv4Network("10.10.0.0/16"),
    )
    return Access(
        topology=Topology(name="test", machines=(machine,), networks=networks),
        paths=paths,
        kubectl=folder / "kubectl",
        pulumi=folder / "pulumi",
    )


@pytest.fixture
def space(server, namespace):
    return Space(server, namespace)
