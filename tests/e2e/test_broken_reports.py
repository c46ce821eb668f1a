"""A report is of our own books: whatever a broken venue answers, and whenever it breaks, there is one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from fundarb.clock import SystemClock
from tests.e2e.stage import Stage

PAGE = b"<html><body>Maintenance</body></html>"
KINDS = ("pnl", "funding", "trades", "equity", "ledger", "tax")
LIVE_FIGURES = ("unrealised", "basis_pnl", "net", "net_apr_on_capital")
"""What nobody knows of a position that was opened after the last snapshot."""
SLOW = timedelta(milliseconds=300)
"""Longer than the sandbox's clock is believed without asking again."""


@dataclass
class Between:
    """Something between us and the venue: passes so many requests on, then answers them itself."""

    server: ThreadingHTTPServer
    left: int = 10**9
    status: int = 503
    body: bytes = PAGE
    pause: timedelta = timedelta()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def between(stage: Stage) -> Iterator[Between]:
    """In front of the stage's venue."""
    venue = urlsplit(stage.url).port

    class Handler(BaseHTTPRequestHandler):
        """Passes on or answers."""

        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            """One request."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.left -= 1
            if made.left < 0:
                self.reply(made.status, made.body, {"Content-Type": "text/html"})
                return
            if made.left == 0:
                SystemClock().sleep(made.pause)
            connection = HTTPConnection("127.0.0.1", venue, timeout=30)
            headers = {name: text for name, text in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path, body, headers)
            found = connection.getresponse()
            kept = {name: text for name, text in found.getheaders() if name.lower() not in DROPPED}
            self.reply(found.status, found.read(), kept)
            connection.close()

        def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            """One answer."""
            self.send_response(status)
            for name, text in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Quiet."""

    made = Between(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    stage.url = made.url
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


DROPPED = frozenset({"content-length", "transfer-encoding", "connection", "server", "date"})


@pytest.mark.parametrize(("status", "body"), [(503, b"{}"), (200, PAGE)])
def test_every_report_comes_whatever_the_venue_answers(
    stage: Stage, between: Between, status: int, body: bytes
) -> None:
    """From the first request on nothing but pages and errors: every report exits 0 and has the rows that it
    has with the venue; live figures are null, and it is said why.
    """
    assert stage.open().code == 0
    stage.advance("9h")
    assert stage.run("reconcile").code == 0
    rows = {kind: stage.json("report", kind).data["rows"] for kind in KINDS}
    between.left, between.status, between.body = 0, status, body
    for kind in KINDS:
        ran = stage.json("report", kind)
        assert (ran.code, ran.envelope["error"]) == (0, None), ran.err
        said = " ".join(item["message"] for item in ran.envelope["warnings"])
        if kind == "pnl":
            assert ran.data["live"] is False
            assert [ran.data["total"][name] for name in LIVE_FIGURES] == [None] * len(LIVE_FIGURES)
            assert ran.data["total"]["fees"] == rows[kind][0]["fees"]
            assert "after the last point" in said
        if kind in {"pnl", "equity"}:
            assert "could not be read" in said
            assert len(ran.data["rows"]) <= len(rows[kind])
        else:
            assert ran.data["rows"] == rows[kind]
    assert stage.run("report", "pnl", "--format", "html").code == 0


@pytest.mark.parametrize("left", [1, 5])
def test_a_venue_that_breaks_meanwhile_takes_no_report_with_it(
    stage: Stage, between: Between, left: int
) -> None:
    """After so many good answers, the last of them slow, there are pages only: the report stands at the
    instant at which it was asked for.
    """
    assert stage.open().code == 0
    stage.advance("9h")
    assert stage.run("reconcile").code == 0
    between.left, between.pause = left, SLOW
    ran = stage.json("report", "pnl")
    assert ran.code == 0, ran.err
    assert ran.data["live"] is False
    assert ran.envelope["as_of"].startswith("2026-01-05T09:0")
    assert ran.data["total"]["funding"] == "0.04"
    assert ran.data["total"]["unrealised"] is None
