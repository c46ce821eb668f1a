"""Amounts of money in tables: two decimals, thousands apart, colour by sign; missing figures are a dash,
never zero.
"""

from __future__ import annotations

from decimal import Decimal

from rich.text import Text

from fundarb.cli.figures import MISSING, signed
from fundarb.core.money import fixed, plain

_DIGITS = 8


def amount(value: Decimal | None, *, sign: bool = False, places: int = 2) -> str:
    """``1234.5`` → ``1,234.50``."""
    return MISSING if value is None else fixed(value, places, sign=sign, apart=True)


def cell(value: Decimal | None, *, places: int = 2) -> Text:
    """A signed amount, green or red."""
    return signed(amount(value, sign=True, places=places), value)


def plain_quantity(value: Decimal) -> str:
    """A quantity with at most eight significant digits, for the screen only."""
    if value == 0:
        return "0"
    places = max(_DIGITS - 1 - value.adjusted(), 0)
    return plain(round(value, places)) if places else f"{value:.0f}"
