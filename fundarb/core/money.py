"""Decimal and nothing else: the one place that sets the decimal context, parses, rounds and prints amounts.

Ratios are fractions inside (``0.0001`` = 1 bp); percent and basis points exist in configuration text and on
the screen only. Nothing here knows what an amount is for.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
ONE = Decimal(1)
BP = Decimal("0.0001")
CASH_STEP = Decimal("1e-8")
"""Cash is booked in multiples of this, in every coin."""

PRECISION = 60
MAGNITUDE = 50
"""No amount, price or ratio lies outside 1e±50; ``1e400000000`` is nine bytes that print as 400 megabytes."""
_TRAPS = (decimal.FloatOperation, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow)
_QUOTIENT = decimal.Context(prec=18, rounding=ROUND_HALF_EVEN, traps=list(_TRAPS))
"""How exactly averages, prices and shares of our own reckoning are kept and shown."""


def install_context() -> None:
    """Set precision and traps for this thread and every thread started later.

    ``DefaultContext`` reaches new threads only, hence both. The module calls it on import.
    """
    for context in (decimal.DefaultContext, decimal.getcontext()):
        context.prec = PRECISION
        context.rounding = ROUND_HALF_EVEN
        for trap in _TRAPS:
            context.traps[trap] = True


install_context()


def dec(value: str | int | Decimal) -> Decimal:
    """A finite Decimal from text, an integer or a Decimal; ``ValueError`` for anything else (NaN, infinity,
    float, "").

    Text is taken as the wire sends it: no underscores, no surrounding blanks, no digits of another script.
    """
    if isinstance(value, str):
        if not value or "_" in value or value != value.strip() or not value.isascii():
            msg = f"not a number: {value!r}"
            raise ValueError(msg)
    elif isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        msg = f"not an exact number: {value!r}"
        raise ValueError(msg)  # noqa: TRY004 - callers treat every bad number alike
    try:
        number = Decimal(value)
    except decimal.InvalidOperation as error:
        msg = f"not a number: {value!r}"
        raise ValueError(msg) from error
    if not number.is_finite() or (number and not -MAGNITUDE <= number.adjusted() <= MAGNITUDE):
        msg = f"not a finite number of sane size: {str(value)[:40]!r}"
        raise ValueError(msg)
    return number


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` that is not above ``value``."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def ceil_to(value: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of ``step`` that is not below ``value``."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def round_to(value: Decimal, step: Decimal) -> Decimal:
    """The multiple of ``step`` nearest to ``value``, half to even."""
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Whether ``value`` is an exact multiple of ``step``."""
    return value % step == 0


def cash(value: Decimal) -> Decimal:
    """An amount rounded to what can be booked (1e-8), half to even."""
    return value.quantize(CASH_STEP, ROUND_HALF_EVEN)


def derived(value: Decimal) -> Decimal:
    """A quotient rounded to eighteen significant digits, half to even: for averages, prices and shares that
    are kept or shown, never booked.

    Digits and not places, because a coin may cost 1e-9: a fixed number of places would leave its price
    three digits.
    """
    return _QUOTIENT.plus(value)


def plain(value: Decimal) -> str:
    """Plain notation without exponent and without trailing zeros: what JSON, TEXT columns and the wire
    get.
    """
    if value == 0:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount that never travels without its coin. Adding two coins is an error."""

    amount: Decimal
    coin: str

    def __add__(self, other: Money) -> Money:
        """The sum, of one coin."""
        self._same(other)
        return Money(self.amount + other.amount, self.coin)

    def __sub__(self, other: Money) -> Money:
        """The difference, of one coin."""
        self._same(other)
        return Money(self.amount - other.amount, self.coin)

    def __neg__(self) -> Money:
        """The opposite amount."""
        return Money(-self.amount, self.coin)

    def __str__(self) -> str:
        """Amount and coin in plain notation."""
        return f"{plain(self.amount)} {self.coin}"

    def _same(self, other: Money) -> None:
        if self.coin != other.coin:
            msg = f"cannot mix {self.coin} and {other.coin}"
            raise ValueError(msg)


_RATIO = re.compile(r"(?P<number>[+-]?\d+(?:\.\d+)?)\s*(?P<unit>%|bps?)", re.ASCII)
_RATIO_UNITS = {"%": Decimal("0.01"), "bp": BP, "bps": BP}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|m|h|d)", re.ASCII)
_DURATION_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_MONEY = re.compile(r"(?P<number>[+-]?\d+(?:\.\d+)?)\s*(?P<coin>(?=[0-9]*[A-Z])[A-Z0-9]{2,12})", re.ASCII)


def parse_ratio(text: str) -> Decimal:
    """``"2%"`` and ``"200bp"`` are 0.02; a number without its unit is refused with ``ValueError``."""
    match = _RATIO.fullmatch(text.strip())
    if match is None:
        msg = f'{text!r} is not a ratio with its unit, like "2%" or "20bp"'
        raise ValueError(msg)
    return Decimal(match["number"]) * _RATIO_UNITS[match["unit"]]


def parse_duration(text: str) -> timedelta:
    """``"90s"``, ``"15m"``, ``"8h"``, ``"30d"``, ``"200ms"``; ``ValueError`` without a unit, when negative or
    over ten years.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        msg = f'{text!r} is not a duration with its unit, like "90s", "8h" or "30d"'
        raise ValueError(msg)
    microseconds = Decimal(match["number"]) * (_DURATION_UNITS[match["unit"]] // timedelta(microseconds=1))
    if microseconds > timedelta(days=3660) // timedelta(microseconds=1):
        msg = f"{text!r} is longer than ten years"
        raise ValueError(msg)
    return timedelta(microseconds=int(microseconds))


def parse_money(text: str) -> Money:
    """``"10000 USDT"``: an amount with its coin; ``ValueError`` otherwise."""
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        msg = f'{text!r} is not an amount with its coin, like "10000 USDT"'
        raise ValueError(msg)
    return Money(Decimal(match["number"]), match["coin"])


def seconds(duration: timedelta) -> Decimal:
    """A duration as exact seconds, for formulas."""
    return Decimal(duration // timedelta(microseconds=1)) / Decimal(1_000_000)


def years(duration: timedelta) -> Decimal:
    """A duration in years of 365 days, the convention of every APR in this program."""
    return seconds(duration) / Decimal(365 * 86_400)


def fixed(value: Decimal, places: int, *, sign: bool, apart: bool = False) -> str:
    """So many places, thousands ``apart``, a plus where ``sign`` wants one; what rounds to zero has none."""
    text = f"{value:{'+' if sign else '-'}z{',' if apart else ''}.{places}f}"
    return text if text.strip("+0.") else text.removeprefix("+")
