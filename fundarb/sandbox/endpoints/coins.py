"""Coins: what they are, what borrowing them costs, and how much of them counts as collateral."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.wire import Answer, bad_parameter
from fundarb.venue.feed import CoinRules

_VIP_LEVELS = ("No VIP", *(f"VIP-{level}" for level in range(1, 6)), "VIP-Supreme")


def query_info(house: House, call: Call) -> Answer:
    """GET /v5/asset/coin/query-info: every coin of the spot market; nothing can be deposited or withdrawn."""
    wanted = call.parameters.text("coin")
    pairs = house.venue.instruments(Category.SPOT).values()
    names = {name for item in pairs for name in (item.base_coin, item.quote_coin)}
    rows = [_coin(name) for name in sorted(names | house.venue.coin_rules().keys()) if wanted in {"", name}]
    return Answer({"rows": rows}, message="")


def _coin(name: str) -> dict[str, Any]:
    chain = {
        "chain": name,
        "chainType": name,
        "confirmation": "1",
        "withdrawFee": "",
        "depositMin": "0",
        "withdrawMin": "0",
        "minAccuracy": "8",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "1",
    }
    return {"name": name, "coin": name, "remainAmount": "0", "chains": [chain]}


def margin_data(house: House, call: Call) -> Answer:
    """GET /v5/spot-margin-trade/data (public): what each coin costs to borrow; this account has no VIP
    level.
    """
    level = call.parameters.choice("vipLevel", _VIP_LEVELS, default="No VIP")
    rows = [
        {
            "borrowable": True,
            "collateralRatio": plain(_first_ratio(rules)),
            "currency": rules.coin,
            "hourlyBorrowRate": plain(rules.hourly_borrow_rate),
            "liquidationOrder": str(number),
            "marginCollateral": _first_ratio(rules) > 0,
            "maxBorrowingAmount": plain(rules.max_borrow),
        }
        for number, rules in enumerate(_asked(house, call), 1)
    ]
    return Answer({"vipCoinList": [{"list": rows, "vipLevel": level}]}, message="success", ext="{}")


def collateral_tiers(house: House, call: Call) -> Answer:
    """GET /v5/spot-margin-trade/collateral (public): collateral ratios by marginal tiers; the last has no
    end.
    """
    rows = []
    for rules in _asked(house, call):
        tiers, below = [], Decimal(0)
        for tier in rules.tiers:
            upper = "" if tier.limit is None else plain(tier.limit)
            tiers.append({"minQty": plain(below), "maxQty": upper, "collateralRatio": plain(tier.ratio)})
            below = tier.limit if tier.limit is not None else below
        rows.append({"currency": rules.coin, "collateralRatioList": tiers})
    return Answer({"list": rows}, message="SUCCESS", ext="{}")


def _asked(house: House, call: Call) -> list[CoinRules]:
    """The rules of the asked coin, or of all; ``10001`` for a coin that is nowhere."""
    known, wanted = house.venue.coin_rules(), call.parameters.text("currency")
    if not wanted:
        return list(known.values())
    if wanted not in known:
        raise bad_parameter("params error: currency invalid")
    return [known[wanted]]


def _first_ratio(rules: CoinRules) -> Decimal:
    return rules.tiers[0].ratio if rules.tiers else Decimal(0)
