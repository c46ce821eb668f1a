"""Where a message of the real exchange was recorded, ours has the same keys and the same JSON types."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.harness import Json, over_http
from tests.sandbox.listener import LINEAR, PRIVATE, SPOT, listening

PUBLIC_TOPICS = (
    "tickers.BTCUSDT",
    "orderbook.1.BTCUSDT",
    "orderbook.50.BTCUSDT",
    "orderbook.200.BTCUSDT",
    "kline.5.BTCUSDT",
    "publicTrade.BTCUSDT",
)
PRIVATE_TOPICS = ("order", "execution", "execution.fast", "position", "wallet")

COMPARED = {
    "execution.fast.linear-taker": "execution.fast",
    "execution.linear-market-close": "execution",
    "execution.linear-taker-2022": "execution",
    "kline.5.linear-unconfirmed": "kline",
    "op-subscribe.ack": "subscribe",
    "order.linear-cancelled": "order cancelled",
    "order.linear-filled": "order",
    "order.linear-filled-2024": "order",
    "order.spot-fok-filled-2026": "order spot",
    "orderbook.1.linear-snapshot-two-levels": "book of one",
    "orderbook.50.linear-delta": "book delta",
    "orderbook.50.linear-delta-with-cts": "book delta",
    "orderbook.50.linear-snapshot": "book snapshot",
    "orderbook.50.linear-snapshot-with-cts": "book snapshot",
    "position.linear-long-2022": "position",
    "position.linear-one-way-2022": "position",
    "position.linear-short-2025": "position",
    "position.linear-short-2025-other-envelope": "position",
    "publictrade.linear": "trade",
    "tickers.linear-snapshot-2023": "ticker",
    "tickers.linear-snapshot-2024": "ticker",
    "tickers.linear-snapshot-with-interval-hour": "ticker",
    "tickers.spot-snapshot-2023": "ticker spot",
    "tickers.spot-snapshot-edited": "ticker spot",
    "tickers.usdc-perp-snapshot-2024": "ticker",
    "wallet.minimal-no-account-type": "wallet",
    "wallet.unified-six-coins-2022": "wallet",
    "wallet.unified-two-coins": "wallet",
}
APART = {
    "greeks.eth": "options are not traded here",
    "op-auth.failure": "written by hand: the exchange answers with success and ret_msg",
    "op-auth.success": "written by hand, as the failure",
    "op-order-create.ack": "there is no order entry stream",
    "order.linear-untriggered-buy-stop-market": "conditional orders are refused",
    "order.linear-untriggered-market-if-touched": "as above",
    "order.linear-untriggered-stop-limit": "as above",
    "order.linear-untriggered-stop-loss": "as above",
    "order.linear-untriggered-stop-market": "as above",
    "order.option-filled-2022": "options are not traded here",
    "order.option-filled-symbol-placeholder": "as above",
    "order.option-filled-with-closed-pnl": "as above",
    "orderbook.1.linear-delta-remove-best-ask": "written by hand: level 1 has no deltas",
    "publictrade.wrong-topic-name": "written by hand: there is no such topic",
    "tickers.inverse-delta-2024": "inverse contracts are not listed here",
    "tickers.inverse-snapshot-2024": "as above",
    "tickers.linear-delta-2024": "see the test of deltas",
    "tickers.option-snapshot-2023": "options are not traded here",
    "tickers.option-snapshot-2024": "as above",
    "tickers.usdc-perp-delta-2024-bad-ts": "see the test of deltas",
}
MISSPELT = {"data[].totalPerpUpl"}
"""Keys that only one documentation example spells like that."""

NEWER = {
    "book of one": {"cts"},
    "execution": {"data[].createType", "data[].execPnl", "data[].extraFees", "data[].feeCurrency"},
    "order": {"data[].cumFeeDetail", "data[].slippageTolerance", "data[].slippageToleranceType"},
    "ticker": {"data.fundingCap"},
    "trade": {"data[].RPI", "data[].seq"},
    "wallet": {
        *(f"data[].{name}ByMp" for name in ("accountIMRate", "accountMMRate")),
        *(f"data[].{name}ByMp" for name in ("totalInitialMargin", "totalMaintenanceMargin")),
        *(f"data[].coin[].{name}" for name in ("collateralSwitch", "marginCollateral", "locked")),
        *(f"data[].coin[].{name}" for name in ("spotHedgingQty", "colRes")),
    },
}
"""Keys of today's documentation that the recordings are too old for."""


