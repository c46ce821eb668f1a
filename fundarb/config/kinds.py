"""The kinds of values a setting can have: how the text of a file or of an environment variable becomes an
exact value.

Owns parsing and the sentences about what is wrong with one value. It never looks at files, and it refuses
every bare number where a unit is needed: a drift limit of ``2`` once meant 200 % in somebody's bot.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, NoReturn

from pydantic import BeforeValidator

from fundarb.core.money import Money, dec, parse_duration, parse_money, parse_ratio, plain

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("m", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)
_TRUTH = {
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "false": False,
    "no": False,
    "0": False,
    "off": False,
}


class EnvText(str):
    """A value from the environment or ``.env``, where everything is text: numbers and yes/no are read from
    it.
    """

    __slots__ = ()


def _refuse(value: object, wanted: str) -> NoReturn:
    shown = {True: "true", False: "false"}.get(value, repr(value)) if isinstance(value, bool) else repr(value)
    raise ValueError(f"{shown} is not {wanted}")


def ratio(value: object) -> Decimal:
    """A fraction from text with its unit; a Decimal (from code) is taken as a fraction already."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        _refuse(value, 'a ratio with its unit, like "2%" or "20bp"; a bare number is never a ratio')
    return parse_ratio(value)


def ratios(value: object) -> tuple[Decimal, ...]:
    """A non-empty list of ratios; from the environment separated by commas."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    given = tuple(item for item in listed if isinstance(item, Decimal))
    if given and len(given) == len(listed):
        return given
    return tuple(ratio(item) for item in _items(value, 'a list of ratios, like ["20bp", "60bp"]'))


def duration(value: object) -> timedelta:
    """A duration from text with its unit; a timedelta (from code) is taken as it is."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        _refuse(value, 'a duration with its unit, like "90s", "8h" or "30d"')
    return parse_duration(value)


def amount(value: object) -> Decimal:
    """An exact number from text: an amount in USDT, a leverage, a tolerance."""
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str):
        _refuse(value, 'an exact number in quotes, like "5000"')
    try:
        return dec(value.strip())
    except ValueError:
        _refuse(value, 'a number, like "5000"')


def count(value: object) -> int:
    """A whole number, unquoted in a file."""
    if isinstance(value, EnvText) and re.fullmatch(r"\d{1,9}", value.strip(), re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(value, "a whole number without quotes, like 5")
    return value


def truth(value: object) -> bool:
    """True or false; from the environment also yes/no, on/off, 1/0."""
    if isinstance(value, EnvText) and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    if not isinstance(value, bool):
        _refuse(value, "true or false")
    return value


def text(value: object) -> str:
    """Plain text in quotes."""
    if not isinstance(value, str):
        _refuse(value, "a text in quotes")
    return str(value).strip()


def moneys(value: object) -> tuple[Money, ...]:
    """One or several amounts with their coins: ``"10000 USDT"`` or ``"10000 USDT, 0.5 BTC"``; each coin once,
    none negative.
    """
    listed = value if isinstance(value, (list, tuple)) else [value]
    given = tuple(item for item in listed if isinstance(item, Money))
    if given and len(given) == len(listed):
        return given
    found = tuple(parse_money(item) for item in _items(value, 'an amount, like "10000 USDT"'))
    if any(money.amount < 0 for money in found):
        raise ValueError("a balance cannot be negative")
    if len({money.coin for money in found}) < len(found):
        raise ValueError("each coin may be given once")
    return found


def variables(value: object) -> tuple[str, ...]:
    """Names of environment variables (never the secret values themselves)."""
    if value in ([], ()) or (isinstance(value, EnvText) and not value.strip()):
        return ()
    names = _items(value, 'a list of names of environment variables, like ["TELEGRAM_URL"]')
    for name in names:
        if _VARIABLE.fullmatch(name) is None:
            raise ValueError(
                "must list the names of environment variables, not the addresses themselves: they are secret"
            )
    return names


def _items(value: object, wanted: str) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",")]
    if not isinstance(value, (list, tuple)) or not value:
        _refuse(value, wanted)
    for item in value:
        if not isinstance(item, str):
            _refuse(item, wanted)
    return tuple(value)


Ratio = Annotated[Decimal, BeforeValidator(ratio)]
Ratios = Annotated[tuple[Decimal, ...], BeforeValidator(ratios)]
Duration = Annotated[timedelta, BeforeValidator(duration)]
Amount = Annotated[Decimal, BeforeValidator(amount)]
Count = Annotated[int, BeforeValidator(count)]
Truth = Annotated[bool, BeforeValidator(truth)]
Text = Annotated[str, BeforeValidator(text)]
Balance = Annotated[tuple[Money, ...], BeforeValidator(moneys)]
Variables = Annotated[tuple[str, ...], BeforeValidator(variables)]


def spoken(value: object) -> str:
    """A value in the notation of the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return _spoken_duration(value)
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, (tuple, list)):
        return ", ".join(spoken(item) for item in value)
    return str(value)


def _spoken_duration(value: timedelta) -> str:
    """In the largest unit of the file that it fills without a rest: ``90s``, ``8h``, ``31d``, ``0s``."""
    for unit, length in _UNITS:
        if value >= length and not value % length:
            return f"{value // length}{unit}"
    return f"{value // timedelta(milliseconds=1)}ms" if value else "0s"


def spoken_ratio(value: Decimal) -> str:
    """A fraction as a person writes it: ``20bp`` below one per cent, else ``2%``."""
    if value != 0 and abs(value) < Decimal("0.01"):
        return f"{plain(value * 10_000)}bp"
    return f"{plain(value * 100)}%"
