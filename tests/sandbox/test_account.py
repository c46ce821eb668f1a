"""Account, wallet, fees, log, positions, leverage over the desk."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.sandbox.harness import START, START_MS, InProcess

DAY_MS = 86_400_000


def log(desk: InProcess, **params: object) -> list[dict[str, str]]:
    """The transaction log, newest first."""
    return desk.rows("account/transaction-log", **params)


def hedge(desk: InProcess) -> None:
    """Half a bitcoin long in spot and short in the perp."""
    assert desk.buy(qty="0.5")["retCode"] == 0
    assert desk.short(qty="0.499")["retCode"] == 0
    desk.desk.catch_up()


def test_the_account_is_unified_cross_and_one_way(desk: InProcess) -> None:
    """UTA2, cross margin; asking for what it is already is a no-op code; anything else is refused with
    reasons.
    """
    info = desk.get("account/info")["result"]
    assert (info["unifiedMarginStatus"], info["marginMode"]) == (6, "REGULAR_MARGIN")
    assert desk.post("account/set-margin-mode", setMarginMode="REGULAR_MARGIN")["retCode"] == 110026
    refused = desk.post("account/set-margin-mode", setMarginMode="ISOLATED_MARGIN")
    assert refused["retCode"] == 3400045
    assert refused["result"]["reasons"]
    assert desk.post("position/switch-mode", category="linear", coin="USDT", mode=0)["retCode"] == 110025
    assert desk.post("position/switch-mode", category="linear", coin="USDT", mode=3)["retCode"] == 10001


def test_delta_mode_and_fee_deduction_are_settings(desk: InProcess) -> None:
    """set-delta-mode shows in the settings; MNT deduction shows there when the world turns it on."""
    config = desk.get("account/user-setting-config")["result"]
    assert (config["deltaEnable"], config["smsef"]) == (False, False)
    assert desk.post("account/set-delta-mode", deltaEnable="1")["retCode"] == 0
    assert desk.get("account/user-setting-config")["result"]["deltaEnable"] is True


def test_wallet_shows_what_there_is(desk: InProcess) -> None:
    """Coins without a balance are left out unless asked for by name; equity is in USD."""
    row = desk.rows("account/wallet-balance", accountType="UNIFIED")[0]
    assert [coin["coin"] for coin in row["coin"]] == ["USDT"]
    assert Decimal(row["totalEquity"]) == 100_000
    asked = desk.rows("account/wallet-balance", accountType="UNIFIED", coin="BTC,USDT")[0]
    assert {coin["coin"]: coin["walletBalance"] for coin in asked["coin"]} == {"BTC": "0", "USDT": "100000"}
    assert desk.get("account/wallet-balance", accountType="SPOT")["retCode"] == 10001
    assert desk.get("account/wallet-balance", accountType="UNIFIED", coin="b t c")["retCode"] == 10001


def test_fee_rates(desk: InProcess) -> None:
    """VIP 0: 0.1 % in spot, 0.055 % taker and 0.02 % maker on perps; the world can change them."""
    spot = desk.rows("account/fee-rate", category="spot", symbol="BTCUSDT")[0]
    perp = desk.rows("account/fee-rate", category="linear", symbol="BTCUSDT")[0]
    assert (spot["takerFeeRate"], spot["makerFeeRate"]) == ("0.001", "0.001")
    assert (perp["takerFeeRate"], perp["makerFeeRate"]) == ("0.00055", "0.0002")
    assert len(desk.rows("account/fee-rate", category="linear")) > 5
    assert desk.get("account/fee-rate")["retCode"] == 10001


def test_a_position_has_a_side_and_no_sign(desk: InProcess) -> None:
    """A short is Sell with a positive size; a flat symbol answers with size 0; the list holds only sizes."""
    hedge(desk)
    row = desk.rows("position/list", category="linear", settleCoin="USDT")[0]
    assert (row["symbol"], row["side"], row["size"]) == ("BTCUSDT", "Sell", "0.499")
    flat = desk.rows("position/list", category="linear", symbol="ETHUSDT")[0]
    assert (flat["side"], flat["size"], flat["liqPrice"]) == ("", "0", "")
    assert desk.rows("position/list", category="linear", settleCoin="USDC") == []
    assert desk.get("position/list", category="linear")["retCode"] == 10001


def test_the_chain_of_the_log_ties(desk: InProcess) -> None:
    """Change = cashFlow + funding − fee on every row, each balance follows, the last one is the wallet."""
    hedge(desk)
    desk.desk.catch_up(START + timedelta(hours=17))
    rows = log(desk, limit=50)
    assert [row["type"] for row in rows if row["type"] == "SETTLEMENT"] == ["SETTLEMENT"] * 2
    last: dict[str, Decimal] = {}
    for row in reversed(rows):
        change = Decimal(row["cashFlow"]) + Decimal(row["funding"] or "0") - Decimal(row["fee"])
        assert Decimal(row["change"]) == change
        balance = Decimal(row["cashBalance"])
        assert balance == last.get(row["currency"], Decimal(0)) + change
        last[row["currency"]] = balance
    wallet = desk.rows("account/wallet-balance", accountType="UNIFIED")[0]["coin"]
    assert {coin["coin"]: Decimal(coin["walletBalance"]) for coin in wallet} == last


def test_funding_has_opposite_signs_in_its_two_sources(desk: InProcess) -> None:
    """The log's ``funding`` is + received, the execution's fee + paid; both are size × mark × rate."""
    hedge(desk)
    desk.desk.catch_up(START + timedelta(hours=8))
    settled = log(desk, type="SETTLEMENT")[0]
    funding = desk.rows("execution/list", category="linear", execType="Funding")[0]
    assert Decimal(settled["funding"]) == -Decimal(funding["execFee"])
    assert funding["execTime"] == str(START_MS + 8 * 3_600_000)
    rate = desk.rows("market/funding/history", category="linear", symbol="BTCUSDT", limit=1)[0]["fundingRate"]
    expected = Decimal("0.499") * Decimal(funding["execPrice"]) * Decimal(rate)
    assert abs(Decimal(settled["funding"]) - expected) <= Decimal("0.00000001")
    assert (funding["orderQty"], funding["orderLinkId"], funding["feeCurrency"]) == ("0", "", "")


def test_log_windows_and_filters(desk: InProcess) -> None:
    """A day by default, seven at most; currency, type and category narrow it."""
    hedge(desk)
    desk.desk.catch_up(START + timedelta(days=3))
    assert {row["type"] for row in log(desk)} == {"SETTLEMENT"}
    week = {"startTime": START_MS, "endTime": START_MS + 7 * DAY_MS}
    assert {row["type"] for row in log(desk, **week, limit=50)} >= {"TRADE", "SETTLEMENT", "TRANSFER_IN"}
    assert {row["currency"] for row in log(desk, **week, currency="BTC")} == {"BTC"}
    assert {row["category"] for row in log(desk, **week, category="spot")} == {"spot"}
    assert log(desk, startTime=START_MS - 10 * DAY_MS) == []
    too_long = desk.get("account/transaction-log", startTime=START_MS, endTime=START_MS + 8 * DAY_MS)
    assert too_long["retCode"] == 10001


def test_leverage(desk: InProcess) -> None:
    """Both sides alike, 110043 when unchanged, 110013 above the tier, shown by the position."""
    ask = {"category": "linear", "symbol": "BTCUSDT"}
    assert desk.post("position/set-leverage", **ask, buyLeverage="2", sellLeverage="2")["retCode"] == 0
    assert desk.post("position/set-leverage", **ask, buyLeverage="2", sellLeverage="2")["retCode"] == 110043
    assert desk.post("position/set-leverage", **ask, buyLeverage="2", sellLeverage="3")["retCode"] == 10001
    assert (
        desk.post("position/set-leverage", **ask, buyLeverage="1000", sellLeverage="1000")["retCode"]
        == 110013
    )
    assert (
        desk.post("position/set-leverage", **ask, buyLeverage="0.5", sellLeverage="0.5")["retCode"] == 110013
    )
    assert desk.rows("position/list", **ask)[0]["leverage"] == "2"


def test_collateral_info(desk: InProcess) -> None:
    """Collateral coins with their first ratio; one by name; a borrowed amount shows."""
    rows = {row["currency"]: row for row in desk.rows("account/collateral-info")}
    assert rows["BTC"]["collateralRatio"] == "0.95"
    assert rows["USDT"]["marginCollateral"] is True
    desk.house.venue.world.borrow("BTC", Decimal("0.5"))
    only = desk.rows("account/collateral-info", currency="BTC")
    assert [(row["currency"], row["borrowAmount"]) for row in only] == [("BTC", "0.5")]


@pytest.mark.parametrize("path", ["account/fee-rate", "position/list"])
def test_other_categories_hold_nothing(desk: InProcess, path: str) -> None:
    """Inverse and option are empty lists for clients that ask every category."""
    assert desk.rows(path, category="inverse") == []
