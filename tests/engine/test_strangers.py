"""Who trades beside us: other people, another fundarb, ourselves without a row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fundarb.core.account import Wallet
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, OrderReport, OrderStatus, Side
from fundarb.core.records import Block, BlockKind, Goal, Identity, PositionRecord
from fundarb.core.shares import shared_out
from fundarb.core.states import PositionState
from fundarb.engine.booking import book_execution
from fundarb.engine.compare import Books, Mismatch, VenueFacts, compare
from fundarb.engine.forced import taken_from
from tests.engine.test_repairs import alerts
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal
BORN = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
OURS, OLD, OTHER = "k3f9", "aaaa", "zzzz"


def held(base: str = "BTC") -> PositionRecord:
    """An empty position of ours."""
    return PositionRecord(
        position_id="p-7Q2MX0WA4D",
        base=base,
        spot_symbol=f"{base}USDT",
        perp_symbol=f"{base}USDT",
        multiplier=D(1),
        state=PositionState.HEDGED,
        goal=Goal.HOLD,
        notional=D(100),
        target_contracts=D(0),
        spot_owned=D(0),
        contracts=D(0),
        leverage=D(2),
        decision_spot_mid=D(1),
        decision_perp_mid=D(1),
        created_at=BORN,
    )


def order(link: str, *, symbol: str = "ETHUSDT", order_id: str = "1", at: datetime = BORN) -> OrderReport:
    """An open order at the venue."""
    return OrderReport(
        order_id=order_id,
        link_id=link,
        category=Category.LINEAR,
        symbol=symbol,
        side=Side.SELL,
        quantity=D(1),
        limit_price=D(10),
        filled=D(0),
        average_price=None,
        status=OrderStatus.NEW,
        reduce_only=False,
        reject_reason="",
        cancel_type="",
        created=at,
        updated=at,
    )


def fill(link: str, *, at: datetime, number: int = 1) -> Execution:
    """A fill at the venue."""
    return Execution(
        exec_id=str(number),
        order_id="1",
        link_id=link,
        category=Category.LINEAR,
        symbol="ETHUSDT",
        side=Side.SELL,
        price=D(10),
        quantity=D(1),
        value=D(10),
        fee=D(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=at,
    )


def found(
    *orders: OrderReport, recent: tuple[Execution, ...] = (), positions: tuple[PositionRecord, ...] = ()
) -> list[Mismatch]:
    """What the comparison makes of them."""
    identity = Identity(
        venue="sandbox", mode="live", instance="default", uid="1", tag=OURS, old_tags=(OLD,), created_at=BORN
    )
    books = Books(
        identity=identity,
        since=BORN + HOUR,
        positions=positions,
        intents=(),
        known_links=frozenset(),
        balances={},
    )
    wallet = Wallet(
        total_equity=D(0),
        margin_balance=None,
        available=None,
        initial_margin_rate=None,
        maintenance_margin_rate=None,
        coins={},
    )
    facts = VenueFacts(positions=(), wallet=wallet, orders=orders, recent=recent)
    return list(compare(books, facts, tolerance=D(0)))


@pytest.mark.parametrize("tag", [OURS, OLD])
def test_an_order_with_one_of_our_tags_and_no_row_halts(tag: str) -> None:
    """An orphan: today's tag and those of before a restore alike."""
    mismatch = found(order(f"fa-{tag}-7Q2MX0WA4D-p001"))[0]
    assert (mismatch.kind, mismatch.halts) == ("orphan_order", True)


def test_an_open_order_of_another_fundarb_halts_however_old() -> None:
    """A second instance with an open order is at work, even if the order is older than our database."""
    mismatch = found(order(f"fa-{OTHER}-7Q2MX0WA4D-p001", at=BORN - HOUR))[0]
    assert (mismatch.kind, mismatch.halts) == ("second_instance", True)


@pytest.mark.parametrize(("at", "kinds"), [(BORN + 2 * HOUR, ["second_instance"]), (BORN, [])])
def test_fills_of_another_fundarb_count_from_our_birth_or_restore(at: datetime, kinds: list[str]) -> None:
    """Newer than our database was made or restored: at work; older: history."""
    rows = (fill(f"fa-{OTHER}-7Q2MX0WA4D-p001", at=at), fill(f"fa-{OTHER}-7Q2MX0WA4D-p001", at=at, number=2))
    mismatches = found(recent=rows)
    assert [item.kind for item in mismatches] == kinds
    assert all(item.found == 2 for item in mismatches)


def test_every_foreign_order_is_reported_by_itself() -> None:
    """Orders without a link id do not hide one another: the one in a held coin freezes it, the other is a
    note.
    """
    mismatches = found(
        order("", symbol="BTCUSDT", order_id="1"),
        order("", symbol="XRPUSDT", order_id="2"),
        positions=(held(),),
    )
    assert [(item.kind, item.base, item.note_only) for item in mismatches] == [
        ("foreign_order", "BTC", False),
        ("foreign_order", "", True),
    ]
    assert len({item.id for item in mismatches}) == 2


