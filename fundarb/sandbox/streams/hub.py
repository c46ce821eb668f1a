"""Who listens to what, and the push of everything that has changed: public channels round by round, private
messages as the venue tells them.

One channel serves all its subscribers: nothing of the market is worked out per client. Messages leave in the
order of events; a client that subscribes to a running channel first gets its present state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, Protocol

from fundarb.clock import Clock
from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind
from fundarb.sandbox.house import House
from fundarb.sandbox.streams.books import BookChannel, Numbers
from fundarb.sandbox.streams.faults import fate
from fundarb.sandbox.streams.klines import KlineChannel
from fundarb.sandbox.streams.private import PrivateRows
from fundarb.sandbox.streams.sockets import Socket
from fundarb.sandbox.streams.tickers import TickerChannel
from fundarb.sandbox.streams.topics import Kind, Path, PublicTopic
from fundarb.sandbox.streams.trades import TradeChannel
from fundarb.venue.rows import Fill, Notice

_TURN = timedelta(milliseconds=2)
_PATIENCE_SECONDS = 1
_RESTARTED = 1012
_STRETCH = {Kind.KLINE: timedelta(hours=12), Kind.TRADE: timedelta(hours=1)}
_Key = tuple[Path, str]
_MS = timedelta(milliseconds=1)
_PATHS = {Category.SPOT: Path.SPOT, Category.LINEAR: Path.LINEAR}

_DISTANCE_MS: Final = 50


class Channel(Protocol):
    """One public topic: what a new subscriber gets, and what all get when time has passed."""

    topic: PublicTopic

    def greeting(self) -> list[str]:
        """The present state."""

    def advance(self) -> list[str]:
        """What has changed since the last call."""


class Hub:
    """All sockets, their subscriptions and the channels behind them."""

    def __init__(self, house: House, wall: Clock) -> None:
        self.sockets: dict[Socket, None] = {}
        self._house = house
        self._wall = wall
        self._subscribers: dict[_Key, dict[Socket, None]] = {}
        self._private: set[str] = set()
        self._channels: dict[_Key, Channel] = {}
        self._due: dict[int, timedelta] = {}
        self._numbers = Numbers()
        self._rows = PrivateRows(house, self._wanted)
        self._venue, self._restarts = house.venue, house.restarts
        self._shown: datetime | None = None
        house.listeners.append(self._heard)
        house.streamed_update = self._streamed_update

    # ------------------------------------------------------------------------------------------ sockets

    def join(self, socket: Socket, names: Iterable[str]) -> None:
        """Subscribe a socket to topics by name."""
        for name in names:
            socket.topics[name] = None
            if socket.path is Path.PRIVATE:
                self._private.add(name)
            self._subscribers.setdefault((socket.path, name), {})[socket] = None

    def tune_in(self, socket: Socket, topic: PublicTopic) -> None:
        """Subscribe a socket to a public topic, which greets it with its present state."""
        channel = self._opened((socket.path, topic.name), topic)
        self.join(socket, [topic.name])
        for text in channel.greeting():
            self.send(socket, text, topic=topic.name, row=_row(topic), delay_ms=self.distance_ms)

    def _opened(self, key: _Key, topic: PublicTopic) -> Channel:
        """The channel of a topic; one that runs already is brought up to date for those who are there."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = self._made(topic)
            self._due.setdefault(topic.interval_ms, self._wall.monotonic())
        else:
            self._publish(key, channel)
        return channel

    def _made(self, topic: PublicTopic) -> Channel:
        if topic.kind is Kind.BOOK:
            return BookChannel(self._house, topic, numbers=self._numbers)
        if topic.kind is Kind.TICKER:
            return TickerChannel(self._house, topic)
        if topic.kind is Kind.KLINE:
            return KlineChannel(self._house, topic)
        return TradeChannel(self._house, topic)

    def leave(self, socket: Socket, names: Iterable[str]) -> None:
        """End subscriptions; a channel without anybody ends too."""
        for name in names:
            socket.topics.pop(name, None)
            key = (socket.path, name)
            there = self._subscribers.get(key, {})
            there.pop(socket, None)
            if not there:
                self._subscribers.pop(key, None)
                self._channels.pop(key, None)
                if socket.path is Path.PRIVATE:
                    self._private.discard(name)

    def drop(self, socket: Socket) -> None:
        """A connection has ended."""
        self.sockets.pop(socket, None)
        self.leave(socket, list(socket.topics))

    @property
    def private(self) -> bool:
        """Whether anybody waits for private messages."""
        return bool(self._private)

    # ------------------------------------------------------------------------------------------ messages

    @property
    def distance_ms(self) -> int:
        """How long the first messages of a subscription take on the real clock. Foreign clients note whom to
        tell only after they have asked, and rely on the network between.
        """
        return 0 if self._house.clock.virtual else _DISTANCE_MS

    def send(
        self, socket: Socket, text: str, *, topic: str, row: Mapping[str, object], delay_ms: int = 0
    ) -> None:
        """One message to one socket, by way of the faults that are armed."""
        now = fate(self._house.faults, socket.path, topic=topic, row=row)
        if now.cut in {"reset", "close"}:
            socket.lose(now.cut)
        elif not now.cut:
            for _ in range(now.copies):
                socket.push(text, delay_ms=now.delay_ms + delay_ms)

    def _publish(self, key: _Key, channel: Channel) -> None:
        """Tell all subscribers what has changed; a symbol that is closed for good has nothing to tell."""
        topic = channel.topic
        if self._house.venue.instruments(topic.category)[topic.symbol].status == "Closed":
            return
        for text in channel.advance():
            for socket in list(self._subscribers.get(key, ())):
                self.send(socket, text, topic=topic.name, row=_row(topic))

    def _wanted(self, base: str) -> bool:
        return not self._private.isdisjoint((base, f"{base}.spot", f"{base}.linear"))

    def _heard(self, notice: Notice) -> None:
        """An event of the venue, while it happens."""
        if not self.sockets:
            return
        self._shown = None
        payload = notice.payload
        if isinstance(payload, Fill) and payload.kind is ExecKind.TRADE:
            channel = self._channels.get((_PATHS[payload.category], f"{Kind.TRADE}.{payload.symbol}"))
            if isinstance(channel, TradeChannel):
                channel.own(payload)
        now_ms = to_ms(notice.at) + self._house.setting.skew_ms
        for push in self._rows.of(notice) if self.private else ():
            for topic in push.topics:
                there = self._subscribers.get((Path.PRIVATE, topic))
                text = push.text(topic, now_ms) if there else ""
                for socket in list(there or ()):
                    self.send(socket, text, topic=topic, row=push.row)

    # ------------------------------------------------------------------------------------------ rounds

    async def show(self) -> None:
        """Push what has changed in all channels at this instant (a virtual clock's step, a changed world)."""
        self.look_around()
        if self._shown == self._house.venue.now:
            return
        self._shown = self._house.venue.now
        await self._round(list(self._channels))

    @property
    def stride(self) -> timedelta | None:
        """How much time may pass before ``tell_past``: channels that tell everything that has been, bars and
        trades, hold a limited stretch. None: there are none.
        """
        kinds = {channel.topic.kind for channel in self._channels.values()}
        return min((span for kind, span in _STRETCH.items() if kind in kinds), default=None)

    async def tell_past(self) -> None:
        """Push the bars that have ended and the trades that were made."""
        await self._round([key for key, channel in self._channels.items() if channel.topic.kind in _STRETCH])

    async def show_due(self) -> timedelta:
        """Push what has changed in the channels whose time has come; returns when the next one's comes (from
        now, a second at most). A round that takes long delays the next: half of the time at most is spent
        here.
        """
        self.look_around()
        started = self._wall.monotonic()
        due = {interval for interval, at in self._due.items() if at <= started}
        keys = [key for key, channel in self._channels.items() if channel.topic.interval_ms in due]
        await self._round(keys)
        now = self._wall.monotonic()
        live = {channel.topic.interval_ms for channel in self._channels.values()} if due else set(self._due)
        for interval in due:
            self._due[interval] = max(self._due[interval] + interval * _MS, now + (now - started))
        self._due = {interval: at for interval, at in self._due.items() if interval in live}
        return max(min(self._due.values(), default=now + timedelta(seconds=1)) - now, timedelta())

    async def _round(self, keys: list[_Key]) -> None:
        """One look at each of these channels; requests that have come meanwhile get their turn in between."""
        began = self._wall.monotonic()
        for key in keys:
            channel = self._channels.get(key)
            if channel is not None:
                self._publish(key, channel)
            if self._wall.monotonic() - began > _TURN:
                await asyncio.sleep(0)
                began = self._wall.monotonic()

    def _streamed_update(self, category: Category, symbol: str) -> int | None:
        """REST's ``u`` is that of the stream of 1000 levels, which must not lag behind what REST shows."""
        key = (_PATHS[category], f"{Kind.BOOK}.1000.{symbol}")
        channel = self._channels.get(key)
        if not isinstance(channel, BookChannel):
            return None
        self._publish(key, channel)
        return channel.number

    async def drained(self) -> None:
        """Returns when everything queued has been handed to the connections; clients that do not read are
        waited for once, a second.
        """
        slow = [socket for socket in self.sockets if socket.waiting]
        if not slow:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.gather(*[socket.drained() for socket in slow])
        except TimeoutError:
            for socket in slow:
                socket.lagging = bool(socket.waiting)

    # ------------------------------------------------------------------------------------------ the world

    def look_around(self) -> None:
        """A restored world ends every connection. A restart ends the private ones and begins every order book
        anew, with a snapshot whose ``u`` is 1.
        """
        if self._house.venue is not self._venue:
            self._venue, self._restarts = self._house.venue, self._house.restarts
            self._end(self.sockets)
        elif self._house.restarts != self._restarts:
            self._restarts = self._house.restarts
            self._end([socket for socket in self.sockets if socket.path is Path.PRIVATE])
            self._numbers.restart()
            for key, channel in self._channels.items():
                if isinstance(channel, BookChannel):
                    self._channels[key] = self._made(channel.topic)
            self._shown = None

    def _end(self, sockets: Iterable[Socket]) -> None:
        for socket in list(sockets):
            socket.close(_RESTARTED, "service restart")
            self.drop(socket)

    def sweep(self) -> None:
        """End the connections in which nothing has moved for too long."""
        for socket in [socket for socket in self.sockets if socket.stale]:
            socket.close(1000, "idle")
            self.drop(socket)


def _row(topic: PublicTopic) -> Mapping[str, object]:
    return {"category": topic.category.value, "symbol": topic.symbol}
