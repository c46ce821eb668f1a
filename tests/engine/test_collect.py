"""The collector against the venue engine in process: everything the venue shows is booked, once, and
nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import Execution, Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.booking import book_execution
from fundarb.engine.collect import OVERLAP, Collector, CollectResult, read_until
from fundarb.engine.funding import GRACE
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ReportQuery
from fundarb.errors import Unavailable
from fundarb.store.ledger_tables import RowState
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)


class Bent:
    """The account's venue, whose answers a test may bend: rows lost, repeated, late, in another order, or
    made up.
    """

    def __init__(self, world: World) -> None:
        """Straight at first."""
        self._exchange = world.exchange
        self.rows: Callable[[Sequence[Transaction]], Sequence[Transaction]] = lambda rows: rows
        self.trades: Callable[[Sequence[Execution]], Sequence[Execution]] = lambda rows: rows

    def __getattr__(self, name: str) -> Any:
        """Everything else is the venue's own."""
        return getattr(self._exchange, name)

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """The log, bent."""
        return tuple(self.rows(self._exchange.transactions(since, until)))

    def executions(self, category: Category, since: datetime, until: datetime) -> tuple[Execution, ...]:
        """The executions, bent."""
        return tuple(self.trades(self._exchange.executions(category, since, until=until)))


@pytest.fixture
def bent(world: World) -> Bent:
    """A venue that can be bent."""
    return Bent(world)


@pytest.fixture
def collector(world: World, bent: Bent) -> Collector:
    """A collector that reads through it."""
    return Collector(world.writer.store, bent, clock=world.clock, market=world.exchange)


def opened(world: World, notional: str = "10000") -> PositionRecord:
    """A hedged position of 0.2 BTC."""
    result = world.writer.trader.open("BTC", D(notional))
    assert isinstance(result, TradeResult), result
    return result.position


def events(world: World, kind: str) -> list[str]:
    """The payloads of all events of a kind."""
    return [item.payload for item in world.writer.store.events.after(0, 1000, kind=kind)]


def require_tied(world: World) -> None:
    """The ledger owns what the venue's wallet holds, coin by coin, every journal balances and the chain
    has no hole.
    """
    ledger, coins = world.writer.store.ledger, world.exchange.wallet().coins
    found = {coin: held.owned for coin, held in coins.items() if held.owned}
    assert ledger.balances() == found
    assert ledger.read.unbalanced() == ()
    assert ledger.chain_breaks() == ()


def nothing(result: CollectResult) -> bool:
    """Whether a reading found nothing new."""
    return not result.changed and not result.funding and not result.unknown and not result.chain_breaks


def test_opening_is_booked_once(world: World, collector: Collector) -> None:
    """The wallet of the first start is the opening balance; later starts leave it alone."""
    ledger = world.writer.store.ledger
    assert ledger.balances() == {"USDT": D(100_000)}
    assert not collector.open_books()
    world.venue.world.transfer("USDT", D(50))
    assert not collector.open_books()
    assert ledger.balances() == {"USDT": D(100_000)}


def test_funding_is_booked_once_and_ties(world: World, collector: Collector) -> None:
    """Each settlement comes once into the books, expected beside received, and reading again changes
    nothing.
    """
    position = opened(world)
    world.clock.sleep(17 * HOUR)
    first = collector.collect()
    assert [item.received for item in first.funding] == [D(1), D(1)]
    assert all(item.difference == 0 and item.contracts == D("-0.2") for item in first.funding)
    assert first.pending == ()
    assert len(events(world, "funding_paid")) == 2
    count = world.writer.store.ledger.count()
    for _ in range(2):
        assert nothing(collector.collect())
    assert world.writer.store.ledger.count() == count
    assert [item.position_id for item in first.funding] == [position.position_id] * 2
    require_tied(world)


def test_negative_funding_is_paid(world: World, collector: Collector) -> None:
    """With a negative rate the short pays, and both signs agree."""
    opened(world)
    world.venue.world.funding_rate("BTCUSDT", D("-0.0003"))
    world.clock.sleep(9 * HOUR)
    (paid,) = collector.collect().funding
    assert (paid.received, paid.expected) == (D(-3), D(-3))
    require_tied(world)


def test_repeated_and_reordered_rows_have_one_effect(world: World, bent: Bent, collector: Collector) -> None:
    """Pages that overlap and come in any order leave the books that a straight reading leaves."""
    opened(world)
    dice = random.Random(7)

    def mixed(rows: Sequence[Any]) -> Sequence[Any]:
        twice = [*rows, *rows]
        dice.shuffle(twice)
        return twice

    bent.rows = bent.trades = mixed
    for _ in range(3):
        world.clock.sleep(8 * HOUR)
        assert len(collector.collect().funding) == 1
    require_tied(world)


