"""The paper account: live books, its own durable file, catch-up after a pause, never a private request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.account import FeeRates
from fundarb.core.market import Book, Category, Instruments, Level, MarketSnapshot, SettledFunding
from fundarb.core.orders import OrderRequest, OrderStatus, Outcome, Side
from fundarb.engine.ports import Exchange
from fundarb.errors import ConfigError, InvariantBroken, Unavailable
from fundarb.exchange.local import LocalExchange
from fundarb.exchange.paper import PaperAccount, PaperExchange
from fundarb.venue.feed import Bar
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, ToyFeed, perp, spot, venue

LATENCY = timedelta(milliseconds=200)
MINUTE = timedelta(minutes=1)


class Live:
    """The real venue's public side, over a toy market; counts, breaks and delays what it is told to."""

    def __init__(self, feed: ToyFeed, clock: VirtualClock) -> None:
        self.feed = feed
        self.clock = clock
        self.real = LocalExchange(venue(feed), None, clock=clock)
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.publish_after = timedelta()

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if name in self.broken:
            raise Unavailable(f"{name}: no answer")

    @property
    def requests_made(self) -> int:
        """How often it was asked."""
        return len(self.calls)

    @property
    def clock_offset(self) -> timedelta:
        """One clock for all."""
        return timedelta()

    def server_time(self) -> datetime:
        """The clock."""
        return self.clock.now()

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Of the toy market."""
        return self.real.instruments(refresh=refresh)

    def snapshot(self) -> MarketSnapshot:
        """Of the toy market."""
        self._count("snapshot")
        return self.real.snapshot()

    def book(self, category: Category, symbol: str, depth: int = 50) -> Book:
        """Of the toy market."""
        self._count("book")
        return self.real.book(category, symbol, depth=depth)

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Of the toy market, as far as it is published."""
        self._count("settled_funding")
        rows = self.real.settled_funding(symbol, since=since, until=until)
        return tuple(row for row in rows if row.time + self.publish_after <= self.clock.now())

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """The schedule."""
        return self.real.fee_rates(category, symbol)

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:
        """Nothing of one's own."""
        assert category
        return {}


class LiveWithBars(Live):
    """A venue that also offers mark bars."""

    bars: Sequence[Bar] = ()

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """As given."""
        assert symbol
        assert step in {timedelta(minutes=1), timedelta(minutes=15)}
        assert since < until
        return tuple(self.bars)


def bar(start: datetime, price: str) -> Bar:
    """A bar in which nothing happened."""
    return Bar(start, D(price), D(price), D(price), D(price), D(0), D(0))


class World:
    """One market, one clock, one account file; ``open`` starts a new process."""

    def __init__(self, folder: Path, live: type[Live] = Live) -> None:
        self.clock = VirtualClock(START)
        self.feed = ToyFeed()
        self.live = live(self.feed, self.clock)
        self.path = folder / "paper.json"

    def open(self, **changes: object) -> PaperExchange:
        """A paper exchange as a new command would build it."""
        account = PaperAccount(path=self.path, balances={"USDT": D(60_000)}, latency=LATENCY)
        return PaperExchange(self.live, replace(account, **changes), clock=self.clock, gate=None)  # type: ignore[arg-type]

    def hedged(self) -> PaperExchange:
        """An account that is long spot and short the perp, half a coin each."""
        paper = self.open()
        assert self.send(paper, "fa-s", SPOT, Side.BUY, "0.5005") is OrderStatus.FILLED
        assert self.send(paper, "fa-p", LINEAR, Side.SELL, "0.5") is OrderStatus.FILLED
        return paper

    def send(
        self, paper: PaperExchange, link: str, category: Category, side: Side, quantity: str
    ) -> OrderStatus | None:
        """Create at a far cap and look the order up."""
        mid = self.feed.prices["BTCUSDT"]
        order = OrderRequest(
            link_id=link,
            category=category,
            symbol="BTCUSDT",
            side=side,
            quantity=D(quantity),
            limit_price=mid + 500 * side.sign,
        )
        answer = paper.create(order, signed_at=self.clock.now())
        if answer.outcome is not Outcome.ACCEPTED:
            return None
        report = paper.order_realtime(category, "BTCUSDT", link_id=link)
        assert report is not None
        return report.status


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return World(tmp_path)


def test_it_is_an_exchange(world: World) -> None:
    """The adapter satisfies the engine's port and fetches nothing before it is used."""
    exchange: Exchange = world.open()
    assert exchange.requests_made == 0
    assert not world.path.exists()


