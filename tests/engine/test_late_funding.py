"""Settlements whose executions come late: what was expected and split by what was known then is judged anew,
and nothing is waited for that was never owed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState, PositionTrigger
from fundarb.engine.booking import book_execution
from fundarb.engine.collect import OVERLAP, Collector
from fundarb.engine.funding import MARK_PATIENCE, FundingBook
from fundarb.engine.listings import FundingReport, funding
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ReportQuery
from fundarb.store.ledger_log import Settlement
from tests.engine.test_collect import Bent, events, opened, require_tied
from tests.engine.world import World

D = Decimal
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def bent(world: World) -> Bent:
    """A venue that can be bent."""
    return Bent(world)


@pytest.fixture
def collector(world: World, bent: Bent) -> Collector:
    """A collector that reads through it."""
    return Collector(world.writer.store, bent, clock=world.clock, market=world.exchange)


def before(moment: datetime) -> Any:
    """Shows only what happened before an instant."""
    return lambda rows: [row for row in rows if row.time < moment]


def straight(rows: Sequence[Any]) -> Sequence[Any]:
    """Shows everything."""
    return rows


def settlements(world: World) -> tuple[Settlement, ...]:
    """Every settlement that is kept."""
    return world.writer.store.ledger.log.settlements()


def figures(world: World) -> list[tuple[Decimal | None, ...]]:
    """Contracts, expected, received and their difference, settlement by settlement."""
    return [(one.contracts, one.expected, one.received, one.difference) for one in settlements(world)]


def of_account(world: World) -> Decimal:
    """The funding of no position, + = received."""
    sums = world.writer.store.ledger.read.sums()
    return -sum(
        (one.amount for one in sums if one.account is Account.FUNDING and not one.position_id), start=D(0)
    )


def listed(world: World) -> FundingReport:
    """``report funding``."""
    return funding(world.writer.store, ReportQuery())


def by_hand(world: World, quantity: str, side: Side = Side.SELL) -> Execution:
    """A stranger's trade of the perp that we hold, as the venue lists it."""
    at = world.clock.now()
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=side, quantity=D(quantity))
    rows = world.exchange.executions(Category.LINEAR, at - MINUTE, until=at + MINUTE)
    return next(row for row in reversed(rows) if not row.link_id)


# ------------------------------------------------------------------------------ expected from what was known


@pytest.mark.parametrize("everything_late", [True, False], ids=["log and executions", "executions alone"])
def test_a_reduction_that_is_listed_late_corrects_its_settlement(
    world: World, bent: Bent, collector: Collector, everything_late: bool
) -> None:
    """Half of the short is deleveraged before a settlement, and the executions lag while it is judged: once
    they are known contracts, expected, received and difference are those of what was held.
    """
    opened(world)
    world.clock.sleep(7 * HOUR + 50 * MINUTE)
    collector.collect()
    taken = world.clock.now()
    world.venue.world.adl("BTCUSDT", D("0.5"))
    bent.trades = before(taken)
    bent.rows = before(taken) if everything_late else straight
    world.clock.sleep(10 * MINUTE)
    collector.collect()
    assert [item.contracts for item in settlements(world)] == [D("-0.2")]
    bent.trades = bent.rows = straight
    world.clock.sleep(40 * MINUTE)
    collector.collect()
    assert figures(world) == [(D("-0.1"), D("0.5"), D("0.5"), D(0))]
    assert of_account(world) == 0
    told = [D(json.loads(text)["amount"]) for text in events(world, "funding_paid")]
    assert sum(told) == D("0.5")
    require_tied(world)


def test_nothing_is_waited_for_where_nothing_was_held(world: World, bent: Bent, collector: Collector) -> None:
    """All of the short is deleveraged before a settlement, which is known afterwards: the settlement is none,
    nothing is pending, and the position's result is known.
    """
    opened(world)
    world.clock.sleep(7 * HOUR + 50 * MINUTE)
    collector.collect()
    taken = world.clock.now()
    world.venue.world.adl("BTCUSDT", D(1))
    bent.trades = bent.rows = before(taken)
    world.clock.sleep(10 * MINUTE)
    assert len(collector.collect().pending) == 1
    bent.trades = bent.rows = straight
    world.clock.sleep(40 * MINUTE)
    assert collector.collect().pending == ()
    world.clock.sleep(30 * HOUR)
    assert collector.collect().pending == ()
    assert settlements(world) == ()
    reporter = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)
    total = reporter.pnl(ReportQuery()).total
    assert (total.pending, total.coverage) == (0, Coverage.COMPLETE)
    require_tied(world)


