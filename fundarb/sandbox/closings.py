"""What closing perp positions has earned, order by order: worked out from the fills, which know everything
but the entry. Bybit counts both fees in and funding not (V5 API, closed P&L).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.money import ZERO, cash
from fundarb.core.orders import ExecKind, Side
from fundarb.venue.rows import Fill

_DEDUCTED_IN = "MNT"
"""Fees taken in this coin are no part of a profit in the settle coin."""


@dataclass(slots=True, kw_only=True)
class Closing:
    """One order that closed (a part of) a position. Values and fees are sums in the settle coin; ``created``
    is its first closing fill's time.
    """

    last: Fill
    created: datetime
    quantity: Decimal = ZERO
    entry_value: Decimal = ZERO
    exit_value: Decimal = ZERO
    open_fee: Decimal = ZERO
    close_fee: Decimal = ZERO
    fills: int = 0

    @property
    def updated(self) -> datetime:
        """When its last closing fill happened."""
        return self.last.time

    @property
    def pnl(self) -> Decimal:
        """Profit after both fees, a multiple of 1e-8: a closing sell had bought before."""
        gain = self.exit_value - self.entry_value
        return cash((gain if self.last.side is Side.SELL else -gain) - self.open_fee - self.close_fee)


@dataclass(slots=True)
class _Open:
    """A position while its fills are retold: unsigned size, what it cost, and the fees of opening it."""

    size: Decimal = ZERO
    value: Decimal = ZERO
    fees: Decimal = ZERO

    def take(self, part: Decimal) -> tuple[Decimal, Decimal]:
        """Cost and opening fees of a part that is closed."""
        value, fees = self.value * part / self.size, self.fees * part / self.size
        self.size, self.value, self.fees = self.size - part, self.value - value, self.fees - fees
        return value, fees

    def add(self, quantity: Decimal, value: Decimal, *, fee: Decimal) -> None:
        """Open some more."""
        self.size, self.value, self.fees = self.size + quantity, self.value + value, self.fees + fee


def closings(fills: Iterable[Fill]) -> list[Closing]:
    """Every closing order of these perp fills (oldest first, complete from the first one on)."""
    open_now: dict[str, _Open] = {}
    found: dict[str, Closing] = {}
    for fill in fills:
        if fill.kind is ExecKind.FUNDING or not fill.quantity:
            continue
        book = open_now.setdefault(fill.symbol, _Open())
        fee = ZERO if fill.fee_coin == _DEDUCTED_IN else fill.fee
        if fill.closed:
            _close(
                found.setdefault(fill.order_id, Closing(last=fill, created=fill.time)),
                fill,
                fee=fee,
                book=book,
            )
        rest = fill.quantity - fill.closed
        if rest:
            book.add(rest, fill.value * rest / fill.quantity, fee=fee * rest / fill.quantity)
    return list(found.values())


def _close(closing: Closing, fill: Fill, *, fee: Decimal, book: _Open) -> None:
    entry, open_fee = book.take(fill.closed)
    closing.last = fill
    closing.fills += 1
    closing.quantity += fill.closed
    closing.entry_value += entry
    closing.open_fee += open_fee
    closing.exit_value += fill.value * fill.closed / fill.quantity
    closing.close_fee += fee * fill.closed / fill.quantity
