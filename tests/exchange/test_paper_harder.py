"""Where a paper account is easily kinder than the venue: old quotes, old books, gaps, margin, a second
process.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot
from fundarb.core.orders import ExecKind, OrderRequest, OrderStatus, Outcome, Side, TimeInForce
from fundarb.errors import ConfigError, Locked, Rejected, Unavailable
from fundarb.exchange.local import LocalExchange
from fundarb.exchange.paper import MarginTerms, MarkHistory
from fundarb.exchange.paper_feed import assumed_tiers
from fundarb.venue.feed import Bar, CollateralTier, RiskTier
from tests.exchange.test_paper import Live, LiveWithBars, World, bar
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, ToyFeed, perp, spot, venue

MINUTE = timedelta(minutes=1)
STEP = timedelta(minutes=15)
Row = TypeVar("Row")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh world."""
    return World(tmp_path)


class SlowBooks(Live):
    """A venue whose matching engine told its last book a while ago."""

    age = timedelta(minutes=1)

    def book(self, category: Category, symbol: str, depth: int = 50) -> Book:
        """The same book, older."""
        return replace(super().book(category, symbol, depth), as_of=self.clock.now() - self.age)


def test_an_old_book_fills_nothing(tmp_path: Path) -> None:
    """A book of a minute ago is no offer: the order is cancelled without a fill, not filled at a price of
    then.
    """
    world = World(tmp_path, SlowBooks)
    paper = world.open()
    assert world.send(paper, "fa-1", SPOT, Side.BUY, "0.1") is OrderStatus.CANCELLED
    assert paper.wallet().owned("BTC") == 0


