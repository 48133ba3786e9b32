"""A mirror on loopback, with real archives in it, that can be made to fail like real ones do."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from l4lab.bundle.releases import Source, files_of_release


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    path: str
    range: str | None
    if_range: str | None
    to_proxy: str | None


class Mirror:
    """A web server; its faults are by path, and can be changed while it runs.

    Attributes:
        files: Contents by path.
        redirects: Where a path is sent to.
        statuses: Paths that are refused, and how.
        cut: Bytes after which the connection of a path is dropped, once for each entry.
        stalls: Bytes after which nothing more comes of a path.
        dies: The path in whose midst the whole mirror dies: nothing is answered from then on.
        ranges: Whether it sends parts of files.
        heads: Whether it answers HEAD.
        asked: All requests.
    """

    def __init__(self):
        self.files, self.redirects, self.statuses = {}, {}, {}
        self.cut, self.stalls, self.dies = {}, {}, None
        self.ranges = self.heads = True
        self.asked = []
        self.dead = False
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(10)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def source(self, component, *, official=False):
        version = files_of_release(component)[0].version
        return Source(address=f"{self.url}/{component}/v{version}/", official=official)

    def gets(self, path):
        return [one for one in self.asked if one.method == "GET" and one.path == path]

    def publish(self, component, programs=None):
        """Put a component's release there: what the bundle wants of it, and more."""
        for file in files_of_release(component):
            members = dict(file.members)
            if "" in members:
                content = (programs or {}).get(file.name) or script(file.name)
            else:
                content = archive({name: script(name) for name in members})
            self.put(file, content)

    def put(self, file, content):
        """Put one file there, with its digest in the file of checksums."""
        self.files[f"/{file.key}"] = content
        digest = hashlib.sha256(content).hexdigest()
        place = f"/{file.component}/v{file.version}/{file.checksum}"
        if file.component == "kubernetes":
            self.files[place] = digest.encode()
        else:
            self.files[place] = f"{'0' * 64}  other.tgz\n{digest}  {file.name}\n".encode()
        return digest

    def _handler(mirror):  # noqa: N805  the handler's own self is another
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.answer()

            def do_GET(self):
                self.answer()

            def answer(self):
                headers = self.headers
                names = ("Range", "If-Range", "Proxy-Authorization")
                asked = Request(self.command, self.path, *(headers.get(name) for name in names))
                mirror.asked.append(asked)
                self.close_connection = True
                if mirror.dead:
                    return
                if self.command == "HEAD" and not mirror.heads:
                    self.head(405, 0)
                elif self.path in mirror.statuses:
                    self.head(mirror.statuses[self.path], 0)
                elif self.path in mirror.redirects:
                    self.head(302, 0, Location=mirror.redirects[self.path])
                elif self.path not in mirror.files:
                    self.head(404, 0)
                else:
                    self.content(mirror.files[self.path], asked)

            def head(self, status, length, **more):
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.send_header("Connection", "close")
                for name, value in more.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()

            def content(self, whole, asked):
                etag = f'"{hashlib.sha256(whole).hexdigest()[:12]}"'
                found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range or "")
                if found and mirror.ranges and asked.if_range in (None, etag):
                    start = int(found[1])
                    if start >= len(whole):
                        self.head(416, 0, Content_Range=f"bytes */{len(whole)}")
                        return
                    body = whole[start : int(found[2]) + 1] if found[2] else whole[start:]
                    said = f"bytes {start}-{start + len(body) - 1}/{len(whole)}"
                    self.head(206, len(body), ETag=etag, Content_Range=said)
                else:
                    body = whole
                    self.head(200, len(body), ETag=etag)
                if self.command == "GET":
                    self.send(body)

            def send(self, body):
                if mirror.dies == self.path:
                    mirror.dead = True
                    self.wfile.write(body[: len(body) // 2])
                elif mirror.cut.get(self.path):
                    self.wfile.write(body[: mirror.cut[self.path].pop(0)])
                elif self.path in mirror.stalls:
                    self.wfile.write(body[: mirror.stalls[self.path]])
                    mirror.over.wait(60)
                else:
                    self.wfile.write(body)

        return Handler


def script(name):
    """A small real program."""
    return f"#!/bin/sh\necho this is {name}: {'x' * 5000}\n".encode()


def archive(programs, links=None):
    """A compressed tar archive of programs, with what else is in such archives, and worse."""
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w:gz") as tar:
        for name, content in {"README.md": b"read", "../outside": b"bad", **programs}.items():
            info = tarfile.TarInfo(f"./{name}" if "/" not in name else name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return kept.getvalue()
