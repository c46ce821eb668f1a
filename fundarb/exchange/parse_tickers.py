"""The tickers of a whole market → quotes, on a fast path.

One look at the characters of a row, then plain ``Decimal``; only a row that fails is looked at again, for the
reason. A bad row makes its symbol unreadable, a bad envelope the whole answer bad. The interval of a funding
rate comes from the ticker alone: the instrument list lags behind it (Bybit V5 API).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from fundarb.core.instants import from_ms
from fundarb.core.market import FundingRate, PerpQuote, SpotQuote
from fundarb.core.money import dec
from fundarb.exchange.parse import LARGEST, ParseError, Row, number, optional_instant, optional_number, rows
from fundarb.exchange.strict import Answer

Q = TypeVar("Q")
Unreadable = dict[str, str]

_DIGITS = frozenset("0123456789.-+eE")
_TOO_FAR = 5
"""Best bid, best ask, mark and index of one symbol differ by less than this factor, or one of them is
garbage.
"""

_HIGHEST = Decimal("1e11")
"""No price of a real market reaches this in any quote coin."""

_LAST_TOO_FAR = 50
"""The last trade of a sleepy market may be old."""

_RATE_LIMIT = Decimal("0.5")
"""No funding rate of one interval reaches a half; the exchange's own caps end at a few percent."""

_HOUR_MS = 3_600_000
_LONGEST_INTERVAL = 24
_BAD_FIELD = (ArithmeticError, KeyError, TypeError, ValueError)

