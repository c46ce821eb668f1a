"""The public side over real ccxt and real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT
from fundarb.core.instants import floor_hour, from_ms, to_ms
from fundarb.core.market import Category
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange.bybit import BybitExchange, connect
from tests.exchange.conftest import NOW, settings
from tests.exchange.server import TIME_MS, FakeVenue, Reply, Request, envelope, listing
from tests.exchange.test_tickers import perp_row, spot_row

HOUR = timedelta(hours=1)


def linear(symbol: str = "BTCUSDT", **changes: object) -> dict[str, object]:
    """A linear instrument as the venue lists it."""
    row: dict[str, object] = {
        "symbol": symbol,
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "status": "Trading",
        "symbolType": "",
        "contractType": "LinearPerpetual",
        "launchTime": "1585526400000",
        "deliveryTime": "0",
        "fundingInterval": 480,
        "upperFundingRate": "0.005",
        "lowerFundingRate": "-0.005",
        "priceFilter": {"tickSize": "0.10"},
        "lotSizeFilter": {
            "qtyStep": "0.001",
            "minOrderQty": "0.001",
            "maxOrderQty": "100",
            "maxMktOrderQty": "50",
            "minNotionalValue": "5",
        },
        "leverageFilter": {"maxLeverage": "100", "leverageStep": "0.01"},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
    }
    return row | changes


def spot(symbol: str = "BTCUSDT", **changes: object) -> dict[str, object]:
    """A spot instrument as the venue lists it."""
    row: dict[str, object] = {
        "symbol": symbol,
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "status": "Trading",
        "stTag": "0",
        "marginTrading": "both",
        "priceFilter": {"tickSize": "0.01"},
        "lotSizeFilter": {
            "basePrecision": "0.000001",
            "minOrderAmt": "5",
            "maxLimitOrderQty": "80",
            "maxMarketOrderQty": "40",
        },
    }
    return row | changes


def list_instruments(venue: FakeVenue, *contracts: dict[str, object]) -> None:
    """Answer the instrument list by category and status."""

    def answer(request: Request) -> Reply:
        params = request.params
        if params["category"] == "spot":
            return Reply(listing(spot()))
        status = params.get("status", "Trading")
        return Reply(listing(*[row for row in contracts or (linear(),) if row["status"] == status]))

    venue.on("/v5/market/instruments-info", answer)


def test_the_instrument_list_knows_contracts_in_every_state(public: BybitExchange, venue: FakeVenue) -> None:
    """Four requests: spot, linear, and by name those that end or have not begun."""
    list_instruments(
        venue,
        linear(),
        linear("OLDUSDT", status="Delivering"),
        linear("NEWUSDT", status="PreLaunch", isPreListing=True),
    )
    found = public.instruments()
    assert {symbol: perp.status for symbol, perp in found.perp.items()} == {
        "BTCUSDT": "Trading",
        "OLDUSDT": "Delivering",
        "NEWUSDT": "PreLaunch",
    }
    assert found.perp["NEWUSDT"].pre_listing
    assert public.requests_made == len(venue.requests) == 4
    perp, pair = found.perp["BTCUSDT"], found.spot["BTCUSDT"]
    assert (perp.qty_step, perp.max_market_qty, perp.listed_interval) == (
        Decimal("0.001"),
        Decimal(50),
        8 * HOUR,
    )
    assert (perp.delivery_time, perp.price_limit_x, perp.rate_cap) == (
        None,
        Decimal("0.01"),
        Decimal("0.005"),
    )
    assert (pair.qty_step, pair.min_qty, pair.min_notional) == (Decimal("0.000001"), Decimal(0), Decimal(5))
    assert (pair.max_limit_qty, pair.special_treatment, pair.margin_trading) == (Decimal(80), False, "both")


def test_more_pages_leave_out_what_is_optional(public: BybitExchange, venue: FakeVenue) -> None:
    """A longer list costs its pages first; still four requests."""

    def answer(request: Request) -> Reply:
        params = request.params
        if params["category"] == "spot":
            return Reply(listing(spot()))
        if params.get("status") == "Delivering":
            return Reply(listing())
        if "cursor" not in params:
            return Reply(listing(linear(), cursor="two"))
        return Reply(listing(linear("ETHUSDT")))

    venue.on("/v5/market/instruments-info", answer)
    assert set(public.instruments().perp) == {"BTCUSDT", "ETHUSDT"}
    assert len(venue.requests) == 4
    assert all(request.params.get("limit") == "1000" for request in venue.requests[1:])


@pytest.mark.parametrize("cursor", ["same", "ever new"])
def test_an_instrument_list_without_end_is_refused(
    public: BybitExchange, venue: FakeVenue, cursor: str
) -> None:
    """A cursor that stands still, or never ends."""

    def answer(request: Request) -> Reply:
        if request.params["category"] == "spot":
            return Reply(listing(spot()))
        return Reply(listing(linear(), cursor="x" if cursor == "same" else f"x{len(venue.requests)}"))

    venue.on("/v5/market/instruments-info", answer)
    with pytest.raises(BadAnswer, match="do not end"):
        public.instruments()


def test_an_empty_instrument_list_is_refused(public: BybitExchange, venue: FakeVenue) -> None:
    """No market at all is a fault of the answer."""
    venue.on("/v5/market/instruments-info", listing())
    with pytest.raises(BadAnswer, match="empty"):
        public.instruments()


def test_a_bad_instrument_is_left_out_and_many_are_refused(public: BybitExchange, venue: FakeVenue) -> None:
    """One unreadable row is not traded; a tenth of them means a bad answer."""
    good = [linear(f"C{number}USDT") for number in range(20)]
    list_instruments(venue, *good, linear("BADUSDT", priceFilter={"tickSize": "0"}))
    assert "BADUSDT" not in public.instruments().perp
    assert "tickSize" in public.cache.unreadable["BADUSDT"]
    list_instruments(venue, linear(), linear("BADUSDT", priceFilter={"tickSize": "NaN"}))
    with pytest.raises(BadAnswer, match="1 of 2 instruments are unreadable, BADUSDT: tickSize"):
        public.instruments(refresh=True)


def tickers(venue: FakeVenue, spot_rows: list[Any], perp_rows: list[Any]) -> None:
    """Answer both bulk requests."""
    venue.on(
        "/v5/market/tickers",
        lambda request: Reply(listing(*(spot_rows if request.params["category"] == "spot" else perp_rows))),
    )


def test_a_snapshot_is_two_requests(public: BybitExchange, venue: FakeVenue) -> None:
    """Both markets whole, with the venue's own times, nothing signed."""
    tickers(venue, [spot_row()], [perp_row()])
    snapshot = public.snapshot()
    assert len(venue.requests) == public.requests_made == 2
    assert (snapshot.spot_as_of, snapshot.perp_as_of) == (NOW, NOW)
    funding = snapshot.perp["BTCUSDT"].funding
    assert funding is not None
    assert (funding.rate, funding.interval, funding.cap) == (Decimal("0.0001"), HOUR, Decimal("0.005"))
    assert not snapshot.unreadable
    assert public.signed_requests == 0


