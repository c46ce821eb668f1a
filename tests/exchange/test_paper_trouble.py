"""The paper account when a read fails at the wrong moment, a symbol is gone, or the machine's clock is set
back: it goes on, and what it has shown is on disk.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot, SettledFunding
from fundarb.core.orders import OrderReport, OrderRequest, OrderStatus, Outcome, Side
from fundarb.errors import FundarbError, OtherAccount, Rejected, Unavailable
from fundarb.exchange.paper import PaperExchange
from fundarb.exchange.strict import VenueRefused
from fundarb.venue.feed import Bar
from tests.exchange.test_paper import Live, LiveWithBars, World
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
UNKNOWN = (VenueRefused("the venue answered 10001: symbol invalid", code=10001),
           VenueRefused("the venue answered 170121: Invalid symbol.", code=170121),
           Rejected("params error: symbol invalid", code=10001))  # fmt: skip
"""How an adapter says that it knows nothing of a symbol."""


def closing(world: World, category: Category, link: str = "fa-close") -> OrderRequest:
    """An order that takes the half coin back which the account holds."""
    side = Side.SELL if category is SPOT else Side.BUY
    return OrderRequest(
        link_id=link,
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=D("0.4"),
        limit_price=world.feed.prices["BTCUSDT"] + 500 * side.sign,
        reduce_only=category is LINEAR,
    )


def ended(paper: PaperExchange, category: Category, link: str = "fa-close") -> OrderReport | None:
    """The order, if it has ended."""
    return paper.order_history(category, "BTCUSDT", link_id=link)


# ------------------------------------------------------------------------------------------ failing reads


class Failing(LiveWithBars):
    """A venue whose next read of rates raises what it is told to."""

    error: FundarbError | None = None

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Or raises."""
        if self.error is not None:
            raise self.error
        return super().settled_funding(symbol, since=since, until=until)


