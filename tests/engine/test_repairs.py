"""What the venue and other hands do to a position, and what becomes of it: always, by policy, by answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Side
from fundarb.core.reasons import Refused
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine import equity, equity_points
from fundarb.engine.compare import Choice
from fundarb.engine.desk import TradeRules
from fundarb.engine.reconcile import ReconcileResult
from fundarb.errors import ConfigError
from fundarb.exchange.inprocess import spec_of
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_trade import opened
from tests.engine.world import LIMITS, World, make_world

D = Decimal
PERP = "perp_size:BTCUSDT"


@pytest.fixture
def ruled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    """A world whose policy about closed legs is the test's parameter."""
    rules = TradeRules(limits=LIMITS, manual_close=request.param)
    made = make_world(tmp_path / "ruled.sqlite3", rules=rules)
    yield made
    made.close()


def alerts(world: World) -> list[str]:
    """The codes of all alerts."""
    told = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [json.loads(item.payload)["code"] for item in told]


def frozen(world: World, *, person: bool | None = None) -> bool:
    """Whether BTC is frozen (by ``person``: until somebody looks)."""
    block = world.writer.store.blocks.get("BTC", BlockKind.FREEZE)
    return block is not None and person in {None, block.needs_person}


def tied(world: World) -> None:
    """The ledger owns what the wallet holds, every journal sums to zero, and the fees are the venue's own."""
    ledger = world.writer.store.ledger
    assert ledger.balances() == {c: b.owned for c, b in world.exchange.wallet().coins.items() if b.owned}
    assert ledger.read.unbalanced() == ()
    charged: dict[str, Decimal] = {}
    for row in world.exchange.transactions(world.venue.started, world.clock.now()):
        charged[row.coin] = charged.get(row.coin, D(0)) + row.fee
    booked = {coin: fee for (account, coin), fee in ledger.read.balances().items() if account is Account.FEES}
    assert booked == {coin: fee for coin, fee in charged.items() if fee}


def decide(world: World, ident: str, choice: Choice) -> ReconcileResult:
    """A person's answer, which must fit and settle the difference."""
    decided = world.writer.decider.decide(ident, choice)
    assert not isinstance(decided, Refused), decided
    assert decided.settled, decided.after.mismatches
    return decided.after


def position(world: World) -> PositionState:
    """The state of the one position there ever was."""
    return world.writer.store.positions.all()[0].state


# ------------------------------------------------------------------------------------------ the venue's acts


def test_d01_adl_reduces_the_coins_freezes_and_alerts_once(world: World) -> None:
    """D01: ADL takes 40 % of the short: recorded as ADL, the coins are sold to match, the coin is frozen
    until a person has looked, one alert; a second walk changes nothing.
    """
    held = opened(world).position
    world.venue.world.adl("BTCUSDT", D("0.4"))
    result = world.writer.reconciler.run()
    assert result.clean
    assert [item.kind for item in result.repaired] == ["unhedged"]
    assert world.short == held.contracts * D("0.6")
    assert hedged(world)
    assert alerts(world) == ["adl"]
    assert frozen(world, person=True)
    after = world.writer.store.positions.get(held.position_id)
    assert after.notional <= held.notional * D("0.61")
    consistent(world)
    tied(world)


@pytest.mark.parametrize(("fraction", "left"), [("1", "0"), ("0.9", "0"), ("0.5", "0.06")])
def test_d01_adl_takes_a_strangers_short_too(world: World, fraction: str, left: str) -> None:
    """D01, H05: a stranger is short beside us, and ADL takes of both: ours is reduced first and the coins
    follow at once, whatever is left is the stranger's.
    """
    held = opened(world).position
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.08"))
    world.writer.reconciler.run()
    assert held.contracts == D("0.2")
    world.venue.world.adl("BTCUSDT", D(fraction))
    for _ in range(2):
        world.writer.reconciler.run()
        ours = world.writer.store.positions.get(held.position_id)
        assert ours.contracts == D(left)
        assert abs(world.coins() - ours.contracts) <= D("0.0001")
        assert world.short == D("0.28") * (1 - D(fraction))
    assert alerts(world).count("adl") == 1
    assert "perp_size" not in alerts(world)
    assert frozen(world, person=True)
    tied(world)


