"""Raw market data → core types: instruments, order books, settled funding. Tickers have a module of their
own.

An instrument row that cannot be read is left out, so that it is not traded; if many cannot, the whole answer
is bad.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

from fundarb.core.market import (
    Book,
    Category,
    Instrument,
    Level,
    PerpInstrument,
    SettledFunding,
    SpotInstrument,
)
from fundarb.core.money import ZERO
from fundarb.exchange.parse import (
    ParseError,
    Row,
    child,
    flag,
    instant,
    minutes,
    not_negative,
    number,
    optional_instant,
    optional_number,
    optional_text,
    positive,
    rows,
    text,
)
from fundarb.exchange.strict import Answer

Listed = TypeVar("Listed", bound=Instrument)

_BAD_SHARE = 10
"""More than one row in so many unreadable: then it is the answer that is bad, not the row."""

_MIN_NOTIONAL = Decimal(5)
"""The exchange's minimum value of a linear order, for answers that are older than the field."""

SPOT_KEYS = ("symbol", "baseCoin", "quoteCoin", "status", "symbolType", "stTag", "marginTrading")
LINEAR_KEYS = (
    *("symbol", "baseCoin", "quoteCoin", "settleCoin", "status", "symbolType", "contractType", "launchTime"),
    *("deliveryTime", "fundingInterval", "upperFundingRate", "lowerFundingRate", "isPreListing"),
)
NESTED_KEYS = ("priceFilter", "lotSizeFilter", "leverageFilter", "riskParameters")


def slim(row: Row, keys: Sequence[str]) -> dict[str, Any]:
    """What of a row is read, to be kept in the cache; parsing it gives the same instrument as the whole
    row.
    """
    return {name: row[name] for name in (*keys, *NESTED_KEYS) if name in row}


def instruments(
    listed: Sequence[Row], parse: Callable[[Row], Listed]
) -> tuple[dict[str, Listed], dict[str, str]]:
    """Instruments by symbol, and the unreadable ones with the reason; ``ParseError`` if too many are."""
    found: dict[str, Listed] = {}
    unreadable: dict[str, str] = {}
    for row in listed:
        try:
            instrument = parse(row)
        except ParseError as error:
            unreadable[str(row.get("symbol", "?"))] = str(error)
            continue
        found[instrument.symbol] = instrument
    if len(unreadable) * _BAD_SHARE > len(listed):
        symbol, reason = next(iter(unreadable.items()))
        raise ParseError(f"{len(unreadable)} of {len(listed)} instruments are unreadable, {symbol}: {reason}")
    return found, unreadable


def spot_instrument(row: Row) -> SpotInstrument:
    """A spot pair. Its only live minimum is ``minOrderAmt``; ``minOrderQty`` is no longer checked
    (Bybit V5 API).
    """
    lot = child(row, "lotSizeFilter")
    largest = optional_number(lot, "maxOrderQty")
    x, y = _band(row)
    return SpotInstrument(
        symbol=text(row, "symbol"),
        base_coin=text(row, "baseCoin"),
        quote_coin=text(row, "quoteCoin"),
        status=text(row, "status"),
        symbol_type=optional_text(row, "symbolType"),
        tick_size=positive(child(row, "priceFilter"), "tickSize"),
        qty_step=positive(lot, "basePrecision"),
        min_qty=ZERO,
        min_notional=not_negative(lot, "minOrderAmt"),
        max_limit_qty=_largest(lot, "maxLimitOrderQty", otherwise=largest),
        max_market_qty=_largest(lot, "maxMarketOrderQty", otherwise=largest),
        price_limit_x=x,
        price_limit_y=y,
        special_treatment=flag(row, "stTag"),
        margin_trading=optional_text(row, "marginTrading") or "none",
    )


