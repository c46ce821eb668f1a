"""Public trade channels: the trades of REST's recent-trade as they appear, the account's own among them.

Source: Bybit V5 API, trade stream.
"""

from __future__ import annotations

from typing import Any

from fundarb.core.instants import to_ms
from fundarb.core.money import plain
from fundarb.core.orders import Side
from fundarb.sandbox.chart import PRINT_EVERY, Print, prints
from fundarb.sandbox.house import House
from fundarb.sandbox.streams.tickers import Direction
from fundarb.sandbox.streams.topics import PublicTopic
from fundarb.sandbox.wire import compact
from fundarb.venue.rows import Fill

_MOST = 1000


class TradeChannel:
    """One trade topic, shared by everybody who has subscribed to it."""

    def __init__(self, house: House, topic: PublicTopic) -> None:
        self.topic = topic
        self._house = house
        self._direction = Direction()
        self._own: list[Print] = []
        self._looked = house.venue.now

    def greeting(self) -> list[str]:
        """Nothing: the past is not told."""
        return []

    def own(self, fill: Fill) -> None:
        """The account has traded: the public sees the taker's side."""
        side = fill.side if not fill.maker else (Side.SELL if fill.side is Side.BUY else Side.BUY)
        self._own.append(Print(fill.time, fill.price, fill.quantity, side, fill.exec_id))

    def advance(self) -> list[str]:
        """The trades since the last time, oldest first, in one message."""
        now, since = self._house.venue.now, self._looked
        count = min(2 + len(self._own) + (now - since) // PRINT_EVERY, _MOST + len(self._own))
        latest = prints(self._house, self.topic.category, symbol=self.topic.symbol, count=count)
        fresh = {item.ident: item for item in (*latest, *self._own) if item.at > since or item in self._own}
        self._own, self._looked = [], now
        if not fresh:
            return []
        rows = [self._row(item) for item in sorted(fresh.values(), key=lambda item: item.at)]
        ms = to_ms(self._house.wire_now())
        return [compact({"topic": self.topic.name, "type": "snapshot", "ts": ms, "data": rows})]

    def _row(self, item: Print) -> dict[str, Any]:
        return {
            "T": to_ms(item.at),
            "s": self.topic.symbol,
            "S": item.side.value,
            "v": plain(item.size),
            "p": plain(item.price),
            "L": self._direction.after(item.price),
            "i": item.ident,
            "BT": False,
            "RPI": False,
            "seq": to_ms(item.at),
        }