def test_an_unreadable_row_says_of_which_market_it_is(public: BybitExchange, venue: FakeVenue) -> None:
    """Both markets use the same symbols."""
    tickers(
        venue,
        [spot_row("ETHUSDT"), spot_row(bid1Price="NaN")],
        [perp_row("ETHUSDT"), perp_row(markPrice="0"), perp_row("SOLUSDT", fundingIntervalHour="")],
    )
    snapshot = public.snapshot()
    assert snapshot.unreadable["BTCUSDT"] == "spot: bid1Price is 'NaN'; linear: markPrice is not positive: 0"
    assert snapshot.unreadable["SOLUSDT"] == "linear: funding unknown: the ticker has no fundingIntervalHour"
    assert set(snapshot.spot) == {"ETHUSDT"}
    assert set(snapshot.perp) == {"ETHUSDT", "SOLUSDT"}


@pytest.mark.parametrize(
    "body",
    [
        listing(),
        envelope({"list": {}}),
        envelope({}),
        envelope({"list": [None]}),
        listing(spot_row(symbol="")),
        listing(spot_row(symbol=None)),
        listing(spot_row(), time=1_700_000_000),
    ],
)
def test_a_bad_envelope_is_refused(public: BybitExchange, venue: FakeVenue, body: bytes) -> None:
    """No list, no rows, a row without a name, no time: nothing is decided from it."""
    venue.on("/v5/market/tickers", body)
    with pytest.raises(BadAnswer):
        public.snapshot()


