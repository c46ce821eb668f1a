"""Ticker channels: perps send a snapshot and then the fields that have changed, spot a snapshot each time and
no quotes.

The figures are those of the REST row of the same instant. Source: Bybit V5 API, ticker stream.
"""

from __future__ import annotations

import json
from decimal import Decimal

from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.sandbox.endpoints.tickers import ticker_rows
from fundarb.sandbox.house import House
from fundarb.sandbox.streams.topics import PublicTopic
from fundarb.sandbox.wire import compact

_SPOT_FIELDS = (
    "symbol",
    "lastPrice",
    "highPrice24h",
    "lowPrice24h",
    "prevPrice24h",
    "volume24h",
    "turnover24h",
    "price24hPcnt",
    "usdIndexPrice",
)
_OF_DATED_FUTURES = frozenset(
    {
        "predictedDeliveryPrice",
        "basisRate",
        "basisRateYear",
        "basis",
        "deliveryFeeRate",
        "deliveryTime",
        "preOpenPrice",
        "preQty",
        "curPreListingPhase",
    }
)
"""Fields that a snapshot leaves out while they say nothing (as recorded messages of perpetuals do)."""

Fields = dict[str, object]


class Direction:
    """``tickDirection``: up or down from the last price, and Zero in front while the price stays."""

    def __init__(self) -> None:
        self._last: Decimal | None = None
        self._word = "PlusTick"

    def after(self, price: Decimal) -> str:
        """The word for the next price."""
        last, self._last = self._last, price
        if last is None or price == last:
            return f"Zero{self._word}" if last is not None else self._word
        self._word = "PlusTick" if price > last else "MinusTick"
        return self._word


class TickerChannel:
    """One ticker topic, shared by everybody who has subscribed to it."""

    def __init__(self, house: House, topic: PublicTopic) -> None:
        self.topic = topic
        self._house = house
        self._row = ""
        self._fields: Fields = {}
        self._direction = Direction()

    def greeting(self) -> list[str]:
        """The snapshot that a new subscriber gets."""
        if not self._fields:
            self._look()
        idle = {name for name in _OF_DATED_FUTURES if self._fields.get(name) in {"", "0"}}
        return [
            self._message("snapshot", {name: self._fields[name] for name in self._fields if name not in idle})
        ]

    def advance(self) -> list[str]:
        """What everybody who is subscribed gets now."""
        if not self._fields:
            return self.greeting()
        before = self._fields
        if not self._look():
            return []
        if self.topic.category is Category.SPOT:
            return self.greeting() if self._fields != before else []
        changed = {name: value for name, value in self._fields.items() if before.get(name) != value}
        return [self._message("delta", {"symbol": self.topic.symbol, **changed})] if changed else []

    def _look(self) -> bool:
        """Read the row; whether it differs from the last one."""
        row = ticker_rows(self._house, self.topic.category, symbol=self.topic.symbol)
        if row == self._row:
            return False
        self._row = row
        fields: Fields = json.loads(row)
        if self.topic.category is Category.SPOT:
            self._fields = {name: fields[name] for name in _SPOT_FIELDS}
        else:
            last = self._house.venue.point(self.topic.category, self.topic.symbol).last
            self._fields = {**fields, "tickDirection": self._direction.after(last)}
        return True

    def _message(self, kind: str, fields: Fields) -> str:
        ms = to_ms(self._house.wire_now())
        return compact({"topic": self.topic.name, "type": kind, "data": fields, "cs": ms, "ts": ms})
