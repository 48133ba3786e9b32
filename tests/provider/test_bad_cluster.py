"""A cluster or a state that is not as it should be: told in clear words, and cleaned up.

Through stack.py, the real Pulumi CLI and our provider, on a real API server.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from l4lab import pulumi_cli, stack
from l4lab.errors import LockedError
from l4lab.retry import wait_for
from tests.provider.bad import refusal
from tests.provider.certificates import FUTURE, PAST, Authority
from tests.provider.test_stack import MadeLab, lab_of

pytestmark = pytest.mark.server


# --- namespaces ---------------------------------------------------------------------------------


def test_a_namespace_that_was_deleted(access, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    space.delete()
    space.wait_until_gone(space.path)
    assert stack.status(lab, access).deployed, "the state alone is asked"
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.reason == f'namespaces "{space.name}" not found'
    make = f"./l4lab kubectl create namespace {space.name}"
    assert error.resolution == f"{make}, then: ./l4lab deploy made"
    assert not stack.status(lab, access).deployed
    stack.destroy(lab, access)
    space.make()
    stack.deploy(lab, access)
    assert not space.is_empty()
    space.delete()
    space.wait_until_gone(space.path)
    stack.destroy(lab, access)
    assert not stack.status(lab, access).deployed
    space.make()


def test_a_namespace_that_does_not_end(access, server, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    held = {"metadata": {"name": "held", "finalizers": ["lab.example/held"]}}
    space.post("configmaps", held)
    space.delete()
    space.wait_until_gone(space.service)

    def unsaid():
        said = json.dumps(server.get(space.path)["status"])
        return None if "lab.example/held" in said else said

    wait_for("the reason", unsaid, within=180)
    error = refusal(stack.deploy, lab, access)
    assert error.exit_code == 5
    assert error.reason.count("is being terminated") == 1
    assert "lab.example/held" in error.reason
    assert "kubernetes:" not in error.reason, "the engine's packing"
    assert space.name in error.resolution
    stack.destroy(lab, access)
    assert not stack.status(lab, access).deployed
    server.patch(f"{space.path}/configmaps/held", {"metadata": {"finalizers": None}})
    space.wait_until_gone(space.path)
    space.make()
    stack.deploy(lab, access)
    stack.destroy(lab, access)


# --- half-deployed, held, damaged ---------------------------------------------------------------


def declare_two(namespace, port):
    import pulumi
    import pulumi_kubernetes as k8s

    meta = {"name": "web", "namespace": namespace}
    first = k8s.core.v1.ConfigMap("web", metadata=meta)
    after = pulumi.ResourceOptions(depends_on=[first])
    k8s.core.v1.Service("web", metadata=meta, spec={"ports": [{"port": port}]}, opts=after)


def test_half_deployed_then_destroyed_then_deployed(access, server, space):
    config = f"{space.path}/configmaps/web"
    lab = MadeLab("made", partial(declare_two, space.name, 80))
    half = MadeLab("made", partial(declare_two, space.name, 70000))
    refusal(stack.deploy, half, access)
    assert server.get(config)
    assert server.get(space.service) is None
    assert stack.status(lab, access).resources == (f"ConfigMap {space.name}/web",)
    stack.destroy(lab, access)
    assert server.get(config) is None
    assert stack.deploy(lab, access).changed
    assert not stack.deploy(lab, access).changed
    stack.destroy(lab, access)
    assert server.get(config) is None
    assert space.is_empty()


def locks(access):
    return access.paths.pulumi / ".pulumi/locks/organization/l4lab/made"


@contextlib.contextmanager
def held(access, **holder):
    path = locks(access) / "0d1e.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"username": "ann", "timestamp": "2026-01-01", **holder}))
    yield path
    path.unlink(missing_ok=True)


def test_a_stack_that_another_host_holds(access, space):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    with held(access, pid=4711, hostname="elsewhere") as path:
        for operation in (stack.deploy, stack.preview, stack.destroy):
            error = refusal(operation, lab, access)
            assert isinstance(error, LockedError)
            assert error.exit_code == 2
            assert error.reason == "held by process 4711 on host elsewhere"
            assert str(path) in error.resolution, "a kill here would end another process"
            assert "kill" not in error.resolution
        assert stack.status(lab, access).deployed
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_stack_that_a_living_pulumi_holds(access, space, tmp_path):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    sleeper = tmp_path / "pulumi"
    sleeper.write_bytes(Path("/bin/sleep").read_bytes())
    sleeper.chmod(0o755)
    living = subprocess.Popen([sleeper, "600"])
    try:
        with held(access, pid=living.pid, hostname=os.uname().nodename):
            name = Path(f"/proc/{living.pid}/comm")
            wait_for("exec", lambda: None if name.read_text() == "pulumi\n" else "fork", within=30)
            error = refusal(stack.destroy, lab, access)
            assert isinstance(error, LockedError)
            assert error.resolution.endswith(f"kill -INT {living.pid}")
            living.kill()
            living.wait()
            stack.destroy(lab, access)  # it is dead: its lock counts no more
    finally:
        living.kill()
        living.wait()
    assert space.is_empty()


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_state_that_cannot_be_read(access, space, damage):
    path = pulumi_cli.checkpoint(access.paths, "made")
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    for operation in (stack.status, stack.deploy, stack.destroy):
        error = refusal(operation, lab_of(space.name), access)
        assert error.exit_code == 5
        assert error.brief == "cannot read the state of stack made"
        assert "./l4lab reset made" in error.resolution
        assert error.details == path
    assert path.read_text() == damage, "it may still be of use to somebody"


# --- certificates -------------------------------------------------------------------------------


def test_a_client_s_certificate_that_has_expired(access, server, space):
    lab = lab_of(space.name)
    server.write_kubeconfig(access.paths.kubeconfig, ends=FUTURE)
    stack.deploy(lab, access)
    server.write_kubeconfig(access.paths.kubeconfig, ends=PAST)
    for operation in (stack.preview, stack.deploy, stack.destroy):
        error = refusal(operation, lab, access)
        assert error.exit_code == 5
        assert error.reason.startswith(f"{server.url} refuses the kubeconfig: its certificate has")
        assert "2021-03-04 05:06 UTC" in error.reason
        assert "./l4lab reset, then ./l4lab up" in error.resolution
    assert len(stack.status(lab, access).resources) == 2, "nothing was forgotten"
    assert not space.is_empty()
    server.write_kubeconfig(access.paths.kubeconfig, ends=FUTURE)
    stack.destroy(lab, access)
    assert space.is_empty()


@pytest.fixture
def stale(tmp_path):
    """Port and authority of a server whose own certificate has expired."""
    authority = Authority("servers")
    (tmp_path / "server.pem").write_bytes(
        b"".join(authority.sign("server", ends=PAST, address="127.0.0.1"))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")

    def serve():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # the test is over
            with contextlib.suppress(OSError), connection:
                context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], authority.certificate
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(60)


def test_a_server_s_certificate_that_has_expired(access, server, space, stale):
    lab = lab_of(space.name)
    stack.deploy(lab, access)
    port, authority = stale
    url = f"https://127.0.0.1:{port}"
    server.write_kubeconfig(access.paths.kubeconfig, url=url, authority=authority)
    for operation in (stack.deploy, stack.destroy):
        error = refusal(operation, lab, access)
        assert error.exit_code == 5
        assert f"cannot reach the Kubernetes API at {url}" in error.reason
        assert "certificate has expired" in error.reason
        assert "./l4lab reset, then ./l4lab up" in error.resolution
    server.write_kubeconfig(access.paths.kubeconfig)
    stack.destroy(lab, access)
    assert space.is_empty()


def test_a_token_that_is_unknown(access, server, space):
    config = json.loads(access.paths.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "nobody"
    access.paths.kubeconfig.write_text(json.dumps(config))
    error = refusal(stack.deploy, lab_of(space.name), access)
    assert "its token is unknown, or has expired" in error.reason
    assert error.resolution == "./l4lab status"
