"""Files over HTTP: every wait has a deadline, and what was interrupted goes on where it ended."""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

_BLOCK: Final = 1 << 18
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_NO_HEAD: Final = (403, 405, 501)
# What a server says that is busy or broken for now; other refusals do not go away by waiting.
_PASSING: Final = (408, 425, 429)
_PROXY_LOGIN: Final = 407
_OK, _PARTIAL, _NOT_SATISFIABLE, _BROKEN = 200, 206, 416, 500


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a transfer is given up.

    Attributes:
        probe: Seconds in which a mirror must answer to be used.
        connect: Seconds until a connection must stand.
        stall: Seconds between two pieces of an answer.
        whole: Seconds for one file, with all its mirrors and repetitions.
        pause: Seconds before all mirrors are asked once more.
        rounds: How often all mirrors are asked without one byte more.
        redirects: How many in a row are followed.
        text: Bytes of a file of checksums, at most.
        file: Bytes of any other file, at most.
    """

    probe: float = 5.0
    connect: float = 10.0
    stall: float = 30.0
    whole: float = 3600.0
    pause: float = 3.0
    rounds: int = 3
    redirects: int = 5
    text: int = 1 << 20
    file: int = 2 << 30


class TransferError(Exception):
    """One mirror did not give a file. ``lasting``: to ask it again would change nothing."""

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


@dataclass(frozen=True)
class Amount:
    """How much of a file is there: bytes, all of them if known, and bytes a second just now."""

    have: int
    total: int | None
    rate: float

    def __str__(self) -> str:
        of = f" of {self.total / 2**20:.1f}" if self.total is not None else ""
        return f"{self.have / 2**20:.1f}{of} MiB, {self.rate / 2**20:.1f} MiB/s"


class Web:
    """Asks servers, with this machine's proxy where there is one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._pools: dict[str, urllib3.PoolManager] = {}

    def answers(self, url: str) -> float:
        """How many seconds a server takes to say that it has a file, which it does not send.

        Raises:
            TransferError: It does not say so in time.
        """
        limit = urllib3.Timeout(connect=self.limits.probe, read=self.limits.probe)
        started = time.monotonic()
        with self._asked("HEAD", url, {}, limit) as response:
            status = response.status
        if status in _NO_HEAD:
            with self._asked("GET", url, {"Range": "bytes=0-0"}, limit) as response:
                status = response.status
        if status not in (_OK, _PARTIAL):
            raise _refusal(status)
        return time.monotonic() - started

    def text(self, url: str) -> str:
        """The content of a small file.

        Raises:
            TransferError: It cannot be had, or is not small.
        """
        with self._asked("GET", url, {}, self._patience()) as response:
            if response.status != _OK:
                raise _refusal(response.status)
            content = b""
            until = time.monotonic() + self.limits.stall
            while block := response.read1(_BLOCK):
                content += block
                if len(content) > self.limits.text:
                    raise TransferError("it is too long for checksums", lasting=True)
                if time.monotonic() > until:
                    raise TransferError(f"not whole within {self.limits.stall:g} s")
        return content.decode(errors="replace")

    def bring(self, url: str, part: Path, *, until: float, tell: Callable[[Amount], None]) -> None:
        """Bring what is missing of a file into ``part``; what came stays there when it fails.

        Beside it, in ``part`` with ``.json``, stands where it began and how long it will be. It
        goes on only where the server says that the whole is as long as that, and, where it began on
        the same server, that it is the same by its ETag; else it begins anew.

        Args:
            url: The file.
            part: What is there of it.
            until: When to give up, in seconds of the monotonic clock.
            tell: Is told how much there is, now and then.

        Raises:
            TransferError: It could not be brought.
        """
        notes = part.with_name(part.name + ".json")
        known = _read(notes)
        have = part.stat().st_size if part.is_file() else 0
        total = known.get("total")
        if part.is_file() and have == total:
            return
        headers = {}
        if have and total is not None and have < total:
            headers["Range"] = f"bytes={have}-"
            etag = known.get("etag") or ""
            if known.get("url") == url and etag.startswith('"'):
                headers["If-Range"] = etag
        with self._asked("GET", url, headers, self._patience()) as response:
            if response.status == _OK:
                have, total = 0, _number(response.headers.get("Content-Length"))
                notes.write_text(
                    json.dumps({"url": url, "etag": response.headers.get("ETag"), "total": total})
                )
            elif response.status == _PARTIAL and headers:
                said = response.headers.get("Content-Range", "")
                if said != f"bytes {have}-{(total or 0) - 1}/{total}":
                    part.unlink()
                    raise TransferError(f"what is there does not fit: it has {said or 'no range'}")
            elif response.status == _NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise TransferError("it does not go on where it ended")
            else:
                raise _refusal(response.status)
            self._receive(response, part, have, total, until=until, tell=tell)

    def _receive(
        self,
        response: urllib3.BaseHTTPResponse,
        part: Path,
        have: int,
        total: int | None,
        *,
        until: float,
        tell: Callable[[Amount], None],
    ) -> None:
        started, before = time.monotonic(), have
        with part.open("ab" if have else "wb") as file:
            while block := response.read1(_BLOCK):
                file.write(block)
                have += len(block)
                now = time.monotonic()
                tell(Amount(have, total, (have - before) / max(now - started, 0.001)))
                if have > self.limits.file or (total is not None and have > total):
                    raise TransferError("it is longer than it may be", lasting=True)
                if now > until:
                    raise TransferError(f"not whole within {self.limits.whole:g} s")
        if total is not None and have < total:
            raise TransferError(f"it ended after {have} of {total} bytes")

    def _patience(self) -> urllib3.Timeout:
        return urllib3.Timeout(connect=self.limits.connect, read=self.limits.stall)

    @contextmanager
    def _asked(
        self, method: str, url: str, headers: dict[str, str], limit: urllib3.Timeout
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a question, behind all redirects.

        Raises:
            TransferError: There is none, or the answer broke off while it was used.
        """
        try:
            response = self._follow(method, url, headers, limit)
            try:
                yield response
            finally:
                response.close()
        except HTTPError as failed:
            raise TransferError(_words(failed)) from failed

    def _follow(
        self, method: str, url: str, headers: dict[str, str], limit: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        # Compressed on the way it would have another length, and another digest.
        sent = {"User-Agent": "l4lab", "Accept-Encoding": "identity", **headers}
        seen: list[str] = []
        while True:
            seen.append(url)
            response = self._pool(url).request(
                method,
                url,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=limit,
            )
            target = response.headers.get("Location")
            if response.status not in _REDIRECTS or not target:
                return response
            response.close()
            came, url = urlsplit(url).scheme, urljoin(url, target)
            scheme = urlsplit(url).scheme
            if scheme not in ("http", "https") or (came, scheme) == ("https", "http"):
                raise TransferError(f"it redirects from {came} to {scheme}", lasting=True)
            if url in seen:
                raise TransferError("it redirects in a circle", lasting=True)
            if len(seen) > self.limits.redirects:
                raise TransferError(
                    f"it redirects more than {self.limits.redirects} times", lasting=True
                )

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        host, proxy = parts.hostname or "", ""
        if not _is_loopback(host) and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(parts.scheme, "")
        if proxy not in self._pools:
            self._pools[proxy] = _by_proxy(proxy) if proxy else urllib3.PoolManager()
        return self._pools[proxy]


def _by_proxy(address: str) -> urllib3.ProxyManager:
    """A way through a proxy; its user and password are told to it alone, and stand in no error.

    Raises:
        TransferError: That is no address of a proxy.
    """
    scheme, mark, rest = address.partition("://")
    if not mark:
        scheme, rest = "http", address
    login, at, place = rest.rpartition("@")
    headers = {}
    if at:
        secret = base64.b64encode(unquote(login).encode()).decode()
        headers["Proxy-Authorization"] = f"Basic {secret}"
    try:
        return urllib3.ProxyManager(f"{scheme}://{place}", proxy_headers=headers)
    except (HTTPError, ValueError):
        # What was raised holds the address; so it is not shown as the cause.
        why = "this machine's proxy is not as http://[USER:PASSWORD@]HOST:PORT"
        raise TransferError(why, lasting=True) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(status: int) -> TransferError:
    why = ": the proxy wants another user and password" if status == _PROXY_LOGIN else ""
    return TransferError(f"HTTP {status}{why}", lasting=status < _BROKEN and status not in _PASSING)


def _words(failed: HTTPError) -> str:
    """One line of what the library says, without the object it begins with."""
    said = next((one for one in failed.args if isinstance(one, str)), type(failed).__name__)
    text = " ".join(said.split())
    return re.sub(r"^\S*<?[\w.]*Connection(Pool)?\([^)]*\)>?: ", "", text)[:200]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
