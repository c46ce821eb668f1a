"""The same answers to plain ccxt and to the adapter: what the one makes of them, and what the other does.

Each test is a reason why the adapter does not use ccxt's unified methods, its HTTP or its classes of errors.
Should an upgrade of ccxt change one of its halves, the test says so, and the adapter may be made simpler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from fundarb.clock import SystemClock, VirtualClock
from fundarb.core.market import Category
from fundarb.core.orders import Outcome
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange import parse_tickers
from fundarb.exchange.bybit import SANDBOX_CREDENTIALS, BybitExchange, connect
from fundarb.exchange.strict import read_answer
from tests.exchange.conftest import NOW, Gate, order_request, settings
from tests.exchange.server import TIME_MS, FakeVenue, Reply, envelope, listing
from tests.exchange.test_bybit_trading import execution_row
from tests.exchange.test_strict import GARBAGE
from tests.exchange.test_tickers import perp_row, spot_row

MACHINE = SystemClock()
SWAP, SPOT = "BTC/USDT:USDT", "BTC/USDT"
CREATE = "/v5/order/create"
PLACED = envelope({"orderId": "1", "orderLinkId": "fa-k3f9-7Q2MX0WA4D-p003"})
Read = Callable[[BybitExchange], object]


def market(symbol: str, **changes: object) -> dict[str, object]:
    """A market as ccxt keeps one."""
    swap = ":" in symbol
    made: dict[str, object] = {
        "id": "BTCUSDT",
        "symbol": symbol,
        "base": "BTC",
        "quote": "USDT",
        "baseId": "BTC",
        "quoteId": "USDT",
        "settle": "USDT" if swap else None,
        "settleId": "USDT" if swap else None,
        "type": "swap" if swap else "spot",
        "spot": not swap,
        "swap": swap,
        "contract": swap,
        "linear": True if swap else None,
        "inverse": False if swap else None,
        "contractSize": 1 if swap else None,
        "active": True,
        "precision": {"amount": 0.0001, "price": 0.1},
        "limits": {},
        "info": {},
    }
    return made | changes


@pytest.fixture
def plain(venue: FakeVenue) -> Iterator[Any]:
    """Ccxt as everybody else uses it."""
    client = ccxt.bybit(
        {
            "apiKey": "k",
            "secret": "s",
            "enableRateLimit": False,
            "timeout": 2000,
            "options": {"enableUnifiedMargin": False, "enableUnifiedAccount": True, "unifiedMarginStatus": 6},
        }
    )
    client.urls["api"] = dict.fromkeys(("spot", "futures", "v2", "public", "private"), venue.url)
    client.has["fetchCurrencies"] = False
    client.set_markets([market(SWAP), market(SPOT)])
    yield client
    client.session.close()


def sell(plain: Any) -> Any:
    """An order by plain ccxt."""
    return plain.create_order(SWAP, "limit", "sell", 0.01, 60000)


def raised(plain: Any, venue: FakeVenue, reply: Reply | bytes) -> type[BaseException]:
    """The class that plain ccxt raises for an answer to an order."""
    venue.on(CREATE, reply)
    with pytest.raises(ccxt.BaseError) as caught:
        sell(plain)
    return caught.type


def outcome(exchange: BybitExchange, venue: FakeVenue, reply: Reply | bytes) -> Outcome:
    """What the adapter makes of an answer to an order."""
    venue.on(CREATE, reply)
    return exchange.create(order_request(), signed_at=NOW).outcome


# ------------------------------------------------------------------------------------------ garbage


@pytest.mark.parametrize("kind", ["empty", "html", "cut", "null"])
def test_garbage_is_an_empty_account_to_ccxt(plain: Any, venue: FakeVenue, kind: str) -> None:
    """A maintenance page reads as "no positions, no orders, no money", and an order as placed without an
    id.
    """
    for path in ("/v5/position/list", "/v5/order/realtime", "/v5/account/wallet-balance", CREATE):
        venue.on(path, GARBAGE[kind])
    assert plain.fetch_positions() == []
    assert plain.fetch_open_orders(SWAP) == []
    assert plain.fetch_balance()["total"].get("USDT") is None
    assert sell(plain)["id"] is None


def test_a_missing_result_is_an_empty_account_to_ccxt(plain: Any, venue: FakeVenue) -> None:
    """Success without a result reads as "nothing there"."""
    venue.on("/v5/position/list", GARBAGE["no result"])
    assert plain.fetch_positions() == []


READS: dict[str, Read] = {
    "positions": lambda exchange: exchange.positions(),
    "wallet": lambda exchange: exchange.wallet(),
    "open orders": lambda exchange: exchange.open_orders(Category.SPOT),
    "executions": lambda exchange: exchange.executions(Category.SPOT, NOW, until=NOW),
    "order": lambda exchange: exchange.order_realtime(Category.SPOT, "BTCUSDT", link_id="x"),
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("kind", ["empty", "html", "cut", "null", "no result"])
def test_garbage_is_no_answer_here(exchange: BybitExchange, venue: FakeVenue, kind: str, name: str) -> None:
    """The same bodies raise, for every read of the account; an order that was answered so is uncertain."""
    for path in (
        "/v5/position/list",
        "/v5/order/realtime",
        "/v5/account/wallet-balance",
        "/v5/execution/list",
    ):
        venue.on(path, GARBAGE[kind])
    with pytest.raises(BadAnswer):
        READS[name](exchange)
    assert outcome(exchange, venue, GARBAGE[kind]) is Outcome.UNCERTAIN


def test_an_order_without_an_id(plain: Any, exchange: BybitExchange, venue: FakeVenue) -> None:
    """Ccxt hands back an order without an id as if it had been placed; here it is uncertain."""
    empty = envelope({})
    venue.on(CREATE, empty)
    assert sell(plain)["id"] is None
    assert outcome(exchange, venue, empty) is Outcome.UNCERTAIN


# ------------------------------------------------------------------------------------------ classes of errors

AMBIGUOUS_LOOKS_FINAL = {
    10000: ccxt.ExchangeError,
    10016: ccxt.ExchangeError,
    10019: ccxt.ExchangeError,
    429: ccxt.ExchangeError,
    110079: ccxt.ExchangeError,
    170001: ccxt.ExchangeError,
    170032: ccxt.ExchangeError,
    170149: ccxt.ExchangeError,
    170146: ccxt.InvalidOrder,
    170147: ccxt.InvalidOrder,
    170005: ccxt.InvalidOrder,
}


@pytest.mark.parametrize(("code", "kind"), AMBIGUOUS_LOOKS_FINAL.items())
def test_an_order_that_may_live_looks_refused_to_ccxt(
    plain: Any, exchange: BybitExchange, venue: FakeVenue, code: int, kind: type[BaseException]
) -> None:
    """By ccxt's class these are permanent refusals: whoever trusts it sends the order again. Here:
    uncertain.
    """
    answer = envelope({}, code=code, message="said the venue")
    assert raised(plain, venue, answer) is kind
    assert not issubclass(kind, ccxt.NetworkError)
    assert outcome(exchange, venue, answer) is Outcome.UNCERTAIN


@pytest.mark.parametrize(("code", "kind"), [(10002, ccxt.InvalidNonce), (10006, ccxt.RateLimitExceeded)])
def test_a_definite_refusal_looks_like_the_network_to_ccxt(
    plain: Any, exchange: BybitExchange, venue: FakeVenue, code: int, kind: type[BaseException]
) -> None:
    """By class these might have been executed: whoever trusts it freezes a symbol with a naked leg. Here:
    refused.
    """
    answer = envelope({}, code=code, message="said the venue")
    assert raised(plain, venue, answer) is kind
    assert issubclass(kind, ccxt.NetworkError)
    assert outcome(exchange, venue, answer) is Outcome.REFUSED


@pytest.mark.parametrize("code", [110072, 170141])
def test_a_proof_that_the_order_exists_looks_refused_to_ccxt(
    plain: Any, exchange: BybitExchange, venue: FakeVenue, code: int
) -> None:
    """A duplicate link id proves that a first request landed; ccxt calls it an invalid order."""
    answer = envelope({}, code=code, message="duplicate")
    assert raised(plain, venue, answer) is ccxt.InvalidOrder
    assert outcome(exchange, venue, answer) is Outcome.EXISTS


def test_a_code_nobody_knows(plain: Any, exchange: BybitExchange, venue: FakeVenue) -> None:
    """Plain ExchangeError, as for a refusal; here uncertain, until the table has it."""
    answer = envelope({}, code=987654, message="new")
    assert raised(plain, venue, answer) is ccxt.ExchangeError
    assert outcome(exchange, venue, answer) is Outcome.UNCERTAIN


def test_a_leverage_that_is_set_already(plain: Any, exchange: BybitExchange, venue: FakeVenue) -> None:
    """110043 is a success by any other name: ccxt raises BadRequest, the adapter goes on."""
    venue.on("/v5/position/set-leverage", envelope({}, code=110043, message="leverage not modified"))
    with pytest.raises(ccxt.BadRequest):
        plain.set_leverage(2, SWAP)
    row = {"symbol": "BTCUSDT", "side": "", "size": "0", "positionIdx": 0, "leverage": "2"}
    venue.on("/v5/position/list", listing({**row, "leverage": "3"}), listing(row))
    venue.on("/v5/account/info", envelope({"marginMode": "REGULAR_MARGIN"}))
    exchange.prepare_symbol("BTCUSDT", Decimal(2))
    assert len(venue.to("/v5/position/set-leverage")) == 2


GEO = b"<html>Error from cloudfront: the distribution is configured to block access from your country</html>"


def test_a_geo_block_looks_like_a_rate_limit_to_ccxt(
    plain: Any, exchange: BybitExchange, venue: FakeVenue, clock: VirtualClock
) -> None:
    """Every 403 is RateLimitExceeded there: a bot waits and asks for ever. Here it is said to be what it is,
    and stops nothing.
    """
    blocked = Reply(GEO, status=403)
    assert raised(plain, venue, blocked) is ccxt.RateLimitExceeded
    venue.on("/v5/market/tickers", blocked)
    with pytest.raises(Unavailable, match="geo block"):
        exchange.snapshot()
    assert exchange.banned_until is None
    assert clock.monotonic() == timedelta()


def test_an_ip_ban_is_not_respected_by_ccxt(plain: Any, exchange: BybitExchange, venue: FakeVenue) -> None:
    """The next call goes out again and prolongs the ban; here nothing more is sent."""
    banned = Reply(b"access too frequent", status=403)
    for _ in range(2):
        raised(plain, venue, banned)
    assert len(venue.to(CREATE)) == 2
    for _ in range(2):
        outcome(exchange, venue, banned)
    assert len(venue.to(CREATE)) == 3


# ------------------------------------------------------------------------------------------ transport


def test_ccxt_follows_a_redirect_with_the_signed_order(
    plain: Any, exchange: BybitExchange, venue: FakeVenue
) -> None:
    """A 307 carries the order, signature and all, to wherever it points; here it ends the call."""
    away = Reply(b"", status=307, headers={"Location": f"{venue.url}/elsewhere"})
    venue.on("/elsewhere", PLACED)
    venue.on(CREATE, away)
    sell(plain)
    (carried,) = venue.to("/elsewhere")
    assert carried.headers["X-BAPI-SIGN"]
    assert outcome(exchange, venue, away) is Outcome.UNCERTAIN
    assert len(venue.to("/elsewhere")) == 1


def test_a_timeout_of_ccxt_is_for_each_read(
    plain: Any, venue: FakeVenue, clock: VirtualClock, gate: Gate
) -> None:
    """A server that dribbles a byte now and then holds ccxt far beyond its timeout, to the last byte; ours is
    for the call, which ends in the middle of the body.
    """
    slow = Reply(b'{"retCode":0,"result":{"orderId":"1"}}', how="dribble_body")
    venue.on(CREATE, slow)
    plain.timeout = 200
    started = MACHINE.monotonic()
    assert sell(plain)["id"] == "1"
    assert MACHINE.monotonic() - started > 5 * timedelta(milliseconds=plain.timeout)
    patience = settings(venue, write_timeout=timedelta(milliseconds=200))
    ours = connect(patience, clock=clock, credentials=SANDBOX_CREDENTIALS, gate=gate)
    assert outcome(ours, venue, slow) is Outcome.UNCERTAIN
    ours.close()


def test_ccxt_reads_a_contradiction_as_it_likes(
    plain: Any, exchange: BybitExchange, venue: FakeVenue
) -> None:
    """Two lengths for one body: somebody between here and the venue is confused, or worse."""
    doubled = Reply(PLACED, headers={"X": f"y\r\nContent-Length: {len(PLACED)}"})
    venue.on(CREATE, doubled)
    assert sell(plain)["id"] == "1"
    assert outcome(exchange, venue, doubled) is Outcome.UNCERTAIN


# ------------------------------------------------------------------------------------------ meaning


def test_a_price_changes_the_unit_of_a_spot_market_order(
    plain: Any, exchange: BybitExchange, venue: FakeVenue
) -> None:
    """0.0123 BTC become an order for 740.7 quote units; the adapter sends limits in the base coin only."""
    venue.on(CREATE, PLACED)
    plain.create_order(SPOT, "market", "buy", 0.0123, 60000)
    assert venue.to(CREATE)[0].document["qty"] in {"738", "740.7", "738.0"}
    exchange.create(order_request(category=Category.SPOT, quantity=Decimal("0.0123")), signed_at=NOW)
    ours = venue.to(CREATE)[1].document
    assert (ours["orderType"], ours["qty"]) == ("Limit", "0.0123")


def test_the_coin_of_a_fee_is_guessed_by_ccxt(plain: Any, exchange: BybitExchange, venue: FakeVenue) -> None:
    """With the MNT deduction ccxt still reports the fee of a buy in BTC: the book would be short of coins."""
    row = execution_row(symbol="BTCUSDT", side="Buy", execFee="0.02", feeCurrency="MNT", orderLinkId="x")
    venue.on("/v5/execution/list", listing(row))
    assert plain.fetch_my_trades(SPOT)[0]["fee"]["currency"] == "BTC"
    assert exchange.executions_of(Category.SPOT, "BTCUSDT", link_id="x")[0].fee_coin == "MNT"


def test_funding_that_was_paid_is_positive_to_ccxt(
    plain: Any, exchange: BybitExchange, venue: FakeVenue
) -> None:
    """The raw fee is handed on as the amount: what was paid looks like income. Here a fee is what it
    costs.
    """
    row = execution_row(execType="Funding", execFee="0.064")
    venue.on("/v5/execution/list", listing(row))
    assert plain.fetch_funding_history(SWAP)[0]["amount"] == 0.064
    (ours,) = exchange.executions(Category.LINEAR, NOW, until=NOW)
    assert ours.fee == Decimal("0.064")


def test_the_interval_of_a_stale_instrument(plain: Any, venue: FakeVenue) -> None:
    """Ccxt shows the interval of its cached instrument although the ticker says one hour."""
    plain.set_markets([market(SWAP, info={"fundingInterval": 480}), market(SPOT)])
    row = perp_row(fundingIntervalHour="1")
    venue.on("/v5/market/tickers", listing(row))
    assert plain.fetch_funding_rate(SWAP)["interval"] == "8h"
    quotes, _ = parse_tickers.perp_quotes(read_answer(200, listing(row)))
    funding = quotes["BTCUSDT"].funding
    assert funding is not None
    assert funding.interval == timedelta(hours=1)


def test_not_a_number_is_a_price_to_ccxt(plain: Any, venue: FakeVenue, exchange: BybitExchange) -> None:
    """A bid "NaN" is handed on as one, a last price "NaN" raises a bare ValueError outside every class of the
    library. Here such a row is unreadable, with the reason.
    """
    venue.on("/v5/market/tickers", listing(perp_row(bid1Price="NaN")))
    bid = plain.fetch_ticker(SWAP)["bid"]
    assert bid != bid  # noqa: PLR0124 - what NaN is known by
    venue.on("/v5/market/tickers", listing(perp_row(lastPrice="NaN", prevPrice24h="60000")))
    with pytest.raises(ValueError, match="NaN"):
        plain.fetch_ticker(SWAP)
    bad = spot_row(), perp_row(bid1Price="NaN")
    venue.on("/v5/market/tickers", *(listing(row) for row in bad))
    assert exchange.snapshot().unreadable == {"BTCUSDT": "linear: bid1Price is 'NaN'"}


def test_the_timestamp_is_ours(exchange: BybitExchange, plain: Any, venue: FakeVenue) -> None:
    """Ccxt signs with the wall clock of the moment; the adapter with the instant that was written down."""
    venue.on(CREATE, PLACED)
    sell(plain)
    exchange.create(order_request(), signed_at=NOW)
    theirs, ours = (int(request.headers["X-BAPI-TIMESTAMP"]) for request in venue.to(CREATE))
    assert ours == TIME_MS
    assert abs(theirs - int(MACHINE.now().timestamp() * 1000)) < 60_000


def test_no_answer_says_whether_it_was_sent(
    plain: Any, venue: FakeVenue, clock: VirtualClock, gate: Gate
) -> None:
    """Nobody listens, or the answer is lost: to ccxt both are NetworkError; here only one of them is
    uncertain.
    """
    gone = FakeVenue()
    gone.close()
    found: list[tuple[type[BaseException], Outcome, bool]] = []
    for place in (gone, venue):
        venue.on(CREATE, Reply(how="close"))
        plain.urls["api"] = dict.fromkeys(plain.urls["api"], place.url)
        with pytest.raises(ccxt.BaseError) as caught:
            sell(plain)
        ours = connect(settings(place), clock=clock, credentials=SANDBOX_CREDENTIALS, gate=gate)
        answer = ours.create(order_request(), signed_at=NOW)
        found.append((caught.type, answer.outcome, answer.sent))
        ours.close()
    assert [kind for kind, _, _ in found] == [ccxt.NetworkError, ccxt.NetworkError]
    assert [rest for _, *rest in found] == [[Outcome.REFUSED, False], [Outcome.UNCERTAIN, True]]
