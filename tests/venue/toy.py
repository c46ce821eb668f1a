"""A market that tests can read in their head: prices that stay where they are put, books of round levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fundarb.core.market import (
    Book,
    Category,
    FundingRate,
    Level,
    PerpInstrument,
    SettledFunding,
    SpotInstrument,
)
from fundarb.venue.engine import Rules, Venue
from fundarb.venue.feed import CoinRules, CollateralTier, Happening, Listing, Point, RiskTier

D = Decimal
START = datetime(2026, 1, 5, 0, 0, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
SPOT, LINEAR = Category.SPOT, Category.LINEAR


def spot(symbol: str = "BTCUSDT", **changes: object) -> Listing:
    """A spot pair with small steps; any field of the instrument can be changed."""
    instrument = SpotInstrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        quote_coin="USDT",
        status="Trading",
        symbol_type="",
        tick_size=D("0.1"),
        qty_step=D("0.000001"),
        min_qty=D(0),
        min_notional=D(5),
        max_limit_qty=D(1000),
        max_market_qty=D(500),
        price_limit_x=D("0.05"),
        price_limit_y=D("0.05"),
        margin_trading="utaOnly",
    )
    return Listing(instrument=replace(instrument, **changes))  # type: ignore[arg-type]


def perp(symbol: str = "BTCUSDT", **changes: object) -> Listing:
    """A linear perpetual with coarser steps and two risk tiers."""
    instrument = PerpInstrument(
        symbol=symbol,
        base_coin=symbol.removesuffix("USDT"),
        quote_coin="USDT",
        status="Trading",
        symbol_type="",
        tick_size=D("0.1"),
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        min_notional=D(5),
        max_limit_qty=D(1000),
        max_market_qty=D(500),
        price_limit_x=D("0.05"),
        price_limit_y=D("0.1"),
        settle_coin="USDT",
        contract_type="LinearPerpetual",
        launch_time=None,
        delivery_time=None,
        listed_interval=8 * HOUR,
        max_leverage=D(50),
        leverage_step=D("0.01"),
    )
    tiers = (
        RiskTier(limit=D(1_000_000), mm_rate=D("0.01"), im_rate=D("0.02"), max_leverage=D(50)),
        RiskTier(
            limit=D(50_000_000),
            mm_rate=D("0.02"),
            im_rate=D("0.04"),
            max_leverage=D(25),
            mm_deduction=D(10_000),
        ),
    )
    return Listing(instrument=replace(instrument, **changes), tiers=tiers)  # type: ignore[arg-type]


@dataclass
class ToyFeed:
    """Prices by symbol (both markets alike); books of ``levels`` levels, a ``gap`` apart, ``size`` each."""

    listed: tuple[Listing, ...] = field(default_factory=lambda: (spot(), perp()))
    prices: dict[str, Decimal] = field(default_factory=lambda: {"BTCUSDT": D(50_000)})
    gap: Decimal = D(10)
    size: Decimal = D(1)
    levels: int = 20
    rate: Decimal = D("0.0001")
    interval: timedelta = 8 * HOUR
    script: tuple[Happening, ...] = ()
    coin_rules: dict[str, CoinRules] = field(
        default_factory=lambda: {
            "USDT": coin("USDT", "1", rate="0.00001"),
            "BTC": coin("BTC", "0.95"),
            "MNT": coin("MNT", "0.5"),
        }
    )
    asked: int = 0

    def listings(self) -> tuple[Listing, ...]:
        """As given."""
        return self.listed

    def coins(self) -> Mapping[str, CoinRules]:
        """As given."""
        return self.coin_rules

    def happenings(self) -> tuple[Happening, ...]:
        """As given."""
        return self.script

    def point(self, category: Category, symbol: str, at: datetime) -> Point:
        """The price with half a gap on both sides."""
        self.asked += 1
        mid = self.prices[symbol]
        return Point(
            bid=mid - self.gap / 2,
            bid_size=self.size,
            ask=mid + self.gap / 2,
            ask_size=self.size,
            last=mid,
            mark=mid,
            index=mid,
            turnover_24h=D(1_000_000),
            volume_24h=D(100),
            prev_24h=mid,
            high_24h=mid,
            low_24h=mid,
            open_interest=D(0) if category is SPOT else D(1000),
        )

    def points(self, category: Category, at: datetime) -> Mapping[str, Point]:
        """All of a market."""
        return {
            item.symbol: self.point(category, item.symbol, at)
            for item in self.listed
            if item.category is category
        }

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """Round levels."""
        mid = self.prices[symbol]
        count = range(min(depth, self.levels))
        return Book(
            category=category,
            symbol=symbol,
            bids=tuple(Level(mid - self.gap / 2 - self.gap * k, self.size) for k in count),
            asks=tuple(Level(mid + self.gap / 2 + self.gap * k, self.size) for k in count),
            as_of=at,
        )

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The same rate for ever."""
        return FundingRate(
            rate=self.rate,
            interval=self.interval,
            next_time=at + self.interval - (at - EPOCH) % self.interval,
        )

    def fundings(self, at: datetime) -> Mapping[str, FundingRate]:
        """All perps."""
        return {item.symbol: self.funding(item.symbol, at) for item in self.listed if item.category is LINEAR}

    def settlements(self, symbol: str, since: datetime, until: datetime) -> tuple[SettledFunding, ...]:
        """Every multiple of the interval in (since, until]."""
        rows = []
        at = since + self.interval - (since - EPOCH) % self.interval
        while at <= until:
            rows.append(SettledFunding(symbol=symbol, rate=self.rate, time=at))
            at += self.interval
        return tuple(rows)


def coin(name: str, ratio: str, rate: str = "0.00001") -> CoinRules:
    """A coin with one collateral ratio."""
    return CoinRules(
        coin=name, tiers=(CollateralTier(limit=None, ratio=D(ratio)),), hourly_borrow_rate=D(rate)
    )


def venue(feed: ToyFeed | None = None, rules: Rules | None = None, **balances: str) -> Venue:
    """A venue at START; balances by coin, 100,000 USDT without any."""
    amounts = {name: D(text) for name, text in balances.items()} or {"USDT": D(100_000)}
    return Venue(feed or ToyFeed(), start=START, uid="toy", balances=amounts, rules=rules)