def test_orders_meet_the_live_book_after_the_latency(world: World) -> None:
    """The price that counts is the one 200 ms later; the request travels on the clock."""
    paper = world.open()
    world.send(paper, "fa-0", SPOT, Side.BUY, "0.1")
    world.clock.sleep(10 * MINUTE)
    world.feed.size = D("0.2")
    answer_at = world.clock.now()
    assert world.send(paper, "fa-1", SPOT, Side.BUY, "0.5") is OrderStatus.FILLED
    assert world.clock.now() == answer_at + LATENCY
    rows = paper.executions_of(SPOT, "BTCUSDT", link_id="fa-1")
    assert [row.price for row in rows] == [D(50_005), D(50_015), D(50_025)]
    assert rows[0].fee_coin == "BTC"
    assert "book" in world.live.calls


def test_the_account_is_kept_between_commands(world: World) -> None:
    """A second command finds uid, balances, orders and executions of the first."""
    first = world.hedged()
    uid = first.account().uid
    wallet = first.wallet()
    second = world.open()
    assert second.account().uid == uid
    assert uid.startswith("paper-")
    assert second.wallet().owned("BTC") == D("0.4999995")
    assert second.wallet() == wallet
    assert second.positions() == first.positions()
    assert len(second.executions(SPOT, START, until=world.clock.now())) == 1
    duplicate = second.create(
        OrderRequest(
            link_id="fa-s",
            category=SPOT,
            symbol="BTCUSDT",
            side=Side.BUY,
            quantity=D("0.5"),
            limit_price=D(50_500),
        ),
        signed_at=world.clock.now(),
    )
    assert duplicate.outcome is Outcome.EXISTS


def test_an_account_exists_from_the_first_look(world: World) -> None:
    """The uid that a database was told is the uid of every later process, although nothing was traded."""
    uid = world.open().account().uid
    world.clock.sleep(HOUR)
    assert world.open().account().uid == uid


def test_another_file_is_another_account(world: World, tmp_path: Path) -> None:
    """The uid is made from when, where and with what the account was begun."""
    other = world.open(path=tmp_path / "other.json")
    assert other.account().uid != world.open().account().uid


