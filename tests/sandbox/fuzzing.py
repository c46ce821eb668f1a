"""Mutated requests of every kind, and the identities that must hold afterwards whatever they were: used small
in the test-suite and large in ``make proof``.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from urllib.parse import urlencode

from fundarb.core.instants import to_ms
from fundarb.core.money import floor_to, plain
from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.control import known
from fundarb.sandbox.endpoints.table import TABLE
from fundarb.sandbox.faults import FAULTS
from fundarb.sandbox.world import VERBS, perform
from fundarb.venue.engine import Venue
from tests.sandbox.harness import OPTIONS, InProcess, Json, headers

STATUSES = frozenset({200, 401, 403, 404})
ODD: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -5,
    3.5,
    1e300,
    [],
    {},
    [[]],
    {"a": 1},
    [{"qty": "1"}],
    "x" * 3000,
)
WORDS = (
    "", "0", "-1", "1", "7", "20", "100", "1e9", "NaN", "Infinity", "null", "linear", "spot", "inverse",
    "option",
    "BTCUSDT", "ETHUSDT", "PEPEUSDT", "1000PEPEUSDT", "NOPEUSDT", "Buy", "Sell", "Limit", "Market",
    "0.01", "0.001",
    "3", "95000", "93000", "999999999999999999999999", "0.00000001", "ü", "%00", "a" * 40, "UNIFIED",
    "USDT", "BTC",
    "1736121600000", "1736208000000", "60", "D", "1h", "GTC", "IOC", "FOK", "PostOnly", "Trade", "Funding",
    "Cancelled", "Filled", "New", "baseCoin", "quoteCoin", "en-US", "REGULAR_MARGIN", "one", "two", "1,2",
)  # fmt: skip
NAMES = (
    "category", "symbol", "side", "orderType", "qty", "price", "orderLinkId", "orderId", "limit",
    "cursor", "startTime",
    "endTime", "start", "end", "accountType", "coin", "currency", "settleCoin", "interval",
    "intervalTime", "reduceOnly",
    "closeOnTrigger", "positionIdx", "timeInForce", "mode", "buyLeverage", "sellLeverage", "execType",
    "marketUnit",
    "baseCoin", "openOnly", "status", "orderStatus", "isLeverage", "request", "locale", "type", "page",
    "deltaEnable",
    "setMarginMode", "vipLevel", "triggerPrice",
)  # fmt: skip
COMMON: Json = {
    "settleCoin": "USDT", "accountType": "UNIFIED", "interval": "60", "intervalTime": "1h", "locale": "en-US",
    "buyLeverage": "5", "sellLeverage": "5", "deltaEnable": "1", "setMarginMode": "REGULAR_MARGIN", "mode": 0,
}  # fmt: skip
ORDERS: tuple[Json, ...] = (
    {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.01"},
    {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.02"},
    {"category": "linear", "symbol": "ETHUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.5",
     "price": "3300"},
    {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Limit", "qty": "0.01",
     "price": "93000", "timeInForce": "IOC"},
    {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "200"},
    {"category": "spot", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.001"},
    {"category": "spot", "symbol": "ETHUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.1",
     "price": "3200"},
    {"category": "spot", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Limit", "qty": "0.001",
     "price": "97000"},
    {"category": "spot", "symbol": "SOLUSDT", "side": "Sell", "orderType": "Limit", "qty": "2",
     "price": "204", "isLeverage": "1"},
    {"category": "spot", "symbol": "MNTUSDT", "side": "Buy", "orderType": "Market", "qty": "5"},
    {"category": "spot", "symbol": "MNTUSDT", "side": "Sell", "orderType": "Market", "qty": "8"},
)  # fmt: skip
WORLD_NAMES = (
    "symbol", "category", "price", "factor", "fraction", "amount", "coin", "on", "hours", "rate", "qty",
    "side",
    "fields", "at", "ms", "begin", "end", "bids", "asks", "taker", "maker", "mnt", "ratio", "read_only",
)  # fmt: skip
WORLD_WORDS: tuple[object, ...] = (
    "BTCUSDT", "ETHUSDT", "linear", "spot", "0.5", "1.02", "0.99", "1", "-20", "USDT", "BTC", True,
    False, 4, "Buy",
    "Sell", {"qtyStep": "0.001"}, "2025-02-01T00:00:00Z", 250, [["94000", "2"]], "0.001", None, "NaN",
    [], 10**9,
)  # fmt: skip
BTC: Json = {"symbol": "BTCUSDT"}
PLAUSIBLE: dict[str, Json] = {
    "mark": {**BTC, "price": "94500"},
    "jump": {**BTC, "factor": "1.01"},
    "book": {**BTC, "category": "linear", "bids": [["94000", "2"]], "asks": [["94100", "2"]]},
    "freeze": {**BTC, "on": True},
    "ticker_patch": {**BTC, "category": "linear", "fields": {"markPrice": "NaN"}},
    "funding_rate": {**BTC, "rate": "0.0005"},
    "interval": {**BTC, "hours": 4},
    "settle": BTC,
    "adl": {**BTC, "fraction": "0.4"},
    "liquidate": BTC,
    "delist": {"symbol": "ETHUSDT", "at": "2025-01-07T00:00:00Z"},
    "halt": {**BTC, "category": "spot", "on": False},
    "filters": {**BTC, "category": "linear", "fields": {"qtyStep": "0.002"}},
    "fees": {"category": "linear", "taker": "0.001", "maker": "0.0001", "mnt": False},
    "collateral": {"coin": "BTC", "on": True, "ratio": "0.9"},
    "borrow": {"coin": "USDT", "amount": "10"},
    "auto_repay": {"coin": "BTC", "fraction": "0.1"},
    "usd": {"price": "0.98"},
    "transfer": {"coin": "USDT", "amount": "1000"},
    "manual_order": {**BTC, "category": "linear", "side": "Sell", "qty": "0.01"},
    "manual_close": BTC,
    "key": {"permissions": {"Spot": ["SpotTrade"]}, "read_only": False, "ip": ["127.0.0.1"]},
    "skew": {"ms": 700},
    "maintenance": {"begin": "2025-01-06T00:00:00Z", "end": "2025-01-08T00:00:00Z"},
    "restart": {},
}
"""Each verb of the world with arguments that will mostly do."""
SHUTTING = frozenset({"key", "maintenance", "delist", "skew"})
"""Verbs after which the venue may let nothing in any more: what they do is undone after some requests."""
EXTREMES: tuple[object, ...] = (
    "1e30", "-1e30", "1e-30", "-1e-30", "1e12", "-1e12", "1e-12", "9.9e11", "1e50", "NaN", "Infinity", "0",
    10**30, -(10**30), 10**12, 0, 1e300, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2099-12-31T23:59:59Z", "2025-01-06T00:00:00", {}, [], [["1e30", "1e-30"]], [["1e12", "1e12"]],
    {"tickSize": "1e30"}, {"tickSize": "1e12"}, {"qtyStep": "1e-12"}, {"fundingInterval": "1e30"},
    {"maxLeverage": "1e12"}, {"priceLimitRatioX": "1e12"}, {"maxOrderQty": "1e12", "maxMktOrderQty": "1e12"},
)  # fmt: skip


class Fuzzer:
    """A desk under fire. The same seed sends the same requests. Fees are deducted in MNT as long as there is
    some: what was given at the start is spent, sold and bought on the way.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.desk = InProcess(replace(OPTIONS, balances={**OPTIONS.balances, "MNT": Decimal(10)}))
        for category in ("linear", "spot"):
            self.desk.world("fees", category=category, mnt=True)
        self.codes: defaultdict[int, int] = defaultdict(int)
        self._before: Json | None = None
        """The world as it was before something extreme, to which it goes back after some requests."""

    def fire(self, count: int) -> None:
        """Send that many mutated requests, with now and then time, the world or a fault between them."""
        for number in range(count):
            self._request()
            if number % 25 == 24:
                self._between()

    # ------------------------------------------------------------------------------------------ requests

    def _request(self) -> None:
        pick = self.random
        path, endpoint = pick.choice(list(TABLE.items()))
        if pick.random() < 0.4:
            path = pick.choice(
                ("/v5/order/create", "/v5/order/amend", "/v5/order/cancel", "/v5/order/create-batch")
            )
            endpoint = TABLE[path]
        params = self._params(path)
        method = endpoint.method if pick.random() < 0.97 else pick.choice(("GET", "POST", "PUT"))
        body = json.dumps(params) if method == "POST" else ""
        query = urlencode(params, doseq=False) if method != "POST" else ""
        self._send(method, path, query=self._bent(query), body=self._bent(body))

    def _params(self, path: str) -> Json:
        """Mostly right: a plausible request with some parameters gone, foreign or changed."""
        pick = self.random
        params: Json = {**COMMON, **pick.choice(ORDERS)} if pick.random() < 0.9 else {}
        if params.get("symbol") == "MNTUSDT" and params["side"] == "Sell":  # all there is
            held = self.desk.house.venue.wallet().coins["MNT"].wallet
            params["qty"] = plain(floor_to(held, Decimal("0.01")))
        if pick.random() < 0.3:
            params["orderLinkId"] = pick.choice(("one", "two", f"n{pick.randrange(60)}"))
        if path.endswith("create-batch"):
            orders = [
                {**pick.choice(ORDERS), "orderLinkId": f"b{pick.randrange(9**6)}"}
                for _ in range(pick.randrange(5))
            ]
            params["request"] = orders
        known_orders = self.desk.house.venue.all_orders()
        if known_orders and path.endswith(("amend", "cancel")):
            order = pick.choice(known_orders[-50:])
            params |= {"orderId": order.order_id, "category": order.category.value, "symbol": order.symbol}
        if pick.random() < 0.6:
            for _ in range(pick.randrange(3)):
                params[pick.choice(NAMES)] = pick.choice(WORDS) if pick.random() < 0.8 else pick.choice(ODD)
            for name in pick.sample(sorted(params), k=min(len(params), pick.randrange(2))):
                del params[name]
        return params

    def _bent(self, text: str) -> str:
        """Sometimes cut, doubled or with a character changed."""
        pick = self.random
        if not text or pick.random() > 0.06:
            return text
        at = pick.randrange(len(text))
        return pick.choice(
            (text[:at], text[:at] + pick.choice('"{}[],:\\\0é&=%') + text[at + 1 :], text + text)
        )

    def _send(self, method: str, path: str, *, query: str, body: str) -> None:
        reply = self.desk.reply(
            method, path, query=query, body=body, signed=self._signed(query, body, method)
        )
        assert reply.response.status in STATUSES, reply
        if reply.response.status != 403 and reply.response.content_type.startswith(b"application/json"):
            answer = json.loads(reply.response.body)
            assert isinstance(answer["retCode"], int)
            assert isinstance(answer["retMsg"], str)
            assert isinstance(answer["result"], dict)
            self.codes[answer["retCode"]] += 1

    def _signed(self, query: str, body: str, method: str) -> dict[str, str] | None:
        """None: as it should be; else with something wrong about it."""
        pick = self.random
        if pick.random() < 0.95:
            return None
        stamp = to_ms(self.desk.house.clock.now()) + pick.choice((0, -4000, -6000, 900, 2000, 10**12))
        found = headers(
            body if method == "POST" else query, stamp=stamp, secret=pick.choice(("demo", "wrong"))
        )
        name = pick.choice(list(found))
        found[name] = pick.choice((found[name], "", "x", "99999999999999999999", found[name].upper()))
        return found

    # ------------------------------------------------------------------------------------------ between them

    def _between(self) -> None:
        """Time passes, the world does something (or is asked nonsense), a fault is armed, a snapshot is
        taken.
        """
        pick, desk = self.random, self.desk
        deed = pick.random()
        if self._before is not None:
            desk.desk.restore(self._before)
            self._before = None
        elif deed < 0.4:
            desk.wait(seconds=pick.choice((0.001, 1, 60, 600, 5000)))
        elif deed < 0.75:
            self._world()
        elif deed < 0.9:
            do = {"verb": pick.choice([verb for verb in FAULTS if verb != "ban"]), "ms": 50, "n": 2}
            for name in pick.sample(["ms", "n"], k=pick.randrange(3)):
                del do[name]
            self._refusable(lambda: desk.fault(do, times=pick.randrange(1, 4)))
            if len(desk.house.faults.armed()) > 5:
                desk.house.faults.disarm()
        else:
            desk.desk.catch_up()
            before = without_requests(known(desk.house))
            desk.desk.restore(plain_json(desk.house.snapshot()))
            assert without_requests(known(desk.house)) == before

    def _world(self) -> None:
        """The world does something, plausible, nonsensical or extreme. Whatever it has made of itself can be
        taken down and restored, and lives on.
        """
        pick, desk = self.random, self.desk
        verb, kind = pick.choice(list(VERBS)), pick.random()
        arguments = dict(PLAUSIBLE[verb])
        if kind < 0.3:
            arguments = {
                name: pick.choice(WORLD_WORDS) for name in pick.sample(WORLD_NAMES, k=pick.randrange(6))
            }
        elif kind < 0.6 and arguments:
            arguments[pick.choice(list(arguments))] = pick.choice(EXTREMES)
        desk.desk.catch_up()
        before = plain_json(desk.house.snapshot())
        self._refusable(lambda: perform(desk.house, Arguments({"verb": verb, **arguments})))
        if verb in SHUTTING or 0.3 <= kind < 0.6:
            self._before = before
            if pick.random() < 0.5:
                desk.desk.restore(plain_json(desk.house.snapshot()))

    def _refusable(self, deed: Callable[[], object]) -> None:
        """Do it; a refusal must leave the world as it was."""
        before = json.dumps(self.desk.house.snapshot())
        status = 0
        try:
            deed()
        except ControlError as refusal:
            status = refusal.status
        if status:
            assert 400 <= status < 500
            assert json.dumps(self.desk.house.snapshot()) == before

    def finish(self) -> Json:
        """Whatever is still due happens; the truth."""
        self.desk.house.faults.disarm()
        if self._before is not None:
            self.desk.desk.restore(self._before)
            self._before = None
        self.desk.wait(hours=1)
        check_margin(self.desk.house.venue)
        return known(self.desk.house)


