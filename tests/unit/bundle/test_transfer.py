"""What is asked of a web server, and where a limit ends it."""

from __future__ import annotations

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
