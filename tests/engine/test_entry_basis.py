"""At which basis a position was entered, whatever happened to its legs since."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Side
from fundarb.engine.commands import Executor
from fundarb.engine.entry_basis import entry_basis
from fundarb.engine.exit_cost import exit_cost
from fundarb.engine.views import position_views
from tests.engine.test_strangers import BORN, held
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
BUY, SELL = Side.BUY, Side.SELL
SPOT, PERP = Category.SPOT, Category.LINEAR


def fill(
    category: Category, side: Side, quantity: str | Decimal, *, price: str | Decimal, at: timedelta
) -> Execution:
    """One of a position's fills; ``at`` since its birth."""
    return Execution(
        exec_id=f"{at.total_seconds():012.3f}{category}",
        order_id="1",
        link_id="",
        category=category,
        symbol="BTCUSDT",
        side=side,
        price=D(price),
        quantity=D(quantity),
        value=D(price) * D(quantity),
        fee=D(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=BORN + at,
    )


def entered(price: str = "100", *, at: timedelta = timedelta(), quantity: str = "1") -> list[Execution]:
    """A clip: coins, and two seconds later the short, 10 bp above."""
    return [
        fill(SPOT, BUY, quantity, price=price, at=at),
        fill(PERP, SELL, quantity, price=D(price) * D("1.001"), at=at + 2 * SECOND),
    ]


def basis(*fills: Execution, owned: str = "1", multiplier: str = "1") -> Decimal | None:
    """Of a position with these fills that owns so many coins."""
    found = entry_basis(replace(held(), spot_owned=D(owned), multiplier=D(multiplier)), fills)
    return None if found is None else round(found, 9)


def test_a_position_as_it_was_entered() -> None:
    """One clip, many clips at other prices, either leg first, a fee out of the coins."""
    assert basis(*entered()) == D("0.001")
    assert basis(*entered(), *entered("150", at=DAY), owned="2") == D("0.001")
    spot, perp = entered()
    assert basis(replace(spot, time=perp.time, exec_id="z"), replace(perp, time=BORN)) == D("0.001")
    assert basis(*entered(), owned="0.999") == D("0.001")


def test_contracts_of_many_coins() -> None:
    """A contract on a thousand coins stands beside a thousand coins."""
    spot = fill(SPOT, BUY, "1000", price="0.1", at=timedelta())
    perp = fill(PERP, SELL, "1", price="100.1", at=SECOND)
    assert basis(spot, perp, owned="1000", multiplier="1000") == D("0.001")


def test_a_part_that_was_left_changes_nothing() -> None:
    """A partial close takes both legs; the rest was entered where it was."""
    out = [fill(PERP, BUY, "0.4", price="80", at=DAY), fill(SPOT, SELL, "0.4", price="80", at=DAY + SECOND)]
    assert basis(*entered(), *out, owned="0.6") == D("0.001")


def test_a_leg_that_was_restored_has_no_entry() -> None:
    """The short was closed by hand and sold again after the price had halved: nobody was ever short at half
    of what his coins cost him. The same of coins that were sold and bought again.
    """
    closed, again = fill(PERP, BUY, "1", price="50", at=DAY), fill(PERP, SELL, "1", price="50", at=2 * DAY)
    assert basis(*entered(), closed, again) is None
    sold, bought = fill(SPOT, SELL, "1", price="50", at=DAY), fill(SPOT, BUY, "1", price="50", at=2 * DAY)
    assert basis(*entered(), sold, bought) is None


def test_coins_that_went_without_a_fill_had_their_entry() -> None:
    """Withdrawn and bought again at half the price."""
    assert basis(*entered(), fill(SPOT, BUY, "1", price="50", at=DAY)) is None


def test_what_stayed_whole_still_tells() -> None:
    """A tenth was restored: the other nine tell the entry; so does a clip that came after the restoration."""
    closed = fill(PERP, BUY, "0.1", price="50", at=DAY)
    again = fill(PERP, SELL, "0.1", price="50", at=DAY + SECOND * 40)
    assert basis(*entered(), closed, again) == D("0.001")
    closed, again = fill(PERP, BUY, "1", price="50", at=DAY), fill(PERP, SELL, "1", price="50", at=2 * DAY)
    assert basis(*entered(), closed, again, *entered("50", at=3 * DAY), owned="2") == D("0.001")


@given(
    st.lists(st.tuples(st.decimals("0.01", "10", places=2), st.decimals("1", "1000", places=2)), min_size=1),
    st.decimals("-0.01", "0.01", places=4),
)
def test_clips_at_one_basis_make_that_basis(clips: list[tuple[Decimal, Decimal]], wide: Decimal) -> None:
    """Whatever their sizes and prices, clips that were all entered at one basis are a position of it."""
    fills, owned = [], D(0)
    for number, (quantity, price) in enumerate(clips):
        at = number * DAY
        fills += [
            fill(SPOT, BUY, quantity, price=price, at=at),
            fill(PERP, SELL, quantity, price=price * (1 + wide), at=at + SECOND),
        ]
        owned += quantity
    assert basis(*fills, owned=str(owned)) == wide


def test_a_restored_leg_frightens_nobody(world: World) -> None:
    """After a rehedge at half the price ``positions`` shows no entry basis, and a close warns of no cost."""
    opened(world, "5000")
    (before,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    assert before.entry_basis is not None
    world.feed.prices["BTCUSDT"] = D(25_000)
    world.venue.world.manual_close("BTCUSDT")
    world.clock.sleep(DAY / 100)
    (item,) = world.writer.reconciler.run().loud
    executor: Executor = world.writer.executor
    answer = executor.execute("resolve", {"id": item.id, "answer": "rehedge"})
    assert answer.exit_code == 0, answer
    (view,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    assert view.entry_basis is None
    (position,) = world.writer.store.positions.active()
    assert exit_cost(world.writer.desk, position) is None
    part = executor.execute("close", {"name": "BTC", "fraction": "50%"})
    assert part.data["plan"]["entry_basis"] is None
    closed = executor.execute("close", {"name": "BTC"})
    assert [reason.code for reason in closed.warnings] == ["set_aside"]