@pytest.mark.parametrize("error", [Unavailable("no answer"), OtherAccount("another market")])
def test_what_a_look_has_shown_is_on_disk(tmp_path: Path, error: FundarbError) -> None:
    """A fill that was matched in a look which failed afterwards, and was shown by the next one, is there for
    the next process.
    """
    world = World(tmp_path, Failing)
    assert isinstance(world.live, Failing)
    paper = world.hedged()
    world.live.publish_after = 10 * MINUTE
    world.clock.advance_to(START + 8 * HOUR - SECOND)
    paper.positions()
    world.clock.advance_to(START + 8 * HOUR + 2 * MINUTE)
    paper.positions()  # goes on without the rate
    world.clock.sleep(55 * SECOND)
    world.live.broken = {"book"}
    assert paper.create(closing(world, LINEAR), signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    world.live.broken = set()
    world.live.error = error
    world.clock.sleep(8 * SECOND)
    try:
        paper.positions()
    except OtherAccount:
        assert isinstance(error, OtherAccount)
    world.live.error = None
    world.clock.sleep(SECOND)
    report = ended(paper, LINEAR)
    assert report is not None
    assert report.status is OrderStatus.FILLED
    world.feed.prices["BTCUSDT"] *= D("1.02")
    world.clock.sleep(20 * SECOND)
    again = world.open()
    assert ended(again, LINEAR) == report
    assert [row.size for row in again.positions()] == [D("-0.1")]


def test_a_late_rate_that_cannot_be_asked_for_stops_nothing(tmp_path: Path) -> None:
    """While the venue does not answer for a rate that is late the account can be looked at, and the rate is
    booked once it can be had.
    """
    world = World(tmp_path, Failing)
    assert isinstance(world.live, Failing)
    paper = world.hedged()
    world.live.publish_after = 10 * MINUTE
    for minutes in (-1, 2):
        world.clock.advance_to(START + 8 * HOUR + minutes * MINUTE)
        paper.positions()
    world.live.publish_after = timedelta()
    world.live.error = Unavailable("no answer")
    world.clock.sleep(2 * MINUTE)
    assert len(paper.positions()) == 1
    world.live.error = None
    world.clock.sleep(2 * MINUTE)
    paper.positions()
    rows = paper.transactions(START, world.clock.now())
    assert [row.funding for row in rows if row.kind == "SETTLEMENT"] == [D("2.5")]


class Growing(LiveWithBars):
    """A contract that settled hourly until four o'clock and every eight hours since; what it publishes when
    is told by the test.
    """

    published: tuple[int, ...] = ()

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """What is out."""
        times = [START + hour * HOUR for hour in self.published]
        return tuple(
            SettledFunding(symbol=symbol, rate=D("0.0001"), time=time)
            for time in times
            if (since or START) <= time <= (until or time)
        )


def test_rates_between_two_looks_may_all_be_late(tmp_path: Path) -> None:
    """The interval grows while nobody looks, and two rates come out very late: each settlement is booked
    once, and no hour at which there was none.
    """
    world = World(tmp_path, Growing)
    assert isinstance(world.live, Growing)
    world.feed.interval = HOUR
    paper = world.hedged()
    paper.positions()
    world.feed.interval = 8 * HOUR
    world.live.published = (1, 2, 3)
    world.clock.advance_to(START + 8 * HOUR + 3 * MINUTE)
    paper.positions()
    world.live.published = (1, 2, 3, 4)
    world.clock.sleep(2 * MINUTE)
    paper.positions()
    world.live.published = (1, 2, 3, 4, 8)
    paper = world.open()
    for _ in range(3):
        world.clock.sleep(2 * MINUTE)
        paper.positions()
    rows = paper.transactions(START, world.clock.now())
    assert [row.funding for row in rows if row.kind == "SETTLEMENT"] == [D("2.5")] * 5


# ------------------------------------------------------------------------------------------ gone symbols


class Delisting(LiveWithBars):
    """A venue that refuses every question about a contract which it has delisted."""

    refusal: FundarbError | None = None

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """Or refused."""
        self._refuse()
        return super().mark_bars(symbol, step=step, since=since, until=until)

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Or refused."""
        self._refuse()
        return super().settled_funding(symbol, since=since, until=until)

    def ended(self, symbol: str) -> datetime | None:
        """Or refused."""
        assert symbol
        self._refuse()
        return None

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal


@pytest.mark.parametrize("refusal", UNKNOWN)
def test_a_delisted_contract_does_not_lock_the_account_up(tmp_path: Path, refusal: FundarbError) -> None:
    """A day after a contract was delisted unseen, with a settlement of it due, the venue knows nothing of the
    symbol any more: the position is delivered and the spot leg can be sold.
    """
    world = World(tmp_path, Delisting)
    assert isinstance(world.live, Delisting)
    world.hedged()
    world.clock.sleep(30 * HOUR)
    world.live.real.venue.advance(world.clock.now())
    world.live.real.venue.world.delist("BTCUSDT", world.clock.now())
    world.live.refusal = refusal
    paper = world.open()
    assert paper.positions() == ()
    world.clock.sleep(2 * MINUTE)
    assert paper.create(closing(world, SPOT), signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    report = ended(paper, SPOT)
    assert report is not None
    assert report.filled == D("0.4")
    asked = len(world.live.calls)
    for _ in range(3):
        world.clock.sleep(2 * MINUTE)
        paper.positions()
    assert "settled_funding" not in world.live.calls[asked:]


@pytest.mark.parametrize("code", [10016, 10006])
def test_a_venue_that_does_not_answer_is_no_delisting(tmp_path: Path, code: int) -> None:
    """An outage or a limit is not taken for a symbol that is gone: the look fails, and nothing is
    delivered.
    """
    world = World(tmp_path, Delisting)
    assert isinstance(world.live, Delisting)
    paper = world.hedged()
    world.clock.sleep(30 * HOUR)
    world.live.refusal = VenueRefused("the venue answered", code=code)
    with pytest.raises(Unavailable):
        paper.positions()
    world.live.refusal = None
    assert len(paper.positions()) == 1


class NoBook(Live):
    """A venue that has no book of a spot pair, and perhaps no quote of it either."""

    error: FundarbError | None = None
    gone = False

    def book(self, category: Category, symbol: str, depth: int = 50) -> Book:
        """Or raises."""
        if self.error is not None and category is SPOT:
            raise self.error
        return super().book(category, symbol, depth)

    def snapshot(self) -> MarketSnapshot:
        """Or without the pair."""
        found = super().snapshot()
        spot = {} if self.gone else found.spot
        return MarketSnapshot(
            spot=spot, perp=found.perp, spot_as_of=found.spot_as_of, perp_as_of=found.perp_as_of
        )


@pytest.mark.parametrize("refusal", UNKNOWN)
@pytest.mark.parametrize("gone", [False, True])
def test_an_order_of_a_pair_that_is_gone_is_cancelled(
    tmp_path: Path, refusal: FundarbError, *, gone: bool
) -> None:
    """The venue knows nothing of the pair any more: its order ends unfilled at once, as at the exchange, and
    the other orders go on.
    """
    world = World(tmp_path, NoBook)
    assert isinstance(world.live, NoBook)
    paper = world.hedged()
    world.live.error, world.live.gone = refusal, gone
    world.clock.sleep(5 * MINUTE)
    assert paper.create(closing(world, SPOT), signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    report = ended(paper, SPOT)
    assert report is not None
    assert (report.status, report.filled) == (OrderStatus.CANCELLED, D(0))
    paper.create(closing(world, LINEAR, "fa-perp"), signed_at=world.clock.now())
    report = ended(paper, LINEAR, "fa-perp")
    assert report is not None
    assert report.status is OrderStatus.FILLED


class Unlisted(NoBook):
    """A venue that lists nothing of a market any more."""

    gone_from: Category | None = None

    def book(self, category: Category, symbol: str, depth: int = 50) -> Book:
        """No book of anything."""
        raise self.error or Unavailable("no answer")

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Without it."""
        found = super().instruments(refresh=refresh)
        return Instruments(
            spot={} if self.gone_from is SPOT else found.spot,
            perp={} if self.gone_from is LINEAR else found.perp,
            as_of=found.as_of,
        )


@pytest.mark.parametrize(("category", "side"), [(SPOT, Side.BUY), (LINEAR, Side.SELL)])
def test_an_order_of_an_unlisted_symbol_is_cancelled_by_the_next_process(
    tmp_path: Path, category: Category, side: Side
) -> None:
    """An order that still waits for its book when the process ends, of a symbol that the next one finds
    neither listed nor quoted nor with a book: it ends unfilled.
    """
    world = World(tmp_path, Unlisted)
    assert isinstance(world.live, Unlisted)
    paper = world.open()
    order = OrderRequest(
        link_id="fa-1",
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=D("0.1"),
        limit_price=world.feed.prices["BTCUSDT"] + 500 * side.sign,
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    world.live.gone_from, world.live.gone = category, category is SPOT
    world.live.error = UNKNOWN[0]
    world.clock.sleep(MINUTE)
    report = ended(world.open(), category, "fa-1")
    assert report is not None
    assert (report.status, report.filled) == (OrderStatus.CANCELLED, D(0))


def test_a_book_that_cannot_be_had_blocks_for_seconds_only(tmp_path: Path) -> None:
    """An order waits ten seconds for its book and is cancelled unfilled then, as long as there are quotes at
    all; meanwhile and afterwards nothing is lost.
    """
    world = World(tmp_path, NoBook)
    assert isinstance(world.live, NoBook)
    paper = world.hedged()
    world.live.error = Unavailable("no answer")
    assert paper.create(closing(world, SPOT), signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    world.clock.sleep(9 * SECOND)
    with pytest.raises(Unavailable):
        paper.positions()
    world.clock.sleep(2 * SECOND)
    assert len(paper.positions()) == 1
    report = ended(world.open(), SPOT)
    assert report is not None
    assert (report.status, report.filled) == (OrderStatus.CANCELLED, D(0))


# ------------------------------------------------------------------------------------------ the clock


class Stepping(VirtualClock):
    """The machine's clock, which somebody sets; the venue has its own, ``true``."""

    def __init__(self) -> None:
        super().__init__(START)
        self.true = VirtualClock(START)
        self.step = timedelta()

    def now(self) -> datetime:
        """As it was set."""
        return self.true.now() + self.step

    def monotonic(self) -> timedelta:
        """Nobody sets this one."""
        return self.true.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Time passes for both."""
        self.true.sleep(duration)


def stepping(tmp_path: Path) -> tuple[World, Stepping]:
    """A world on a clock that can be set."""
    world, clock = World(tmp_path), Stepping()
    world.clock, world.live = clock, Live(world.feed, clock.true)
    return world, clock


def test_a_clock_that_is_set_back_hides_nothing(tmp_path: Path) -> None:
    """An hour back between the two legs: the second order and its fill can be read at once, by this process
    and the next.
    """
    world, clock = stepping(tmp_path)
    paper = world.open()
    assert world.send(paper, "fa-s", SPOT, Side.BUY, "0.5005") is OrderStatus.FILLED
    clock.sleep(2 * HOUR)
    paper.wallet()
    clock.step = -HOUR
    assert world.send(paper, "fa-p", LINEAR, Side.SELL, "0.5") is OrderStatus.FILLED
    for process in (paper, world.open()):
        assert ended(process, LINEAR, "fa-p") is not None
        (row,) = process.executions_of(LINEAR, "BTCUSDT", link_id="fa-p")
        assert row.quantity == D("0.5")
        clock.sleep(30 * MINUTE)


def test_quotes_grow_old_whatever_the_clock_is_set_to(tmp_path: Path) -> None:
    """After an hour back positions are valued from quotes of the last seconds all the same."""
    world, clock = stepping(tmp_path)
    world.hedged()
    paper = world.open()
    paper.positions()
    clock.step = -HOUR
    clock.sleep(MINUTE)
    world.feed.prices["BTCUSDT"] = D(51_000)
    assert [row.unrealised_pnl for row in paper.positions()] == [D("-502.5")]