def test_an_order_is_on_disk_before_it_is_matched(world: World) -> None:
    """The book cannot be had after the acknowledgement: a new process finds the order and matches it."""
    paper = world.open()
    world.send(paper, "fa-0", SPOT, Side.BUY, "0.1")
    world.live.broken.add("book")
    order = OrderRequest(
        link_id="fa-1",
        category=SPOT,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=D("0.5"),
        limit_price=D(50_500),
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    with pytest.raises(Unavailable):
        paper.order_realtime(SPOT, "BTCUSDT", link_id="fa-1")
    world.live.broken.clear()
    world.feed.prices["BTCUSDT"] = D(50_300)
    again = world.open()
    report = again.order_realtime(SPOT, "BTCUSDT", link_id="fa-1")
    assert report is not None
    assert (report.status, report.average_price) == (OrderStatus.FILLED, D(50_305))


def test_an_unreachable_market_sends_nothing(world: World) -> None:
    """Without quotes a create is held back, certainly not executed."""
    paper = world.open()
    world.live.broken.add("snapshot")
    order = OrderRequest(
        link_id="fa-1",
        category=SPOT,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=D("0.5"),
        limit_price=D(50_500),
    )
    answer = paper.create(order, signed_at=world.clock.now())
    assert (answer.outcome, answer.sent) == (Outcome.REFUSED, False)
    world.live.broken.clear()
    assert paper.order_realtime(SPOT, "BTCUSDT", link_id="fa-1") is None


def test_a_full_disk_means_no_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the account cannot be written, the order never happened: not in memory, not on disk."""
    paper = world.open()
    assert world.send(paper, "fa-0", SPOT, Side.BUY, "0.1") is OrderStatus.FILLED

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert world.send(paper, "fa-1", SPOT, Side.BUY, "0.1") is None
    monkeypatch.undo()
    assert paper.order_realtime(SPOT, "BTCUSDT", link_id="fa-1") is None
    assert paper.wallet().owned("BTC") == D("0.0999")
    assert list(world.path.parent.glob("*.tmp")) == []


def test_funding_of_a_running_account(world: World) -> None:
    """A daemon that looks every minute gets each settlement once, at its instant."""
    paper = world.hedged()
    while world.clock.now() < START + 17 * HOUR:
        world.clock.sleep(7 * MINUTE)
        paper.wallet()
    rows = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert [(row.time, row.funding) for row in rows] == [
        (START + 8 * HOUR, D("2.5")),
        (START + 16 * HOUR, D("2.5")),
    ]


def test_funding_missed_during_a_pause_comes_from_the_venue_s_history(world: World) -> None:
    """Three days away: nine settlements at the venue's own rates, and it says how they were valued."""
    world.hedged()
    world.clock.sleep(72 * HOUR)
    world.feed.rate = D("0.0002")
    paper = world.open()
    paper.wallet()
    rows = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert [row.time for row in rows] == [START + 8 * HOUR * k for k in range(1, 10)]
    assert {row.funding for row in rows} == {D(5)}
    assert paper.caught_up is not None
    assert (paper.caught_up.settlements, paper.caught_up.marks, paper.caught_up.liquidated) == (
        9,
        "current",
        (),
    )
    again = world.open()
    assert again.transactions(START, world.clock.now()) == paper.transactions(START, world.clock.now())


def test_marks_of_the_past_are_used_where_the_market_offers_them(tmp_path: Path) -> None:
    """A settlement is valued at the opening mark of its bar, and a spike on the way liquidates the short."""
    world = World(tmp_path, LiveWithBars)
    assert isinstance(world.live, LiveWithBars)
    world.hedged()
    world.clock.sleep(9 * HOUR)
    step = timedelta(minutes=15)
    flat = [bar(START + step * k, "40000") for k in range(36)]
    world.live.bars = flat
    calm = world.open()
    calm.wallet()
    (row,) = [row for row in calm.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert (row.price, row.funding) == (D(40_000), D(2))
    assert calm.caught_up is not None
    assert calm.caught_up.marks == "history"


def test_a_spike_on_the_way_liquidates(tmp_path: Path) -> None:
    """The worst mark of a bar counts against the position although the price is back now."""
    world = World(tmp_path, LiveWithBars)
    assert isinstance(world.live, LiveWithBars)
    world.hedged()
    world.clock.sleep(5 * HOUR)
    step = timedelta(minutes=15)
    bars = [bar(START + step * k, "50000") for k in range(20)]
    bars[8] = bars[8]._replace(high=D(500_000))
    world.live.bars = bars
    paper = world.open()
    assert paper.positions() == ()
    assert paper.caught_up is not None
    assert paper.caught_up.liquidated == ("BTCUSDT",)


def test_a_rate_that_is_published_late_is_waited_for_and_never_lost(world: World) -> None:
    """Within ninety seconds the account waits; a trade in between goes on, and the rate is booked when it
    comes.
    """
    paper = world.hedged()
    world.live.publish_after = timedelta(minutes=10)
    world.clock.advance_to(START + 8 * HOUR + MINUTE)
    paper.wallet()
    assert paper.venue.now < START + 8 * HOUR
    world.clock.sleep(timedelta(seconds=5))
    assert world.send(paper, "fa-c", LINEAR, Side.BUY, "0.5") is OrderStatus.FILLED
    assert paper.positions() == ()
    world.clock.sleep(11 * MINUTE)
    paper.wallet()
    world.clock.sleep(2 * MINUTE)
    paper.wallet()
    rows = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert [row.funding for row in rows] == [D("2.5")]


@pytest.mark.parametrize(
    "pauses", [[8 * HOUR] * 9, [72 * HOUR]], ids=["a look at each settlement", "one pause of three days"]
)
def test_a_look_just_after_a_settlement_loses_none(world: World, pauses: list[timedelta]) -> None:
    """Whoever looks five seconds after a settlement, its rate not yet out, finds it booked later; one that
    came between two looks too.
    """
    world.hedged()
    world.live.publish_after = timedelta(seconds=20)
    world.clock.advance_to(START + timedelta(seconds=5))
    for pause in pauses:
        world.clock.sleep(pause)
        world.open().wallet()
    world.clock.sleep(5 * MINUTE)
    paper = world.open()
    paper.wallet()
    rows = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert [row.time for row in rows] == [START + number * 8 * HOUR for number in range(1, 10)]


def test_an_instant_that_was_none_is_given_up(world: World) -> None:
    """Where the interval was changed unannounced, the instant of the old one is no settlement and nobody goes
    on asking for it.
    """
    paper = world.hedged()
    world.clock.advance_to(START + 9 * HOUR)
    paper.wallet()
    world.live.publish_after = timedelta(minutes=10)
    world.live.feed.interval = 12 * HOUR
    world.clock.advance_to(START + 16 * HOUR + 2 * MINUTE)
    paper.wallet()
    world.clock.advance_to(START + 24 * HOUR + 15 * MINUTE)
    paper.wallet()
    asked = world.live.calls.count("settled_funding")
    world.clock.sleep(2 * MINUTE)
    paper.wallet()
    assert world.live.calls.count("settled_funding") == asked


def test_a_contract_delisted_meanwhile_is_settled(world: World) -> None:
    """The venue lists it no more: the position is delivered at the last index, the spot stays."""
    world.hedged()
    world.clock.sleep(3 * HOUR)
    world.live.real.venue.advance(world.clock.now())
    world.live.real.venue.world.delist("BTCUSDT", world.clock.now())
    paper = world.open()
    assert paper.positions() == ()
    rows = paper.executions(LINEAR, START, until=world.clock.now())
    assert [row.kind.value for row in rows] == ["Trade", "Delivery"]
    assert paper.wallet().owned("BTC") == D("0.4999995")


def test_a_coin_listed_after_the_start_can_be_traded(world: World) -> None:
    """An unknown symbol makes the account look at the instruments again."""
    paper = world.hedged()
    world.feed.listed = (*world.feed.listed, spot("NEWUSDT"), perp("NEWUSDT"))
    world.feed.prices["NEWUSDT"] = D(100)
    world.live.real = LocalExchange(venue(world.feed), None, clock=world.clock)
    order = OrderRequest(
        link_id="fa-n", category=SPOT, symbol="NEWUSDT", side=Side.BUY, quantity=D(1), limit_price=D(105)
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    assert paper.wallet().owned("NEW") == D("0.999")
    assert len(paper.positions()) == 1


def test_a_reader_never_writes(world: World) -> None:
    """A readonly account sees everything and leaves the file as it is."""
    world.hedged()
    before = world.path.read_bytes()
    world.clock.sleep(9 * HOUR)
    reader = world.open(readonly=True)
    reader.wallet()
    assert any(row.kind == "SETTLEMENT" for row in reader.transactions(START, world.clock.now()))
    assert world.path.read_bytes() == before


def test_two_writers_do_not_overwrite_each_other(world: World) -> None:
    """A file that another process has written meanwhile is not written again."""
    one = world.hedged()
    two = world.open()
    assert world.send(two, "fa-2", SPOT, Side.BUY, "0.1") is OrderStatus.FILLED
    with pytest.raises(InvariantBroken):
        world.send(one, "fa-3", SPOT, Side.BUY, "0.1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1}',
        '{"format": 1, "created": "x", "live": {}, "quotes": {"a": ["b"]}, "instruments": [], "venue": {}}',
    ],
)
def test_a_damaged_file_is_named_with_a_remedy(world: World, text: str) -> None:
    """Whatever is wrong with it: one ConfigError that names the file and what to do."""
    world.path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        world.open().wallet()
    assert str(world.path) in str(caught.value)
    assert caught.value.problems[0].remedy


def test_the_file_is_private_and_exact(world: World) -> None:
    """Readable by its owner only; every number in it is text."""
    world.hedged()
    assert world.path.stat().st_mode & 0o077 == 0

    def floats(value: object) -> bool:
        if isinstance(value, dict):
            return any(floats(item) for item in value.values())
        if isinstance(value, list):
            return any(floats(item) for item in value)
        return isinstance(value, float)

    assert not floats(json.loads(world.path.read_text()))


def test_an_idle_account_asks_for_nothing(world: World) -> None:
    """With cash only, reading the wallet costs no request."""
    paper = world.open()
    assert paper.wallet().owned("USDT") == Decimal(60_000)
    assert paper.positions() == ()
    assert paper.requests_made == 0


def test_a_thin_live_book_fills_partly(world: World) -> None:
    """What the book does not hold within the cap is cancelled."""
    paper = world.open()
    world.send(paper, "fa-0", SPOT, Side.BUY, "0.01")
    world.live.real.venue.world.book(SPOT, "BTCUSDT", bids=(), asks=(Level(D(50_010), D("0.2")),))
    world.clock.sleep(timedelta(seconds=5))
    assert world.send(paper, "fa-1", SPOT, Side.BUY, "0.5") is OrderStatus.PARTIALLY_FILLED_CANCELED
