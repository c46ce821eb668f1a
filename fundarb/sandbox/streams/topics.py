"""What can be subscribed to on which path, and how often it is pushed: names only, no data.

Facts: Bybit V5 API, "WebSocket stream / Connect" and the pages of the topics; that ``orderbook.500`` is gone,
that an unknown topic is refused by name and refuses the whole request, was observed on the real streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fundarb.core.market import Category
from fundarb.sandbox.house import House
from fundarb.sandbox.periods import INTERVALS

DEPTHS: Mapping[str, int] = {"1": 10, "50": 20, "200": 100, "1000": 200}
"""Levels of an order book topic and the milliseconds between two pushes."""

_TICKER_MS = {Category.SPOT: 50, Category.LINEAR: 100}
_KLINE_MS = 1000
_TRADE_MS = 100
_MOST_PARTS = 3
_CATEGORISED: Mapping[str, tuple[str, ...]] = {
    "order": ("spot", "linear", "inverse", "option"),
    "execution": ("spot", "linear", "inverse", "option"),
    "execution.fast": ("spot", "linear", "inverse", "option"),
    "position": ("linear", "inverse", "option"),
}
_WHOLE = ("order", "execution", "execution.fast", "position", "wallet", "greeks")


class Path(StrEnum):
    """The paths that take sockets."""

    SPOT = "/v5/public/spot"
    LINEAR = "/v5/public/linear"
    INVERSE = "/v5/public/inverse"
    OPTION = "/v5/public/option"
    PRIVATE = "/v5/private"

    @property
    def category(self) -> Category | None:
        """The market behind a public path; None where this venue lists nothing, and for the private one."""
        return _CATEGORY.get(self)


_CATEGORY = {Path.SPOT: Category.SPOT, Path.LINEAR: Category.LINEAR}


class Kind(StrEnum):
    """The public topics."""

    TICKER = "tickers"
    BOOK = "orderbook"
    KLINE = "kline"
    TRADE = "publicTrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTopic:
    """One public topic. ``detail`` is the depth of a book or the interval of a bar, else empty."""

    name: str
    kind: Kind
    category: Category
    symbol: str
    detail: str = ""

    @property
    def interval_ms(self) -> int:
        """Milliseconds between two pushes, at least."""
        if self.kind is Kind.BOOK:
            return DEPTHS[self.detail]
        if self.kind is Kind.TICKER:
            return _TICKER_MS[self.category]
        return _KLINE_MS if self.kind is Kind.KLINE else _TRADE_MS


def public_topic(house: House, name: str, *, category: Category) -> PublicTopic | None:
    """The topic of that name; None if there is none, or its symbol is not (or no longer) listed."""
    parts = name.split(".")
    if len(parts) > _MOST_PARTS or parts[0] not in set(Kind):
        return None
    kind = Kind(parts[0])
    details = {Kind.BOOK: DEPTHS.keys(), Kind.KLINE: INTERVALS}.get(kind)
    if len(parts) != (2 if details is None else _MOST_PARTS) or (
        details is not None and parts[1] not in details
    ):
        return None
    instrument = house.venue.instruments(category).get(parts[-1])
    if instrument is None or instrument.status == "Closed":
        return None
    detail = parts[1] if details is not None else ""
    return PublicTopic(name=name, kind=kind, category=category, symbol=parts[-1], detail=detail)


def private_topic(name: str) -> bool:
    """Whether the private path knows a topic."""
    base, _, category = name.rpartition(".")
    return name in _WHOLE or category in _CATEGORISED.get(base, ())


def mixed(names: list[str]) -> bool:
    """Whether topics for all categories and topics for one stand in the same request, which the exchange
    refuses.
    """
    whole = [name in _WHOLE for name in names]
    return any(whole) and not all(whole)