def plain_json(value: Json) -> Json:
    """What comes back of it over the wire."""
    found: Json = json.loads(json.dumps(value))
    return found


def without_requests(truth: Json) -> Json:
    """The truth about the venue alone."""
    return {name: value for name, value in truth.items() if name != "requests"}


# ------------------------------------------------------------------------------------------------ identities


def check_identities(truth: Json) -> None:
    """What must hold of any truth, worked out from its rows alone."""
    _check_log(truth)
    _check_executions(truth)
    ids = [row["orderId"] for row in truth["orders"]]
    assert len(set(ids)) == len(ids)
    links = [(row["category"], row["orderLinkId"]) for row in truth["orders"] if row["orderLinkId"]]
    assert len(set(links)) == len(links)


def check_margin(venue: Venue) -> None:
    """Nobody is shown a position that should have been liquidated; nothing is available that open orders,
    positions and debts claim; the account's margin is the sum of its coins'.
    """
    wallet = venue.wallet()
    assert wallet.mm_rate < 1 or not venue.held()
    assert wallet.available <= max(wallet.margin_balance - wallet.initial_margin, Decimal(0))
    rules, claimed = venue.rules, Decimal(0)
    for coin in wallet.coins.values():
        claim = coin.position_im + coin.order_im + coin.borrowed * rules.borrow_im
        claimed += claim * venue.usd_price(coin.coin)
    assert wallet.initial_margin == claimed