def test_missing_funding_is_pending_and_never_zero(world: World, bent: Bent, collector: Collector) -> None:
    """A settlement whose row is two hours late is pending, told once after a quarter of an hour, then
    booked once.
    """
    opened(world)
    bent.rows = lambda rows: [row for row in rows if row.kind != "SETTLEMENT"]
    world.clock.sleep(8 * HOUR)
    (pending,) = collector.collect().pending
    assert (pending.received, pending.expected) == (None, D(1))
    assert events(world, "funding_missing") == []
    for _ in range(3):
        world.clock.sleep(GRACE)
        assert len(collector.collect().pending) == 1
    assert len(events(world, "funding_missing")) == 1
    world.clock.sleep(HOUR)
    bent.rows = lambda rows: rows
    late = collector.collect()
    assert [item.received for item in late.funding] == [D(1)]
    assert late.pending == ()
    assert len(world.writer.store.ledger.log.settlements()) == 1
    require_tied(world)


def test_an_unseen_fill_is_booked(world: World, collector: Collector) -> None:
    """Fills of our orders that nobody booked, because the answer was lost, come in by the collector."""
    position = opened(world)
    world.clock.sleep(timedelta(seconds=1))
    intents = world.writer.store.intents.of_position(position.position_id)
    intent = next(item for item in intents if item.leg is Leg.SPOT)
    fill = world.exchange.executions_of(intent.category, intent.symbol, link_id=intent.link_id)[0]
    late = replace(fill, exec_id="late", quantity=D("0.00001"), value=D("0.5"), fee=D(0))
    before = world.writer.store.positions.get(position.position_id).spot_owned
    books = Bent(world)
    books.trades = lambda rows: [*rows, late] if rows and rows[0].category is late.category else rows
    result = Collector(world.writer.store, books, clock=world.clock).collect()
    assert result.executions == 1
    assert world.writer.store.positions.get(position.position_id).spot_owned == before + D("0.00001")
    assert any("late" not in text and "0.00001" in text for text in events(world, "leg_filled"))
    assert Collector(world.writer.store, books, clock=world.clock).collect().executions == 0


def test_a_forced_reduction_is_ours(world: World, collector: Collector) -> None:
    """ADL of 40 % comes without a link id: it reduces our short, its gain is realised, and it is reported
    as forced.
    """
    position = opened(world)
    world.venue.world.mark("BTCUSDT", D(45_000))
    world.venue.world.adl("BTCUSDT", D("0.4"))
    result = collector.collect()
    assert [item.quantity for item in result.forced] == [D("0.08")]
    assert world.writer.store.positions.get(position.position_id).contracts == D("0.12")
    (journal,) = [item for item in world.writer.store.ledger.read.journals() if item.fact == "AdlTrade"]
    (taken,) = result.forced
    assert journal.wallet_change("USDT") == D("0.08") * (D(49_995) - taken.price) - taken.fee
    assert journal.slippage is None
    require_tied(world)


def test_a_liquidation_closes_our_short(world: World, collector: Collector) -> None:
    """A liquidation takes all contracts with its fee; the wallet still ties to the last digit."""
    position = opened(world)
    world.venue.world.liquidate("BTCUSDT")
    assert len(collector.collect().forced) == 1
    assert world.writer.store.positions.get(position.position_id).contracts == 0
    require_tied(world)


def test_a_perp_closed_by_hand_is_a_strangers_until_adopted(world: World, collector: Collector) -> None:
    """A manual close is nobody's: our book stays, the wallet ties. Adopted later it becomes ours, and
    ties again.
    """
    position = opened(world)
    world.venue.world.manual_close("BTCUSDT")
    world.clock.sleep(timedelta(seconds=1))
    result = collector.collect()
    assert (result.executions, result.foreign) == (0, 1)
    store = world.writer.store
    assert store.positions.get(position.position_id).contracts == D("0.2")
    require_tied(world)
    fills = world.exchange.executions(Category.LINEAR, world.venue.started, until=world.clock.now())
    (theirs,) = [item for item in fills if not item.link_id]
    assert book_execution(store, theirs, position=store.positions.get(position.position_id), leg=Leg.PERP)
    assert store.positions.get(position.position_id).contracts == 0
    collector.collect()
    assert store.ledger.log.waiting() == ()
    assert (Account.SUSPENSE, "USDT") not in store.ledger.read.balances()
    require_tied(world)


def test_strangers_trades_are_the_accounts(world: World, collector: Collector) -> None:
    """Somebody else's spot trade on the account moves the wallet and no position of ours."""
    position = opened(world)
    before = world.writer.store.positions.get(position.position_id)
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    world.clock.sleep(timedelta(seconds=1))
    assert collector.collect().foreign == 1
    assert world.writer.store.positions.get(position.position_id) == before
    trial = world.writer.store.ledger.read.balances()
    assert trial[Account.REALISED, "BTC"] < 0
    assert (Account.EXTERNAL, "BTC") not in trial
    require_tied(world)


