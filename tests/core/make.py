"""Small builders of core values for tests: a healthy coin unless told otherwise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fundarb.core.market import (
    Book,
    Category,
    FundingRate,
    Instruments,
    Level,
    MarketSnapshot,
    Pair,
    PerpInstrument,
    PerpQuote,
    SpotInstrument,
    SpotQuote,
)

D = Decimal
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
EIGHT_HOURS = timedelta(hours=8)


def spot(base: str = "BTC", **changes: Any) -> SpotInstrument:
    """A healthy USDT spot pair with Bitcoin's steps."""
    healthy = SpotInstrument(
        symbol=f"{base}USDT",
        base_coin=base,
        quote_coin="USDT",
        status="Trading",
        symbol_type="",
        tick_size=D("0.1"),
        qty_step=D("0.000001"),
        min_qty=D(0),
        min_notional=D(5),
        max_limit_qty=D(10**12),
        max_market_qty=D(10**12),
    )
    return replace(healthy, **changes)


def perp(base: str = "BTC", **changes: Any) -> PerpInstrument:
    """A healthy USDT perpetual with Bitcoin's steps."""
    healthy = PerpInstrument(
        symbol=f"{base}USDT",
        base_coin=base,
        quote_coin="USDT",
        status="Trading",
        symbol_type="",
        tick_size=D("0.1"),
        qty_step=D("0.001"),
        min_qty=D("0.001"),
        min_notional=D(5),
        max_limit_qty=D(10**12),
        max_market_qty=D(10**12),
        settle_coin="USDT",
        contract_type="LinearPerpetual",
        launch_time=datetime(2020, 3, 25, tzinfo=UTC),
        delivery_time=None,
        listed_interval=EIGHT_HOURS,
        max_leverage=D(100),
        leverage_step=D("0.01"),
    )
    return replace(healthy, **changes)


def pair(base: str = "BTC", multiplier: int | Decimal = 1, **changes: Any) -> Pair:
    """A pair; names beginning with ``spot_`` and ``perp_`` change the instruments."""
    on_spot = {k.removeprefix("spot_"): v for k, v in changes.items() if k.startswith("spot_")}
    on_perp = {k.removeprefix("perp_"): v for k, v in changes.items() if k.startswith("perp_")}
    name = base if multiplier == 1 else f"{multiplier}{base}"
    return Pair(base=base, spot=spot(base, **on_spot), perp=perp(name, **on_perp), multiplier=D(multiplier))


def spot_quote(symbol: str = "BTCUSDT", price: Decimal | str = "100000", **changes: Any) -> SpotQuote:
    """A spot quote without spread at one price."""
    at = D(price)
    quote = SpotQuote(
        symbol=symbol, bid=at, bid_size=D(10**9), ask=at, ask_size=D(10**9), last=at, turnover_24h=D(10**8)
    )
    return replace(quote, **changes)


def funding(
    rate: str = "0.0001", hours: int = 8, ahead: timedelta = EIGHT_HOURS, **changes: Any
) -> FundingRate:
    """A running funding period that settles ``ahead`` of now."""
    return replace(
        FundingRate(rate=D(rate), interval=timedelta(hours=hours), next_time=NOW + ahead), **changes
    )


def perp_quote(symbol: str = "BTCUSDT", price: Decimal | str = "100000", **changes: Any) -> PerpQuote:
    """A perp quote without spread at one price, mark and index included."""
    at = D(price)
    quote = PerpQuote(
        symbol=symbol,
        bid=at,
        bid_size=D(10**9),
        ask=at,
        ask_size=D(10**9),
        last=at,
        turnover_24h=D(10**9),
        mark=at,
        index=at,
        open_interest_notional=D(10**8),
        funding=funding(),
    )
    return replace(quote, **changes)


def market(
    *coins: tuple[SpotInstrument, SpotQuote, PerpInstrument, PerpQuote],
) -> tuple[Instruments, MarketSnapshot]:
    """Instruments and snapshot of whole coins."""
    return (
        Instruments({c[0].symbol: c[0] for c in coins}, {c[2].symbol: c[2] for c in coins}, NOW),
        MarketSnapshot(
            spot={c[1].symbol: c[1] for c in coins},
            perp={c[3].symbol: c[3] for c in coins},
            spot_as_of=NOW,
            perp_as_of=NOW,
        ),
    )


def book(category: Category, symbol: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> Book:
    """An order book from (price, quantity) texts."""
    return Book(
        category=category,
        symbol=symbol,
        bids=tuple(Level(D(p), D(q)) for p, q in bids),
        asks=tuple(Level(D(p), D(q)) for p, q in asks),
        as_of=NOW,
    )
