"""Raw orders and executions → core types. Unknown words of the venue are kept as text, never guessed at.

An order's status is not its fill: the quantity comes from ``cumExecQty``, the money from executions.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, OrderReport, OrderStatus, Side
from fundarb.exchange.parse import (
    ParseError,
    Row,
    amount,
    flag,
    instant,
    not_negative,
    number,
    optional_price,
    optional_text,
    positive,
    text,
)

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_STATUSES = {status.value: status for status in OrderStatus}
_KINDS = {kind.value: kind for kind in ExecKind}
_QUOTES = (
    "USDT",
    "USDC",
    "USDE",
    "USDQ",
    "BTC",
    "ETH",
    "EUR",
    "BRL",
    "PLN",
    "TRY",
    "DAI",
    "USD1",
    "MNT",
    "SOL",
)
"""The quote coins of spot symbols, for executions that are older than ``feeCurrency``."""


def side(row: Row) -> Side:
    """Buy or sell; anything else is garbage."""
    found = _SIDES.get(text(row, "side"))
    if found is None:
        raise ParseError(f"side is {row['side']!r}")
    return found


def order(row: Row, category: Category) -> OrderReport:
    """One order. A market order shows the protective limit, or "0", for its price."""
    filled = not_negative(row, "cumExecQty")
    word = text(row, "orderStatus")
    return OrderReport(
        order_id=text(row, "orderId"),
        link_id=optional_text(row, "orderLinkId"),
        category=category,
        symbol=text(row, "symbol"),
        side=side(row),
        quantity=not_negative(row, "qty"),
        limit_price=optional_price(row, "price"),
        filled=filled,
        average_price=_average(row, filled),
        status=_STATUSES.get(word, OrderStatus.UNKNOWN),
        reduce_only=flag(row, "reduceOnly"),
        reject_reason=optional_text(row, "rejectReason"),
        cancel_type=optional_text(row, "cancelType"),
        created=instant(row, "createdTime"),
        updated=instant(row, "updatedTime"),
    )


def _average(row: Row, filled: Decimal) -> Decimal | None:
    if filled == 0:
        return None
    average = optional_price(row, "avgPrice")
    if average is not None:
        return average
    value = amount(row, "cumExecValue")
    return value / filled if value > 0 else None


def execution(row: Row, category: Category) -> Execution:
    """One execution row of any kind; ``execFee`` is booked as it is, never recomputed (Bybit V5 API)."""
    word = text(row, "execType")
    kind = _KINDS.get(word, ExecKind.OTHER)
    fee = number(row, "execFee")
    return Execution(
        exec_id=text(row, "execId"),
        order_id=optional_text(row, "orderId"),
        link_id=optional_text(row, "orderLinkId"),
        category=category,
        symbol=text(row, "symbol"),
        side=side(row),
        price=positive(row, "execPrice"),
        quantity=positive(row, "execQty"),
        value=not_negative(row, "execValue"),
        fee=fee,
        fee_coin=optional_text(row, "feeCurrency") or _fee_coin(row, category, fee=fee),
        kind=kind,
        raw_kind=word,
        time=instant(row, "execTime"),
        maker=flag(row, "isMaker"),
    )


def _fee_coin(row: Row, category: Category, *, fee: Decimal) -> str:
    """The coin of a fee whose row does not name it (Bybit V5 API).

    A linear contract pays in its settle coin. A spot buy pays in the base coin, a sell in the quote coin; a
    rebate (fee below zero) the other way round.
    """
    symbol = text(row, "symbol")
    if category is Category.LINEAR:
        return "USDT" if "USDT" in symbol else "USDC"
    for quote in _QUOTES:
        base = symbol.removesuffix(quote)
        if base not in {symbol, ""}:
            in_base = (side(row) is Side.BUY) == (fee >= 0)
            return base if in_base else quote
    raise ParseError(f"the fee of an execution of {symbol} has no coin")
