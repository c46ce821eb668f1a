"""The audit finds what contradicts each invariant, and nothing in books that are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import Wallet
from fundarb.core.market import Category
from fundarb.core.orders import Leg, OrderReport, OrderStatus, Side
from fundarb.core.records import PositionRecord
from fundarb.engine.audit import AuditCheck, VenueOrder, VenueTruth, audit, examine
from fundarb.engine.audit_book import BookRules, moves, walk
from fundarb.engine.compare import Choice
from tests.daemon.living import HOUR, SECOND, Living, make_living

D = Decimal
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D("5150"), t_hedge=5 * SECOND, t_recover=37 * SECOND)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """A position that was opened and has collected one settlement."""
    made = make_living(tmp_path, specs=())
    made.run("scan_and_open")
    made.clock.sleep(9 * HOUR)
    made.run("snapshot")
    yield made
    made.close()


def truth(living: Living, **changes: object) -> VenueTruth:
    """What the venue really holds, all orders included."""
    intents = [
        intent
        for position in living.store.positions.all()
        for intent in living.store.intents.of_position(position.position_id)
    ]
    found = VenueTruth(
        wallet=living.exchange.wallet(),
        positions=living.exchange.positions(),
        orders=tuple(
            VenueOrder(
                report=OrderReport(
                    order_id=item.order_id,
                    link_id=item.link_id,
                    category=item.category,
                    symbol=item.symbol,
                    side=item.side,
                    quantity=item.quantity,
                    limit_price=item.limit_price,
                    filled=item.filled,
                    average_price=item.average_price,
                    status=OrderStatus.FILLED,
                    reduce_only=item.reduce_only,
                    reject_reason="",
                    cancel_type="",
                    created=item.created_at,
                    updated=item.created_at,
                )
            )
            for item in intents
        ),
        complete=True,
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def broken(living: Living, what: VenueTruth | None = None) -> dict[str, str]:
    """The invariants that do not hold, with what was found."""
    return {check.id: check.details for check in audit(living.store, RULES, truth=what) if not check.ok}


def sql(living: Living, text: str) -> None:
    """Damage the books."""
    living.store.database.execute_sql(text)


def position_of(living: Living) -> PositionRecord:
    """The one position."""
    return living.store.positions.all()[0]


def test_right_books_pass_every_check(living: Living) -> None:
    """After an open, a settlement and a close, every check holds, with and without the venue's truth."""
    found = examine(living.store, RULES, truth=truth(living))
    judged = ["1", "2", "3", "4", "5", "6", "7", "10", "11", "12", "liveness"]
    assert [check.id for check in found.checks] == judged
    elsewhere = ["4 look-ups", "8 gross", "8 collar", "8", "9", "12 slippage", "13", "14", "15"]
    assert list(found.not_judged) == elsewhere
    assert found.clean
    assert broken(living, truth(living)) == {}
    living.writer.trader.close("BTC")
    living.run("snapshot")
    assert broken(living, truth(living)) == {}


def test_an_empty_database_is_clean(tmp_path: Path) -> None:
    """Nothing stored contradicts nothing."""
    made = make_living(tmp_path, specs=())
    assert broken(made) == {}
    made.close()


def test_1_an_order_nobody_wrote(living: Living) -> None:
    """An order at the venue with our tag and no row, or with other parameters than were written."""
    what = truth(living)
    first = what.orders[0]
    stranger = replace(first, report=replace(first.report, link_id=first.report.link_id[:-3] + "099"))
    assert "never written" in broken(living, replace(what, orders=(*what.orders, stranger)))["1"]
    other = replace(first, report=replace(first.report, quantity=first.report.quantity * 2))
    assert "other parameters" in broken(living, replace(what, orders=(other, *what.orders[1:])))["1"]


def test_1_somebody_elses_order_is_not_ours(living: Living) -> None:
    """Orders without our tag are nobody's business."""
    what = truth(living)
    first = what.orders[0]
    foreign = tuple(
        replace(first, report=replace(first.report, link_id=link))
        for link in ("", "mine-1", "fa-zzzz-AAAAAAAAAA-s001")
    )
    assert broken(living, replace(what, orders=(*what.orders, *foreign))) == {}


def test_1_an_execution_without_an_order(living: Living) -> None:
    """A fill that is booked as ours but whose order was never written."""
    sql(living, "UPDATE executions SET link_id = replace(link_id, '-s002', '-s077')")
    assert "which was never written" in broken(living)["1"]


def test_2_an_order_sent_twice(living: Living) -> None:
    """Two creates with one link id, or two orders under it at the venue."""
    what = truth(living)
    twice = replace(what.orders[0], requests=2)
    assert "sent 2 times" in broken(living, replace(what, orders=(twice, *what.orders[1:])))["2"]
    assert "2 orders under" in broken(living, replace(what, orders=(*what.orders, what.orders[0])))["2"]


