"""From uncertain to certain: several at once, strangers in between, a link id that is taken, a venue that is
away.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, OrderRequest, Outcome, Purpose, Side, WriteAnswer
from fundarb.core.records import BlockKind, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.compare import Choice
from fundarb.engine.decide import Decided
from fundarb.engine.guard import Draft
from fundarb.engine.orders import OrderDesk
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss, spec_of
from tests.engine.test_faults import consistent
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal


def alerts(world: World) -> list[tuple[str, str]]:
    """Code and subject of every alert so far."""
    found = [
        json.loads(item.payload) for item in world.writer.store.events.after(0, 1000, kind="alert_raised")
    ]
    return [(item["code"], item["subject"]) for item in found]


def halted(world: World) -> bool:
    return any(b.kind is BlockKind.HALT for b in world.writer.store.blocks.active(world.clock.now()))


def top_up(position: PositionRecord, leg: Leg) -> Draft:
    """A correction: the spot leg buys, the perp leg sells."""
    return Draft(
        position=position,
        leg=leg,
        purpose=Purpose.TRIM,
        side=Side.SELL if leg is Leg.SPOT else Side.BUY,
        quantity=D("0.01"),
        limit_price=D(49_950) if leg is Leg.SPOT else D(50_050),
        reduce_only=leg is Leg.PERP,
    )


def test_both_legs_are_resolved_at_the_same_time(world: World) -> None:
    """A17: two requests that never arrived are proved absent together, within the lease and a minute."""
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST, Loss.REQUEST)
    desk = OrderDesk(world.writer.desk)
    for leg in Leg:
        placed = desk.place(top_up(position, leg))
        assert getattr(placed, "uncertain", False)
    before = world.clock.now()
    found = world.writer.reconciler.run()
    assert [item.state for item in found.resolved] == [IntentState.ABSENT] * 2
    assert world.clock.now() - before <= timedelta(seconds=2 + 60)
    consistent(world)


def test_a_strangers_trade_does_not_keep_an_order_uncertain(world: World) -> None:
    """Somebody trades the same perp by hand while an order of ours is looked for: their fill explains the
    change, ours is proved absent, theirs is reported.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert getattr(placed, "uncertain", False)
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.02"))
    found = world.writer.reconciler.run()
    assert [item.state for item in found.resolved] == [IntentState.ABSENT]
    assert [item.kind for item in found.mismatches] == ["foreign_position"]


