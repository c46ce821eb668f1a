"""Every refusal that the sandbox can give, provoked as a client would meet it, with the exchange's own
code.
"""

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from fundarb.core.instants import to_ms
from tests.sandbox.harness import START, InProcess, Json, headers, parsed

BTC: Json = {"category": "linear", "symbol": "BTCUSDT"}
PAIR: Json = {"category": "spot", "symbol": "BTCUSDT"}
LIMIT: Json = {"orderType": "Limit", "price": "90000"}


def spot(desk: InProcess, **order: object) -> Json:
    """A spot limit buy below the market, changed by ``order``."""
    usual = {**PAIR, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "92500"}
    return desk.post("order/create", **{**usual, **order})


def perp(desk: InProcess, **order: object) -> Json:
    """A perp limit buy below the market, changed by ``order``."""
    return desk.post("order/create", **{**BTC, "side": "Buy", "qty": "0.01", **LIMIT, **order})


def after(
    *steps: Callable[[InProcess], object], then: Callable[[InProcess], Json]
) -> Callable[[InProcess], Json]:
    """Some steps, whatever is due, and the request that is to be refused."""

    def run(desk: InProcess) -> Json:
        for step in steps:
            step(desk)
            desk.desk.catch_up()
        return then(desk)

    return run


def signed(desk: InProcess, **changes: object) -> Json:
    """A private read with something wrong about its signature."""
    stamp = to_ms(desk.house.venue.now)
    found = headers("", **{"stamp": stamp, **changes})  # type: ignore[arg-type]
    return parsed(desk.reply("GET", "/v5/account/info", signed=found))


def cancel(link: str, params: Json = BTC) -> Callable[[InProcess], Json]:
    return lambda desk: desk.post("order/cancel", **params, orderLinkId=link)


def far_price(desk: InProcess, ratio: str) -> str:
    """A spot price that far from the market's, on the tick."""
    last = Decimal(desk.rows("market/tickers", **PAIR)[0]["lastPrice"])
    return str((last * Decimal(ratio)).quantize(Decimal("0.01")))


def crowd(desk: InProcess) -> None:
    """Five hundred open orders on one contract."""
    for _ in range(500):
        perp(desk, symbol="TRXUSDT", qty="100", price="0.1", side="Buy")