def test_a_settlement_after_a_close_by_hand_is_none_once_it_is_answered(
    world: World, collector: Collector
) -> None:
    """A short closed by hand is expected to be paid until its fill is taken over; then it never was."""
    position = opened(world)
    world.clock.sleep(9 * HOUR)
    collector.collect()
    at = world.clock.now()
    world.venue.world.manual_close("BTCUSDT")
    world.clock.sleep(24 * HOUR)
    assert len(collector.collect().pending) == 3
    for row in world.exchange.executions(Category.LINEAR, at - MINUTE, until=at + MINUTE):
        book_execution(world.writer.store, row, position=position, leg=Leg.PERP)
    assert figures(world) == [(D("-0.2"), D(1), D(1), D(0))]
    assert collector.collect().pending == ()


def test_an_expectation_of_before_this_was_known_is_dropped(world: World, collector: Collector) -> None:
    """A settlement that an older version left pending though nothing was held goes with the next reading."""
    position = opened(world)
    world.clock.sleep(HOUR)
    log = world.writer.store.ledger.log
    stale = Settlement(
        position_id=position.position_id,
        symbol="BTCUSDT",
        settled_at=world.venue.started,
        contracts=D("-0.2"),
    )
    log.put_settlement(stale)
    assert log.pending_settlements() == (stale,)
    collector.collect()
    assert log.pending_settlements() == ()


# --------------------------------------------------------------------------------- split by what was known


def test_a_payment_is_split_anew_when_a_fill_turns_out_to_be_ours(world: World, collector: Collector) -> None:
    """A stranger's contracts beside ours took half of a payment; taken over later, all of it is ours."""
    position = opened(world)
    row = by_hand(world, "0.2")
    world.clock.sleep(9 * HOUR)
    collector.collect()
    assert figures(world) == [(D("-0.2"), D(1), D(1), D(0))]
    assert of_account(world) == D(1)
    assert book_execution(world.writer.store, row, position=position, leg=Leg.PERP)
    assert figures(world) == [(D("-0.4"), D(2), D(2), D(0))]
    assert of_account(world) == 0
    require_tied(world)


def test_a_payment_of_nobody_becomes_a_settlement_of_ours(world: World, collector: Collector) -> None:
    """A payment for contracts that nobody knew to be ours went to the account; when they are, it has its
    settlement with an expectation, and nothing waits for another payment.
    """
    row = by_hand(world, "0.2")
    world.clock.sleep(9 * HOUR)
    collector.collect()
    assert (settlements(world), of_account(world)) == ((), D(1))
    position = _plan(world, row)
    assert book_execution(world.writer.store, row, position=position, leg=Leg.PERP)
    assert collector.collect().pending == ()
    assert figures(world) == [(D("-0.2"), D(1), D(1), D(0))]
    assert of_account(world) == 0
    require_tied(world)


def test_what_came_late_is_expected_too(world: World, bent: Bent, collector: Collector) -> None:
    """A settlement that was passed over, because the fill before it was not known, is expected once it is."""
    row = by_hand(world, "0.2")
    bent.rows = lambda rows: [item for item in rows if item.kind != "SETTLEMENT"]
    position = _plan(world, row)
    world.clock.sleep(9 * HOUR)
    collector.collect()
    assert settlements(world) == ()
    assert book_execution(world.writer.store, row, position=position, leg=Leg.PERP)
    (due,) = collector.collect().pending
    assert (due.contracts, due.expected, due.received) == (D("-0.2"), D(1), None)


def test_a_payment_is_of_who_still_holds(world: World, collector: Collector) -> None:
    """Closed and opened again in one and the same millisecond, several times: what is paid afterwards belongs
    to the position that is left, whatever keys the venue gave to the fills.
    """
    for _ in range(4):
        world.writer.trader.open("BTC", D(10_000))
        world.writer.trader.close("BTC", D(1))
    world.writer.trader.open("BTC", D(10_000))
    collector.collect()
    (position,) = world.writer.store.positions.active()
    fills = world.writer.store.executions.between(world.venue.started, world.clock.now() + HOUR)
    assert len({fill.time for fill in fills}) == 1
    world.clock.sleep(9 * HOUR)
    collector.collect()
    (paid,) = settlements(world)
    assert (paid.position_id, paid.received) == (position.position_id, D(1))


def test_a_session_that_was_paid_out_stays_as_it_was_split(world: World, collector: Collector) -> None:
    """A row that also pays a session's profit moved the entry of a short: it is not split a second time."""
    position = opened(world)
    row = by_hand(world, "0.2")
    world.clock.sleep(9 * HOUR)
    store = world.writer.store
    (paid,) = [one for one in _log(world) if one.kind == "SETTLEMENT"]
    paid = replace(paid, cash_flow=D(4), change=paid.change + 4, balance=paid.balance + 4)
    FundingBook(store, None).book(paid)
    count = store.ledger.count()
    store.executions.add(row)
    FundingBook(store, None).recount(position, since=row.time)
    assert store.ledger.count() == count
    assert [item.received for item in settlements(world)] == [D(1)]


