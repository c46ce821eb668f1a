"""When the venue looks at the account's risk: at once after whatever moves money, in every step of the clock
while prices could liquidate it, each minute inside a long step. Nobody is ever shown an account at 100 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import ExecKind
from fundarb.venue.engine import Venue
from fundarb.venue.feed import Happening, HappeningKind, Point
from tests.venue.test_orders import BUY, GTC, SELL, limit, sent
from tests.venue.toy import LINEAR, SECOND, SPOT, START, D, ToyFeed, coin, venue

MINUTE = timedelta(minutes=1)


@dataclass
class Spiky(ToyFeed):
    """Prices a fifth higher between two minutes of the first hour, by formula: whoever asks later sees it."""

    since: datetime = START + 2 * MINUTE
    until: datetime = START + 9 * MINUTE

    def point(self, category: Category, symbol: str, at: datetime) -> Point:
        """The toy's price, raised during the spike."""
        point = super().point(category, symbol, at)
        if not self.since <= at < self.until:
            return point
        return point._replace(mark=point.mark * D("1.22"), index=point.index * D("1.22"))


@dataclass
class Barred(ToyFeed):
    """A source that knows of a spike at half past, once it has ended, as recorded bars do."""

    spike: Decimal = D(80_000)

    def mark_range(self, symbol: str, since: datetime, *, until: datetime) -> tuple[Decimal, Decimal] | None:
        """The spike, if it lies in the range."""
        return (self.prices[symbol], self.spike) if since < START + 30 * MINUTE <= until else None


def busts(at: Venue) -> int:
    """How often the account was liquidated."""
    return sum(1 for row in at.all_fills() if row.kind is ExecKind.BUST)


def test_a_fill_brings_the_next_look_forward() -> None:
    """A small position sleeps fifteen minutes; the large one that follows is liquidated in the very step in
    which the price has passed it.
    """
    feed = ToyFeed(size=D(100))
    at = venue(feed)
    sent(at, limit(LINEAR, SELL, "0.01", "49000"))
    at.set_leverage("BTCUSDT", D(50))
    sent(at, limit(LINEAR, SELL, "15", "49000"))
    feed.prices["BTCUSDT"] = D(60_000)
    at.advance(START + SECOND)
    assert busts(at) == 1
    assert not at.held()


@pytest.mark.parametrize("steps", [1, 60])
def test_a_spike_inside_a_long_step_counts(steps: int) -> None:
    """A fifth for seven minutes liquidates a short of five times the account, however the hour is walked."""
    at = venue(Spiky(size=D(100)))
    sent(at, limit(LINEAR, SELL, "9", "49000"))
    for step in range(1, steps + 1):
        at.advance(START + step * 60 * MINUTE / steps)
        assert at.wallet().mm_rate < 1 or not at.held()
    assert busts(at) == 1
    assert START + 2 * MINUTE <= at.all_fills()[-1].time <= START + 3 * MINUTE


@pytest.mark.parametrize("seconds", [1, 20, 61, 840])
def test_no_read_shows_an_account_that_should_be_gone(seconds: int) -> None:
    """However soon after a look the price goes, whoever reads next finds the account liquidated or safe."""
    feed = ToyFeed(size=D(100))
    at = venue(feed)
    sent(at, limit(LINEAR, SELL, "5", "49000"))
    at.advance(START + MINUTE)
    feed.prices["BTCUSDT"] = D(75_000)
    at.advance(START + MINUTE + seconds * SECOND)
    assert not at.held()
    assert busts(at) == 1


def test_a_resting_fill_is_followed_by_a_look() -> None:
    """An order that fills as time moves is judged in the same step."""
    feed = ToyFeed(size=D(100))
    at = venue(feed)
    at.set_leverage("BTCUSDT", D(50))
    sent(at, limit(LINEAR, SELL, "15", "51000", time_in_force=GTC))
    feed.prices["BTCUSDT"] = D(58_000)
    at.advance(START + SECOND)
    assert busts(at) == 1


def test_collateral_that_goes_is_followed_by_a_look() -> None:
    """A scripted end of a coin's collateral, or the user's own switch, liquidates what rested on it."""
    line = Happening(
        at=START + MINUTE, kind=HappeningKind.COLLATERAL, category=SPOT, symbol="BTC", value=D(0)
    )
    for scripted in (True, False):
        feed = ToyFeed(script=(line,) if scripted else (), size=D(100))
        feed.coin_rules["BTC"] = coin("BTC", "0.95")
        at = venue(feed, None, USDT="100", BTC="2")
        at.set_leverage("BTCUSDT", D(50))
        sent(at, limit(LINEAR, BUY, "9", "51000"))
        if scripted:
            at.advance(START + MINUTE)
        else:
            at.set_collateral_switch("BTC", on=False)
        assert busts(at) == 1


@pytest.mark.parametrize(("opened", "gone"), [(29, 1), (31, 0)])
def test_a_spike_hits_only_what_was_held_then(opened: int, gone: int) -> None:
    """The extreme of a finished bar liquidates a short from before it, not one that came after."""
    at = venue(Barred(size=D(100)))
    sent(at, limit(LINEAR, SELL, "0.01", "49000"))
    sent(at, limit(LINEAR, BUY, "0.01", "51000"))
    at.advance(START + opened * MINUTE)
    sent(at, limit(LINEAR, SELL, "9", "49000"))
    at.advance(START + 40 * MINUTE)
    assert busts(at) == gone


@pytest.mark.parametrize(("ratio", "gone"), [("0.95", 0), ("0.1", 1)])
def test_in_a_spike_a_coin_is_worth_what_its_perp_is(ratio: str, gone: int) -> None:
    """A short that is covered by own coins: while the mark is more than twice as high so are they. They count
    as collateral at that price, and what must be sold is sold around it.
    """
    feed = Barred(size=D(100), spike=D(110_000))
    feed.coin_rules["BTC"] = coin("BTC", ratio)
    at = venue(feed, None, USDT="20000", BTC="2")
    sent(at, limit(LINEAR, SELL, "2", "49000"))
    at.advance(START + 40 * MINUTE)
    assert busts(at) == gone
    prices = [row.price for row in at.all_transactions() if row.kind == "SPOT_REPAYMENT_SELL"]
    assert len(prices) == 2 * gone  # both coins of the deal
    assert all(price is not None and D(85_000) < price < D(110_000) for price in prices)
    assert at.wallet().total_equity > 0
    assert at.point(SPOT, "BTCUSDT").mark == D(50_000)
