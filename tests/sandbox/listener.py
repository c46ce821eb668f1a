"""A WebSocket client for tests: small words for what the exchange's clients do, and books rebuilt from
messages.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from fundarb.core.instants import to_ms
from fundarb.sandbox.streams.hub import Hub
from tests.sandbox.harness import Json, OverHttp

PRIVATE, LINEAR, SPOT = "private", "public/linear", "public/spot"
PATIENCE = 5.0


def websocket_url(http: OverHttp, path: str) -> str:
    """The address of a stream."""
    return f"{http.url.replace('http', 'ws', 1)}/v5/{path}"


def hub_of(http: OverHttp) -> Hub:
    """The live hub of a server in a thread of this process."""
    found = http.house.listeners[0].__self__  # type: ignore[attr-defined]
    assert isinstance(found, Hub)
    return found


class Listener:
    """One connection."""

    def __init__(self, connection: ClientConnection, http: OverHttp) -> None:
        self.connection = connection
        self.http = http

    def send(self, value: object) -> None:
        """A request."""
        self.connection.send(json.dumps(value))

    def next(self) -> Json:
        """The next message."""
        found: Json = json.loads(self.connection.recv(PATIENCE))
        return found

    def ask(self, **request: object) -> Json:
        """A request and the answer to it; what was pushed before is skipped."""
        self.send(request)
        while True:
            message = self.next()
            if "topic" not in message:
                return message

    def heard(self) -> list[Json]:
        """Everything that was pushed until now: what comes before the answer to a ping."""
        self.send({"op": "ping", "req_id": "fence"})
        messages = []
        while (message := self.next()).get("req_id") != "fence":
            messages.append(message)
        return messages

    def until(self, topic: str) -> Json:
        """The next message of a topic."""
        while True:
            message = self.next()
            if message.get("topic") == topic:
                return message

    def sign_on(self, key: str = "demo", secret: str = "demo", ahead_ms: int = 10_000) -> Json:
        """Authenticate; the answer."""
        expires = to_ms(self.http.house.clock.now()) + ahead_ms
        signature = hmac.new(secret.encode(), f"GET/realtime{expires}".encode(), hashlib.sha256).hexdigest()
        return self.ask(op="auth", args=[key, expires, signature])

    def subscribe(self, *topics: str) -> Json:
        """Subscribe; the answer."""
        return self.ask(op="subscribe", args=list(topics))

    def end(self) -> int:
        """The code with which the server closes, 1006 if it just cuts."""
        try:
            while True:
                self.connection.recv(PATIENCE)
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd is not None else 1006


@contextmanager
def listening(http: OverHttp, path: str, *topics: str) -> Iterator[Listener]:
    """A connection, signed on if private and subscribed."""
    with connect(websocket_url(http, path), open_timeout=PATIENCE, close_timeout=1) as connection:
        listener = Listener(connection, http)
        if path == PRIVATE and topics:
            assert listener.sign_on()["success"]
        if topics:
            assert listener.subscribe(*topics)["success"]
        yield listener


def rows(messages: list[Json], topic: str) -> list[Json]:
    """The rows of one private topic, in order."""
    return [row for message in messages if message.get("topic") == topic for row in message["data"]]


class Rebuilt:
    """A book put together from a stream as its documentation says."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.number = 0

    def apply(self, message: Json) -> None:
        """One message; a gap in the numbers is a failure."""
        data: dict[str, Any] = message["data"]
        if message["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        else:
            assert data["u"] == self.number + 1
        self.number = data["u"]
        for side, changes in ((self.bids, data["b"]), (self.asks, data["a"])):
            for price, size in changes:
                if size == "0":
                    del side[price]
                else:
                    side[price] = size

    def levels(self) -> tuple[list[list[str]], list[list[str]]]:
        """Bids and asks, best first."""
        bids = sorted(self.bids.items(), key=lambda level: -Decimal(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: Decimal(level[0]))
        return [list(level) for level in bids], [list(level) for level in asks]
