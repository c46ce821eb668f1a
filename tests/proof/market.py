"""Three coins of very different make for seeded episodes: fine steps, a multiplied contract, coarse steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from fundarb.core.market import Book, Category, Level
from fundarb.venue.engine import Venue
from fundarb.venue.feed import CoinRules, Listing, Point
from tests.venue.toy import ToyFeed, coin, perp, spot
from tests.venue.toy import venue as toy_venue

D = Decimal
BASES = ("BTC", "PEPE", "ADA")
PERPS = {"BTC": "BTCUSDT", "PEPE": "1000PEPEUSDT", "ADA": "ADAUSDT"}
MULTIPLIERS = {"PEPE": D(1000)}
"""Coins of one contract, where it is not one."""
_LEVEL_VALUE = D(4000)


def _listings() -> tuple[Listing, ...]:
    return (
        spot("BTCUSDT"),
        perp("BTCUSDT"),
        spot("PEPEUSDT", tick_size=D("1e-10"), qty_step=D(1), max_limit_qty=D(10) ** 11),
        perp("1000PEPEUSDT", tick_size=D("1e-7"), qty_step=D(100), min_qty=D(100), max_limit_qty=D(10) ** 8),
        spot("ADAUSDT", tick_size=D("0.0001"), qty_step=D("0.01"), max_limit_qty=D(10) ** 7),
        perp("ADAUSDT", tick_size=D("0.0001"), qty_step=D(1), min_qty=D(1), max_limit_qty=D(10) ** 6),
    )


def _prices() -> dict[str, Decimal]:
    return {
        "BTCUSDT": D(50_000),
        "PEPEUSDT": D("0.0000098"),
        "1000PEPEUSDT": D("0.0098"),
        "ADAUSDT": D("0.5"),
    }


def _coins() -> dict[str, CoinRules]:
    ratios = {"USDT": "1", "BTC": "0.95", "PEPE": "0.5", "ADA": "0.8", "MNT": "0.5"}
    return {name: coin(name, ratio) for name, ratio in ratios.items()}


@dataclass
class RoughFeed(ToyFeed):
    """Books a few ticks wide, some thousand USDT a level, each price on its own tick."""

    listed: tuple[Listing, ...] = field(default_factory=_listings)
    prices: dict[str, Decimal] = field(default_factory=_prices)
    coin_rules: dict[str, CoinRules] = field(default_factory=_coins)
    rate: Decimal = D("0.0003")

    def _gap(self, symbol: str) -> Decimal:
        tick = next(item.instrument.tick_size for item in self.listed if item.symbol == symbol)
        return 2 * max(tick, (self.prices[symbol] * D("0.0001") / tick).to_integral_value() * tick)

    def _size(self, symbol: str) -> Decimal:
        steps = next(item.instrument.qty_step for item in self.listed if item.symbol == symbol)
        return (_LEVEL_VALUE / self.prices[symbol] / steps).to_integral_value() * steps

    def point(self, category: Category, symbol: str, at: datetime) -> Point:
        """The price with half a gap on both sides."""
        mid, gap, size = self.prices[symbol], self._gap(symbol), self._size(symbol)
        plain = super().point(category, symbol, at)
        return plain._replace(bid=mid - gap / 2, bid_size=size, ask=mid + gap / 2, ask_size=size)

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """Equal levels."""
        mid, gap, size = self.prices[symbol], self._gap(symbol), self._size(symbol)
        count = range(min(depth, self.levels))
        return Book(
            category=category,
            symbol=symbol,
            bids=tuple(Level(mid - gap / 2 - gap / 2 * k, size) for k in count),
            asks=tuple(Level(mid + gap / 2 + gap / 2 * k, size) for k in count),
            as_of=at,
        )


def rough_venue() -> Venue:
    """A venue with 100,000 USDT and a little MNT."""
    return toy_venue(RoughFeed(), USDT="100000", MNT="50")