def shape(value: Any, place: str = "") -> dict[str, type]:
    """Every key of a message by its path, with its JSON type; rows of a list count as one."""
    if isinstance(value, dict) and not place.endswith("cumFeeDetail"):
        inner = [shape(item, f"{place}.{key}".lstrip(".")) for key, item in value.items()]
        return {path: kind for found in inner for path, kind in found.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {path: kind for item in value for path, kind in shape(item, f"{place}[]").items()}
    return {place: type(value)}


@pytest.fixture(scope="module")
def told() -> Iterator[dict[str, Json]]:
    """Messages of every kind, by the names of the comparisons."""
    with over_http(balances={"USDT": Decimal(100_000), "BTC": Decimal(1)}) as http:
        with (
            listening(http, LINEAR) as linear,
            listening(http, SPOT, "tickers.BTCUSDT") as spot,
            listening(http, PRIVATE, *PRIVATE_TOPICS) as private,
        ):
            found = {"subscribe": linear.ask(op="subscribe", args=list(PUBLIC_TOPICS), req_id="1")}
            for message in linear.heard():
                kind = message["topic"].rpartition(".")[0]
                names = {"tickers": "ticker", "orderbook.1": "book of one", "orderbook.50": "book snapshot",
                         "orderbook.200": "deep snapshot", "kline.5": "kline"}  # fmt: skip
                found[names[kind]] = message
            http.create(qty="0.5")
            http.create(qty="0.1", side="Buy", reduceOnly=True)
            http.create(orderType="Limit", price="95000", orderLinkId="rests")
            http.request("POST", "order/cancel-all", {"category": "linear", "symbol": "BTCUSDT"})
            spot_order = {
                "category": "spot",
                "symbol": "BTCUSDT",
                "side": "Sell",
                "orderType": "Market",
                "qty": "0.01",
            }
            http.request("POST", "order/create", spot_order)
            http.do("clock", {"advance": "10s"})
            for message in linear.heard():
                if message["type"] == "delta":
                    found["delta" if message["topic"].startswith("tickers") else "book delta"] = message
                if message["topic"].startswith("publicTrade"):
                    found["trade"] = message
            for message in private.heard():
                row = message["data"][0]
                kind = message["topic"]
                if kind == "order":
                    status = row["orderStatus"]
                    kind = "order spot" if row["category"] == "spot" else kind
                    kind = "order cancelled" if status == "Cancelled" else kind
                if kind.startswith("execution") and row["category"] == "spot":
                    continue
                found[kind] = message
            found["ticker spot"] = spot.next()
        yield found


def recorded(shared_dir: Path, name: str) -> Json:
    """One recorded message."""
    found: Json = json.loads((shared_dir / "fixtures" / "bybit" / "ws" / f"{name}.json").read_text())
    return found


def test_every_recording_is_compared_or_set_apart(shared_dir: Path) -> None:
    """A new recording must be put into one of the two tables."""
    names = {path.stem for path in (shared_dir / "fixtures" / "bybit" / "ws").glob("*.json")}
    assert names == COMPARED.keys() | APART.keys()
    assert not COMPARED.keys() & APART.keys()


@pytest.mark.parametrize("name", COMPARED)
def test_keys_and_types_are_the_recorded_ones(shared_dir: Path, told: dict[str, Json], name: str) -> None:
    """Every key of the recording exists in ours with the same JSON type."""
    ours = shape(told[COMPARED[name]])
    theirs = {path: kind for path, kind in shape(recorded(shared_dir, name)).items() if path not in MISSPELT}
    assert {path: ours.get(path) for path in theirs} == theirs


@pytest.mark.parametrize("kind", sorted(set(COMPARED.values()) - {"order cancelled"}))
def test_nothing_is_made_up(shared_dir: Path, told: dict[str, Json], kind: str) -> None:
    """Every key of ours is in a recording of its kind, or known to be newer than all of them."""
    names = [name for name, compared in COMPARED.items() if compared.startswith(kind)]
    known = {path for name in names for path in shape(recorded(shared_dir, name))}
    assert shape(told[kind]).keys() - known - NEWER.get(kind, set()) == set()


@pytest.mark.parametrize("name", ["tickers.linear-delta-2024", "tickers.usdc-perp-delta-2024-bad-ts"])
def test_a_ticker_delta_has_the_recorded_shape(shared_dir: Path, told: dict[str, Json], name: str) -> None:
    """The envelope is the recorded one; each field is a string that a snapshot of ours has too."""
    theirs, ours = recorded(shared_dir, name), told["delta"]
    assert {key: type(value) for key, value in ours.items()} == {key: type(theirs[key]) for key in theirs}
    assert theirs["data"].keys() <= told["ticker"]["data"].keys()
    assert all(isinstance(value, str) for value in ours["data"].values())


def test_a_long_recording_has_our_shape(shared_dir: Path, told: dict[str, Json]) -> None:
    """Fifty recorded messages of a deep book: snapshot and deltas, keys and types as in ours."""
    path = shared_dir / "fixtures" / "bybit" / "ws" / "orderbook.500.linear-xrpusdt-20241201.jsonl"
    ours = {"snapshot": told["deep snapshot"], "delta": told["book delta"]}
    for line in path.read_text().splitlines():
        message = json.loads(line)
        assert shape(message) == shape(ours[message["type"]])