def test_what_strangers_did_before_keeps_no_order_uncertain(world: World) -> None:
    """A stranger closed what they held in the very instant of our plan, and much later our request is lost:
    what counts is what changed since it was signed, so it is proved absent.
    """
    manual = world.venue.world.manual_order
    manual(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.02"))
    world.writer.reconciler.run()
    world.clock.sleep(timedelta(seconds=10))
    manual(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.02"))
    position = opened(world, "5000").position
    world.clock.sleep(timedelta(minutes=10))
    world.writer.reconciler.run()
    world.exchange.lose(Loss.REQUEST)
    OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    found = world.writer.reconciler.run()
    assert [item.state for item in found.resolved] == [IntentState.ABSENT]
    consistent(world)


def test_a_stranger_beside_us_hides_no_fill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger is short beside us, noted by a walk; then an order of ours trades that no list shows: what
    the size changed by is not taken for theirs.
    """
    manual = world.venue.world.manual_order
    position = opened(world, "5000").position
    manual(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.01"))
    world.writer.reconciler.run()
    world.clock.sleep(timedelta(hours=2))
    manual(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.02"))
    world.writer.reconciler.run()
    world.exchange.lose(Loss.ANSWER)
    for name, empty in (("order_realtime", None), ("order_history", None)):
        monkeypatch.setattr(world.exchange, name, lambda *_, empty=empty, **__: empty)
    monkeypatch.setattr(world.exchange, "executions_of", lambda *_, **__: ())
    real = world.exchange.executions
    before = {row.key for row in real(Category.LINEAR, world.venue.started, until=world.clock.now())}
    monkeypatch.setattr(
        world.exchange,
        "executions",
        lambda *a, **k: tuple(row for row in real(*a, **k) if row.key in before),
    )
    intent = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP)).intent  # type: ignore[union-attr]
    world.clock.sleep(timedelta(minutes=1))
    assert world.writer.resolver.unexplained(intent) == D("0.01")


def taken_link(world: World, quantity: str) -> IntentRecord:
    """An intent of ours in doubt, and at the venue an order under its link id with some quantity."""
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    intent: IntentRecord = placed.intent  # type: ignore[union-attr]
    request = intent.request
    other = OrderRequest(
        link_id=request.link_id,
        category=request.category,
        symbol=request.symbol,
        side=request.side,
        quantity=D(quantity),
        limit_price=request.limit_price,
        reduce_only=request.reduce_only,
    )
    world.venue.place(spec_of(other))
    return intent


def test_another_order_under_our_link_id_halts(world: World) -> None:
    """A11: the venue has our link id with another quantity: everything is halted, the order stays UNCERTAIN,
    one alert; the next start says the same and still works.
    """
    intent = taken_link(world, "0.03")
    for _ in range(2):
        result = world.writer.reconciler.run()
        assert not result.clean
        assert world.writer.store.intents.get(intent.link_id).state is IntentState.UNCERTAIN
    assert halted(world)
    assert [item for item in alerts(world) if item[0] == "link_id_taken"] == [
        ("link_id_taken", intent.link_id)
    ]
    world.restart()
    assert not world.writer.reconciler.run().clean


def test_the_same_order_under_our_link_id_is_adopted(world: World) -> None:
    """With equal parameters it is ours."""
    intent = taken_link(world, "0.01")
    found = world.writer.reconciler.run()
    assert [(item.link_id, item.state, item.filled) for item in found.resolved] == [
        (intent.link_id, IntentState.DONE, D("0.01"))
    ]


def test_an_order_that_stays_unknown_gives_one_alert(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-ups fail for as long as anybody waits: UNCERTAIN, exit 5, one alert, nothing new is sent for
    the coin; once the venue answers it is resolved.
    """

    def away(*_: object, **__: object) -> object:
        raise Unavailable("the venue does not answer")

    names = ("order_realtime", "order_history", "executions_of")
    real = {name: getattr(world.exchange, name) for name in names}
    for name in names:
        monkeypatch.setattr(world.exchange, name, away)
    result = opened(world, "5000")
    assert result.position.state is PositionState.UNCERTAIN
    assert result.reached.value == "uncertain"
    assert "uncertain_order" in {reason.code for reason in result.reasons}
    assert len(world.venue.all_orders()) == 1
    assert not world.writer.reconciler.run().clean
    assert alerts(world) == [("uncertain_order", result.position.position_id)]
    for name in names:
        monkeypatch.setattr(world.exchange, name, real[name])
    consistent(world)
    assert alerts(world) == [("uncertain_order", result.position.position_id)]


def test_a_position_that_cannot_be_hedged_gives_one_alert(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second leg is refused and no book can be read any more: EXPOSED, halted, one alert "unhedged"
    however often one reconciles; as soon as books can be read it is mended.
    """
    book = world.exchange.book
    calls = {"left": 4}  # two books of the plan, two of the first clip

    def failing(*args: object, **named: object) -> object:
        calls["left"] -= 1
        if calls["left"] < 0:
            raise Unavailable("no book")
        return book(*args, **named)  # type: ignore[arg-type]

    create = world.exchange.create

    def refuse_second(request: OrderRequest, **named: object) -> object:
        if world.venue.all_orders():
            return WriteAnswer(outcome=Outcome.REFUSED, code=110007, message="not enough")
        return create(request, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.exchange, "book", failing)
    monkeypatch.setattr(world.exchange, "create", refuse_second)
    result = opened(world, "5000")
    assert result.position.state is PositionState.EXPOSED
    assert {"unhedged", "order_not_filled"} <= {reason.code for reason in result.reasons}
    assert halted(world)
    for _ in range(2):
        assert not world.writer.reconciler.run().clean
    told = [item for item in alerts(world) if item[0] == "unhedged"]
    assert told == [("unhedged", result.position.position_id)]
    monkeypatch.setattr(world.exchange, "book", book)
    monkeypatch.setattr(world.exchange, "create", create)
    mended = world.writer.reconciler.run()
    assert [item.position_id for item in mended.repaired] == [result.position.position_id]
    consistent(world)


def in_doubt(world: World, position: PositionRecord) -> str:
    """The link id of a correction whose answer nobody got."""
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert getattr(placed, "uncertain", False)
    intent: IntentRecord = placed.intent  # type: ignore[union-attr]
    return intent.link_id


def test_a_fill_that_shows_while_absence_is_proved_is_adopted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is in no list for as long as anybody looks, but the collector meets its fill: the order is
    never called ABSENT, and ends with what it traded.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.ANSWER)
    names = ("order_realtime", "order_history", "executions_of")
    real = {name: getattr(world.exchange, name) for name in names}
    for name in names[:2]:
        monkeypatch.setattr(world.exchange, name, lambda *_, **__: None)
    monkeypatch.setattr(world.exchange, "executions_of", lambda *_, **__: ())
    link = in_doubt(world, position)
    world.writer.reconciler.run()
    assert world.writer.store.intents.get(link).state is IntentState.UNCERTAIN
    for name in names:
        monkeypatch.setattr(world.exchange, name, real[name])
    again = world.writer.reconciler.run()
    assert {(item.state, item.filled) for item in again.resolved} == {(IntentState.DONE, D("0.01"))}
    consistent(world)


def test_an_order_known_by_its_fills_alone_waits_for_all_of_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list has the order any more and the fills show in part: not taken for the whole until position and
    books agree.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.ANSWER)
    for name in ("order_realtime", "order_history"):
        monkeypatch.setattr(world.exchange, name, lambda *_, **__: None)
    whole, bulk = world.exchange.executions_of, world.exchange.executions
    world.feed.size = D("0.004")  # three levels, three fills
    monkeypatch.setattr(world.exchange, "executions_of", lambda *a, **k: whole(*a, **k)[:1])
    monkeypatch.setattr(world.exchange, "executions", lambda *a, **k: bulk(*a, **k)[:-2])
    link = in_doubt(world, position)
    world.writer.reconciler.run()
    assert world.writer.store.intents.get(link).state is IntentState.UNCERTAIN
    monkeypatch.setattr(world.exchange, "executions_of", whole)
    monkeypatch.setattr(world.exchange, "executions", bulk)
    again = world.writer.reconciler.run()
    assert {(item.state, item.filled) for item in again.resolved} == {(IntentState.DONE, D("0.01"))}
    monkeypatch.undo()
    consistent(world)


def test_a_link_id_said_to_be_taken_and_not_found_halts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A11: the venue refuses our first send as a duplicate and shows no order under its id: halted and in
    doubt, never taken for absent, until a person says so.
    """
    position = opened(world, "5000").position
    answer = WriteAnswer(outcome=Outcome.EXISTS, code=110072, message="duplicate")
    monkeypatch.setattr(world.exchange, "create", lambda *_, **__: answer)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert getattr(placed, "uncertain", False)
    found = world.writer.reconciler.run()
    assert [item.state for item in found.resolved] == [IntentState.UNCERTAIN]
    assert halted(world)
    assert alerts(world)[0][0] == "link_id_taken"
    monkeypatch.undo()
    ident = next(item.id for item in found.mismatches if item.kind == "uncertain_order")
    said = world.writer.decider.decide(ident, Choice.IGNORE)
    assert isinstance(said, Decided)
    assert said.settled
    consistent(world)


def test_an_unexplained_change_keeps_an_order_uncertain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is in no list, but the position changed in a way that no fill tells: it stays UNCERTAIN
    however long one waits, with one alert.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert getattr(placed, "uncertain", False)
    reports = world.exchange.positions
    monkeypatch.setattr(
        world.exchange,
        "positions",
        lambda: tuple(replace(item, size=item.size + D("0.01")) for item in reports()),
    )
    for _ in range(2):
        found = world.writer.reconciler.run()
        assert [item.state for item in found.resolved] == [IntentState.UNCERTAIN]
        world.clock.sleep(timedelta(hours=9))
    assert [code for code, _ in alerts(world)].count("unexplained_change") == 1
    monkeypatch.undo()
    consistent(world)


def test_a_persons_word_against_a_living_order_is_refused(world: World) -> None:
    """``--ignore`` of an order in doubt: refused while its lease runs, or if the venue shows it."""
    position = opened(world, "5000").position
    world.exchange.lose(Loss.ANSWER)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    intent: IntentRecord = placed.intent  # type: ignore[union-attr]
    resolver = world.writer.resolver
    assert "lease" in resolver.against_absence(intent)
    world.clock.sleep(timedelta(seconds=10))
    assert "venue shows it" in resolver.against_absence(intent)
    world.venue.world.transfer("USDT", D(1))
    consistent(world)