def test_a_liquidation_sells_all_coins(world: World) -> None:
    """The whole short is taken over: the coins go, the position ends, one alert."""
    opened(world)
    world.venue.world.liquidate("BTCUSDT")
    assert world.writer.reconciler.run().clean
    assert position(world) is PositionState.CLOSED
    assert alerts(world) == ["liquidation"]
    consistent(world)
    tied(world)


def test_d05_a_forced_repayment_reduces_the_perp(world: World) -> None:
    """D05: the venue sells 10 % of the coins without any order: recognised as its act, the perp bought back
    to match, frozen, one alert, the books tie and nothing is done twice.
    """
    held = opened(world).position
    world.venue.world.auto_repay("BTC", D("0.1"))
    result = world.writer.reconciler.run()
    assert result.clean
    assert [item.kind for item in result.repaired] == ["spot_short", "unhedged"]
    assert hedged(world)
    assert held.contracts * D("0.89") <= world.short <= held.contracts * D("0.91")
    assert alerts(world) == ["coins_taken"]
    assert frozen(world, person=True)
    consistent(world)
    tied(world)


def test_d05_the_books_stay_explained(world: World) -> None:
    """The equity identity holds across a forced repayment, and the position carries its own result."""
    opened(world)
    store, exchange = world.writer.store, world.exchange
    start = equity.measure(store, exchange, trading=exchange, at=world.clock.now())
    world.feed.prices["BTCUSDT"] = D(52_000)
    world.venue.world.auto_repay("BTC", D("0.3"))
    world.writer.reconciler.run()
    end = equity.measure(store, exchange, trading=exchange, at=world.clock.now())
    assert abs(equity_points.tie_out(store, start, end=end).unexplained) < D("1e-6")
    (release,) = [item for item in store.ledger.read.journals() if item.key.startswith("release:")]
    assert release.fact == "SPOT_REPAYMENT_SELL"


def test_coins_of_somebody_else_are_not_ours_to_miss(world: World) -> None:
    """The venue repays with coins of which most are a stranger's: while ours are there nothing is done."""
    opened(world)
    world.venue.world.transfer("BTC", D(1))
    world.venue.world.auto_repay("BTC", D("0.5"))
    result = world.writer.reconciler.run()
    assert result.clean
    assert not result.repaired
    consistent(world)


# ------------------------------------------------------------------------------------------ hands: by policy


@pytest.mark.parametrize("ruled", ["unwind"], indirect=True)
def test_h03_unwind_sells_the_coins(ruled: World) -> None:
    """H03 with policy unwind: nothing without repair; with it the fills become ours and the coins go."""
    opened(ruled)
    ruled.venue.world.manual_close("BTCUSDT")
    coins = ruled.coins()
    assert not ruled.writer.reconciler.run().clean
    assert ruled.coins() == coins
    result = ruled.writer.reconciler.run(repair=True)
    assert result.clean
    assert ruled.coins() < D("0.0002")
    assert position(ruled) is PositionState.CLOSED
    assert alerts(ruled) == ["perp_size"]
    consistent(ruled)
    tied(ruled)


@pytest.mark.parametrize("ruled", ["rehedge"], indirect=True)
def test_h03_rehedge_restores_the_short(ruled: World) -> None:
    """H03 with policy rehedge: the short is sold again, the coins stay."""
    held = opened(ruled, "4000").position
    ruled.venue.world.manual_close("BTCUSDT")
    result = ruled.writer.reconciler.run(repair=True)
    assert result.clean, result.mismatches
    assert ruled.short == held.contracts
    assert ruled.coins() == held.spot_owned
    assert position(ruled) is PositionState.HEDGED
    consistent(ruled)
    tied(ruled)


@pytest.mark.parametrize("ruled", ["unwind", "rehedge"], indirect=True)
def test_spot_sold_by_hand_goes_by_policy(ruled: World) -> None:
    """Coins sold by hand: bought again, or the perp bought back, and the wallet ties."""
    held = opened(ruled, "4000").position
    ruled.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.03"))
    result = ruled.writer.reconciler.run(repair=True)
    assert result.clean, result.mismatches
    assert hedged(ruled)
    grown = ruled.writer.desk.rules.manual_close == "rehedge"
    assert (ruled.short == held.contracts) is grown
    consistent(ruled)
    tied(ruled)