def test_the_answers_time_shows_a_wrong_clock(venue: FakeVenue) -> None:
    """Without a request of its own the offset of our clock is known from any answer."""
    tickers(venue, [spot_row()], [perp_row()])
    adapter = connect(settings(venue), clock=VirtualClock(NOW - timedelta(seconds=5)))
    assert adapter.clock_offset is None
    adapter.snapshot()
    assert adapter.clock_offset == timedelta(seconds=5)
    assert adapter.server_time() == NOW
    assert adapter.round_trip == timedelta()


def test_a_book_keeps_its_order_and_time(public: BybitExchange, venue: FakeVenue) -> None:
    """Levels as sent, the engine's time if there is one."""
    sides = {"b": [["100", "1"], ["99.5", "2"]], "a": [["100.5", "3"]]}
    venue.on(
        "/v5/market/orderbook", envelope({"s": "BTCUSDT", **sides, "ts": TIME_MS, "cts": TIME_MS - 7, "u": 1})
    )
    book = public.book(Category.LINEAR, "BTCUSDT", depth=25)
    assert [level.price for level in book.bids] == [Decimal(100), Decimal("99.5")]
    assert book.as_of == from_ms(TIME_MS - 7)
    assert venue.requests[0].params == {"category": "linear", "symbol": "BTCUSDT", "limit": "25"}


@pytest.mark.parametrize(
    "changes",
    [
        {"s": "ETHUSDT"},
        {"b": None},
        {"a": {}},
        {"b": [["99", "1"], ["100", "1"]]},
        {"a": [["101", "1"], ["101", "1"]]},
        {"b": [["100", "0"]]},
        {"b": [["-1", "1"]]},
        {"a": [["101"]]},
        {"a": ["101"]},
        {"b": [["NaN", "1"]]},
        {"ts": None},
        {"ts": 1_700_000_000},
    ],
)
def test_a_book_that_contradicts_itself_is_refused(
    public: BybitExchange, venue: FakeVenue, changes: dict[str, object]
) -> None:
    """Wrong symbol, sides out of order, no quantities, no time."""
    book = {"s": "BTCUSDT", "b": [["100", "1"]], "a": [["101", "1"]], "ts": TIME_MS} | changes
    venue.on("/v5/market/orderbook", envelope(book))
    with pytest.raises(BadAnswer):
        public.book(Category.LINEAR, "BTCUSDT")


# ---------------------------------------------------------------------------------------------- funding


def history(venue: FakeVenue, hours: int) -> None:
    """A venue with hourly settlements before now, in pages of three."""
    times = [NOW - HOUR * number for number in range(hours)]

    def answer(request: Request) -> Reply:
        assert "startTime" not in request.params or "endTime" in request.params  # a start alone is an error
        begin = from_ms(int(request.params.get("startTime", 0)))
        end = from_ms(int(request.params.get("endTime", TIME_MS)))
        page = [time for time in times if begin <= time <= end][:3]
        return Reply(listing(*[settled_row(time) for time in page]))

    venue.on("/v5/market/funding/history", answer)


def settled_row(time: datetime, rate: str = "0.0001") -> dict[str, str]:
    """A settled rate as the venue lists it."""
    return {"symbol": "BTCUSDT", "fundingRate": rate, "fundingRateTimestamp": str(to_ms(time))}


