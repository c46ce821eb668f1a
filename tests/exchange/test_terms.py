"""The public tables of margin and collateral over real ccxt and real HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fundarb.errors import BadAnswer
from fundarb.exchange.bybit import BybitExchange
from fundarb.venue.feed import CollateralTier
from tests.exchange.server import FakeVenue, envelope

TIERS = "/v5/market/risk-limit"
COLLATERAL = "/v5/spot-margin-trade/collateral"
INSTRUMENTS = "/v5/market/instruments-info"


def tier(
    limit: str, maintenance: str, *, initial: str, leverage: str, deduction: str = ""
) -> dict[str, object]:
    """One row as the venue sends it."""
    return {
        "id": 1,
        "symbol": "BTCUSDT",
        "riskLimitValue": limit,
        "maintenanceMargin": maintenance,
        "initialMargin": initial,
        "maxLeverage": leverage,
        "mmDeduction": deduction,
        "isLowestRisk": 1,
    }


def test_tiers_come_lowest_first_and_unsigned(venue: FakeVenue, public: BybitExchange) -> None:
    """Whatever their order on the wire; an empty deduction is none."""
    rows = [
        tier("4000000", "0.01", initial="0.02", leverage="50", deduction="10000"),
        tier("2000000", "0.005", initial="0.01", leverage="100"),
    ]
    venue.on(TIERS, envelope({"category": "linear", "list": rows}))
    low, high = public.risk_tiers("BTCUSDT")
    assert (low.limit, low.mm_rate) == (Decimal(2_000_000), Decimal("0.005"))
    assert (low.im_rate, low.mm_deduction) == (Decimal("0.01"), Decimal(0))
    assert (high.max_leverage, high.mm_deduction) == (Decimal(50), Decimal(10_000))
    assert public.signed_requests == 0


@pytest.mark.parametrize(
    "row",
    [
        tier("2000000", "0.5", initial="1", leverage="100"),
        tier("2000000", "0.02", initial="0.01", leverage="100"),
        tier("0", "0.005", initial="0.01", leverage="100"),
        tier("2000000", "x", initial="0.01", leverage="100"),
    ],
)
def test_a_tier_in_another_unit_is_a_bad_answer(
    venue: FakeVenue, public: BybitExchange, row: dict[str, object]
) -> None:
    """Percent where fractions are expected, more maintenance than initial margin, nothing at all."""
    venue.on(TIERS, envelope({"category": "linear", "list": [row]}))
    with pytest.raises(BadAnswer):
        public.risk_tiers("BTCUSDT")


def test_collateral_by_coin(venue: FakeVenue, public: BybitExchange) -> None:
    """Marginal tiers in order; the last has no end; a ratio above one is refused."""
    ratios = [
        {"minQty": "40", "maxQty": "", "collateralRatio": "0.9"},
        {"minQty": "0", "maxQty": "40", "collateralRatio": "0.95"},
    ]
    venue.on(COLLATERAL, envelope({"list": [{"currency": "BTC", "collateralRatioList": ratios}]}))
    assert public.collateral() == {
        "BTC": (
            CollateralTier(limit=Decimal(40), ratio=Decimal("0.95")),
            CollateralTier(limit=None, ratio=Decimal("0.9")),
        )
    }
    ratios[0]["collateralRatio"] = "95"
    venue.on(COLLATERAL, envelope({"list": [{"currency": "BTC", "collateralRatioList": ratios}]}))
    with pytest.raises(BadAnswer):
        public.collateral()


@pytest.mark.parametrize(
    ("row", "end"),
    [
        ({"symbol": "FIOUSDT", "deliveryTime": "1736424000000"}, datetime(2025, 1, 9, 12, tzinfo=UTC)),
        ({"symbol": "FIOUSDT", "deliveryTime": "0"}, None),
        ({"symbol": "FOXUSDT", "deliveryTime": "1736424000000"}, None),
    ],
)
def test_the_end_of_a_contract_is_in_the_list_of_closed_ones(
    venue: FakeVenue, public: BybitExchange, row: dict[str, object], end: datetime | None
) -> None:
    """Asked for unsigned, by symbol and status; what the venue does not tell is not made up."""
    venue.on(INSTRUMENTS, envelope({"category": "linear", "list": [row], "nextPageCursor": ""}))
    assert public.ended("FIOUSDT") == end
    assert public.signed_requests == 0
    assert venue.requests[-1].query == "category=linear&symbol=FIOUSDT&status=Closed"
