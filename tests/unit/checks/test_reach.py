"""SSH to a machine, against a small server on loopback; and reads that are shared."""

import socket
import threading
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import paramiko
import pytest

from l4lab.checks import API, NODES, CannotMeasure, Vantage, Where
from l4lab.checks.reach import LiveReach, SharedReads, slowness
from l4lab.command import Result
from l4lab.state import Access, Paths, write_private
from l4lab.topology import Machine, Networks, Role, Topology

NODE = Vantage(Where.NODE, "node")


class Sshd(paramiko.ServerInterface):
    """Lets everybody in and answers commands by a table."""

    def check_auth_publickey(self, username, key):
        return paramiko.AUTH_SUCCESSFUL

    def get_allowed_auths(self, username):
        return "publickey"

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        threading.Thread(target=self.serve, args=(channel, command.decode()), daemon=True).start()
        return True

    def serve(self, channel, command):
        if command.startswith("hang"):
            channel.sendall(b"begun\n")
            return
        if command == "cat":
            while text := channel.recv(100):
                channel.sendall(text)
        channel.sendall(f"did {command}\n".encode())
        channel.sendall_stderr(b"warned\n")
        channel.send_exit_status(3 if command.startswith("fail") else 0)
        # Not closed: that could overtake paramiko's own "yes, the command is begun".
        channel.shutdown_write()


@pytest.fixture
def machine(tmp_path):
    """Address of a server, and the folder a cluster keeps its keys in."""
    host_key = paramiko.ECDSAKey.generate()
    stop, kept = threading.Event(), []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)

    def serve():
        while not stop.is_set():
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            transport = paramiko.Transport(peer)
            transport.add_server_key(host_key)
            transport.start_server(server=Sshd())
            kept.append(transport)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    paths = Paths(tmp_path)
    paths.ssh.mkdir()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    (paths.ssh / "id_ed25519").write_bytes(private)
    paths.ssh_config.write_text(f'Host node\n  IdentityFile "{paths.ssh / "id_ed25519"}"\n')
    yield paths, listener.getsockname()[1], host_key, kept
    stop.set()
    thread.join(timeout=10)
    for transport in kept:
        transport.close()
    listener.close()


def access_to(paths, port):
    node = Machine(
        name="node",
        role=Role.CONTROL_PLANE,
        address=IPv4Address("127.0.0.1"),
        memory_mib=1,
        port=port,
    )
    networks = Networks(
        nodes=IPv4Network("127.0.0.0/24"),
        pods=IPv4Network("10.244.0.0/16"),
        services=IPv4Network("10.10.0.0/16"),
    )
    topology = Topology(name="t", machines=(node,), networks=networks)
    return Access(topology=topology, paths=paths, kubectl=Path("kubectl"), pulumi=Path("pulumi"))


def pin(paths, names, key):
    lines = [f"{name} {key.get_name()} {key.get_base64()}\n" for name in names]
    (paths.ssh / "known_hosts").write_text("".join(lines))


@pytest.fixture(params=["address", "name"])
def reach(machine, request):
    paths, port, key, _ = machine
    pin(paths, [f"[127.0.0.1]:{port}"] if request.param == "address" else ["node"], key)
    with LiveReach(access_to(paths, port), namespace="default") as reach:
        yield reach


def test_output_and_exit_code_come_back_and_words_stay_words(reach):
    result = reach.run(NODE, ["fail", "two words", "$x"], timeout=20)
    assert (result.rc, result.stdout) == (3, "did fail 'two words' '$x'\n")
    assert result.stderr == "warned\n"


def test_a_command_reads_what_it_is_given_to_its_end(reach):
    result = reach.run(NODE, ["cat"], timeout=20, stdin="one line\n")
    assert (result.rc, result.stdout) == (0, "one line\ndid cat\n")


def test_a_secret_is_read_from_the_clusters_state_or_told_to_be_missing(reach, machine):
    write_private(machine[0].root / "secrets" / "word", "hush\n")
    assert reach.secret("word") == "hush"
    with pytest.raises(CannotMeasure, match="no other word yet") as told:
        reach.secret("other_word")
    assert told.value.then == "./l4lab up"


def test_one_connection_serves_all_commands(reach, machine):
    threads = [
        threading.Thread(target=reach.run, args=(NODE, ["x"]), kwargs={"timeout": 20})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(machine[3]) == 1


def test_a_command_that_hangs_ends_at_its_deadline_with_what_it_had_said(reach):
    reach.run(NODE, ["true"], timeout=20)  # its deadline is not for the making of the connection
    result = reach.run(NODE, ["hang"], timeout=2)
    assert (result.rc, result.stdout) == (124, "begun\n")


def test_another_host_key_than_the_pinned_one_is_refused(machine):
    paths, port, _, _ = machine
    pin(paths, ["node"], paramiko.ECDSAKey.generate())
    with (
        LiveReach(access_to(paths, port), namespace="default") as reach,
        pytest.raises(CannotMeasure, match="cannot be reached"),
    ):
        reach.run(NODE, ["true"], timeout=20)


def test_a_machine_that_is_not_there_is_named(machine):
    paths, _, key, _ = machine
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    pin(paths, ["node"], key)
    with LiveReach(access_to(paths, port), namespace="default") as reach:
        with pytest.raises(CannotMeasure, match="machine node") as told:
            reach.run(NODE, ["true"], timeout=20)
        assert told.value.final
        with pytest.raises(CannotMeasure, match="no machine other"):
            reach.run(Vantage(Where.NODE, "other"), ["true"], timeout=20)


def test_a_program_that_is_not_there_cannot_measure(machine):
    paths, port, _, _ = machine
    access = access_to(paths, port)
    with LiveReach(access, namespace="default") as reach:
        missing = Path("/nonexistent/kubectl")
        object.__setattr__(access, "kubectl", missing)
        with pytest.raises(CannotMeasure, match="cannot run"):
            reach.run(API, ["kubectl", "get", "pods"], timeout=20)


class Counting:
    def __init__(self):
        self.times = 0
        self.gate = threading.Event()

    def run(self, vantage, argv, *, timeout):
        self.times += 1
        assert self.gate.wait(60)
        return Result(argv=tuple(argv), rc=0, stdout="x", stderr="", seconds=0.2)


def test_the_same_read_at_the_same_moment_is_done_once():
    counting = Counting()
    shared = SharedReads(counting, max_age=60)
    threads = [
        threading.Thread(target=shared.run, args=(NODES, ["a"]), kwargs={"timeout": 1})
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    counting.gate.set()
    for thread in threads:
        thread.join(timeout=10)
    assert counting.times == 1
    shared.run(NODES, ["b"], timeout=1)
    assert counting.times == 2


def test_without_an_age_every_later_read_is_done_anew():
    counting = Counting()
    counting.gate.set()
    shared = SharedReads(counting, max_age=0)
    shared.run(NODES, ["a"], timeout=1)
    shared.run(NODES, ["a"], timeout=1)
    assert counting.times == 2


def test_of_three_measures_of_slowness_the_middle_one_counts():
    class Uneven:
        seconds = iter((0.05, 0.1, 5.0))

        def run(self, _vantage, argv, *, timeout, stdin=None):
            return Result(argv=tuple(argv), rc=0, stdout="", stderr="", seconds=next(self.seconds))

    assert slowness(Uneven(), NODE) == pytest.approx(2)


def test_slowness_is_measured_against_a_normal_machine():
    counting = Counting()
    counting.gate.set()
    assert slowness(counting, NODE) == pytest.approx(4)