def test_2_an_earlier_order_that_has_not_ended(living: Living) -> None:
    """A leg with a later order while an earlier one is still uncertain."""
    living.writer.trader.close("BTC", D("0.5"))
    link = living.store.intents.of_position(position_of(living).position_id)[0].link_id
    sql(living, f"UPDATE intents SET state = 'UNCERTAIN' WHERE link_id = '{link}'")
    assert "later orders of its leg exist" in broken(living)["2"]


def test_2_one_link_two_orders_in_the_fills(living: Living) -> None:
    """Fills of one link id that belong to two venue orders."""
    living.feed.size = D("0.005")
    living.writer.trader.close("BTC")
    rows = living.store.executions.of_position(position_of(living).position_id)
    link = next(row.link_id for row in rows if sum(r.link_id == row.link_id for r in rows) > 1)
    key = next(row.key for row in rows if row.link_id == link)
    sql(living, f"UPDATE executions SET order_id = 'other' WHERE key = '{key}'")
    assert "as 2 orders" in broken(living)["2"]


def test_5_fills_that_do_not_add_up(living: Living) -> None:
    """An intent that claims another quantity, or another price, than its executions."""
    link = living.store.intents.of_position(position_of(living).position_id)[0].link_id
    sql(living, f"UPDATE intents SET filled = '0.5' WHERE link_id = '{link}'")
    assert "its executions" in broken(living)["5"]
    filled = living.store.executions.of_link(link)[0].quantity
    sql(living, f"UPDATE intents SET filled = '{filled}', average_price = '1' WHERE link_id = '{link}'")
    assert "average price" in broken(living)["5"]


def test_5_a_refused_order_that_traded(living: Living) -> None:
    """Executions of an order that our books call absent."""
    link = living.store.intents.of_position(position_of(living).position_id)[0].link_id
    sql(living, f"UPDATE intents SET state = 'ABSENT' WHERE link_id = '{link}'")
    assert "is ABSENT but traded" in broken(living)["5"]


def test_5_the_venue_filled_more(living: Living) -> None:
    """An order that the venue says was filled more than our books know."""
    what = truth(living)
    first = what.orders[0]
    more = replace(first, report=replace(first.report, filled=first.report.filled + 1))
    assert "our books say" in broken(living, replace(what, orders=(more, *what.orders[1:])))["5"]


def test_6_a_hedged_position_that_is_not(living: Living) -> None:
    """HEDGED with a delta of five percent."""
    held = position_of(living)
    sql(living, f"UPDATE positions SET spot_owned = '{held.spot_owned * D('1.05')}'")
    assert "HEDGED with a delta" in broken(living)["6"]


def test_6_naked_for_too_long_without_an_alert(living: Living) -> None:
    """A second leg two minutes after the first is found, unless somebody was told."""
    rows = living.store.executions.of_position(position_of(living).position_id)
    last = max(rows, key=lambda row: row.link_id[-3:])
    later = int(last.time.timestamp() * 1000) + 120_000
    sql(living, f"UPDATE executions SET time = {later} WHERE key = '{last.key}'")
    assert "without an alert" in broken(living)["6"]
    from fundarb.core.events import AlertRaised

    living.store.events.record(
        AlertRaised(code="unhedged", subject=position_of(living).position_id, message="naked")
    )
    assert "6" not in broken(living)


def test_6_the_walk_measures_what_was_naked(living: Living) -> None:
    """Between the legs of a clip the first leg's value is naked, for the time until the second: here none."""
    held = position_of(living)
    rows = living.store.executions.of_position(held.position_id)
    found = walk(held, moves(living.store, held, executions=rows), rules=RULES, pair=None)
    assert D(990) < found.naked < D(1010)
    assert sum((stretch.lasted for stretch in found.stretches), timedelta()) == timedelta()


def test_7_a_reduction_that_grows(living: Living) -> None:
    """An exit that buys spot, or a buy-back that is not reduce-only."""
    living.writer.trader.close("BTC", D("0.5"))
    sql(living, "UPDATE intents SET reduce_only = 0 WHERE leg = 'perp' AND purpose = 'exit'")
    assert "is to exit but" in broken(living)["7"]


def test_7_a_book_that_is_not_its_executions(living: Living) -> None:
    """Contracts in the position's row that no execution brought."""
    sql(living, "UPDATE positions SET contracts = '9'")
    assert "its executions say" in broken(living)["7"]


def test_7_a_plan_that_is_over_and_holds_something(living: Living) -> None:
    """A finished position that nobody hedges any more."""
    sql(living, "UPDATE positions SET state = 'CLOSED'")
    assert "is CLOSED and still holds something" in broken(living)["7"]


def test_7_another_size_at_the_venue(living: Living) -> None:
    """The venue holds other contracts than our books."""
    assert "the venue holds 0" in broken(living, truth(living, positions=()))["7"]