@pytest.mark.parametrize("ruled", ["unwind"], indirect=True)
def test_both_legs_closed_by_hand_end_the_position(ruled: World) -> None:
    """Somebody closed everything: the position ends without an order of ours."""
    opened(ruled, "4000")
    orders = len(ruled.venue.all_orders())
    ruled.venue.world.manual_close("BTCUSDT")
    ruled.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.08"))
    result = ruled.writer.reconciler.run(repair=True)
    assert result.clean, result.mismatches
    assert position(ruled) is PositionState.CLOSED
    assert len(ruled.venue.all_orders()) == orders + 2
    consistent(ruled)


@pytest.mark.parametrize("ruled", ["unwind"], indirect=True)
def test_coins_transferred_away_are_gone_by_hand(ruled: World) -> None:
    """A withdrawal of our coins is a person's act: asked for, and by policy the perp follows."""
    opened(ruled, "4000")
    ruled.venue.world.transfer("BTC", D("-0.02"))
    asked = ruled.writer.reconciler.run()
    assert [item.kind for item in asked.mismatches] == ["spot_short"]
    assert ruled.writer.reconciler.run(repair=True).clean
    assert hedged(ruled)
    consistent(ruled)
    tied(ruled)


@pytest.mark.parametrize("ruled", ["unwind"], indirect=True)
def test_a_fundarb_fill_without_a_row_is_never_taken_over(ruled: World) -> None:
    """An orphan's fill that closed our short: halted, whatever the policy says; nothing is traded."""
    held = opened(ruled, "4000").position
    tag = ruled.writer.desk.tag()
    orphan = OrderRequest(
        link_id=f"fa-{tag}-{held.plan_id}-p099",
        category=Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.BUY,
        quantity=D("0.02"),
        limit_price=D(51_000),
        reduce_only=True,
    )
    ruled.venue.place(spec_of(orphan))
    ruled.clock.sleep(timedelta(seconds=1))
    orders = len(ruled.venue.all_orders())
    result = ruled.writer.reconciler.run(repair=True)
    assert {item.kind for item in result.mismatches} == {"perp_size", "orphan_order"}
    assert len(ruled.venue.all_orders()) == orders
    assert ruled.writer.store.blocks.get("*", BlockKind.HALT) is not None


# ------------------------------------------------------------------------------------------ hands: by answer


@pytest.mark.parametrize("choice", [Choice.UNWIND, Choice.ADOPT, Choice.REHEDGE])
def test_h03_is_asked_and_answered(world: World, choice: Choice) -> None:
    """H03 with policy ask: even with repair nothing is traded; the answer settles it, and the freeze ends."""
    held = opened(world, "4000").position
    world.venue.world.manual_close("BTCUSDT")
    for _ in range(2):
        asked = world.writer.reconciler.run(repair=True)
        assert [item.id for item in asked.mismatches] == [PERP]
        assert "fundarb resolve perp_size:BTCUSDT" in asked.mismatches[0].action
    assert frozen(world)
    after = decide(world, PERP, choice)
    assert after.clean
    assert world.short == (held.contracts if choice is Choice.REHEDGE else 0)
    assert hedged(world) or position(world) is PositionState.CLOSED
    assert not frozen(world)
    assert alerts(world) == ["perp_size"]
    consistent(world)
    tied(world)


def test_an_ignored_difference_stays_away_until_it_changes(world: World) -> None:
    """Ignored: clean, no alert again, the coin stays frozen as a leg of ours is missing; after a restart too.
    A change brings it back.
    """
    opened(world, "4000")
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.02"))
    assert not world.writer.reconciler.run().clean
    assert decide(world, PERP, Choice.IGNORE).clean
    world.restart()
    result = world.writer.reconciler.run()
    assert result.clean
    assert [item.id for item in result.ignored] == [PERP]
    assert frozen(world)
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    again = world.writer.reconciler.run()
    assert [item.id for item in again.mismatches] == [PERP]
    assert again.ignored == ()