def _log(world: World) -> tuple[Transaction, ...]:
    return world.exchange.transactions(world.venue.started, world.clock.now() + HOUR)


def _plan(world: World, row: Execution) -> PositionRecord:
    """A position that was planned and of which no fill is known."""
    store = world.writer.store
    plan = PositionRecord(
        position_id="p-0000000000",
        base="BTC",
        spot_symbol="BTCUSDT",
        perp_symbol="BTCUSDT",
        multiplier=D(1),
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=row.value,
        target_contracts=row.quantity,
        spot_owned=D(0),
        contracts=D(0),
        leverage=D(2),
        decision_spot_mid=row.price,
        decision_perp_mid=row.price,
        created_at=row.time,
    )
    store.positions.add(plan)
    return store.positions.advance(plan.position_id, PositionTrigger.SENT)


# --------------------------------------------------------------------------------------- marks that are late


def unmarked(rows: Iterable[Any]) -> list[Any]:
    """Hides the executions that say the mark of a settlement."""
    return [row for row in rows if row.kind is not ExecKind.FUNDING]


def test_the_mark_of_a_settlement_is_read_back_to(world: World, bent: Bent, collector: Collector) -> None:
    """The funding row of the execution list comes forty minutes late, the list being read each ten: the
    expectation follows, without another fact being read for it.
    """
    opened(world)
    bent.trades = unmarked
    world.clock.sleep(8 * HOUR)
    for _ in range(4):
        collector.collect()
        world.clock.sleep(10 * MINUTE)
    assert figures(world) == [(D("-0.2"), None, D(1), None)]
    bent.trades = straight
    collector.collect()
    assert figures(world) == [(D("-0.2"), D(1), D(1), D(0))]


def test_a_mark_that_never_comes_is_that_of_the_payment(
    world: World, bent: Bent, collector: Collector
) -> None:
    """Where the execution list does not show a settlement's mark for a day, the price on the row that paid it
    stands in, and nothing is read back for it any more.
    """
    opened(world)
    bent.trades = unmarked
    world.clock.sleep(8 * HOUR)
    collector.collect()
    world.clock.sleep(25 * HOUR)
    collector.collect()
    first = settlements(world)[0]
    assert (first.mark, first.expected, first.difference) == (D(50_000), D(1), D(0))
    asked: list[datetime] = []

    def noted(category: Category, since: datetime, until: datetime) -> tuple[Execution, ...]:
        asked.append(since)
        return tuple(unmarked(world.exchange.executions(category, since, until=until)))

    bent.executions = noted  # type: ignore[method-assign]
    collector.collect()
    now = world.clock.now()
    spot, perp = asked
    assert spot == now - OVERLAP
    assert now - MARK_PATIENCE - OVERLAP <= perp < spot


# ----------------------------------------------------------------------------------------------- the report


def test_the_totals_compare_the_same_rows(world: World, bent: Bent, collector: Collector) -> None:
    """What is pending is in neither total; a payment whose expectation is not known makes the total of all
    expectations unknown and the report partial, never a difference that is none.
    """
    opened(world)
    world.clock.sleep(8 * HOUR)
    collector.collect()
    bent.rows = lambda rows: [row for row in rows if row.kind != "SETTLEMENT"]
    world.clock.sleep(8 * HOUR)
    collector.collect()
    found = listed(world)
    assert (found.expected, found.received, found.pending) == (D(1), D(1), 1)
    bent.rows, bent.trades = straight, unmarked
    store = world.writer.store
    last = settlements(world)[-1]
    store.ledger.log.put_settlement(replace(last, received=D(1), mark=None, expected=None))
    found = listed(world)
    assert (found.expected, found.received, found.pending) == (None, D(2), 0)
    assert found.coverage is Coverage.PARTIAL


def test_nothing_received_yet_is_no_zero(world: World, bent: Bent, collector: Collector) -> None:
    """While all that is due is pending the total is unknown; with nothing due it is zero."""
    opened(world)
    collector.collect()
    assert (listed(world).expected, listed(world).received) == (D(0), D(0))
    bent.rows = lambda rows: [row for row in rows if row.kind != "SETTLEMENT"]
    world.clock.sleep(8 * HOUR)
    collector.collect()
    found = listed(world)
    assert (found.expected, found.received, found.pending) == (None, None, 1)


def test_an_unread_log_is_no_zero(world: World, collector: Collector) -> None:
    """Settlements passed and nobody has read the log since: no total is known."""
    opened(world)
    collector.collect()
    world.clock.sleep(9 * HOUR)
    found = listed(world)
    assert (found.rows, found.expected, found.received) == ((), None, None)
    assert found.warnings
