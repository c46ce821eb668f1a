"""Mark price bars of the past, for whoever must value a settlement or a liquidation that happened
unwatched.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.exchange import endpoints
from fundarb.exchange.gateway import Gateway
from fundarb.exchange.parse import ParseError, number, positive
from fundarb.exchange.strict import Answer
from fundarb.venue.feed import Bar

_PAGE = 1000
_MINUTE = timedelta(minutes=1)
_MILLISECOND = timedelta(milliseconds=1)
_STEPS = frozenset({1, 3, 5, 15, 30, 60, 120, 240, 360, 720})
"""The bar lengths that the venue offers, in minutes (Bybit V5 API)."""
_COLUMNS = ("start", "open", "high", "low", "close")


def mark_bars(
    gateway: Gateway, symbol: str, *, step: timedelta, since: datetime, until: datetime
) -> tuple[Bar, ...]:
    """Bars that start in [since, until], oldest first; ``ValueError`` for a length that the venue does not
    offer.

    Pages backward by ``end``, as the newest bars come first.
    """
    minutes = step // _MINUTE
    if minutes not in _STEPS:
        raise ValueError(f"the venue has no bars of {step}")
    found: dict[datetime, Bar] = {}
    end = until
    while end >= since:
        params = {
            "category": Category.LINEAR.value,
            "symbol": symbol,
            "interval": str(minutes),
            "start": to_ms(since),
            "end": to_ms(end),
            "limit": _PAGE,
        }
        page = gateway.read(endpoints.MARK_KLINE, params, parse=_bars)
        fresh = [bar for bar in page if since <= bar.start <= end]
        if not fresh:
            break
        found |= {bar.start: bar for bar in fresh}
        end = min(bar.start for bar in fresh) - _MILLISECOND
    return tuple(sorted(found.values()))


def _bars(answer: Answer) -> list[Bar]:
    raw = answer.result.get("list")
    if not isinstance(raw, list):
        raise ParseError("bars without a list")
    return [_bar(row) for row in raw]


def _bar(row: Any) -> Bar:
    if not isinstance(row, list) or len(row) < len(_COLUMNS):
        raise ParseError("a mark bar has five columns")
    named = dict(zip(_COLUMNS, row, strict=False))
    bar = Bar(
        start=from_ms(int(number(named, "start"))),
        open=positive(named, "open"),
        high=positive(named, "high"),
        low=positive(named, "low"),
        close=positive(named, "close"),
        volume=ZERO,
        turnover=ZERO,
    )
    if not bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high:
        raise ParseError("a mark bar contradicts itself")
    return bar