def perp_instrument(row: Row) -> PerpInstrument:
    """A linear contract, perpetual or dated."""
    lot, leverage = child(row, "lotSizeFilter"), child(row, "leverageFilter")
    limit = positive(lot, "maxOrderQty")
    smallest = optional_number(lot, "minNotionalValue")
    x, y = _band(row)
    return PerpInstrument(
        symbol=text(row, "symbol"),
        base_coin=text(row, "baseCoin"),
        quote_coin=text(row, "quoteCoin"),
        settle_coin=text(row, "settleCoin"),
        status=text(row, "status"),
        symbol_type=optional_text(row, "symbolType"),
        contract_type=text(row, "contractType"),
        tick_size=positive(child(row, "priceFilter"), "tickSize"),
        qty_step=positive(lot, "qtyStep"),
        min_qty=not_negative(lot, "minOrderQty"),
        min_notional=_MIN_NOTIONAL if smallest is None else max(smallest, ZERO),
        max_limit_qty=limit,
        max_market_qty=_largest(lot, "maxMktOrderQty", otherwise=limit),
        launch_time=optional_instant(row, "launchTime"),
        delivery_time=optional_instant(row, "deliveryTime"),
        listed_interval=minutes(row, "fundingInterval"),
        max_leverage=positive(leverage, "maxLeverage"),
        leverage_step=positive(leverage, "leverageStep"),
        pre_listing=flag(row, "isPreListing"),
        rate_cap=optional_number(row, "upperFundingRate"),
        rate_floor=optional_number(row, "lowerFundingRate"),
        price_limit_x=x,
        price_limit_y=y,
    )


def _band(row: Row) -> tuple[Decimal | None, Decimal | None]:
    risk = child(row, "riskParameters")
    return optional_number(risk, "priceLimitRatioX"), optional_number(risk, "priceLimitRatioY")


def _largest(lot: Row, key: str, *, otherwise: Decimal | None) -> Decimal:
    """A maximum quantity; an answer older than the field has the older one."""
    if optional_number(lot, key) is not None or otherwise is None:
        return positive(lot, key)
    return otherwise


def book(answer: Answer, category: Category, *, symbol: str) -> Book:
    """An order book whose sides are in order; it may be crossed or empty on a side (``Book.crossed``
    tells).
    """
    result = answer.result
    if text(result, "s") != symbol:
        raise ParseError(f"the book is of {result['s']}, not of {symbol}")
    return Book(
        category=category,
        symbol=symbol,
        bids=_levels(result, "b", ascending=False),
        asks=_levels(result, "a", ascending=True),
        as_of=optional_instant(result, "cts") or instant(result, "ts"),
    )


def _levels(result: Row, key: str, *, ascending: bool) -> tuple[Level, ...]:
    raw = result.get(key)
    if not isinstance(raw, list):
        raise ParseError(f"side {key} of the book is missing")
    levels: list[Level] = []
    for pair in raw:
        if not isinstance(pair, list) or len(pair) < 2:
            raise ParseError(f"a level of side {key} is no pair")
        named = {"price": pair[0], "quantity": pair[1]}
        levels.append(Level(positive(named, "price"), positive(named, "quantity")))
    for better, worse in pairwise(levels):
        if (better.price >= worse.price) if ascending else (better.price <= worse.price):
            raise ParseError(f"side {key} of the book is not in order")
    return tuple(levels)


def settled(answer: Answer, symbol: str) -> list[SettledFunding]:
    """A page of settled rates, newest first as sent."""
    return [_settled_row(row, symbol) for row in rows(answer)]


_RATE_LIMIT = Decimal("0.5")


def _settled_row(row: Row, symbol: str) -> SettledFunding:
    if text(row, "symbol") != symbol:
        raise ParseError(f"a rate of {row['symbol']} in the history of {symbol}")
    rate = number(row, "fundingRate")
    if abs(rate) > _RATE_LIMIT:
        raise ParseError(f"fundingRate is absurd: {row['fundingRate']}")
    time: datetime = instant(row, "fundingRateTimestamp")
    return SettledFunding(symbol=symbol, rate=rate, time=time)