_SPOT_FIELDS = ("bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "turnover24h")
_PERP_FIELDS = (*_SPOT_FIELDS, "markPrice", "indexPrice", "openInterestValue")
_POSITIVE = ("bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "markPrice", "indexPrice")


def spot_quotes(answer: Answer) -> tuple[dict[str, SpotQuote], Unreadable]:
    """All readable spot tickers by symbol, and why the others are not."""
    unreadable: Unreadable = {}
    return _quotes(answer, _spot_quote, fields=_SPOT_FIELDS, unreadable=unreadable), unreadable


def perp_quotes(answer: Answer) -> tuple[dict[str, PerpQuote], Unreadable]:
    """All readable linear tickers by symbol, and why the others are not.

    A ticker with sound prices whose funding cannot be told keeps its quote, without funding, and has a reason
    as well.
    """
    unreadable: Unreadable = {}
    earliest = 0 if answer.time is None else int(answer.time.timestamp() * 1000)

    def parse(row: Row) -> PerpQuote:
        return _perp_quote(row, earliest, unreadable=unreadable)

    return _quotes(answer, parse, fields=_PERP_FIELDS, unreadable=unreadable), unreadable


def _quotes(
    answer: Answer, parse: Callable[[Row], Q], *, fields: Sequence[str], unreadable: Unreadable
) -> dict[str, Q]:
    quotes: dict[str, Q] = {}
    twice: set[str] = set()
    listed = rows(answer)
    if not listed:
        raise ParseError("the market is empty")
    for row in listed:
        symbol = row.get("symbol")
        if not symbol or symbol.__class__ is not str:
            raise ParseError("a row has no symbol")
        if symbol in quotes or symbol in twice:
            twice.add(symbol)
            continue
        try:
            quotes[symbol] = parse(row)
        except _BAD_FIELD as error:
            unreadable[symbol] = _reason(row, fields, error=error)
    for symbol in twice:
        del quotes[symbol]
        unreadable[symbol] = "it is listed twice"
    return quotes


def _numbers(row: Row, fields: Sequence[str]) -> list[Decimal]:
    """The fields as Decimals; only digits and signs pass, so neither NaN, Infinity, blanks nor underscores
    do.
    """
    texts = [row[name] for name in fields]
    try:
        characters = "".join(texts)
    except TypeError:
        return [dec(value) for value in texts]  # a JSON number instead of a text
    if not _DIGITS.issuperset(characters):
        raise ParseError("not a number")
    return [Decimal(value) for value in texts]


def _spot_quote(row: Row) -> SpotQuote:
    bid, bid_size, ask, ask_size, last, turnover = _numbers(row, _SPOT_FIELDS)
    if not (0 < bid < ask < _HIGHEST and 0 < bid_size < LARGEST and 0 < ask_size < LARGEST):
        raise ParseError("out of range")
    if not 0 <= turnover < LARGEST:
        raise ParseError("turnover24h is out of range")
    if ask > bid * _TOO_FAR or not bid < last * _LAST_TOO_FAR or not last < ask * _LAST_TOO_FAR:
        raise ParseError("its prices contradict each other")
    usd = row.get("usdIndexPrice")
    return SpotQuote(
        symbol=row["symbol"],
        bid=bid,
        bid_size=bid_size,
        ask=ask,
        ask_size=ask_size,
        last=last,
        turnover_24h=turnover,
        usd_index=_usd_index(usd) if usd else None,
    )


def _usd_index(value: Any) -> Decimal | None:
    """The USD index of a coin that is collateral; zero and garbage say as little as nothing."""
    try:
        index = dec(value)
    except ValueError:
        return None
    return index if 0 < index < LARGEST else None


def _perp_quote(row: Row, now_ms: int, *, unreadable: Unreadable) -> PerpQuote:
    bid, bid_size, ask, ask_size, last, turnover, mark, index, interest = _numbers(row, _PERP_FIELDS)
    if not (0 < bid < ask < _HIGHEST and 0 < bid_size < LARGEST and 0 < ask_size < LARGEST):
        raise ParseError("out of range")
    if not (0 < mark < _HIGHEST and 0 < index < _HIGHEST and 0 <= interest < LARGEST > turnover >= 0):
        raise ParseError("out of range")
    if (
        not _agree(bid, ask, mark=mark, index=index)
        or not mark < last * _LAST_TOO_FAR
        or not last < mark * _LAST_TOO_FAR
    ):
        raise ParseError("its prices contradict each other")
    symbol = row["symbol"]
    delivery = row.get("deliveryTime")
    try:
        funding = _funding(row, now_ms)
    except _BAD_FIELD as error:
        funding = None
        unreadable[symbol] = f"funding unknown: {error}"
    return PerpQuote(
        symbol=symbol,
        bid=bid,
        bid_size=bid_size,
        ask=ask,
        ask_size=ask_size,
        last=last,
        turnover_24h=turnover,
        mark=mark,
        index=index,
        open_interest_notional=interest,
        funding=funding,
        delivery_time=optional_instant(row, "deliveryTime") if delivery and delivery != "0" else None,
    )


def _agree(bid: Decimal, ask: Decimal, *, mark: Decimal, index: Decimal) -> bool:
    return (
        ask < mark * _TOO_FAR
        and mark < bid * _TOO_FAR
        and mark < index * _TOO_FAR
        and index < mark * _TOO_FAR
    )


def _funding(row: Row, now_ms: int) -> FundingRate | None:
    """The running period; None on a dated future, which has none; ``ParseError`` where one part is missing
    or absurd.
    """
    rate_text, hours, next_text = (
        row.get("fundingRate"),
        row.get("fundingIntervalHour"),
        row.get("nextFundingTime"),
    )
    if not rate_text and next_text in ("", "0", None) and row.get("deliveryTime") not in ("", "0", None):
        return None
    rate = number(row, "fundingRate")
    if abs(rate) > _RATE_LIMIT:
        raise ParseError(f"fundingRate is absurd: {rate_text}")
    if not hours:
        raise ParseError("the ticker has no fundingIntervalHour")
    interval = int(hours)
    if not 1 <= interval <= _LONGEST_INTERVAL:
        raise ParseError(f"fundingIntervalHour is absurd: {hours}")
    next_ms = int(next_text or 0)
    if not now_ms - _HOUR_MS < next_ms <= now_ms + (interval + 1) * _HOUR_MS:
        raise ParseError(f"nextFundingTime is out of range: {next_text}")
    cap = optional_number(row, "fundingCap")
    return FundingRate(
        rate=rate,
        interval=timedelta(hours=interval),
        next_time=from_ms(next_ms),
        cap=abs(cap) if cap else None,
    )


def _reason(row: Row, fields: Sequence[str], *, error: Exception) -> str:
    """Which field is to blame, in words."""
    for name in fields:
        try:
            value = number(row, name)
        except ParseError as found:
            return str(found)
        if value < 0 or (value == 0 and name in _POSITIVE):
            return f"{name} is not positive: {row[name]}"
    if number(row, "bid1Price") >= number(row, "ask1Price"):
        return f"bid {row['bid1Price']} is not below ask {row['ask1Price']}"
    return str(error)
