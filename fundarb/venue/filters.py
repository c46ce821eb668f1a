"""Changing an instrument's filters by the wire's names, as the world may do at run time; every value is
checked first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from fundarb.core.market import PerpInstrument, SpotInstrument
from fundarb.core.money import dec

UPPER, LOWER = "upperFundingRate", "lowerFundingRate"
"""Their names on the wire: the bounds of the funding rate of an interval, fractions."""
_SPOT = {
    "tickSize": "tick_size",
    "basePrecision": "qty_step",
    "minOrderQty": "min_qty",
    "minOrderAmt": "min_notional",
    "maxLimitOrderQty": "max_limit_qty",
    "maxMarketOrderQty": "max_market_qty",
    "priceLimitRatioX": "price_limit_x",
    "priceLimitRatioY": "price_limit_y",
    "status": "status",
    "stTag": "special_treatment",
    "marginTrading": "margin_trading",
}
_PERP = {
    "tickSize": "tick_size",
    "qtyStep": "qty_step",
    "minOrderQty": "min_qty",
    "minNotionalValue": "min_notional",
    "maxOrderQty": "max_limit_qty",
    "maxMktOrderQty": "max_market_qty",
    "priceLimitRatioX": "price_limit_x",
    "priceLimitRatioY": "price_limit_y",
    "status": "status",
    "fundingInterval": "listed_interval",
    "maxLeverage": "max_leverage",
    "leverageStep": "leverage_step",
    UPPER: "rate_cap",
    LOWER: "rate_floor",
}
_MAY_BE_ZERO = frozenset(
    {"min_qty", "min_notional", "price_limit_x", "price_limit_y", "rate_cap", "rate_floor"}
)
_MAY_BE_NEGATIVE = frozenset({"rate_cap", "rate_floor"})
_TEXT = frozenset({"status", "margin_trading"})


def patched(
    instrument: SpotInstrument | PerpInstrument, wire: Mapping[str, str]
) -> SpotInstrument | PerpInstrument:
    """The instrument with the named filters changed; ``ValueError`` names the first field that cannot be."""
    names = _PERP if isinstance(instrument, PerpInstrument) else _SPOT
    known = {field.name for field in fields(instrument)}
    changes: dict[str, Any] = {}
    for wire_name, text in wire.items():
        name = names.get(wire_name)
        if name is None or name not in known:
            raise ValueError(f"fields.{wire_name}: no such filter; known: {', '.join(names)}")
        changes[name] = _value(name, wire_name, text=text)
    return replace(instrument, **changes)


def _value(name: str, wire_name: str, *, text: str) -> str | bool | Decimal | timedelta:
    if name in _TEXT:
        return text
    if name == "special_treatment":
        return text == "1"
    try:
        number = dec(text)
    except ValueError as error:
        raise ValueError(f"fields.{wire_name}: {error}") from error
    if (number < 0 and name not in _MAY_BE_NEGATIVE) or (number == 0 and name not in _MAY_BE_ZERO):
        raise ValueError(f"fields.{wire_name}: {text} is out of range")
    return timedelta(minutes=int(number)) if name == "listed_interval" else number
