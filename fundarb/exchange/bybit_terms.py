"""What margin a contract needs, when it ended, and what a coin is worth as collateral, from the venue's
public tables.

For whoever must compute an account without asking for one (the paper account). Facts: Bybit V5 API,
risk-limit and spot-margin-trade/collateral; both are public. Rows that cannot be trusted raise
``ParseError``: no table is better than a wrong one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.money import ONE, ZERO
from fundarb.exchange import endpoints
from fundarb.exchange.gateway import Gateway
from fundarb.exchange.parse import (
    ParseError,
    Row,
    number,
    optional_instant,
    optional_number,
    positive,
    rows,
    text,
)
from fundarb.exchange.strict import Answer
from fundarb.venue.feed import CollateralTier, RiskTier

_UNIT_ERROR = Decimal("0.1")
"""How far 1 ÷ leverage may be from the initial margin: some documents print percent where the wire has
fractions.
"""


def risk_tiers(gateway: Gateway, symbol: str) -> tuple[RiskTier, ...]:
    """The risk tiers of a contract, lowest first."""
    params = {"category": Category.LINEAR.value, "symbol": symbol}
    tiers = gateway.read(endpoints.RISK_LIMIT, params, parse=_tiers)
    return tuple(sorted(tiers, key=lambda tier: tier.limit))


def _tiers(answer: Answer) -> list[RiskTier]:
    return [_tier(row) for row in rows(answer)]


def _tier(row: Row) -> RiskTier:
    tier = RiskTier(
        limit=positive(row, "riskLimitValue"),
        mm_rate=positive(row, "maintenanceMargin"),
        im_rate=positive(row, "initialMargin"),
        max_leverage=positive(row, "maxLeverage"),
        mm_deduction=optional_number(row, "mmDeduction") or ZERO,
    )
    if abs(tier.im_rate * tier.max_leverage - ONE) > _UNIT_ERROR or not tier.mm_rate <= tier.im_rate < ONE:
        raise ParseError(f"a risk tier of {tier.mm_rate} and {tier.im_rate} at {tier.max_leverage}x")
    return tier


def ended(gateway: Gateway, symbol: str) -> datetime | None:
    """When a contract was delivered: the instrument list of status Closed has it. None if it is not there."""
    params = {"category": Category.LINEAR.value, "symbol": symbol, "status": "Closed"}

    def read(answer: Answer) -> datetime | None:
        found = (row for row in rows(answer) if row.get("symbol") == symbol)
        return next((optional_instant(row, "deliveryTime") for row in found), None)

    return gateway.read(endpoints.INSTRUMENTS, params, parse=read)


def collateral(gateway: Gateway) -> Mapping[str, tuple[CollateralTier, ...]]:
    """The collateral tiers of every coin, lowest first; a coin that is missing is no collateral."""
    return gateway.read(endpoints.COLLATERAL, {}, parse=_coins)


def _coins(answer: Answer) -> dict[str, tuple[CollateralTier, ...]]:
    return {text(row, "currency"): _ratios(row) for row in rows(answer)}


def _ratios(row: Row) -> tuple[CollateralTier, ...]:
    listed = row.get("collateralRatioList")
    if not isinstance(listed, list):
        raise ParseError("a coin without its collateral ratios")
    found = sorted(
        (
            (number(item, "minQty"), optional_number(item, "maxQty"), number(item, "collateralRatio"))
            for item in listed
        ),
        key=lambda item: item[0],
    )
    if any(not ZERO <= ratio <= ONE for _, _, ratio in found):
        raise ParseError("a collateral ratio outside 0 to 1")
    return tuple(CollateralTier(limit=most, ratio=ratio) for _, most, ratio in found)
