"""Mark price bars over real ccxt and real HTTP, from the sandbox's own kline endpoint shape."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.instants import from_ms, to_ms
from fundarb.errors import BadAnswer
from fundarb.exchange.bybit import BybitExchange
from tests.exchange.conftest import NOW
from tests.exchange.server import FakeVenue, Reply, Request, envelope

STEP = timedelta(minutes=15)
PATH = "/v5/market/mark-price-kline"


def bars(request: Request) -> Reply:
    """Two bars a page, newest first, as the venue pages backward."""
    begin, end = int(request.params["start"]), int(request.params["end"])
    width = int(STEP.total_seconds() * 1000)
    last = end - end % width
    starts = [start for start in (last, last - width) if start >= begin]
    return Reply(envelope({"list": [[str(start), "100", "102", "99", "101"] for start in starts]}))


def test_bars_are_paged_backward_and_come_oldest_first(venue: FakeVenue, public: BybitExchange) -> None:
    """Every bar of the window arrives once, in order, however small the venue's pages are."""
    venue.on(PATH, bars)
    found = public.mark_bars("BTCUSDT", step=STEP, since=NOW - 6 * STEP, until=NOW)
    starts = [bar.start for bar in found]
    assert starts == sorted(set(starts))
    assert len(starts) >= 6
    assert all(from_ms(to_ms(start)) == start for start in starts)
    assert found[0].close == Decimal(101)


def test_a_bar_that_contradicts_itself_is_a_bad_answer(venue: FakeVenue, public: BybitExchange) -> None:
    """A bar whose low is above its close is not used."""
    venue.on(PATH, envelope({"list": [["1", "100", "102", "101.5", "101"]]}))
    with pytest.raises(BadAnswer):
        public.mark_bars("BTCUSDT", step=STEP, since=NOW - STEP, until=NOW)


def test_a_length_that_the_venue_lacks_is_refused(public: BybitExchange) -> None:
    """Seven-minute bars are asked of nobody."""
    with pytest.raises(ValueError, match="no bars"):
        public.mark_bars("BTCUSDT", step=timedelta(minutes=7), since=NOW - STEP, until=NOW)
