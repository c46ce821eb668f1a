"""What a client's requests do: authentication, subscriptions, pings; every refusal leaves everything as it
was.

Rules: Bybit V5 API, "WebSocket stream / Connect" (ten topics a request for spot, 21 000 characters of topics
and, for options, 2000 topics a connection); a request with one bad topic is refused whole, except for
options.
"""

from __future__ import annotations

from fundarb.core.instants import to_ms
from fundarb.sandbox.house import House
from fundarb.sandbox.streams.frames import (
    BadFrame,
    Request,
    acknowledged,
    authenticated,
    pong,
    refused,
    request,
)
from fundarb.sandbox.streams.hub import Hub
from fundarb.sandbox.streams.sockets import Socket
from fundarb.sandbox.streams.topics import Kind, Path, PublicTopic, mixed, private_topic, public_topic

_SPOT_ARGS = 10
_OPTION_ARGS = 2000
_MOST_CHARACTERS = 21_000
_DIGITS_OF_AN_INSTANT = 15
_AUTH_ARGS = 3


class Clerk:
    """Answers the requests of all sockets."""

    def __init__(self, house: House, hub: Hub) -> None:
        self._house = house
        self._hub = hub

    def handle(self, socket: Socket, text: str, *, address: str) -> None:
        """One text frame of a client."""
        try:
            asked = request(text)
        except BadFrame as error:
            self._tell(socket, refused(str(error), conn_id=socket.conn_id), op="")
            return
        try:
            self._perform(socket, asked, address=address)
        except BadFrame as error:
            self._tell(socket, refused(str(error), conn_id=socket.conn_id, asked=asked), op=asked.op)

    def _tell(self, socket: Socket, text: str, *, op: str) -> None:
        delay_ms = self._hub.distance_ms if op == "subscribe" else 0
        self._hub.send(socket, text, topic=op, row={}, delay_ms=delay_ms)

    def _perform(self, socket: Socket, asked: Request, *, address: str) -> None:
        if asked.op == "ping":
            now_ms = to_ms(self._house.wire_now())
            self._tell(socket, pong(socket.path, asked, conn_id=socket.conn_id, now_ms=now_ms), op="ping")
        elif asked.op == "auth" and socket.path is Path.PRIVATE:
            problem = self._stranger(asked, address=address)
            socket.signed = socket.signed or not problem
            self._tell(socket, authenticated(asked, conn_id=socket.conn_id, problem=problem), op="auth")
        elif asked.op == "subscribe":
            self._subscribe(socket, asked)
        elif asked.op == "unsubscribe":
            self._hub.leave(socket, asked.names)
            told = acknowledged(socket.path, asked, conn_id=socket.conn_id, failed=[])
            self._tell(socket, told, op="unsubscribe")
        else:
            raise BadFrame("error:invalid op")

    # ------------------------------------------------------------------------------------------ auth

    def _stranger(self, asked: Request, *, address: str) -> str:
        """Why the client is not who it says; empty if it is. Signed are "GET/realtime" and the expiry."""
        plain = [item for item in asked.args if isinstance(item, str | int) and not isinstance(item, bool)]
        texts = [str(item) for item in plain]
        if len(texts) != _AUTH_ARGS or len(asked.args) != _AUTH_ARGS:
            return "Params Error"
        name, expires, signature = texts
        keyring, now_ms = self._house.keyring, to_ms(self._house.wire_now())
        if name != keyring.name:
            return "API key is invalid."
        digits = expires.isascii() and expires.isdigit() and len(expires) <= _DIGITS_OF_AN_INSTANT
        if not digits or int(expires) <= now_ms:
            return "Params Error"
        if not keyring.signed(f"GET/realtime{expires}".encode(), signature):
            return "error sign! please check your signature generation algorithm."
        return self._locked_out(address)

    def _locked_out(self, address: str) -> str:
        """Why the key itself may not be used (any more), or not from there."""
        key = self._house.keyring.key(self._house.venue.key)
        if key.expires is not None and self._house.venue.now >= key.expires:
            return "Your api key has expired."
        if key.addresses and address not in key.addresses:
            return "Unmatched IP, please check your API key's bound IP addresses."
        return ""

    # ------------------------------------------------------------------------------------------ subscriptions

    def _subscribe(self, socket: Socket, asked: Request) -> None:
        names = asked.names
        self._fits(socket, names)
        topics: list[PublicTopic] = []
        if socket.path is Path.PRIVATE:
            self._private(socket, names)
        else:
            topics = [topic for topic in (self._public(socket, name) for name in names) if topic is not None]
        failed = names if socket.path is Path.OPTION else []
        told = acknowledged(socket.path, asked, conn_id=socket.conn_id, failed=failed)
        self._tell(socket, told, op="subscribe")
        if socket.path is Path.PRIVATE:
            self._hub.join(socket, names)
        for topic in topics:
            self._hub.tune_in(socket, topic)

    @staticmethod
    def _fits(socket: Socket, names: list[str]) -> None:
        """``BadFrame`` for more than a request or a connection may hold, or for what it has already."""
        if socket.path is Path.SPOT and len(names) > _SPOT_ARGS:
            raise BadFrame(f"args size >{_SPOT_ARGS}")
        if socket.path is Path.OPTION and len(names) > _OPTION_ARGS:
            raise BadFrame(f"args size >{_OPTION_ARGS}")
        if sum(len(name) for name in (*socket.topics, *names)) > _MOST_CHARACTERS:
            raise BadFrame(f"args length >{_MOST_CHARACTERS}")
        seen = set(socket.topics)
        for name in names:
            if name in seen:
                raise BadFrame(f"error:already subscribed,topic:{name}")
            seen.add(name)

    @staticmethod
    def _private(socket: Socket, names: list[str]) -> None:
        """``BadFrame`` unless the client may have these private topics."""
        if not socket.signed:
            raise BadFrame("Request not authorized")
        for name in names:
            if not private_topic(name):
                raise _unknown(name)
        if mixed(names):
            raise BadFrame("error:topics of all categories and of one cannot be in the same request")

    def _public(self, socket: Socket, name: str) -> PublicTopic | None:
        """The topic; None where nothing is listed and each topic gets its own answer (options)."""
        category = socket.path.category
        topic = public_topic(self._house, name, category=category) if category is not None else None
        if topic is None and socket.path is Path.SPOT and name.partition(".")[0] in set(Kind):
            raise BadFrame(f"Invalid symbol :[{name}]")
        if topic is None and socket.path is not Path.OPTION:
            raise _unknown(name)
        return topic


def _unknown(name: str) -> BadFrame:
    return BadFrame(f"error:handler not found,topic:{name}")