def test_shared_symbol_splits_funding(world: World, collector: Collector) -> None:
    """When a stranger holds as much short as we do, half of the funding is ours and half the account's."""
    opened(world)
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.2"))
    world.clock.sleep(9 * HOUR)
    (paid,) = collector.collect().funding
    assert (paid.received, paid.expected) == (D(1), D(1))
    log = [item for item in world.writer.store.ledger.read.journals() if item.fact == "SETTLEMENT"]
    parts = [entry for entry in log[0].entries if entry.account is Account.FUNDING]
    assert [(entry.amount, entry.position_id is None) for entry in parts] == [(D(-1), False), (D(-1), True)]
    require_tied(world)


def test_transfers_interest_and_loans(world: World, collector: Collector) -> None:
    """Deposits and withdrawals are external, a loan is a liability, interest is interest; the wallet ties
    after each.
    """
    world.venue.world.transfer("USDT", D(500))
    world.venue.world.transfer("USDT", D(-200))
    collector.collect()
    assert world.writer.store.ledger.read.balances()[Account.EXTERNAL, "USDT"] == D(-100_300)
    require_tied(world)
    world.venue.world.borrow("BTC", D("0.5"))
    world.clock.sleep(3 * HOUR)
    collector.collect()
    balances = world.writer.store.ledger.read.balances()
    assert balances[Account.LOAN, "BTC"] == D("-0.5")
    assert balances[Account.INTEREST, "BTC"] > 0
    require_tied(world)


def test_unknown_kinds_go_to_suspense_and_are_told(world: World, bent: Bent, collector: Collector) -> None:
    """A kind of row that nobody described is booked to suspense with one alert, whatever it may be."""
    world.venue.world.transfer("USDT", D(5))
    bent.rows = lambda rows: [replace(row, kind="MYSTERY") for row in rows]
    result = collector.collect()
    assert result.unknown == ("MYSTERY",)
    assert world.writer.store.ledger.read.balances()[Account.SUSPENSE, "USDT"] == D(-5)
    assert len(events(world, "alert_raised")) == 1
    assert nothing(collector.collect())
    require_tied(world)


def test_a_trade_row_waits_for_its_execution(world: World, bent: Bent, collector: Collector) -> None:
    """A trade whose execution lags waits; it is matched when the execution shows up, and nothing is
    suspended.
    """
    bent.trades = lambda rows: []
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    world.clock.sleep(timedelta(minutes=1))
    assert not collector.collect().changed
    assert {row.coin for row in world.writer.store.ledger.log.waiting()} == {"BTC", "USDT"}
    bent.trades = lambda rows: rows
    world.clock.sleep(2 * OVERLAP)
    assert collector.collect().foreign == 1
    assert world.writer.store.ledger.log.waiting() == ()
    assert (Account.SUSPENSE, "USDT") not in world.writer.store.ledger.read.balances()
    require_tied(world)


def test_a_trade_without_any_execution_is_unexplained(world: World, bent: Bent, collector: Collector) -> None:
    """If the execution never shows up, the trade's effect stands in suspense and somebody is told."""
    bent.trades = lambda rows: []
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    world.clock.sleep(timedelta(minutes=1))
    collector.collect()
    world.clock.sleep(2 * OVERLAP)
    assert collector.collect().unknown == ("TRADE", "TRADE")
    assert world.writer.store.ledger.read.balances()[Account.SUSPENSE, "USDT"] > 0
    require_tied(world)


def test_a_hole_in_the_chain_is_found_and_filled(world: World, bent: Bent, collector: Collector) -> None:
    """A row that the venue left out is missed at once, looked for again far behind the cursor, and booked
    when it shows.
    """
    hidden: list[str] = []

    def without_newest(rows: Sequence[Transaction]) -> Sequence[Transaction]:
        if rows and not hidden:
            hidden.append(rows[-1].key)
        return [row for row in rows if row.key not in hidden]

    world.clock.sleep(HOUR)
    world.venue.world.transfer("USDT", D(5))
    bent.rows = without_newest
    collector.collect()
    world.clock.sleep(2 * HOUR)
    world.venue.world.transfer("USDT", D(7))
    (gap,) = collector.collect().chain_breaks
    assert (gap.coin, gap.found - gap.expected) == ("USDT", D(5))
    assert len(events(world, "alert_raised")) == 1
    bent.rows = lambda rows: rows
    world.clock.sleep(3 * HOUR)
    found = collector.collect()
    assert (found.transactions, found.chain_breaks) == (1, ())
    require_tied(world)


