"""How requests fail, read from what curl, wget and nslookup really print."""

import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from l4lab.checks import Fault
from l4lab.checks.network import (
    curl_argv,
    read_curl,
    read_nslookup,
    read_wget,
    spoken,
    tally,
    worst,
)
from l4lab.command import Result, run

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def said(*, rc=0, stdout="", stderr=""):
    return Result(argv=("x",), rc=rc, stdout=stdout, stderr=stderr, seconds=0.1)


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path.startswith("/none") else 200)
        self.send_header("X-Served-By", "pod-a")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    served = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join(timeout=10)


def ask(url, *, times=1):
    return read_curl(run(curl_argv(url, times=times), timeout=60, check=False))


@needs_curl
def test_each_request_is_a_connection_of_its_own_and_names_who_answered(server):
    answers = ask(f"{server}/", times=4)
    assert [str(one) for one in answers] == ["HTTP 200"] * 4
    assert len({one.source for one in answers}) == 4
    assert {one.served_by for one in answers} == {"pod-a"}
    assert worst(answers) is None


@needs_curl
def test_another_status_is_a_failure_of_its_own_class(server):
    assert [(one.fault, one.status) for one in ask(f"{server}/none")] == [(Fault.HTTP, 404)]


@needs_curl
def test_refused_is_told_from_the_kernel_s_own_words():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        answers = ask(f"http://127.0.0.1:{unused.getsockname()[1]}/", times=2)
    assert [one.fault for one in answers] == [Fault.REFUSED] * 2
    assert answers[0].message == "Connection refused"


@needs_curl
def test_an_ended_connection_is_a_reset():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            peer, _ = listener.accept()
            peer.recv(1000)
            peer.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        answers = ask(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join(timeout=10)
    assert [one.fault for one in answers] == [Fault.RESET]


@pytest.mark.parametrize(
    ("line", "stderr", "fault"),
    [
        ("28|000|0.000|:0||Connection timed out after 3001 milliseconds", "", Fault.TIMEOUT),
        ("6|000|0.000|:0||Could not resolve host: my-nginx", "", Fault.DNS),
        (
            "7|000|0.000|:0||Failed to connect to 10.10.3.4 port 80 after 0 ms",
            "* connect to 10.10.3.4 port 80 failed: No route to host\n",
            Fault.UNREACHABLE,
        ),
        (
            # Newer curl names both ends.
            "7|000|0.000|:0||Failed to connect to 10.10.3.4 port 80 after 0 ms",
            "* connect to 10.10.3.4 port 80 from 10.0.0.1 port 4 failed: Connection refused\n",
            Fault.REFUSED,
        ),
        ("60|000|0.010|1.2.3.4:5||SSL certificate problem", "", Fault.CERTIFICATE),
        ("35|000|0.010|1.2.3.4:5||TLS connect error", "", Fault.OTHER),
    ],
)
def test_curl_s_failures_have_classes(line, stderr, fault):
    (answer,) = read_curl(said(rc=7, stdout=f"\n{line}\n", stderr=stderr))
    assert answer.fault is fault


def test_curl_that_did_not_run_gives_no_answers():
    assert read_curl(said(rc=127, stderr="sh: curl: not found")) == []


@pytest.mark.parametrize(
    ("rc", "stderr", "fault", "address"),
    [
        (0, "Connecting to my-nginx (10.10.3.4:80)\nsaving to '/dev/null'\n", None, "10.10.3.4"),
        (1, "wget: bad address 'my-nginx'\n", Fault.DNS, ""),
        (
            1,
            "Connecting to my-nginx (10.10.3.4:80)\n"
            "wget: can't connect to remote host (10.10.3.4): Connection refused\n",
            Fault.REFUSED,
            "10.10.3.4",
        ),
        (
            1,
            "Connecting to x (10.10.3.4:80)\n"
            "wget: can't connect to remote host (10.10.3.4): No route to host\n",
            Fault.UNREACHABLE,
            "10.10.3.4",
        ),
        (1, "wget: download timed out\n", Fault.TIMEOUT, ""),
        (1, "wget: server returned error: HTTP/1.1 404 Not Found\n", Fault.HTTP, ""),
    ],
)
def test_busybox_wget(rc, stderr, fault, address):
    fetched = read_wget(said(rc=rc, stderr=stderr + "command terminated with exit code 1\n"))
    assert (fetched.fault, fetched.address) == (fault, address)


def test_nslookup_s_own_server_is_not_the_answer():
    text = (
        "Server:\t\t10.10.0.10\nAddress:\t10.10.0.10:53\n\n"
        "Name:\tmy-nginx.default.svc.cluster.local\nAddress: 10.10.3.4\n\n"
    )
    assert read_nslookup(text) == ["10.10.3.4"]
    older = (
        "Server:    10.10.0.10\nAddress 1: 10.10.0.10 kube-dns\n\n"
        "Name:      my-nginx\nAddress 1: 10.10.3.4 my-nginx.default.svc\n"
    )
    assert read_nslookup(older) == ["10.10.3.4"]
    assert read_nslookup(";; connection timed out; no servers could be reached\n") == []


def test_distinct_answers_are_counts():
    assert spoken(tally(["b", "a", "a"])) == "a x 2, b x 1"
    assert spoken({}) == "nothing"
