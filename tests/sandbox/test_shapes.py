"""Where the real exchange's answer was recorded, ours has the same keys and the same JSON types, at every
depth.

Every file of recorded REST answers is either compared, or refused here as it must be, or its exception is
listed with the reason.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.sandbox.harness import START, InProcess, Json

REST = Path("fixtures") / "bybit" / "rest"


class Case(NamedTuple):
    """Which request of ours answers like a recording, and what may differ."""

    path: str
    params: Mapping[str, object]
    missing: frozenset[str] = frozenset()
    """Places of the recording that ours lacks on purpose; the reason stands beside the case."""


LINEAR = {"category": "linear", "symbol": "BTCUSDT"}
SPOT = {"category": "spot", "symbol": "BTCUSDT"}
UNIFIED = {"accountType": "UNIFIED"}
CASES: dict[str, Case] = {
    "account-fee-rate.linear-eth": Case("account/fee-rate", LINEAR),
    # an edited example: only options have a base coin there, the two other examples leave it out
    "account-fee-rate.linear-three-symbols": Case(
        "account/fee-rate", {"category": "linear"}, frozenset({"result.list[].baseCoin"})
    ),
    "account-fee-rate.linear-two-symbols": Case("account/fee-rate", {"category": "linear"}),
    "account-info.regular-margin": Case("account/info", {}),
    "account-wallet-balance.unified-cross-seven-coins": Case("account/wallet-balance", UNIFIED),
    "account-wallet-balance.unified-one-coin": Case("account/wallet-balance", {**UNIFIED, "coin": "BTC"}),
    "account-wallet-balance.unified-with-borrow": Case("account/wallet-balance", UNIFIED),
    "execution-list.linear-funding-2023": Case("execution/list", {**LINEAR, "execType": "Funding"}),
    "execution-list.linear-funding-long-fourteen": Case("execution/list", {**LINEAR, "execType": "Funding"}),
    "execution-list.linear-taker": Case("execution/list", {**LINEAR, "execType": "Trade"}),
    "execution-list.linear-two-trades": Case("execution/list", {**LINEAR, "execType": "Trade"}),
    "execution-list.spot-market-buy-base-unit": Case("execution/list", SPOT),
    "execution-list.spot-market-buy-quote-unit-2023": Case("execution/list", SPOT),
    "market-funding-history.linear-two-rows": Case("market/funding/history", LINEAR),
    "market-instruments-info.linear-btc-2022": Case("market/instruments-info", LINEAR),
    "market-instruments-info.linear-btc-2023": Case("market/instruments-info", LINEAR),
    "market-instruments-info.linear-btc-eth-2023": Case("market/instruments-info", {"category": "linear"}),
    "market-instruments-info.linear-handmade": Case("market/instruments-info", LINEAR),
    "market-instruments-info.spot-btc-2022": Case("market/instruments-info", SPOT),
    "market-instruments-info.spot-btc-eth-2023": Case("market/instruments-info", {"category": "spot"}),
    "market-instruments-info.spot-handmade": Case("market/instruments-info", {"category": "spot"}),
    "market-kline.linear-1h": Case("market/kline", {**LINEAR, "interval": "60"}),
    "market-kline.linear-daily-2023-testnet": Case("market/kline", {**LINEAR, "interval": "D"}),
    "market-kline.linear-one-bar-off-grid": Case("market/kline", {**LINEAR, "interval": "1"}),
    "market-kline.spot-daily-2023-testnet": Case("market/kline", {**SPOT, "interval": "D"}),
    "market-orderbook.linear": Case("market/orderbook", LINEAR),
    "market-orderbook.linear-three-levels": Case("market/orderbook", {**LINEAR, "limit": 3}),
    "market-orderbook.spot-2024-no-seq": Case("market/orderbook", SPOT),
    "market-recent-trade.linear": Case("market/recent-trade", LINEAR),
    "market-tickers.linear-2024": Case("market/tickers", LINEAR),
    "market-tickers.spot-2023": Case("market/tickers", SPOT),
    "market-time": Case("market/time", {}),
    "order-history.linear-cancelled-nulls": Case("order/history", {**LINEAR, "orderStatus": "Cancelled"}),
    "order-history.linear-open-and-reduce-only-close": Case("order/history", {"category": "linear"}),
    "order-realtime.linear-new-hedge-mode": Case("order/realtime", LINEAR),
    "order-realtime.linear-two-open-limits": Case("order/realtime", LINEAR),
    "order-realtime.spot-market-buy-partially-filled-canceled": Case(
        "order/realtime", {"category": "spot", "orderLinkId": "buy"}
    ),
    "position-closed-pnl.linear-long": Case("position/closed-pnl", LINEAR),
    "position-list.linear-long-short-flat": Case("position/list", LINEAR),
    "user-query-api.read-only-2026": Case("user/query-api", {}),
}
EMPTY: dict[str, tuple[str, Mapping[str, object]]] = {
    "market-instruments-info.inverse-handmade": ("market/instruments-info", {"category": "inverse"}),
    "market-instruments-info.option-handmade": ("market/instruments-info", {"category": "option"}),
    "market-tickers.option": ("market/tickers", {"category": "option"}),
}
"""Recordings of markets in which this venue lists nothing: the frame is the same, the list is empty."""
REFUSED = {
    "spot-margin-trade-interest-rate-history.usdt": "spot-margin-trade/interest-rate-history",
    "user-query-sub-members": "user/query-sub-members",
    "user-update-api.master": "user/update-api",
}
"""Recordings of paths that the sandbox does not offer."""
WRITES = {
    "order-cancel-all.spot",
    "order-cancel.linear",
    "order-create.ack-own-link-id",
    "order-create.spot-ack",
    "order-realtime.error-10032-demo",
    "position-set-leverage",
    "position-switch-mode",
}
"""Recordings of writes and refusals, each with a test of its own below."""

NEWER: dict[str, frozenset[str]] = {
    "account/fee-rate": frozenset(),
    "account/wallet-balance": frozenset(
        {"accountIMRateByMp", "accountMMRateByMp", "totalInitialMarginByMp", "totalMaintenanceMarginByMp",
         "spotHedgingQty", "spotBorrow", "colRes", "totalOrderIM", "totalPositionIM", "totalPositionMM",
         "collateralSwitch", "marginCollateral"}
    ),
    "execution/list": frozenset(
        {"feeCurrency", "createType", "marketUnit", "extraFees", "seq", "closedSize"}
    ),
    "market/instruments-info": frozenset(
        {"symbolId", "symbolType", "xstockMultiplier", "stTag", "maxLimitOrderQty", "maxMarketOrderQty",
         "postOnlyMaxLimitOrderSize", "riskParameters", "innovation", "marginTrading", "copyTrading",
         "upperFundingRate", "lowerFundingRate", "isPreListing", "preListingInfo", "displayName",
         "forbidUplWithdrawal", "maxMktOrderQty", "minNotionalValue", "deliveryFeeRate", "priceScale",
         "unifiedMarginTrade", "settleCoin", "category", "nextPageCursor"}
    ),
    "market/orderbook": frozenset({"seq", "cts"}),
    "market/recent-trade": frozenset({"isRPITrade", "seq"}),
    "market/tickers": frozenset({"fundingIntervalHour", "fundingCap", "basisRateYear"}),
    "order/history": frozenset(
        {"createType", "cumFeeDetail", "extraFees", "slippageTolerance", "slippageToleranceType", "category"}
    ),
    "order/realtime": frozenset(
        {"createType", "cumFeeDetail", "extraFees", "slippageTolerance", "slippageToleranceType", "category",
         "marketUnit", "slLimitPrice", "tpLimitPrice"}
    ),
    "position/closed-pnl": frozenset({"openFee", "closeFee"}),
    "position/list": frozenset(
        {"positionMMByMp", "positionIMByMp", "sessionAvgPrice", "breakEvenPrice", "openTime"}
    ),
    "user/query-api": frozenset(),
}  # fmt: skip
"""Keys that came after some of the recordings were made (or that the older ones left out)."""
FRAME = frozenset({"retExtInfo", "time"})
"""Parts of the envelope that hand-made recordings leave out."""


@pytest.fixture(scope="module")
def desk() -> InProcess:
    """One sandbox in which everything that was recorded has happened; comparisons only read."""
    desk = InProcess()
    desk.buy(qty="0.5", orderLinkId="buy")
    desk.short(qty="0.4", orderLinkId="short")
    desk.desk.catch_up()
    desk.post("order/create", category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.1",
              reduceOnly=True, orderLinkId="close")  # fmt: skip
    for link in ("rests", "goes"):
        desk.post("order/create", category="linear", symbol="BTCUSDT", side="Buy", orderType="Limit",
                  qty="0.01", price="90000", orderLinkId=link)  # fmt: skip
    desk.post("order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="goes")
    desk.desk.catch_up(START + timedelta(hours=8, minutes=1))
    return desk


def differences(recorded: Any, ours: Any, place: str = "", *, case: Case | None = None) -> list[str]:
    """Where ours lacks a key of the recording, has one that is not known to be newer, or says it in another
    type.
    """
    case = case or Case("", {})
    if isinstance(recorded, dict) and isinstance(ours, dict):
        inner = {key: f"{place}.{key}".lstrip(".") for key in (*recorded, *ours)}
        if place.endswith((".cumFeeDetail", ".permissions")):  # keyed by coin or group, not by field
            return []
        newer = NEWER.get(case.path, frozenset()) | FRAME
        found = [
            f"{inner[key]} is missing"
            for key in recorded
            if key not in ours and inner[key] not in case.missing
        ]
        found += [
            f"{inner[key]} is not in the recording"
            for key in ours
            if key not in recorded and key not in newer
        ]
        for key in recorded:
            if key in ours:
                found += differences(recorded[key], ours[key], inner[key], case=case)
        return found
    if isinstance(recorded, list) and isinstance(ours, list):
        return [
            f"{found} (ours {number}, recorded {number_there})"
            for number, mine in enumerate(ours)
            for number_there, theirs in enumerate(recorded)
            for found in differences(theirs, mine, f"{place}[]", case=case)
        ]
    if recorded is None or type(recorded) is type(ours):
        return []
    return [f"{place} is {type(ours).__name__}, recorded {type(recorded).__name__}"]


def recording(shared: Path, name: str) -> Json:
    found: Json = json.loads((shared / REST / f"{name}.json").read_text())
    return found


def test_every_row_is_compared() -> None:
    """A row that differs from a recorded one is found wherever it stands, and so is the recorded one."""
    good, bad = {"a": "1"}, {"a": 1}
    assert differences([good, good], [good, good]) == []
    assert len(differences([good], [good, good, bad])) == 1
    assert len(differences([good, bad], [good])) == 1


@pytest.mark.parametrize("name", CASES)
def test_keys_and_types_are_the_recorded_ones(shared_dir: Path, desk: InProcess, name: str) -> None:
    """Every key of the recording exists in ours with the same JSON type, and ours has no key of its own."""
    recorded, case = recording(shared_dir, name), CASES[name]
    ours = desk.get(case.path, **case.params)
    assert ours["retCode"] == 0
    if recorded["result"].get("list"):
        assert ours["result"]["list"]
    assert differences(recorded, ours, case=case) == []


@pytest.mark.parametrize("name", EMPTY)
def test_other_markets_have_the_frame_and_no_rows(shared_dir: Path, desk: InProcess, name: str) -> None:
    """Inverse and option answer in the recorded frame with an empty list."""
    path, params = EMPTY[name]
    ours = desk.get(path, **params)
    assert (ours["retCode"], ours["result"]["list"]) == (0, [])
    assert differences(recording(shared_dir, name), ours, case=Case(path, params)) == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_offered_says_so(shared_dir: Path, desk: InProcess, name: str) -> None:
    """A path outside the two tiers is 404 with 10017, not something that looks like the recording."""
    assert recording(shared_dir, name)["retCode"] == 0
    reply = desk.reply("GET", f"/v5/{REFUSED[name]}")
    assert (reply.response.status, json.loads(reply.response.body)["retCode"]) == (404, 10017)


def test_every_recording_is_accounted_for(shared_dir: Path) -> None:
    """No file of recorded REST answers is left out of this module, none is named twice."""
    files = {path.stem for path in (shared_dir / REST).glob("*.json")}
    named = [*CASES, *EMPTY, *REFUSED, *WRITES]
    assert sorted(named) == sorted(files)


@pytest.mark.parametrize("name", ["order-create.spot-ack", "order-create.ack-own-link-id"])
def test_an_acknowledgement_has_the_recorded_shape(shared_dir: Path, name: str) -> None:
    """A create answers with the two ids and nothing else."""
    recorded, ours = recording(shared_dir, name), InProcess().buy()
    assert differences(recorded, ours) == []
    assert ours["result"].keys() == recorded["result"].keys()


def test_a_cancel_has_the_recorded_shape(shared_dir: Path) -> None:
    """A cancel answers with the two ids and nothing else."""
    desk = InProcess()
    desk.short(orderType="Limit", price="99000", orderLinkId="rests")
    ours = desk.post("order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="rests")
    assert differences(recording(shared_dir, "order-cancel.linear"), ours) == []


def test_writes_without_a_result_have_an_empty_one(shared_dir: Path) -> None:
    """set-leverage answers with an empty object, as recorded."""
    recorded = recording(shared_dir, "position-set-leverage")
    ours = InProcess().post(
        "position/set-leverage", category="linear", symbol="BTCUSDT", buyLeverage="3", sellLeverage="3"
    )
    assert (ours["retCode"], ours["result"]) == (recorded["retCode"], recorded["result"])
    assert differences(recorded, ours) == []


@pytest.mark.parametrize("name", ["position-switch-mode", "order-realtime.error-10032-demo"])
def test_a_refusal_has_the_recorded_frame(shared_dir: Path, name: str) -> None:
    """One-way mode is not modified here (the recording changed it) and this is no demo account: the frame of
    a refusal is the recorded one, its result empty.
    """
    ours = InProcess().post("position/switch-mode", category="linear", symbol="BTCUSDT", mode=0)
    assert (ours["retCode"], ours["result"]) == (110025, {})
    assert differences(recording(shared_dir, name), ours) == []


def test_cancel_all_has_the_recorded_shape(shared_dir: Path) -> None:
    """cancel-all in spot: a list of ids and the string "1"."""
    desk = InProcess()
    desk.post("order/create", category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01",
              price="92500", orderLinkId="rests")  # fmt: skip
    ours = desk.post("order/cancel-all", category="spot")
    assert len(ours["result"]["list"]) == 1
    assert differences(recording(shared_dir, "order-cancel-all.spot"), ours) == []
