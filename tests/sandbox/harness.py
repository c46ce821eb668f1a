"""A sandbox for tests: the desk in process with a signing client, the same over real HTTP, and a small
market.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import requests

from fundarb.core.instants import to_ms
from fundarb.markets.coins import catalogue
from fundarb.markets.synthetic import SyntheticMarket
from fundarb.sandbox.arguments import Arguments
from fundarb.sandbox.desk import Desk, Raw, Reply
from fundarb.sandbox.house import House
from fundarb.sandbox.options import ClockKind, SandboxOptions
from fundarb.sandbox.server import start_in_thread
from fundarb.sandbox.world import perform

START = datetime(2025, 1, 6, tzinfo=UTC)
START_MS = to_ms(START)
COINS = ("BTC", "ETH", "SOL", "PEPE", "TRX", "FIO", "BEAM", "BEAM-TOKEN", "MON", "TSLA", "MNT")
Json = dict[str, Any]


def small_market(start: datetime) -> SyntheticMarket:
    """Eleven of the built-in coins, to start quickly; MNT, in which fees can be deducted, in spot only."""
    return SyntheticMarket(1, start, coins=tuple(coin for coin in catalogue() if coin.name in COINS))


OPTIONS = SandboxOptions(
    market=small_market,
    port=0,
    clock=ClockKind.VIRTUAL,
    start=START,
    balances={"USDT": Decimal(100_000)},
    run="test",
)


def signature(secret: str, text: str) -> str:
    """The HMAC of a text, computed without the code under test."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def headers(
    payload: str, *, stamp: int, key: str = "demo", secret: str = "demo", window: str = "5000"
) -> dict[str, str]:
    """The four headers of a signed request."""
    return {
        "X-BAPI-API-KEY": key,
        "X-BAPI-TIMESTAMP": str(stamp),
        "X-BAPI-RECV-WINDOW": window,
        "X-BAPI-SIGN": signature(secret, f"{stamp}{key}{window}{payload}"),
    }


class InProcess:
    """The desk without sockets, and a client that signs with the venue's own time."""

    def __init__(self, options: SandboxOptions = OPTIONS) -> None:
        self.house = House(options)
        self.desk = Desk(self.house)

    def reply(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: str = "",
        signed: Mapping[str, str] | None = None,
    ) -> Reply:
        """One raw request; signed as it should be unless ``signed`` says otherwise."""
        payload = body if method == "POST" else query
        stamp = to_ms(self.house.clock.now())
        found = headers(payload, stamp=stamp) if signed is None else signed
        encoded = {name.lower().encode(): value.encode() for name, value in found.items()}
        raw = Raw(
            method, path, query=query.encode(), headers=encoded, body=body.encode(), address="127.0.0.1"
        )
        return self.desk.handle(raw)

    def get(self, path: str, **params: object) -> Json:
        """The whole answer to a GET."""
        return parsed(self.reply("GET", f"/v5/{path}", query=urlencode(params)))

    def post(self, path: str, **params: object) -> Json:
        """The whole answer to a POST."""
        return parsed(self.reply("POST", f"/v5/{path}", body=json.dumps(params)))

    def rows(self, path: str, **params: object) -> list[Any]:
        """The list of a GET that must succeed."""
        return listed(self.get(path, **params))

    def world(self, verb: str, **arguments: object) -> None:
        """A world verb of the control API."""
        perform(self.house, Arguments({"verb": verb, **arguments}))

    def fault(self, do: Json, **match: object) -> str:
        """Arm a fault; its id."""
        return self.house.arm(Arguments({"match": match, "do": do}))

    def wait(self, **span: float) -> None:
        """Let venue time pass; everything due until then has happened."""
        self.desk.catch_up(self.house.venue.now + timedelta(**span))

    def buy(self, symbol: str = "BTCUSDT", qty: str = "0.01", **more: object) -> Json:
        """A spot market buy in base units."""
        return self.post(
            "order/create",
            **{"category": "spot", "symbol": symbol, "side": "Buy", "orderType": "Market", "qty": qty,
               "marketUnit": "baseCoin", **more},
        )  # fmt: skip

    def short(self, symbol: str = "BTCUSDT", qty: str = "0.01", **more: object) -> Json:
        """A perp market sell."""
        return self.post(
            "order/create",
            **{
                "category": "linear",
                "symbol": symbol,
                "side": "Sell",
                "orderType": "Market",
                "qty": qty,
                **more,
            },
        )


class OverHttp:
    """A sandbox in a thread, asked over real HTTP."""

    def __init__(self, url: str, house: House) -> None:
        self.url = url
        self.house = house
        self.session = requests.Session()

    def request(
        self, method: str, path: str, params: Mapping[str, object] | None = None, **more: Any
    ) -> requests.Response:
        """One request to an end point, signed with the venue's own time."""
        stamp = to_ms(self.house.clock.now())
        if method == "GET":
            query = urlencode(params or {})
            url = f"{self.url}/v5/{path}?{query}"
            return self.session.get(url, headers=headers(query, stamp=stamp), timeout=10, **more)
        body = json.dumps(params or {})
        return self.session.post(
            f"{self.url}/v5/{path}", data=body, headers=headers(body, stamp=stamp), timeout=10, **more
        )

    def control(self, path: str, body: Any = None, method: str = "POST") -> requests.Response:
        """One request to the control API."""
        return self.session.request(method, f"{self.url}/sandbox/{path}", json=body, timeout=30)

    def do(self, path: str, body: object) -> Json:
        """A control request that must succeed."""
        response = self.control(path, body)
        assert response.status_code in {200, 201}, response.text
        found: Json = response.json()
        return found

    def truth(self) -> Json:
        """What the venue knows."""
        found: Json = self.control("truth", method="GET").json()
        return found

    def get(self, path: str, **params: object) -> Json:
        """The whole answer to a GET."""
        found: Json = self.request("GET", path, params).json()
        return found

    def rows(self, path: str, **params: object) -> list[Any]:
        """The list of a GET that must succeed."""
        return listed(self.get(path, **params))

    def create(self, **params: object) -> requests.Response:
        """A small perp market sell, changed by ``params``."""
        order = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Sell",
            "orderType": "Market",
            "qty": "0.01",
            **params,
        }
        return self.request("POST", "order/create", order)


@contextmanager
def over_http(**changes: Any) -> Iterator[OverHttp]:
    """A running sandbox for as long as needed."""
    running = start_in_thread(replace(OPTIONS, **changes))
    assert running.house is not None
    client = OverHttp(running.url, running.house)
    try:
        yield client
    finally:
        client.session.close()
        running.stop()


def parsed(reply: Reply) -> Json:
    """The JSON of a reply."""
    found: Json = json.loads(reply.response.body)
    return found


def listed(answer: Json) -> list[Any]:
    """The rows of an answer that must be a success."""
    assert answer["retCode"] == 0, answer
    rows: list[Any] = answer["result"]["list"]
    return rows