def test_the_newest_settled_rates_are_one_request(public: BybitExchange, venue: FakeVenue) -> None:
    """Without a start the venue's newest page, oldest first."""
    history(venue, 9)
    found = public.settled_funding("BTCUSDT")
    assert [row.time for row in found] == [NOW - 2 * HOUR, NOW - HOUR, NOW]
    assert len(venue.requests) == 1


def test_settled_rates_are_paged_backward_to_their_start(public: BybitExchange, venue: FakeVenue) -> None:
    """Every settlement of the time asked for, both ends included, none outside."""
    history(venue, 20)
    found = public.settled_funding("BTCUSDT", since=NOW - 8 * HOUR, until=NOW - HOUR)
    assert [row.time for row in found] == [NOW - number * HOUR for number in range(8, 0, -1)]


def test_settled_rates_are_not_asked_for_where_no_hour_is_left(
    public: BybitExchange, venue: FakeVenue
) -> None:
    """The settlement of the one full hour of a window is one request: nothing older can be in it."""
    hour = floor_hour(NOW)
    venue.on("/v5/market/funding/history", listing(settled_row(hour)))
    found = public.settled_funding("BTCUSDT", since=hour - timedelta(minutes=2), until=NOW)
    assert [row.time for row in found] == [hour]
    assert len(venue.requests) == 1


def test_settled_rates_end_where_the_contract_began(public: BybitExchange, venue: FakeVenue) -> None:
    """An empty page says that there is nothing older."""
    history(venue, 4)
    assert len(public.settled_funding("BTCUSDT", since=NOW - timedelta(days=30))) == 4


@pytest.mark.parametrize(
    "row",
    [
        settled_row(NOW, "NaN"),
        settled_row(NOW, ""),
        settled_row(NOW, "0.9"),
        settled_row(NOW) | {"symbol": "ETHUSDT"},
        settled_row(NOW) | {"fundingRateTimestamp": "1700000000"},
    ],
)
def test_a_settled_rate_that_cannot_be_is_refused(public: BybitExchange, venue: FakeVenue, row: Any) -> None:
    """A hole in the history is no zero."""
    venue.on("/v5/market/funding/history", listing(row))
    with pytest.raises(BadAnswer):
        public.settled_funding("BTCUSDT")


def test_a_history_that_does_not_move_is_refused(public: BybitExchange, venue: FakeVenue) -> None:
    """Rows from after the end would be read for ever."""
    venue.on("/v5/market/funding/history", listing(settled_row(NOW)))
    with pytest.raises(BadAnswer, match="after the end"):
        public.settled_funding("BTCUSDT", since=NOW - HOUR)


# ---------------------------------------------------------------------------------------------- fees


def test_without_a_key_fees_are_the_public_schedule(public: BybitExchange, venue: FakeVenue) -> None:
    """No request at all."""
    assert public.fee_rates(Category.SPOT, "BTCUSDT") == VIP0_SPOT
    assert public.fee_rates(Category.LINEAR, "BTCUSDT") == VIP0_LINEAR
    assert venue.requests == []


