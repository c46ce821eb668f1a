"""The wire rows of instruments-info and risk-limit, shaped as recorded; numbers as strings."""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.market import PerpInstrument, SpotInstrument
from fundarb.core.money import plain
from fundarb.sandbox.rows import Row, ms_text, optional
from fundarb.venue.feed import Listing, RiskTier

_PRICE_TOP = Decimal(20_000_000)
"""The highest price in ticks."""


def spot_instrument(listing: Listing, number: int) -> Row:
    """A spot row of instruments-info."""
    item = listing.instrument
    if not isinstance(item, SpotInstrument):
        raise TypeError(item.symbol)
    post_only = listing.postonly_max_qty or item.max_limit_qty
    return {
        "symbolId": 1000 + number,
        "symbol": item.symbol,
        "baseCoin": item.base_coin,
        "quoteCoin": item.quote_coin,
        "innovation": "0",
        "symbolType": item.symbol_type,
        "xstockMultiplier": "1" if item.symbol_type == "xstocks" else "",
        "status": item.status,
        "marginTrading": item.margin_trading,
        "stTag": "1" if item.special_treatment else "0",
        "lotSizeFilter": {
            "basePrecision": plain(item.qty_step),
            "quotePrecision": plain(listing.quote_precision),
            "minOrderQty": plain(max(item.min_qty, item.qty_step)),
            "maxOrderQty": plain(item.max_limit_qty),
            "minOrderAmt": plain(item.min_notional),
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": plain(item.max_limit_qty),
            "maxMarketOrderQty": plain(item.max_market_qty),
            "postOnlyMaxLimitOrderSize": plain(post_only),
        },
        "priceFilter": {"tickSize": plain(item.tick_size)},
        "riskParameters": _bands(item),
    }


def linear_instrument(listing: Listing, number: int) -> Row:
    """A linear row of instruments-info."""
    item = listing.instrument
    if not isinstance(item, PerpInstrument):
        raise TypeError(item.symbol)
    exponent = item.tick_size.normalize().as_tuple().exponent
    return {
        "symbolId": 2000 + number,
        "symbol": item.symbol,
        "contractType": item.contract_type,
        "status": item.status,
        "baseCoin": item.base_coin,
        "quoteCoin": item.quote_coin,
        "symbolType": item.symbol_type,
        "launchTime": ms_text(item.launch_time, "0"),
        "deliveryTime": ms_text(item.delivery_time, "0"),
        "deliveryFeeRate": "",
        "priceScale": str(max(0, -int(exponent))),
        "leverageFilter": {
            "minLeverage": "1",
            "maxLeverage": f"{item.max_leverage:.2f}",
            "leverageStep": plain(item.leverage_step),
        },
        "priceFilter": {
            "minPrice": plain(item.tick_size),
            "maxPrice": plain(item.tick_size * _PRICE_TOP),
            "tickSize": plain(item.tick_size),
        },
        "lotSizeFilter": {
            "maxOrderQty": plain(item.max_limit_qty),
            "minOrderQty": plain(item.min_qty),
            "qtyStep": plain(item.qty_step),
            "postOnlyMaxOrderQty": plain(item.max_limit_qty),
            "maxMktOrderQty": plain(item.max_market_qty),
            "minNotionalValue": plain(item.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": int(item.listed_interval.total_seconds()) // 60,
        "settleCoin": item.settle_coin,
        "copyTrading": "none",
        "upperFundingRate": optional(item.rate_cap),
        "lowerFundingRate": optional(item.rate_floor),
        "isPreListing": item.pre_listing,
        "preListingInfo": _pre_listing(item) if item.pre_listing else None,
        "riskParameters": _bands(item),
        "displayName": "",
        "forbidUplWithdrawal": False,
    }


def _bands(item: SpotInstrument | PerpInstrument) -> Row:
    return {
        "priceLimitRatioX": optional(item.price_limit_x),
        "priceLimitRatioY": optional(item.price_limit_y),
    }


def _pre_listing(item: PerpInstrument) -> Row:
    return {
        "curAuctionPhase": "ContinuousTrading",
        "phases": [{"phase": "ContinuousTrading", "startTime": ms_text(item.launch_time), "endTime": ""}],
        "auctionFeeInfo": {"auctionFeeRate": "0", "takerFeeRate": "0.001", "makerFeeRate": "0.0004"},
        "skipCallAuction": False,
    }


def risk_tier(symbol: str, number: int, *, tier: RiskTier) -> Row:
    """A row of risk-limit; margins are fractions, as today's clients take them."""
    return {
        "id": number,
        "symbol": symbol,
        "riskLimitValue": plain(tier.limit),
        "maintenanceMargin": plain(tier.mm_rate),
        "initialMargin": plain(tier.im_rate),
        "isLowestRisk": 1 if number == 1 else 0,
        "maxLeverage": f"{tier.max_leverage:.2f}",
        "mmDeduction": "" if tier.mm_deduction == 0 else plain(tier.mm_deduction),
    }