@pytest.mark.parametrize("answered", [False, True])
def test_7_leaves_a_strangers_contracts_to_the_stranger(living: Living, answered: bool) -> None:
    """H05: somebody sells contracts in a symbol of ours, before a person has said "leave it" and after: once
    the fill is known they are not ours to miss. What he buys closes ours at the venue and is a difference.
    """
    living.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.005"))
    assert "7" in broken(living, truth(living))
    living.writer.reconciler.run()
    if answered:
        living.writer.decider.decide("foreign_position:BTCUSDT", Choice.IGNORE)
        assert living.writer.reconciler.run().clean
    assert "7" not in broken(living, truth(living))
    living.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.007"))
    living.writer.reconciler.run()
    assert "the venue holds" in broken(living, truth(living))["7"]


def test_12_a_fact_that_is_not_booked(living: Living) -> None:
    """An execution that the ledger never posted."""
    sql(living, "UPDATE ledger_journals SET key = 'x' || key WHERE key LIKE 'exec:spot%'")
    assert "is not in the ledger" in broken(living)["12"]


def test_12_a_journal_that_does_not_sum_to_zero(living: Living) -> None:
    """An entry that somebody changed behind the ledger's back."""
    sql(living, "DROP TRIGGER ledger_entries_fixed")
    sql(living, "UPDATE ledger_entries SET amount = '1' WHERE id = (SELECT max(id) FROM ledger_entries)")
    assert "does not sum to zero" in broken(living)["12"]


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_12_a_fee_that_is_not_the_fills(living: Living, category: str) -> None:
    """The ledger has booked another fee than the execution says."""
    sql(living, f"UPDATE executions SET fee = '0.5' WHERE category = '{category}' AND leg IS NOT NULL")
    assert "a fee of" in broken(living)["12"]


@pytest.mark.parametrize("asset", ["BTC", "BTCUSDT"])
def test_12_a_holding_that_is_not_the_positions(living: Living, asset: str) -> None:
    """What an average cost is divided by is not what is held."""
    sql(living, f"UPDATE ledger_holdings SET quantity = '1' WHERE owner LIKE 'p-%' AND asset = '{asset}'")
    assert f"the ledger keeps 1 {asset}" in broken(living)["12"]


@pytest.mark.parametrize(
    ("asset", "says"), [("BTC", "BTC: the wallet's book value is"), ("BTCUSDT", "at a cost")]
)
def test_12_a_cost_that_no_trade_explains(living: Living, asset: str, says: str) -> None:
    """The cost that results are reckoned with is not what was paid: of contracts, and of coins."""
    sql(living, f"UPDATE ledger_holdings SET cost = '7' WHERE owner LIKE 'p-%' AND asset = '{asset}'")
    assert says in broken(living)["12"]


def test_12_a_settlement_that_received_what_is_not_booked(living: Living) -> None:
    """What a settlement is said to have received, and what the ledger holds of it, differ."""
    sql(
        living,
        "INSERT INTO ledger_settlements (position_id, symbol, settled_at, contracts, received, source_id) "
        "SELECT position_id, perp_symbol, 0, '-1', '3.5', '' FROM positions LIMIT 1",
    )
    assert "-3.5 of funding is booked that no settlement received" in broken(living)["12"]


def test_12_a_wallet_that_holds_more(living: Living) -> None:
    """A coin in the wallet that no fact explains."""
    wallet = living.exchange.wallet()
    richer = replace(wallet.coins["USDT"], wallet=wallet.coins["USDT"].wallet + 1)
    what: Wallet = replace(wallet, coins={**wallet.coins, "USDT": richer})
    said = broken(living, truth(living, wallet=what))["12"]
    assert "1 USDT more than the ledger" in said
    assert "`fundarb reconcile`" in said


def test_12_an_equity_that_is_not_explained(living: Living) -> None:
    """A point of the equity curve that the ledger cannot explain."""
    sql(living, "UPDATE snapshots SET equity = '123' WHERE id = (SELECT max(id) FROM snapshots)")
    assert "are not explained" in broken(living)["12"]


def test_many_contradictions_are_counted(living: Living) -> None:
    """The first few are told in full, the rest as a number."""
    what = truth(living)
    first = what.orders[0]
    strangers = tuple(
        replace(first, report=replace(first.report, link_id=f"{first.report.link_id[:-3]}{number:03}"))
        for number in range(100, 120)
    )
    assert "and 15 more" in broken(living, replace(what, orders=(*what.orders, *strangers)))["1"]


def test_details_say_how_far_the_check_reached(living: Living) -> None:
    """A passed check says what it looked at."""
    alone: tuple[AuditCheck, ...] = audit(living.store, RULES)
    assert "books only" in alone[0].details
    assert "every order" in audit(living.store, RULES, truth=truth(living))[0].details
    assert "against the venue" in audit(living.store, RULES, truth=truth(living, complete=False))[0].details


def test_the_sides_of_a_reduction() -> None:
    """A reduction sells spot or buys the perp back: the words of the two legs."""
    assert (Leg.SPOT.other, Side.SELL.opposite) == (Leg.PERP, Side.BUY)