def test_quotes_of_the_present_do_not_fill_in_the_past(world: World) -> None:
    """A resting order of a process that ended fills at the next look at most what the book shows then,
    once.
    """
    world.feed.size = D("0.1")
    paper = world.open()
    order = OrderRequest(
        link_id="fa-r",
        category=LINEAR,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=D("0.4"),
        limit_price=D(49_000),
        time_in_force=TimeInForce.GTC,
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    world.feed.prices["BTCUSDT"] = D(48_995)
    world.clock.sleep(3 * HOUR)
    again = world.open()
    report = again.order_realtime(LINEAR, "BTCUSDT", link_id="fa-r")
    assert report is not None
    assert report.filled == D("0.1")
    (row,) = again.executions_of(LINEAR, "BTCUSDT", link_id="fa-r")
    assert row.time == world.clock.now()


def test_the_price_of_the_click_is_not_the_price_of_the_fill(world: World) -> None:
    """While the request travels the market runs away beyond the cap: nothing fills."""
    paper = world.open()
    world.send(paper, "fa-0", SPOT, Side.BUY, "0.01")
    slept = world.clock.sleep

    def runs_away(duration: timedelta) -> None:
        world.feed.prices["BTCUSDT"] = D(51_000)
        slept(duration)

    world.clock.sleep = runs_away  # type: ignore[method-assign]
    assert world.send(paper, "fa-1", SPOT, Side.BUY, "0.1") is OrderStatus.CANCELLED


def test_a_short_pause_is_looked_at_bar_by_bar(tmp_path: Path) -> None:
    """Six minutes away, a spike in between: liquidated, although the last look was at a bar's very start."""
    world = World(tmp_path, LiveWithBars)
    assert isinstance(world.live, LiveWithBars)
    world.hedged()
    world.clock.advance_to(START + STEP)
    world.open().wallet()
    world.clock.sleep(6 * MINUTE)
    spike = bar(START + STEP, "50000")._replace(high=D(500_000))
    world.live.bars = [bar(START, "50000"), spike]
    paper = world.open()
    assert paper.positions() == ()
    assert paper.caught_up is not None
    assert paper.caught_up.liquidated == ("BTCUSDT",)


class Wicks(LiveWithBars):
    """Minute bars of a flat market, with spikes that no look has seen."""

    def __init__(self, feed: ToyFeed, clock: VirtualClock) -> None:
        """No spike yet."""
        super().__init__(feed, clock)
        self.highs: dict[datetime, Decimal] = {}
        self.asked = 0

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """As long as asked for."""
        assert symbol
        self.asked += 1
        starts = [since + number * step for number in range((until - since) // step + 1)]
        return tuple(bar(at, "50000")._replace(high=self.highs.get(at, D(50_000))) for at in starts)


@pytest.mark.parametrize("seconds", [7, 30, 60, 61, 119, 240])
def test_a_wick_between_two_near_looks_liquidates(tmp_path: Path, seconds: int) -> None:
    """However often an account is looked at, a spike that comes and goes between two looks is found within
    two minutes, at one question a minute.
    """
    world = World(tmp_path, Wicks)
    assert isinstance(world.live, Wicks)
    paper = world.hedged()
    world.live.highs[START + 5 * MINUTE] = D(500_000)
    pause = timedelta(seconds=seconds)
    while paper.positions():
        assert world.clock.now() < START + 8 * MINUTE + pause
        world.clock.sleep(pause)
    (row,) = [row for row in paper.executions(LINEAR, START, until=world.clock.now()) if not row.link_id]
    assert row.kind is ExecKind.BUST
    assert START + 5 * MINUTE <= row.time <= START + 7 * MINUTE + pause
    assert world.live.asked <= (world.clock.now() - START) // MINUTE


def test_a_wick_from_before_the_position_is_none_of_its_business(tmp_path: Path) -> None:
    """A spike of the minutes before a position was opened does not liquidate it."""
    world = World(tmp_path, Wicks)
    assert isinstance(world.live, Wicks)
    paper = world.open()
    paper.wallet()
    world.live.highs = {START + number * MINUTE: D(500_000) for number in range(5)}
    world.clock.sleep(5 * MINUTE)
    paper = world.hedged()
    for _ in range(20):
        world.clock.sleep(MINUTE / 2)
        assert paper.positions()
    assert world.live.asked


def test_bars_that_could_not_be_had_are_asked_for_again(tmp_path: Path) -> None:
    """While the venue does not answer an account cannot be looked at; what happened meanwhile is found
    afterwards, by a new process too.
    """
    world = World(tmp_path, Wicks)
    assert isinstance(world.live, Wicks)
    paper = world.hedged()
    world.clock.sleep(2 * MINUTE)
    world.live.highs[START + MINUTE] = D(500_000)
    world.live.broken.add("snapshot")
    with pytest.raises(Unavailable):
        paper.wallet()
    world.live.broken.clear()
    assert world.open().positions() == ()


class TwoWicks(Wicks):
    """Bars of two contracts; those of one can be missing."""

    missing = False

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """Of a flat market, the spikes in the second contract only."""
        if symbol == "BTCUSDT":
            starts = [since + number * step for number in range((until - since) // step + 1)]
            return tuple(bar(at, "50000") for at in starts)
        return () if self.missing else super().mark_bars(symbol, step=step, since=since, until=until)


@pytest.mark.parametrize("missing", [False, True])
def test_a_wick_is_found_beside_another_contract(tmp_path: Path, *, missing: bool) -> None:
    """The bars of one of two contracts are missing while those of the other are told: what they held is
    found once they are there.
    """
    world = World(tmp_path, TwoWicks)
    world.feed.listed = (spot(), perp(), perp("ETHUSDT"))
    world.feed.prices["ETHUSDT"] = D(50_000)
    world.live = TwoWicks(world.feed, world.clock)
    paper = world.hedged()
    order = OrderRequest(
        link_id="fa-e",
        category=LINEAR,
        symbol="ETHUSDT",
        side=Side.SELL,
        quantity=D("0.2"),
        limit_price=D(49_000),
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    assert len(paper.positions()) == 2
    world.live.highs[START + 5 * MINUTE] = D(5_000_000)
    world.live.missing = missing
    while world.clock.now() < START + 7 * MINUTE:
        world.clock.sleep(MINUTE / 2)
        assert len(paper.positions()) == 2 or not missing
    world.live.missing = False
    world.clock.sleep(2 * MINUTE)
    assert paper.positions() == ()


def test_a_late_rate_is_booked_at_the_mark_of_its_instant(tmp_path: Path) -> None:
    """The rate comes out after the price has moved: size and mark are those of the settlement."""
    world = World(tmp_path, LiveWithBars)
    assert isinstance(world.live, LiveWithBars)
    paper = world.hedged()
    paper.wallet()
    world.live.bars = [bar(START + 8 * HOUR - STEP, "50000"), bar(START + 8 * HOUR, "40000")]
    world.live.publish_after = timedelta(minutes=3)
    world.clock.advance_to(START + 8 * HOUR - MINUTE)
    paper.wallet()
    for _ in range(6):
        world.clock.sleep(MINUTE)
        paper.wallet()
    (row,) = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert (row.price, row.funding) == (D(40_000), D(2))


def test_a_settlement_between_two_near_looks_is_booked_at_its_own_mark(tmp_path: Path) -> None:
    """Four minutes between two looks: the funding is that of the mark at the instant, not of the last one."""
    world = World(tmp_path, LiveWithBars)
    assert isinstance(world.live, LiveWithBars)
    paper = world.hedged()
    world.live.bars = [bar(START + 8 * HOUR - STEP, "50000"), bar(START + 8 * HOUR, "50000")]
    world.clock.advance_to(START + 8 * HOUR - 2 * MINUTE)
    paper.wallet()
    world.feed.prices["BTCUSDT"] = D(65_000)
    world.clock.sleep(4 * MINUTE)
    paper.wallet()
    (row,) = [row for row in paper.transactions(START, world.clock.now()) if row.kind == "SETTLEMENT"]
    assert (row.price, row.funding) == (D(50_000), D("2.5"))


class Unlisted(Live):
    """A venue that has taken a symbol out of its lists."""

    gone: tuple[Category, str] | None = None

    def snapshot(self) -> MarketSnapshot:
        """Without it."""
        found = super().snapshot()
        return replace(found, spot=self._left(SPOT, found.spot), perp=self._left(LINEAR, found.perp))

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Without it."""
        found = super().instruments(refresh=refresh)
        return replace(found, spot=self._left(SPOT, found.spot), perp=self._left(LINEAR, found.perp))

    def _left(self, category: Category, rows: Mapping[str, Row]) -> dict[str, Row]:
        return {symbol: row for symbol, row in rows.items() if (category, symbol) != self.gone}


@pytest.mark.parametrize("category", [SPOT, LINEAR])
def test_a_new_coin_does_not_make_the_account_forget_what_it_holds(
    tmp_path: Path, category: Category
) -> None:
    """Half of a position is no longer listed or quoted when the first order of a newly listed coin comes: it
    is traded, and wallet and positions can still be read.
    """
    world = World(tmp_path, Unlisted)
    assert isinstance(world.live, Unlisted)
    paper = world.hedged()
    world.live.gone = (category, "BTCUSDT")
    world.feed.listed = (*world.feed.listed, spot("ETHUSDT"), perp("ETHUSDT"))
    world.feed.prices["ETHUSDT"] = D(3000)
    world.live.real = LocalExchange(venue(world.feed), None, clock=world.clock)
    order = OrderRequest(
        link_id="fa-e",
        category=SPOT,
        symbol="ETHUSDT",
        side=Side.BUY,
        quantity=D("0.1"),
        limit_price=D(3100),
    )
    assert paper.create(order, signed_at=world.clock.now()).outcome is Outcome.ACCEPTED
    assert paper.wallet().owned("ETH") > 0
    assert paper.wallet().owned("BTC") == D("0.4999995")
    assert len(paper.positions()) == (category is SPOT)  # a contract that is gone has been settled


class Gone(LiveWithBars):
    """A venue that refuses every question about a contract it has delisted."""

    gone = False

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """Refused once it is gone."""
        if self.gone:
            raise Rejected("params error: symbol invalid", code=10001)
        return super().mark_bars(symbol, step=step, since=since, until=until)


def test_a_delisted_contract_does_not_lock_the_account_up(tmp_path: Path) -> None:
    """The venue knows nothing of the symbol any more: the position is delivered, the account goes on."""
    world = World(tmp_path, Gone)
    assert isinstance(world.live, Gone)
    world.hedged()
    world.clock.sleep(3 * HOUR)
    world.live.real.venue.advance(world.clock.now())
    world.live.real.venue.world.delist("BTCUSDT", world.clock.now())
    world.live.gone = True
    paper = world.open()
    assert paper.positions() == ()
    assert paper.caught_up is not None
    assert paper.caught_up.marks == "current"
    assert paper.wallet().owned("BTC") == D("0.4999995")


# ---------------------------------------------------------------------------------------------- margin


class LiveWithTerms(Live):
    """A venue that also publishes its tables of margin."""

    limit = D(1000)

    def risk_tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """One narrow tier, then a dear one."""
        self._count(f"risk_tiers {symbol}")
        return (
            RiskTier(limit=self.limit, mm_rate=D("0.01"), im_rate=D("0.1"), max_leverage=D(10)),
            RiskTier(limit=D(10**9), mm_rate=D("0.3"), im_rate=D("0.5"), max_leverage=D(2)),
        )

    def collateral(self) -> Mapping[str, tuple[CollateralTier, ...]]:
        """BTC counts half."""
        self._count("collateral")
        return {
            "USDT": (CollateralTier(limit=None, ratio=D(1)),),
            "BTC": (CollateralTier(limit=None, ratio=D("0.5")),),
        }


def test_margin_is_computed_by_the_venue_s_own_tables(tmp_path: Path) -> None:
    """Read before the first order of a contract, once a day, kept over a restart."""
    world = World(tmp_path, LiveWithTerms)
    assert isinstance(world.live, MarginTerms)
    paper = world.open()
    assert world.send(paper, "fa-s", SPOT, Side.BUY, "0.5") is OrderStatus.FILLED
    assert (
        world.send(paper, "fa-p", LINEAR, Side.SELL, "0.5") is None
    )  # leverage 10 is too much for its value
    paper.prepare_symbol("BTCUSDT", D(2))
    assert world.send(paper, "fa-q", LINEAR, Side.SELL, "0.5") is OrderStatus.FILLED
    mark = D(50_000)
    wallet = world.open().venue.wallet()
    assert wallet.maintenance_margin == mark / 2 * (D("0.3") + D("0.00055"))
    assert world.live.calls.count("collateral") == world.live.calls.count("risk_tiers BTCUSDT") == 1
    coins = wallet.margin_balance - wallet.coins["USDT"].equity
    assert coins == wallet.coins["BTC"].equity * mark / 2


def test_without_tables_the_assumptions_are_the_worse_ones(world: World) -> None:
    """Other coins are no collateral, and maintenance grows in steep, continuous brackets."""
    paper = world.hedged()
    wallet = paper.venue.wallet()
    assert wallet.margin_balance == wallet.coins["USDT"].equity
    instrument = perp().instrument
    tiers = assumed_tiers(instrument)  # type: ignore[arg-type]
    assert tiers[0].mm_rate == D("0.01")  # the toy has 50x
    for below, above in pairwise(tiers):
        assert (
            below.limit * below.mm_rate - below.mm_deduction
            == below.limit * above.mm_rate - above.mm_deduction
        )
        assert above.mm_rate > below.mm_rate or above.max_leverage == 1


def test_tables_that_cannot_be_read_keep_the_assumptions(tmp_path: Path) -> None:
    """The order goes on; the next one asks again."""
    world = World(tmp_path, LiveWithTerms)
    paper = world.open()
    world.live.broken |= {"collateral", "risk_tiers BTCUSDT"}
    assert world.send(paper, "fa-p", LINEAR, Side.SELL, "0.01") is OrderStatus.FILLED
    assert paper.venue.tier("BTCUSDT").mm_rate == D("0.01")
    world.live.broken.clear()
    assert world.send(paper, "fa-q", LINEAR, Side.SELL, "0.001") is OrderStatus.FILLED
    assert paper.venue.tier("BTCUSDT").max_leverage == 10


# ---------------------------------------------------------------------------------------------- the file

HOLD = """
import fcntl, os, sys
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_second_process_is_refused(world: World) -> None:
    """While another process has the account, nothing is read, fetched or written; readers look on."""
    world.hedged()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, f"{world.path}.lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        calls = len(world.live.calls)
        with pytest.raises(Locked, match=world.path.name):
            world.open().wallet()
        assert len(world.live.calls) == calls
        assert world.open(readonly=True).wallet().owned("BTC") == D("0.4999995")
    finally:
        holder.communicate("\n", timeout=10)
    assert world.open().wallet().owned("BTC") == D("0.4999995")


def test_a_file_of_a_newer_program_is_named(world: World) -> None:
    """A state with something unknown in it is not read in part."""
    world.hedged()
    text = world.path.read_text()
    world.path.write_text(text.replace('"delta_mode":false', '"delta_mode":false,"omega_mode":true'))
    with pytest.raises(ConfigError, match="omega_mode"):
        world.open().wallet()


def test_a_crash_while_writing_leaves_the_old_state(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is complete beside the old one before it takes its place; a left-over is ignored."""
    paper = world.hedged()
    before = world.path.read_bytes()

    def dies(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", dies)
    assert world.send(paper, "fa-x", SPOT, Side.BUY, "0.1") is None
    monkeypatch.undo()
    assert world.path.read_bytes() == before
    world.path.with_name(f"{world.path.name}.1.tmp").write_text("{")
    assert world.open().wallet().owned("BTC") == Decimal("0.4999995")


def test_optional_faces_are_told_apart(tmp_path: Path) -> None:
    """A market without bars or tables is none of them by structure."""
    plain, bars, terms = (World(tmp_path, kind).live for kind in (Live, LiveWithBars, LiveWithTerms))
    assert not isinstance(plain, (MarkHistory, MarginTerms))
    assert isinstance(bars, MarkHistory)
    assert isinstance(terms, MarginTerms)
