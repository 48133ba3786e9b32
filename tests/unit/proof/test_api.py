"""Reading from an API server that has much to do."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import urllib3

from l4lab.proof import api


@pytest.fixture
def pool():
    """Connections to a server that answers with what is in ``pool.answers``, then with 200."""
    answers = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status = answers.pop(0) if answers else 200
            self.send_response(status)
            self.send_header("Content-Length", "13")
            if status == 429:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"items": []}')

        def log_message(self, *_words):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, timeout=10)
        found.answers = answers
        yield found
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("statuses", [[], [429], [503, 429]])
def test_a_server_that_says_later_is_asked_again(pool, statuses):
    pool.answers += statuses
    assert api._get(pool, "/api") == {"items": []}
    assert pool.answers == []


def test_a_kind_that_is_gone_has_no_items(pool):
    pool.answers += [404]
    assert api._get(pool, "/api") == {}


@pytest.mark.parametrize("statuses", [[403], [429] * 7])
def test_a_refusal_is_told(pool, statuses, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    pool.answers += statuses
    with pytest.raises(ValueError, match=f"GET /api: HTTP {statuses[0]}"):
        api._get(pool, "/api")