@pytest.mark.parametrize("hours", [5, 20, 60])
def test_a_row_missed_after_days_down_is_looked_for(
    world: World, bent: Bent, collector: Collector, hours: int
) -> None:
    """Two days down, and the first reading lacks a row of the first of them: it is read again for a day from
    when that was seen, and once a day after that. Until it shows no report is complete.
    """
    collector.collect()
    world.clock.sleep(HOUR)
    world.venue.world.transfer("USDT", D(777))
    world.clock.sleep(48 * HOUR)
    world.venue.world.transfer("USDT", D(5))
    bent.rows = lambda rows: [row for row in rows if row.change != D(777)]
    for _ in range(0, hours, 5):
        world.clock.sleep(5 * HOUR)
        collector.collect()
        found = Reporter(world.writer.store, world.clock).pnl(ReportQuery())
        assert found.total.coverage is Coverage.PARTIAL
        assert any("a row of USDT is missing" in text for text in found.warnings)
    bent.rows = lambda rows: rows
    if hours > 24:
        world.clock.sleep(24 * HOUR)
    collector.collect()
    require_tied(world)
    assert len(events(world, "alert_raised")) == 1
    found = Reporter(world.writer.store, world.clock).pnl(ReportQuery())
    assert (found.total.coverage, found.warnings) == (Coverage.COMPLETE, ())


def test_a_hole_of_an_older_version_is_judged_anew(world: World, collector: Collector) -> None:
    """It was kept as two moments without a coin: it is read back to, and forgotten as the chain is whole."""
    store = world.writer.store
    moment = world.clock.now() - HOUR
    store.meta.set("collect.gap", f"{moment.isoformat()} {world.clock.now().isoformat()}")
    assert Reporter(store, world.clock).pnl(ReportQuery()).total.coverage is Coverage.PARTIAL
    world.venue.world.transfer("USDT", D(5))
    world.clock.sleep(HOUR)
    collector.collect()
    assert Reporter(store, world.clock).pnl(ReportQuery()).total.coverage is Coverage.COMPLETE
    assert events(world, "alert_raised") == []


def test_a_failed_reading_books_nothing(world: World, bent: Bent, collector: Collector) -> None:
    """If one source cannot be read, nothing of the others is booked and no cursor moves."""
    opened(world)
    world.clock.sleep(9 * HOUR)

    def down(_: Sequence[Transaction]) -> Sequence[Transaction]:
        message = "maintenance"
        raise Unavailable(message)

    bent.rows = down
    before = (world.writer.store.ledger.count(), read_until(world.writer.store, "spot"))
    with pytest.raises(Unavailable):
        collector.collect()
    assert (world.writer.store.ledger.count(), read_until(world.writer.store, "spot")) == before


def test_rows_before_the_opening_are_not_booked(world: World, bent: Bent) -> None:
    """What had happened before the books were opened is in the opening balance and nowhere else."""
    store = world.writer.store
    old = world.exchange.transactions(world.venue.started - HOUR, world.clock.now())
    assert all(store.ledger.log.state(row.key) is RowState.OPENING for row in old)
    assert nothing(Collector(store, bent, clock=world.clock).collect())
    assert store.ledger.balances() == {"USDT": D(100_000)}


def test_opening_waits_for_a_still_account(world: World, bent: Bent) -> None:
    """While the log grows between two readings the opening is not taken; the account that never stops is
    an error.
    """
    seen = iter(range(100))

    def moving(rows: Sequence[Transaction]) -> Sequence[Transaction]:
        made = next(seen)
        template = Transaction(
            id=str(made),
            kind="BONUS",
            coin="USDT",
            category="spot",
            symbol="",
            side=None,
            time=world.clock.now(),
            quantity=D(0),
            size=D(0),
            price=None,
            funding=D(0),
            fee=D(0),
            cash_flow=D(0),
            change=D(0),
            balance=D(0),
            fee_rate=None,
            trade_id="",
            order_id="",
            link_id="",
        )
        return [*rows, template]

    bent.rows = moving
    store = world.writer.store
    store.meta.delete("ledger.opened")
    with pytest.raises(Unavailable, match="keeps moving"):
        Collector(store, bent, clock=world.clock).open_books()
    assert store.ledger.opened_at is None


def test_a_closed_position_ties_with_its_dust(world: World, collector: Collector) -> None:
    """After a close the coins that no order could sell are dust, and every balance still ties."""
    position = opened(world)
    world.clock.sleep(9 * HOUR)
    collector.collect()
    result = world.writer.trader.close("BTC", D(1))
    assert isinstance(result, TradeResult)
    assert result.position.state is PositionState.CLOSED
    collector.collect()
    assert world.writer.store.ledger.dust("BTC").quantity == world.coins() > 0
    assert position.position_id == result.position.position_id
    require_tied(world)
