"""Mutated requests: the venue answers each with JSON or a page of its own and its books stay in order."""

import json
import random
from decimal import Decimal
from urllib.parse import urlencode

from fundarb.sandbox.endpoints.table import TABLE
from tests.sandbox.harness import InProcess

COUNT = 1500
WORDS = (
    "",
    "0",
    "-1",
    "1e9",
    "NaN",
    "Infinity",
    "null",
    "linear",
    "spot",
    "BTCUSDT",
    "ETHUSDT",
    "Buy",
    "Sell",
    "Limit",
    "Market",
    "0.01",
    "95000",
    "999999999999999999999999",
    "ü",
    "%00",
    "a" * 40,
    "UNIFIED",
    "USDT",
    "1736121600000",
)
NAMES = (
    "category",
    "symbol",
    "side",
    "orderType",
    "qty",
    "price",
    "orderLinkId",
    "orderId",
    "limit",
    "cursor",
    "startTime",
    "endTime",
    "accountType",
    "coin",
    "settleCoin",
    "interval",
    "reduceOnly",
    "positionIdx",
    "timeInForce",
    "mode",
    "buyLeverage",
    "sellLeverage",
    "execType",
    "marketUnit",
    "baseCoin",
    "openOnly",
    "status",
)
ORDER = {
    "category": "linear",
    "symbol": "BTCUSDT",
    "side": "Sell",
    "orderType": "Limit",
    "qty": "0.01",
    "price": "93000",
    "timeInForce": "IOC",
    "settleCoin": "USDT",
    "accountType": "UNIFIED",
    "interval": "60",
    "locale": "en-US",
}


def value(rng: random.Random) -> object:
    """Something a parameter might hold, mostly of the right kind."""
    odd: list[object] = [None, True, 0, -5, 3.5, [], {}, [[]], {"a": 1}]
    return rng.choice(WORDS) if rng.random() < 0.85 else rng.choice(odd)


def request(rng: random.Random, desk: InProcess) -> int:
    """Send one mutated request; its HTTP status."""
    path, endpoint = rng.choice(list(TABLE.items()))
    params: dict[str, object] = dict(ORDER) if rng.random() < 0.8 else {}
    for _ in range(rng.randrange(4)):
        params[rng.choice(NAMES)] = value(rng)
    for name in rng.sample(sorted(params), k=min(len(params), rng.randrange(3))):
        del params[name]
    method = endpoint.method if rng.random() < 0.97 else "POST"
    if method == "POST":
        body = json.dumps(params)
        if rng.random() < 0.05:
            body = body[: rng.randrange(len(body))]
        reply = desk.reply("POST", path, body=body)
    else:
        reply = desk.reply("GET", path, query=urlencode(params))
    if reply.response.status != 403:
        answer = json.loads(reply.response.body)
        assert isinstance(answer["retCode"], int)
        assert isinstance(answer["result"], dict)
    return reply.response.status


def test_mutated_requests_neither_crash_nor_corrupt() -> None:
    """Hundreds of mutated requests on every end point: an envelope each time, and afterwards the chain
    still ties.
    """
    rng, desk = random.Random(7), InProcess()
    statuses = {request(rng, desk) for _ in range(COUNT)}
    assert statuses <= {200, 401, 403, 404}
    desk.desk.catch_up()
    venue = desk.house.venue
    assert len(venue.all_fills()) > 10
    balances: dict[str, Decimal] = {}
    for row in venue.all_transactions():
        assert row.change == row.cash_flow + row.funding - row.fee
        balances[row.coin] = balances.get(row.coin, Decimal(0)) + row.change
        assert row.balance == balances[row.coin]
    assert {name: coin.wallet for name, coin in venue.wallet().coins.items() if coin.wallet} == {
        name: amount for name, amount in balances.items() if amount
    }
    filled = sum((fill.quantity for fill in venue.all_fills()), Decimal(0))
    assert filled == sum((order.filled for order in venue.all_orders()), Decimal(0))
