"""The recorded market behind the market port: what it gives, and that a broken recording is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT
from fundarb.core.market import Category
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange.recorded import FILES, RecordedMarket, packaged
from scripts import demo_market


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The packaged files."""
    return dict(packaged())


def test_the_packaged_files_are_those_of_the_generator(texts: dict[str, str]) -> None:
    """Running the generator again changes nothing."""
    assert {name: demo_market.lines(rows) for name, rows in demo_market.market().items()} == texts
    assert tuple(texts) == FILES


def test_a_recording_stands_still(texts: dict[str, str]) -> None:
    """It makes no request, its clock is its tickers', it has no history and the public fees."""
    market = RecordedMarket(texts)
    assert market.server_time() == demo_market.AS_OF == market.snapshot().as_of == market.instruments().as_of
    assert market.requests_made == 0
    assert market.settled_funding("BTCUSDT") == ()
    assert market.fee_rates(Category.SPOT, "BTCUSDT") == VIP0_SPOT
    assert market.fee_schedule(Category.SPOT) == {}
    assert market.fee_rates(Category.LINEAR, "BTCUSDT") == VIP0_LINEAR
    assert market.snapshot().unreadable == {}


def test_every_book_begins_with_its_ticker(texts: dict[str, str]) -> None:
    """Best prices and sizes of a recorded book are those of the quotes; an unknown book is unavailable."""
    market = RecordedMarket(texts)
    snapshot = market.snapshot()
    for symbol, quote in snapshot.spot.items():
        book = market.book(Category.SPOT, symbol)
        assert (book.bids[0].price, book.bids[0].quantity) == (quote.bid, quote.bid_size)
        assert (book.asks[0].price, book.asks[0].quantity) == (quote.ask, quote.ask_size)
    with pytest.raises(Unavailable, match="no order book of NOPE"):
        market.book(Category.SPOT, "NOPE")


def broken(texts: dict[str, str], name: str, change: Callable[[Any], Any]) -> RecordedMarket:
    """A recording with one changed file."""
    return RecordedMarket({**texts, name: json.dumps(change(json.loads(texts[name])))})


@pytest.mark.parametrize(
    ("name", "change", "use"),
    [
        ("tickers-linear", lambda it: it | {"retCode": 10001}, RecordedMarket.snapshot),
        ("tickers-linear", lambda it: it | {"result": {"list": []}}, RecordedMarket.snapshot),
        (
            "tickers-linear",
            lambda it: {k: v for k, v in it.items() if k != "time"},
            RecordedMarket.server_time,
        ),
        ("instruments-spot", lambda it: it | {"result": {}}, RecordedMarket.instruments),
        ("books", lambda it: {"spot:X": it["spot:BTCUSDT"]}, lambda market: market.book(Category.SPOT, "X")),
    ],
)
def test_a_broken_recording_is_a_bad_answer(
    texts: dict[str, str], name: str, change: Callable[[Any], Any], use: Callable[[RecordedMarket], object]
) -> None:
    """Recorded answers pass the same strict reading as live ones."""
    with pytest.raises(BadAnswer):
        use(broken(texts, name, change))