SCENES: dict[str, tuple[int, Callable[[InProcess], Json]]] = {
    "clock behind": (10002, lambda desk: signed(desk, stamp=to_ms(START) - 5001)),
    "clock ahead": (10002, lambda desk: signed(desk, stamp=to_ms(START) + 1000)),
    "unknown key": (10003, lambda desk: signed(desk, key="nobody")),
    "wrong secret": (10004, lambda desk: signed(desk, secret="wrong")),
    "no permission": (
        10005,
        after(lambda desk: desk.world("key", permissions={"Spot": ["SpotTrade"]}), then=perp),
    ),
    "read only": (10005, after(lambda desk: desk.world("key", read_only=True), then=perp)),
    "rate limit fault": (10006, after(lambda desk: desk.fault({"verb": "rate_limit"}), then=perp)),
    "foreign address": (10010, after(lambda desk: desk.world("key", ip=["203.0.113.7"]), then=perp)),
    "key expired": (33004, after(lambda desk: desk.world("key", expire=True), then=perp)),
    "maintenance": (
        10016,
        after(
            lambda desk: desk.world("maintenance", begin="2025-01-06T00:00:00Z", end="2025-01-06T01:00:00Z"),
            then=perp,
        ),
    ),
    "no such route": (10017, lambda desk: desk.get("order/nonsense")),
    "route with the wrong method": (10017, lambda desk: desk.get("order/create")),
    "parameter missing": (10001, lambda desk: desk.get("market/tickers")),
    "perp symbol unknown": (10001, lambda desk: perp(desk, symbol="NOPEUSDT")),
    "perp quantity off the step": (10001, lambda desk: perp(desk, qty="0.0105")),
    "perp price off the tick": (10001, lambda desk: perp(desk, price="90000.05")),
    "perp quantity too large": (10001, lambda desk: perp(desk, qty="100000")),
    "hedge mode": (10001, lambda desk: perp(desk, positionIdx=1)),
    "perp order unknown": (110001, cancel("nobody")),
    "perp order filled": (110001, after(lambda desk: desk.short(orderLinkId="x"), then=cancel("x"))),
    "no margin": (110007, lambda desk: perp(desk, qty="50")),
    "leverage above the tier": (
        110013,
        lambda desk: desk.post("position/set-leverage", **BTC, buyLeverage="200", sellLeverage="200"),
    ),
    "reduce only without a position": (110017, lambda desk: perp(desk, reduceOnly=True)),
    "too many orders": (
        110020,
        after(crowd, then=lambda desk: perp(desk, symbol="TRXUSDT", qty="100", price="0.1")),
    ),
    "mode unchanged": (110025, lambda desk: desk.post("position/switch-mode", **BTC, mode=0)),
    "margin mode unchanged": (
        110026,
        lambda desk: desk.post("account/set-margin-mode", setMarginMode="REGULAR_MARGIN"),
    ),
    "margin mode not offered": (
        3400045,
        lambda desk: desk.post("account/set-margin-mode", setMarginMode="PORTFOLIO_MARGIN"),
    ),
    "leverage unchanged": (
        110043,
        lambda desk: desk.post("position/set-leverage", **BTC, buyLeverage="10", sellLeverage="10"),
    ),
    "perp halted": (110066, after(lambda desk: desk.world("halt", **BTC, on=True), then=perp)),
    "perp link id used": (
        110072,
        after(lambda desk: perp(desk, orderLinkId="x"), then=lambda desk: perp(desk, orderLinkId="x")),
    ),
    "perp not live": (110074, lambda desk: perp(desk, symbol="MONUSDT", qty="1", price="1")),
    "perp above its risk limits": (
        110090,
        after(
            lambda desk: desk.world("transfer", coin="USDT", amount="9000000000"),
            lambda desk: desk.world("filters", **BTC, fields={"maxOrderQty": "1000000"}),
            then=lambda desk: perp(desk, qty="100000"),
        ),
    ),
    "perp value too small": (110094, lambda desk: perp(desk, symbol="TRXUSDT", qty="10", price="0.2")),
    "spot symbol unknown": (170121, lambda desk: spot(desk, symbol="NOPEUSDT")),
    "spot balance": (170131, lambda desk: spot(desk, qty="5")),
    "spot coins": (170131, lambda desk: spot(desk, side="Sell")),
    "spot margin": (170033, lambda desk: spot(desk, qty="50", isLeverage=1)),
    "spot price off the tick": (170134, lambda desk: spot(desk, price="92500.005")),
    "spot quantity too large": (170135, lambda desk: spot(desk, qty="100000")),
    "spot quantity too small": (
        170136,
        after(
            lambda desk: desk.world("filters", **PAIR, fields={"minOrderQty": "0.01"}),
            then=lambda desk: spot(desk, qty="0.001"),
        ),
    ),
    "spot quantity off the step": (170137, lambda desk: spot(desk, qty="0.0100000001")),
    "spot order filled": (170139, after(lambda desk: desk.buy(orderLinkId="x"), then=cancel("x", PAIR))),
    "spot value too small": (170140, lambda desk: spot(desk, qty="0.00001")),
    "spot link id used": (
        170141,
        after(lambda desk: spot(desk, orderLinkId="x"), then=lambda desk: spot(desk, orderLinkId="x")),
    ),
    "spot order cancelled": (
        170142,
        after(lambda desk: spot(desk, orderLinkId="x"), cancel("x", PAIR), then=cancel("x", PAIR)),
    ),
    "spot amount with too many decimals": (
        170148,
        lambda desk: desk.buy(qty="100.0000000001", marketUnit="quoteCoin"),
    ),
    "spot halted": (170151, after(lambda desk: desk.world("halt", **PAIR, on=True), then=spot)),
    "spot buy above the band": (170193, lambda desk: spot(desk, price=far_price(desk, "1.2"))),
    "spot sell below the band": (
        170194,
        after(
            lambda desk: desk.buy(qty="0.02"),
            then=lambda desk: spot(desk, side="Sell", price=far_price(desk, "0.8")),
        ),
    ),
    "spot order unknown": (170213, cancel("nobody", PAIR)),
    "history of open orders": (181017, lambda desk: desk.get("order/history", **BTC, orderStatus="New")),
}


@pytest.mark.parametrize("scene", SCENES)
def test_refusals_have_the_exchanges_codes(desk: InProcess, scene: str) -> None:
    """The code of the reference, a message, an empty result (but for reasons), and not one more order."""
    code, run = SCENES[scene]
    answer = run(desk)
    assert (answer["retCode"], bool(answer["retMsg"])) == (code, True)
    assert answer["result"].keys() <= {"reasons"}


def test_a_futures_limit_outside_the_band_is_moved_to_its_edge(desk: InProcess) -> None:
    """Spot refuses such a price; a perp's is silently moved, and the row tells the price in force."""
    high = str(int(Decimal(far_price(desk, "1.2"))))
    answer = perp(desk, price=high, timeInForce="IOC", orderLinkId="x")
    assert answer["retCode"] == 0
    desk.desk.catch_up()
    edge = desk.get("market/price-limit", **BTC)["result"]["buyLmt"]
    assert desk.rows("order/realtime", **BTC, orderLinkId="x")[0]["price"] == edge


def test_the_same_signed_request_twice(desk: InProcess) -> None:
    """A signature has no use-by but its window: the copy of a create with a link id is 110072, of a read a
    read; after the window both are 10002.
    """
    order = {**BTC, "side": "Sell", "orderType": "Market", "qty": "0.01", "orderLinkId": "x"}
    body = json.dumps(order)
    once = headers(body, stamp=to_ms(START))
    codes = [
        parsed(desk.reply("POST", "/v5/order/create", body=body, signed=once))["retCode"] for _ in range(3)
    ]
    assert codes == [0, 110072, 110072]
    desk.wait(milliseconds=5001)
    assert parsed(desk.reply("POST", "/v5/order/create", body=body, signed=once))["retCode"] == 10002
    assert len(desk.house.venue.all_orders()) == 1
