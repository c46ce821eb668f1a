"""Bar channels: the running bar when it has changed, and every bar once as ``confirm`` when it has ended.

The bars are those of REST's kline. Source: Bybit V5 API, kline stream.
"""

from __future__ import annotations

from typing import Any

from fundarb.core.instants import from_ms, to_ms
from fundarb.sandbox.endpoints.bars import kline
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.periods import following, shortest
from fundarb.sandbox.streams.topics import PublicTopic
from fundarb.sandbox.wire import Parameters, compact

_MOST_BARS = 1000
_Row = list[str]


class KlineChannel:
    """One bar topic, shared by everybody who has subscribed to it."""

    def __init__(self, house: House, topic: PublicTopic) -> None:
        self.topic = topic
        self._house = house
        self._running: _Row = []

    def greeting(self) -> list[str]:
        """The running bar."""
        if not self._running:
            self._running = self._last(1)[0] if self._last(1) else []
        return [self._message(self._running, done=False)] if self._running else []

    def advance(self) -> list[str]:
        """What everybody who is subscribed gets now: bars that have ended since, then the running one."""
        if not self._running:
            return self.greeting()
        began = int(self._running[0])
        passed = (self._house.venue.now - from_ms(began)) // shortest(self.topic.detail)
        rows = [row for row in self._last(min(passed + 1, _MOST_BARS))[::-1] if int(row[0]) >= began]
        if not rows or rows == [self._running]:
            return []
        self._running = rows[-1]
        return [self._message(row, done=row is not rows[-1]) for row in rows]

    def _last(self, count: int) -> list[_Row]:
        """The latest bars, newest first."""
        named = {
            "category": self.topic.category.value,
            "symbol": self.topic.symbol,
            "interval": self.topic.detail,
        }
        call = Call(method="GET", path="/v5/market/kline", now=self._house.venue.now,
                    parameters=Parameters({**named, "limit": str(max(count, 1))}))  # fmt: skip
        rows: list[_Row] = (kline(self._house, call).result or {})["list"]
        return rows

    def _message(self, row: _Row, *, done: bool) -> str:
        start, (opened, high, low, close, volume, turnover) = int(row[0]), row[1:]
        ms = to_ms(self._house.wire_now())
        bar: dict[str, Any] = {
            "start": start,
            "end": to_ms(following(self.topic.detail, from_ms(start))) - 1,
            "interval": self.topic.detail,
            "open": opened,
            "close": close,
            "high": high,
            "low": low,
            "volume": volume,
            "turnover": turnover,
            "confirm": done,
            "timestamp": ms,
        }
        return compact({"topic": self.topic.name, "data": [bar], "ts": ms, "type": "snapshot"})