def test_with_a_key_fees_are_the_accounts(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Of that symbol; demo falls back to the schedule; anything else raises."""
    row = {"symbol": "BTCUSDT", "takerFeeRate": "0.0004", "makerFeeRate": "0.0001"}
    venue.on(
        "/v5/account/fee-rate",
        listing(row),
        envelope({}, code=10032),
        envelope({}, code=10005),
        listing(row | {"symbol": "ETHUSDT"}),
        listing(row | {"symbol": "ETHUSDT"}),
        listing(row | {"symbol": "ETHUSDT"}),
        listing(row | {"takerFeeRate": "4"}),
    )
    rates = exchange.fee_rates(Category.LINEAR, "BTCUSDT")
    assert (rates.taker, rates.maker, rates.source) == (Decimal("0.0004"), Decimal("0.0001"), "account")
    assert exchange.fee_rates(Category.LINEAR, "BTCUSDT") == VIP0_LINEAR
    with pytest.raises(Unavailable, match="10005"):
        exchange.fee_rates(Category.LINEAR, "BTCUSDT")
    with pytest.raises(BadAnswer, match="no fee rate"):
        exchange.fee_rates(Category.LINEAR, "BTCUSDT")
    with pytest.raises(BadAnswer, match="absurd"):
        exchange.fee_rates(Category.LINEAR, "BTCUSDT")


def test_the_schedule_of_a_market_is_one_request(exchange: BybitExchange, venue: FakeVenue) -> None:
    """Every symbol's rates at once; demo has none; an empty, absurd or refused list is no schedule."""
    row = {"symbol": "BTCUSDT", "takerFeeRate": "0.0004", "makerFeeRate": "0.0001"}
    venue.on(
        "/v5/account/fee-rate",
        listing(row, row | {"symbol": "ETHUSDT", "takerFeeRate": "0"}),
        envelope({}, code=10032),
        envelope({}, code=10005),
        *[listing()] * 3,
        listing(row, row | {"symbol": "ETHUSDT", "takerFeeRate": "4"}),
    )
    rates = exchange.fee_schedule(Category.LINEAR)
    assert {symbol: found.taker for symbol, found in rates.items()} == {
        "BTCUSDT": Decimal("0.0004"),
        "ETHUSDT": Decimal(0),
    }
    assert [request.params for request in venue.requests if request.path == "/v5/account/fee-rate"] == [
        {"category": "linear"}
    ]
    assert exchange.fee_schedule(Category.LINEAR) == {}
    with pytest.raises(Unavailable, match="10005"):
        exchange.fee_schedule(Category.LINEAR)
    for words in ("empty list", "absurd"):
        with pytest.raises(BadAnswer, match=words):
            exchange.fee_schedule(Category.LINEAR)


def test_without_a_key_there_is_no_schedule(public: BybitExchange, venue: FakeVenue) -> None:
    """Nothing is asked, nothing is signed."""
    assert public.fee_schedule(Category.SPOT) == {}
    assert venue.requests == []


# ---------------------------------------------------------------------------------------------- cache


def test_a_warm_start_asks_for_no_instruments(venue: FakeVenue, clock: VirtualClock, tmp_path: Path) -> None:
    """A second process reads the same list from disk; the first keeps it in memory."""
    list_instruments(venue)
    first = connect(settings(venue), clock=clock, cache_dir=tmp_path)
    listed = first.instruments()
    assert first.instruments() is listed
    assert len(venue.requests) == 4
    second = connect(settings(venue), clock=clock, cache_dir=tmp_path)
    assert second.instruments() == listed
    assert second.requests_made == 0


def test_recorded_market_answers_come_through(
    public: BybitExchange, venue: FakeVenue, recorded: Callable[[str], bytes]
) -> None:
    """What the real venue once answered; a ticker from before the interval was in it has no funding."""
    files = {"spot": "market-tickers.spot-2023", "linear": "market-tickers.linear-2024"}
    venue.on("/v5/market/tickers", lambda request: Reply(recorded(files[request.params["category"]])))
    listed = "market-instruments-info.{}-btc-eth-2023"
    venue.on(
        "/v5/market/instruments-info",
        lambda request: Reply(recorded(listed.format(request.params["category"]))),
    )
    venue.on("/v5/market/orderbook", recorded("market-orderbook.spot-2024-no-seq"))
    venue.on("/v5/market/funding/history", recorded("market-funding-history.linear-two-rows"))
    instruments, snapshot = public.instruments(), public.snapshot()
    assert set(instruments.spot) == set(instruments.perp) == {"BTCUSDT", "ETHUSDT"}
    assert snapshot.perp["BTCUSDT"].mark == Decimal("68649.90")
    assert snapshot.perp["BTCUSDT"].funding is None
    assert "no fundingIntervalHour" in snapshot.unreadable["BTCUSDT"]
    assert snapshot.spot["BTCUSDT"].usd_index == Decimal("20784.12009279")
    assert not public.book(Category.SPOT, "BTCUSDT").crossed
    assert [row.rate for row in public.settled_funding("BTCUSDT")] == [Decimal("0.00015"), Decimal("0.0001")]
