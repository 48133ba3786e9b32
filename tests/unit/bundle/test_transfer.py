"""What is asked of a web server, and where a limit ends it."""

from __future__ import annotations

import base64
import re
import socket
import traceback
from dataclasses import replace
from types import SimpleNamespace

import pytest

from l4lab.bundle.transfer import TransferError, Web


@pytest.mark.parametrize("heads", [True, False])
def test_a_mirror_is_asked_without_bringing_the_file(mirror, limits, heads):
    mirror.heads, mirror.files["/x"] = heads, b"itself"
    assert Web(limits).answers(f"{mirror.url}/x") >= 0
    assert mirror.asked[-1].range == (None if heads else "bytes=0-0")
    with pytest.raises(TransferError):
        Web(limits).answers(mirror.url + "/absent")


def test_a_file_of_checksums_that_never_ends_is_refused(mirror, limits):
    mirror.files["/long"] = b"x" * 5000
    with pytest.raises(TransferError, match="too long"):
        Web(replace(limits, text=4000)).text(f"{mirror.url}/long")


def test_a_proxy_is_used_but_not_for_this_machine(mirror, limits, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", mirror.url)
    mirror.files["http://releases.invalid/x"] = b"by proxy"
    mirror.files["/x"] = b"itself"
    assert Web(limits).text("http://releases.invalid/x") == "by proxy"
    assert Web(limits).text(f"{mirror.url}/x") == "itself"


@pytest.mark.parametrize("login", ["learner:p%40ss/w:é", "learner:p@ss/w:é"])
@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_is_told_user_and_password(mirror, limits, monkeypatch, login, scheme):
    monkeypatch.setenv("http_proxy", mirror.url.replace("http://", f"{scheme}{login}@"))
    mirror.files["http://releases.invalid/x"] = b"by proxy"
    assert Web(limits).text("http://releases.invalid/x") == "by proxy"
    secret = base64.b64encode("learner:p@ss/w:é".encode()).decode()
    assert mirror.asked[-1].to_proxy == f"Basic {secret}"


def refused(mirror):
    mirror.statuses["http://releases.invalid/x"] = 407
    return mirror.url


def silent(_mirror):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


PROXIES = {
    refused: "HTTP 407: the proxy wants another user and password",
    silent: "Unable to connect to proxy|Connection refused",
    lambda _: "http://proxy:port": "proxy is not as",
    lambda _: "ftp://127.0.0.1": "proxy is not as",
    lambda _: "http://[127.0.0.1": "proxy is not as",
}


@pytest.mark.parametrize("make", PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_error_tells_the_password_of_a_proxy(mirror, limits, monkeypatch, make, scheme):
    proxy = make(mirror).replace("://", "://learner:s3cret@")
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    with pytest.raises(TransferError) as failed:
        Web(limits).text(f"{scheme}://releases.invalid/x")
    if scheme == "http":
        assert re.search(PROXIES[make], str(failed.value))
    shown = "".join(traceback.format_exception(failed.value))
    assert not re.search(r"s3cret|bGVhcm5lcjpzM2NyZXQ", shown)


def test_no_way_leads_from_https_to_http(limits, monkeypatch):
    asked = []

    def request(_method, url, **_options):
        asked.append(url)
        return SimpleNamespace(
            status=302, headers={"Location": "http://127.0.0.1/x"}, close=lambda: None
        )

    web = Web(limits)
    monkeypatch.setattr(web, "_pool", lambda _url: SimpleNamespace(request=request))
    with pytest.raises(TransferError, match="from https to http") as failed:
        web.text("https://127.0.0.1/x")
    assert failed.value.lasting
    assert asked == ["https://127.0.0.1/x"]


def test_a_file_longer_than_its_limit_is_not_kept_on(mirror, limits, tmp_path):
    mirror.files["/long"] = b"x" * 5000
    web = Web(replace(limits, file=4000))
    with pytest.raises(TransferError, match="longer than it may be") as failed:
        web.bring(f"{mirror.url}/long", tmp_path / "part", until=1e12, tell=lambda _: None)
    assert failed.value.lasting


def test_a_file_that_is_late_is_given_up(mirror, limits, tmp_path):
    mirror.files["/late"] = b"x" * 5000
    with pytest.raises(TransferError, match="not whole within 60 s"):
        Web(limits).bring(f"{mirror.url}/late", tmp_path / "part", until=0, tell=lambda _: None)
    assert (tmp_path / "part").stat().st_size > 0, "to go on from"
