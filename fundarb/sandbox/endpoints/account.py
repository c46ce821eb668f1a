"""The account: who the key is, wallet, fees, transaction log, collateral, settings."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

from fundarb.core.instants import iso, to_ms
from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.sandbox.auth import ApiKey
from fundarb.sandbox.endpoints.common import category_of, known_symbol, paged
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.paging import number_of
from fundarb.sandbox.rows import transaction_row, wallet_row
from fundarb.sandbox.wire import Answer, WireError, bad_parameter
from fundarb.venue.rows import CoinView

_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_COIN = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
_MARGIN_MODES = ("ISOLATED_MARGIN", "REGULAR_MARGIN", "PORTFOLIO_MARGIN")


def query_api(house: House, call: Call) -> Answer:
    """GET /v5/user/query-api: what the key may do."""
    key = _key(call)
    uid = int(house.venue.uid)
    return Answer(
        {
            "id": str(uid + 1),
            "note": "sandbox",
            "apiKey": key.key,
            "readOnly": 1 if key.read_only else 0,
            "secret": "",
            "permissions": {name: list(rights) for name, rights in key.permissions.items()},
            "ips": list(key.addresses),
            "type": 1,
            "deadlineDay": -2 if key.expires is None else (key.expires - house.venue.now).days,
            "expiredAt": "1970-01-01T00:00:00Z" if key.expires is None else iso(key.expires),
            "createdAt": iso(house.start),
            "unified": 0,
            "uta": 1,
            "userID": uid,
            "inviterID": 0,
            "vipLevel": "No VIP",
            "mktMakerLevel": "0",
            "affiliateID": 0,
            "rsaPublicKey": "",
            "isMaster": True,
            "parentUid": "0",
            "kycLevel": "LEVEL_DEFAULT",
            "kycRegion": "",
            "userIDInt64": str(uid),
            "inviterIDInt64": "0",
            "affiliateIDInt64": "0",
        },
        message="",
    )


def _key(call: Call) -> ApiKey:
    if call.key is None:
        raise WireError(10003, "API key is invalid.")
    return call.key


def account_info(house: House, _call: Call) -> Answer:
    """GET /v5/account/info."""
    return Answer(
        {
            "marginMode": house.venue.margin_mode,
            "updatedTime": str(to_ms(house.start)),
            "unifiedMarginStatus": 6,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
            "isMasterTrader": False,
            "spotHedgingStatus": "OFF",
        }
    )


def wallet_balance(house: House, call: Call) -> Answer:
    """GET /v5/account/wallet-balance: coins without a balance only when asked for by name."""
    call.parameters.choice("accountType", ("UNIFIED",))
    view = house.venue.wallet()
    asked = tuple(name.strip() for name in call.parameters.text("coin").split(",") if name.strip())
    coins = {
        name: coin for name, coin in view.coins.items() if (name in asked if asked else _worth_showing(coin))
    }
    for name in asked:
        if not _COIN.fullmatch(name):
            raise bad_parameter("params error: coin invalid")
        if name not in coins:
            coins[name] = empty_coin(name, collateral=name in house.venue.coin_rules())
    return Answer({"list": [wallet_row(view, coins)]})


def _worth_showing(coin: CoinView) -> bool:
    return any((coin.wallet, coin.equity, coin.borrowed, coin.locked, coin.accrued_interest))


def empty_coin(name: str, *, collateral: bool) -> CoinView:
    """A coin of which there is nothing."""
    zero = Decimal(0)
    return CoinView(
        coin=name,
        wallet=zero,
        locked=zero,
        borrowed=zero,
        spot_borrowed=zero,
        accrued_interest=zero,
        equity=zero,
        usd_value=zero,
        unrealised=zero,
        realised_total=zero,
        order_im=zero,
        position_im=zero,
        position_mm=zero,
        collateral=collateral,
        collateral_switch=collateral,
    )


def fee_rate(house: House, call: Call) -> Answer:
    """GET /v5/account/fee-rate."""
    category = category_of(call)
    if category is None:
        return Answer({"list": []})
    if call.parameters.has("symbol"):
        symbols = [known_symbol(house, category, call=call)]
    else:
        symbols = [
            item.symbol for item in house.venue.instruments(category).values() if item.status == "Trading"
        ]
    rows = []
    for symbol in symbols:
        rates = house.venue.fee_rates(category, symbol)
        row: dict[str, Any] = {
            "symbol": symbol,
            "takerFeeRate": plain(rates.taker),
            "makerFeeRate": plain(rates.maker),
        }
        rows.append(row)
    return Answer({"list": rows})


def transaction_log(house: House, call: Call) -> Answer:
    """GET /v5/account/transaction-log: newest first, a day by default, seven at most."""
    parameters = call.parameters
    parameters.choice("accountType", ("UNIFIED",), default="UNIFIED")
    limit = parameters.limit(20, 50)
    since, until = parameters.window(now=house.venue.now, default=_DAY, most=_WEEK)
    category, coin = parameters.text("category"), parameters.text("currency")
    kind, base = parameters.text("type"), parameters.text("baseCoin")
    found = [
        tx
        for tx in house.venue.transactions(since, until)
        if category in {"", tx.category}
        and coin in {"", tx.coin}
        and kind in {"", tx.kind}
        and (not base or tx.symbol.startswith(base))
        and call.visible(tx.time)
    ]
    everything = house.venue.all_transactions()
    answer = paged(
        call,
        found[::-1],
        limit=limit,
        name=lambda tx: tx.id,
        place=lambda tx: number_of(tx, everything, when=lambda row: row.time),
        row=transaction_row,
    )
    result = dict(answer.result or {})
    result.pop("category", None)
    return Answer(result)


def collateral_info(house: House, call: Call) -> Answer:
    """GET /v5/account/collateral-info."""
    wanted = call.parameters.text("currency")
    wallet = house.venue.wallet()
    rows = []
    for coin, rules in house.venue.coin_rules().items():
        if wanted not in {"", coin}:
            continue
        view = wallet.coins.get(coin)
        borrowed = view.borrowed if view is not None else Decimal(0)
        ratio = rules.tiers[0].ratio if rules.tiers else Decimal(0)
        rows.append(
            {
                "availableToBorrow": plain(max(rules.max_borrow - borrowed, Decimal(0))),
                "freeBorrowingAmount": "",
                "freeBorrowAmount": plain(min(borrowed, rules.free_borrow)),
                "maxBorrowingAmount": plain(rules.max_borrow),
                "hourlyBorrowRate": plain(rules.hourly_borrow_rate),
                "borrowUsageRate": plain((borrowed / rules.max_borrow).quantize(Decimal("1e-6")))
                if rules.max_borrow
                else "0",
                "collateralSwitch": view.collateral_switch if view is not None else ratio > 0,
                "borrowAmount": plain(borrowed),
                "borrowable": True,
                "currency": coin,
                "otherBorrowAmount": "0",
                "marginCollateral": view.collateral if view is not None else ratio > 0,
                "freeBorrowingLimit": plain(rules.free_borrow),
                "collateralRatio": plain(ratio),
            }
        )
    return Answer({"list": rows})


def user_setting_config(house: House, _call: Call) -> Answer:
    """GET /v5/account/user-setting-config."""
    return Answer(
        {
            "lpaSpot": False,
            "lpaPerp": False,
            "deltaEnable": house.venue.delta_mode,
            "smsef": house.venue.deducts_mnt(Category.SPOT),
            "fmsef": house.venue.deducts_mnt(Category.LINEAR),
        }
    )


def set_margin_mode(house: House, call: Call) -> Answer:
    """POST /v5/account/set-margin-mode: the venue knows cross margin only."""
    mode = call.parameters.choice("setMarginMode", _MARGIN_MODES)
    if mode == house.venue.margin_mode:
        raise WireError(110026, "Cross/isolated margin mode is not modified")
    reasons = [{"reasonCode": "3400000", "reasonMsg": f"{mode} is not offered by this sandbox"}]
    raise WireError(3400045, "Set margin mode failed", result={"reasons": reasons})


def set_delta_mode(house: House, call: Call) -> Answer:
    """POST /v5/account/set-delta-mode."""
    house.venue.delta_mode = call.parameters.choice("deltaEnable", ("0", "1")) == "1"
    return Answer({})