def _check_log(truth: Json) -> None:
    """Each coin's chain ties from nothing to its wallet, and every change is cash flow + funding − fee."""
    balances: defaultdict[str, Decimal] = defaultdict(Decimal)
    fees: defaultdict[str, Decimal] = defaultdict(Decimal)
    funding = Decimal(0)
    for row in truth["transaction_log"]:
        change, fee, paid = Decimal(row["change"]), Decimal(row["fee"]), Decimal(row["funding"] or 0)
        assert change == Decimal(row["cashFlow"]) + paid - fee, row
        balances[row["currency"]] += change
        assert Decimal(row["cashBalance"]) == balances[row["currency"]], row
        fees[row["currency"]] += fee
        funding += paid
    wallets = {row["coin"]: Decimal(row["walletBalance"]) for row in truth["wallets"]}
    assert {coin: value for coin, value in balances.items() if value} == {
        k: v for k, v in wallets.items() if v
    }
    for row in truth["executions"]:
        if row["execType"] == "Funding":
            funding += Decimal(row["execFee"])
        else:
            fees[row["feeCurrency"]] -= Decimal(row["execFee"])
    assert funding == 0
    assert not any(fees.values())


def _check_executions(truth: Json) -> None:
    """Fills make up what orders say they have filled, and positions are the sum of the perp fills."""
    by_order: defaultdict[str, Decimal] = defaultdict(Decimal)
    sizes: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in truth["executions"]:
        if row["execType"] == "Funding":
            continue
        quantity = Decimal(row["execQty"])
        assert quantity > 0
        by_order[row["orderId"]] += quantity
        if row["category"] == "linear":
            sizes[row["symbol"]] += quantity if row["side"] == "Buy" else -quantity
    for order in truth["orders"]:
        assert by_order[order["orderId"]] == Decimal(order["cumExecQty"]), order
        assert order["status"] != "Filled" or order["cumExecQty"] != "0"
    held = {
        row["symbol"]: Decimal(row["size"]) * (1 if row["side"] == "Buy" else -1)
        for row in truth["positions"]
    }
    assert {symbol: size for symbol, size in sizes.items() if size} == held
    assert all(Decimal(row["locked"]) >= 0 for row in truth["wallets"])
