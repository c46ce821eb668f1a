"""Where the real exchange's answer was recorded, ours has the same keys and the same JSON types."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.harness import START, InProcess, Json


def prepared() -> InProcess:
    """A sandbox in which everything that was recorded has happened."""
    desk = InProcess()
    desk.buy(qty="0.5", orderLinkId="buy")
    desk.short(qty="0.4", orderLinkId="short")
    desk.desk.catch_up()
    desk.post("order/create", category="linear", symbol="BTCUSDT", side="Buy", orderType="Market", qty="0.1",
              reduceOnly=True, orderLinkId="close")  # fmt: skip
    desk.desk.catch_up(START + timedelta(hours=8, minutes=1))
    return desk


CASES: dict[str, tuple[str, dict[str, object]]] = {
    "market-time": ("market/time", {}),
    "market-tickers.linear-2024": ("market/tickers", {"category": "linear", "symbol": "BTCUSDT"}),
    "market-tickers.spot-2023": ("market/tickers", {"category": "spot", "symbol": "BTCUSDT"}),
    "market-orderbook.linear": ("market/orderbook", {"category": "linear", "symbol": "BTCUSDT"}),
    "market-funding-history.linear-two-rows": (
        "market/funding/history",
        {"category": "linear", "symbol": "BTCUSDT"},
    ),
    "market-instruments-info.linear-btc-eth-2023": ("market/instruments-info", {"category": "linear"}),
    "market-instruments-info.spot-handmade": ("market/instruments-info", {"category": "spot"}),
    "account-info.regular-margin": ("account/info", {}),
    "account-fee-rate.linear-eth": ("account/fee-rate", {"category": "linear", "symbol": "ETHUSDT"}),
    "account-wallet-balance.unified-cross-seven-coins": (
        "account/wallet-balance",
        {"accountType": "UNIFIED"},
    ),
    "user-query-api.read-only-2026": ("user/query-api", {}),
    "position-list.linear-long-short-flat": ("position/list", {"category": "linear", "symbol": "BTCUSDT"}),
    "order-history.linear-open-and-reduce-only-close": ("order/history", {"category": "linear"}),
    "order-realtime.spot-market-buy-partially-filled-canceled": (
        "order/realtime",
        {"category": "spot", "orderLinkId": "buy"},
    ),
    "execution-list.linear-taker": ("execution/list", {"category": "linear", "execType": "Trade"}),
    "execution-list.spot-market-buy-base-unit": ("execution/list", {"category": "spot"}),
    "execution-list.linear-funding-long-fourteen": (
        "execution/list",
        {"category": "linear", "execType": "Funding"},
    ),
}


@pytest.fixture(scope="module")
def desk() -> InProcess:
    """One prepared sandbox for all comparisons (they only read)."""
    return prepared()


def differences(recorded: Any, ours: Any, place: str = "") -> list[str]:
    """What a reader of the recorded answer would miss in ours; keys of ours that are new do no harm."""
    if isinstance(recorded, dict):
        if not isinstance(ours, dict):
            return [f"{place} is no object"]
        found = []
        for key, value in recorded.items():
            if key not in ours:
                found.append(f"{place}.{key} is missing")
            else:
                found += differences(value, ours[key], f"{place}.{key}")
        return found
    if isinstance(recorded, list):
        if not isinstance(ours, list):
            return [f"{place} is no list"]
        return differences(recorded[0], ours[0], f"{place}[]") if recorded and ours else []
    if recorded is None or ours is None or type(recorded) is type(ours):
        return []
    return [f"{place} is {type(ours).__name__}, recorded {type(recorded).__name__}"]


@pytest.mark.parametrize("name", CASES)
def test_keys_and_types_are_the_recorded_ones(shared_dir: Path, desk: InProcess, name: str) -> None:
    """Every key of the recording exists in ours with the same JSON type."""
    recorded: Json = json.loads((shared_dir / "fixtures" / "bybit" / "rest" / f"{name}.json").read_text())
    path, params = CASES[name]
    ours = desk.get(path, **params)
    assert ours["retCode"] == 0
    if "list" in recorded["result"] and recorded["result"]["list"]:
        assert ours["result"]["list"]
    assert differences(recorded, ours) == []


@pytest.mark.parametrize("name", ["order-create.spot-ack", "order-create.ack-own-link-id"])
def test_an_acknowledgement_has_the_recorded_shape(shared_dir: Path, name: str) -> None:
    """A create answers with the two ids and nothing else."""
    recorded: Json = json.loads((shared_dir / "fixtures" / "bybit" / "rest" / f"{name}.json").read_text())
    ours = InProcess().buy()
    assert differences(recorded, ours) == []
    assert ours["result"].keys() == recorded["result"].keys()


def test_writes_without_a_result_have_an_empty_one(shared_dir: Path) -> None:
    """set-leverage answers with an empty object, as recorded."""
    recorded: Json = json.loads((shared_dir / "fixtures/bybit/rest/position-set-leverage.json").read_text())
    ours = InProcess().post(
        "position/set-leverage", category="linear", symbol="BTCUSDT", buyLeverage="3", sellLeverage="3"
    )
    assert (ours["retCode"], ours["result"]) == (recorded["retCode"], recorded["result"])


def test_cancel_all_has_the_recorded_shape(shared_dir: Path) -> None:
    """cancel-all in spot: a list of ids and the string "1"."""
    recorded: Json = json.loads((shared_dir / "fixtures/bybit/rest/order-cancel-all.spot.json").read_text())
    desk = InProcess()
    desk.post("order/create", category="spot", symbol="BTCUSDT", side="Buy", orderType="Limit", qty="0.01",
              price="92500", orderLinkId="rests")  # fmt: skip
    ours = desk.post("order/cancel-all", category="spot")
    assert len(ours["result"]["list"]) == 1
    assert differences(recorded, ours) == []
