"""Telling people: which events, in which words, never in the way, never with a secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from fundarb.clock import SystemClock, VirtualClock
from fundarb.config.secrets import Redactor
from fundarb.core.events import (
    ActivityChanged,
    AlertRaised,
    BlockSet,
    Event,
    JobFailed,
    PositionChanged,
    PositionUnwound,
)
from fundarb.engine.jobs_books import DayClosed
from fundarb.errors import ConfigError
from fundarb.notify.channels import channels, check
from fundarb.notify.post import Post
from fundarb.notify.words import is_told, sentence

ALERT = AlertRaised(code="margin", subject="account", message="the margin rate is 75 %")
DAY = DayClosed(
    day="2026-01-05",
    equity=Decimal("10010.5"),
    profit=Decimal("10.5"),
    funding=Decimal(12),
    fees=Decimal("1.5"),
    coverage="complete",
    positions_open=3,
    control="RUNNING",
)


def changed(old: str, new: str) -> PositionChanged:
    """A position that moved."""
    return PositionChanged(position_id="p-1", base="BTC", old=old, new=new, trigger="BALANCED")


def block(scope: str) -> BlockSet:
    """A block that was set."""
    return BlockSet(scope=scope, block="halt", reason="orphan", until=None)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (ALERT, True),
        (DAY, True),
        (changed("OPENING", "HEDGED"), True),
        (changed("CHANGING", "HEDGED"), False),
        (changed("CHANGING", "CLOSED"), True),
        (changed("CHANGING", "EXPOSED"), True),
        (changed("REPAIRING", "HEDGED"), True),
        (changed("REPAIRING", "CLOSED"), True),
        (changed("UNCERTAIN", "CLOSED"), True),
        (changed("PLANNED", "OPENING"), False),
        (changed("HEDGED", "EXPOSED"), True),
        (block("*"), True),
        (block("BTC"), False),
        (PositionUnwound(position_id="p-1", base="BTC", reason="late", unwinds_in_hour=1), True),
        (ActivityChanged(activity="SCANNING"), False),
        (JobFailed(job="watch", error="unavailable", message="gone"), False),
    ],
)
def test_what_people_are_told(event: Event, told: bool) -> None:
    """Alerts, the day, positions opened, closed, exposed or whole again, global blocks; not the noise of a
    working day.
    """
    assert is_told(event) is told


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ALERT, "the margin rate is 75 % [margin]"),
        (changed("OPENING", "HEDGED"), "BTC: OPENING → HEDGED (p-1)"),
        (block("*"), "no opens (halt): orphan"),
        (DAY, "2026-01-05: result 10.5 USDT"),
        (
            PositionUnwound(position_id="p-1", base="BTC", reason="late", unwinds_in_hour=1),
            "position_unwound:",
        ),
    ],
)
def test_the_words(event: Event, words: str) -> None:
    """Each kind has its sentence; what has none is told with its fields."""
    assert sentence(event).startswith(words)


class Mailbox:
    """A channel that keeps what it is sent."""

    def __init__(self, *, fails: int = 0, error: Exception | None = None) -> None:
        self.texts: list[str] = []
        self.fails = fails
        self.error = error
        self.arrived = threading.Event()

    def __call__(self, title: str, text: str) -> bool:
        """One message."""
        self.texts.append(f"{title}: {text}")
        self.arrived.set()
        if self.fails:
            self.fails -= 1
            if self.error is not None:
                raise self.error
            return False
        return True


def test_tell_returns_before_the_channel_does() -> None:
    """A channel that hangs holds up nobody: a thousand events are told before it has taken the first. What
    the queue holds (500, and the one under way) arrives in order; what came later is dropped.
    """
    begun, release, over = threading.Event(), threading.Event(), threading.Event()
    taken: list[str] = []

    def hanging(title: str, text: str) -> bool:
        begun.set()
        release.wait(60)
        taken.append(text)
        if len(taken) == 501:
            over.set()
        return True

    def numbered(number: int) -> AlertRaised:
        return AlertRaised(code="margin", subject="account", message=str(number))

    post = Post({"slow": hanging}, title="fundarb", redact=str, per_hour=1000)
    post.tell(numbered(0))
    assert begun.wait(60)
    for number in range(1, 1000):
        post.tell(numbered(number))
    assert taken == []
    release.set()
    assert over.wait(60)
    post.close()
    assert taken == [f"{number} [margin]" for number in range(501)]


def test_a_message_reaches_every_channel() -> None:
    """Each channel gets the text under the title."""
    one, two = Mailbox(), Mailbox()
    post = Post({"one": one, "two": two}, title="fundarb x", redact=str)
    post.tell(ALERT)
    post.close()
    assert one.texts == two.texts == ["fundarb x: the margin rate is 75 % [margin]"]


@pytest.mark.parametrize("error", [None, OSError("no route"), ValueError("bad"), AttributeError("odd")])
def test_a_channel_that_fails_stops_nobody(error: Exception | None) -> None:
    """A channel that refuses or raises is tried again with the next message; the other channel is served."""
    bad, good = Mailbox(fails=1, error=error), Mailbox()
    post = Post({"bad": bad, "good": good}, title="t", redact=str)
    post.tell(ALERT)
    post.tell(DAY)
    post.close()
    assert len(bad.texts) == len(good.texts) == 2


def test_too_much_is_counted_not_sent() -> None:
    """Beyond the hourly number messages are kept back, and the next one that passes says how many."""
    clock, box = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)), Mailbox()
    post = Post({"box": box}, title="t", redact=str, clock=clock, per_hour=2)
    for _ in range(5):
        post.tell(ALERT)
    while not post.idle:
        SystemClock().sleep(timedelta(milliseconds=5))
    clock.sleep(timedelta(hours=2))
    post.tell(DAY)
    post.close()
    assert len(box.texts) == 3
    assert "and 3 more" in box.texts[-1]


def test_the_noise_of_an_hour_drowns_no_alert() -> None:
    """Thirty positions opened within the hour leave room for the alert that comes after them."""
    box = Mailbox()
    post = Post({"box": box}, title="t", redact=str)
    for _ in range(40):
        post.tell(changed("OPENING", "HEDGED"))
    post.tell(ALERT)
    post.close()
    assert len(box.texts) == 31
    assert "margin rate" in box.texts[-1]
    assert "and 10 more" in box.texts[-1]


def test_one_kind_of_alert_drowns_no_other() -> None:
    """However many alerts of one code an hour has: the first one of each other code is sent."""
    clock, box = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC)), Mailbox()
    post = Post({"box": box}, title="t", redact=str, clock=clock, per_hour=3)
    for number in range(9):
        post.tell(AlertRaised(code="second_instance", subject=str(number), message="fa-…"))
    for subject in ("p-1", "p-2"):
        post.tell(AlertRaised(code="unhedged", subject=subject, message=f"{subject} is naked"))
    while not post.idle:
        SystemClock().sleep(timedelta(milliseconds=5))
    assert len(box.texts) == 4
    assert "p-1 is naked" in box.texts[-1]
    clock.sleep(timedelta(hours=2))
    post.tell(ALERT)
    post.close()
    assert len(box.texts) == 5


def test_no_secret_leaves() -> None:
    """A secret in an event's text, or in a channel's own error, is masked."""
    box = Mailbox()
    post = Post({"box": box}, title="t", redact=Redactor(("topsecretkey",)))
    post.tell(AlertRaised(code="x", subject="y", message="the key topsecretkey was refused"))
    post.close()
    assert "topsecretkey" not in box.texts[0]
    assert "***" in box.texts[0]


# ------------------------------------------------------------------------------------------------- channels


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web hook on this machine."""
    bodies: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_address[1]}/", bodies
    server.shutdown()
    server.server_close()


def test_a_web_hook_gets_the_message(received: tuple[str, list[dict[str, Any]]]) -> None:
    """A URL of apprise reaches its service: title and text as given."""
    url, bodies = received
    assert Post(channels(["HOOK"], [url]), title="fundarb", redact=str).send("all is well") == {"HOOK": True}
    assert (bodies[0]["title"], bodies[0]["message"]) == ("fundarb", "all is well")


def test_an_unreachable_service_is_a_failed_channel() -> None:
    """A service that does not answer makes the channel fail, with its name and without an exception."""
    post = Post(channels(["HOOK"], ["json://127.0.0.1:1/"]), title="t", redact=str)
    assert post.send("x") == {"HOOK": False}
    post.close()


def test_a_url_that_is_none_is_named_by_its_variable() -> None:
    """A URL that apprise does not understand is a configuration error that names the variable, never the
    URL.
    """
    with pytest.raises(ConfigError) as caught:
        check(["GOOD", "BAD"], ["json://127.0.0.1/", "nonsense-with-token-123456"])
    assert "BAD" in str(caught.value)
    assert "123456" not in str(caught.value)
    assert "GOOD" not in str(caught.value)