def test_a_link_id_that_only_looks_like_ours_is_foreign() -> None:
    """``fa-`` and nonsense behind it is somebody else's, and freezes the coin that we hold."""
    mismatch = found(order("fa-hello", symbol="BTCUSDT"), positions=(held(),))[0]
    assert (mismatch.kind, mismatch.base) == ("foreign_order", "BTC")


def test_a_freeze_that_needs_a_person_is_not_lifted(world: World) -> None:
    """A coin frozen for its unwinds stays frozen when a difference of the same coin comes and goes."""
    opened(world, "5000")
    now = world.clock.now()
    freeze = Block(scope="BTC", kind=BlockKind.FREEZE, reason="3 unwinds", since=now, needs_person=True)
    world.writer.store.blocks.set(freeze)
    world.venue.world.manual_close("BTCUSDT")
    assert not world.writer.reconciler.run().clean
    kept = world.writer.store.blocks.get("BTC", BlockKind.FREEZE)
    assert kept is not None
    assert (kept.reason, kept.needs_person) == ("3 unwinds", True)


def test_a_difference_freezes_its_coin_and_the_freeze_ends_with_it(world: World) -> None:
    """H03: the perp closed by hand: not clean, the coin frozen, one alert however often one looks; once the
    position is back the freeze is lifted.
    """
    position = opened(world, "5000").position
    world.venue.world.manual_close("BTCUSDT")
    for _ in range(3):
        result = world.writer.reconciler.run()
        assert [item.kind for item in result.mismatches] == ["perp_size"]
    assert world.writer.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    told = world.writer.store.events.after(0, 1000, kind="alert_raised")
    assert len(told) == 1
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=position.contracts)
    assert world.writer.reconciler.run().clean
    assert world.writer.store.blocks.get("BTC", BlockKind.FREEZE) is None


def test_a_dry_run_changes_nothing(world: World) -> None:
    """``reconcile --dry-run`` compares and neither books, blocks, sends nor tells."""
    opened(world, "5000")
    world.venue.world.manual_close("BTCUSDT")
    newest = world.writer.store.events.newest_id()
    rows = world.writer.store.ledger.count()
    result = world.writer.reconciler.run(dry_run=True)
    assert not result.clean
    assert world.writer.store.events.newest_id() == newest
    assert world.writer.store.ledger.count() == rows
    assert world.writer.store.blocks.active(world.clock.now()) == ()


def test_a_market_that_is_gone_does_not_stop_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position whose symbols are not listed any more is reported; reconciling goes on."""
    from fundarb.core.market import Instruments

    opened(world, "5000")
    store = world.writer.store
    world.restart()
    listed = world.exchange.instruments()
    empty = Instruments(spot={}, perp={}, as_of=listed.as_of)
    monkeypatch.setattr(world.exchange, "instruments", lambda **_: empty)
    result = world.writer.reconciler.run()
    assert result.checked.positions == 1
    assert store is not world.writer.store


@pytest.mark.parametrize("late", [False, True])
def test_what_the_venue_took_before_we_came_was_a_strangers(
    world: World, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """H05, D01: a stranger's short is deleveraged away two seconds before ours is opened, and its row is read
    afterwards: nothing of ours went, no coin is sold, nobody is called.
    """
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.05"))
    world.writer.reconciler.run()
    world.clock.sleep(HOUR)
    world.writer.reconciler.run()
    world.venue.world.adl("BTCUSDT", D(1))
    real = world.exchange.executions
    if late:
        monkeypatch.setattr(
            world.exchange,
            "executions",
            lambda *a, **k: tuple(row for row in real(*a, **k) if row.kind is not ExecKind.ADL),
        )
    world.clock.sleep(timedelta(seconds=2))
    held = opened(world, "5000").position
    if late:
        world.writer.reconciler.run()
    monkeypatch.undo()
    for _ in range(2):
        world.clock.sleep(timedelta(seconds=30))
        assert world.writer.reconciler.run().clean
    after = world.writer.store.positions.get(held.position_id)
    assert (after.contracts, after.spot_owned) == (held.contracts, held.spot_owned)
    assert world.short == held.contracts
    assert "adl" not in alerts(world)


def test_of_what_was_added_later_nothing_was_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """H05, D01: ours and a stranger's short are deleveraged away, and more is added before the row is shown:
    ours is what stood there at that instant, the rest was the stranger's.
    """
    held = opened(world, "5000").position
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.05"))
    world.venue.world.adl("BTCUSDT", D(1))
    world.clock.sleep(timedelta(seconds=2))
    (row,) = [
        item
        for item in world.exchange.executions(
            Category.LINEAR, world.clock.now() - HOUR, until=world.clock.now()
        )
        if item.kind is ExecKind.ADL
    ]
    assert row.quantity == held.contracts + D("0.05")
    store = world.writer.store
    later = replace(row, exec_id="later", time=world.clock.now(), side=Side.SELL, kind=ExecKind.TRADE)
    book_execution(store, later, position=held, leg=Leg.PERP)
    found = taken_from(store, row)
    assert found is not None
    assert (found[0].position_id, found[1]) == (held.position_id, held.contracts)
    mine, rest = shared_out(row, found[1])
    assert rest is not None
    assert (mine.quantity, rest.quantity) == (held.contracts, D("0.05"))
    assert (mine.value + rest.value, mine.fee + rest.fee) == (row.value, row.fee)