def test_h05_a_foreign_position_in_our_symbol_is_untouched(world: World) -> None:
    """H05: somebody sells the same perp: theirs is left alone, the coin frozen; ours can still be closed and
    is what our link ids did.
    """
    held = opened(world, "4000").position
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.05"))
    for repair in (False, True):
        result = world.writer.reconciler.run(repair=repair)
        assert [item.kind for item in result.mismatches] == ["foreign_position"]
    assert frozen(world)
    assert world.writer.store.positions.get(held.position_id).contracts == held.contracts
    world.writer.trader.close("BTC")
    assert world.short == D("0.05")
    assert position(world) is PositionState.CLOSED


def test_an_answer_that_does_not_fit_is_refused(world: World) -> None:
    """A stranger's order cannot be rehedged; an id that is not there is a usage error; nothing is sent."""
    opened(world, "4000")
    with pytest.raises(ConfigError, match="no difference"):
        world.writer.decider.decide(PERP, Choice.UNWIND)
    world.venue.world.transfer("USDT", D(5))
    orders = len(world.venue.all_orders())
    world.exchange.read_lag = timedelta(minutes=5)
    unexplained = world.writer.reconciler.run()
    assert [item.kind for item in unexplained.mismatches] == ["balance"]
    refused = world.writer.decider.decide("balance:USDT", Choice.REHEDGE)
    assert isinstance(refused, Refused)
    assert refused.reasons[0].code == "answer_does_not_fit"
    assert len(world.venue.all_orders()) == orders


def test_a_naked_leg_is_rehedged_or_unwound_by_answer(world: World) -> None:
    """A leg that every rung failed to mend: the person's answer decides which way it goes, once it can."""
    opened(world, "4000")
    world.venue.force(OrderMatch(category=Category.SPOT), *[Directive(fill_frac=D(0))] * 12)
    world.venue.world.adl("BTCUSDT", D("0.5"))
    stuck = world.writer.reconciler.run()
    ident = next(item.id for item in stuck.mismatches if item.kind == "unhedged")
    decide(world, ident, Choice.REHEDGE)
    assert hedged(world)


def test_a_killed_answer_goes_on_in_its_direction(world: World) -> None:
    """The book is true and the direction noted, then the process dies: the next start rehedges."""
    held = opened(world, "4000").position
    world.venue.world.manual_close("BTCUSDT")
    world.writer.reconciler.run()
    repairer = world.writer.reconciler.repairer
    why = repairer.explain(world.writer.reconciler.facts())[held.position_id]
    repairer.traded_by_hand(held.position_id, why, choice=Choice.REHEDGE)
    world.restart()
    assert world.writer.reconciler.run().clean
    assert world.short == held.contracts


def test_a_dry_run_says_what_would_be_done(world: World) -> None:
    """``--dry-run`` names the repair and does nothing."""
    opened(world, "4000")
    world.venue.world.manual_close("BTCUSDT")
    world.writer.reconciler.run()
    orders, rows = len(world.venue.all_orders()), world.writer.store.ledger.count()
    result = world.writer.reconciler.run(dry_run=True, repair=True)
    assert "resolve" in result.mismatches[0].action
    assert len(world.venue.all_orders()) == orders
    assert world.writer.store.ledger.count() == rows


def test_a_dry_run_names_what_is_not_booked_yet(world: World) -> None:
    """Funding and a stranger's fill that no walk has read yet: counted by kind, and booked by nobody."""
    opened(world, "4000")
    world.writer.reconciler.run()
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    world.clock.sleep(timedelta(hours=9))
    rows = world.writer.store.ledger.count()
    result = world.writer.reconciler.run(dry_run=True)
    found = {(item.kind, item.symbol): item.found for item in result.mismatches if item.note_only}
    assert found["missing_execution", "BTCUSDT"] == 2
    assert found["missing_row", "SETTLEMENT USDT"] == 1
    assert world.writer.store.ledger.count() == rows
    assert world.writer.reconciler.run().clean
    after = world.writer.reconciler.run(dry_run=True)
    assert after.clean
    assert after.mismatches == ()
