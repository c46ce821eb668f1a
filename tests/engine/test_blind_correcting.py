"""Legs are brought together where the wallet cannot be read: coins that are gone are not sold again, and
contracts can always be reduced.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Never

import pytest

from fundarb.core.account import Wallet
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.states import PositionState
from fundarb.errors import Unavailable
from fundarb.venue.rows import OrderSpec
from tests.engine.test_taken_while_closing import RULES, Thin
from tests.engine.test_taken_while_correcting import naked_after
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
LEGS = (Category.SPOT, Category.LINEAR)


def unreadable(*_: object, **__: object) -> Never:
    """No answer."""
    raise Unavailable("no answer")


def readable(wallet: Callable[[], Wallet], times: int) -> Callable[[], Wallet]:
    """A wallet that answers so many times."""
    left = times

    def read() -> Wallet:
        nonlocal left
        left -= 1
        return unreadable() if left < 0 else wallet()

    return read


def held(world: World) -> World:
    """With a position of several clips, of some while ago."""
    opened(world)
    world.clock.sleep(40 * SECOND)
    return world


@pytest.mark.parametrize("times", [1, 2, 3])
def test_coins_that_were_seen_to_be_gone_are_not_sold_when_nobody_can_look(
    tmp_path: Path, times: int
) -> None:
    """A margin event takes of both legs, and only the wallet says so, a few times: what it once said counts.
    It stays exposed in the books, is flat at the venue, and ends hedged when all can be read again.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=Category.SPOT), rules=RULES)) as world:
        exchange = held(world).exchange
        wallet, transactions = exchange.wallet, exchange.transactions
        world.venue.world.adl("BTCUSDT", D("0.5"))
        world.venue.world.auto_repay("BTC", D("0.2"))
        naked = naked_after(world, lambda _: int)
        exchange.wallet, exchange.transactions = readable(wallet, times), unreadable  # type: ignore[method-assign]
        for _ in range(2):
            found = world.writer.reconciler.run()
            assert "unhedged" in {item.kind for item in found.mismatches}
            world.clock.sleep(15 * SECOND)
        assert max(naked) < D("0.0001")
        exchange.wallet, exchange.transactions = wallet, transactions  # type: ignore[method-assign]
        world.clock.sleep(61 * SECOND)
        assert not world.writer.reconciler.run().mismatches
        (position,) = world.writer.store.positions.active()
        assert position.state is PositionState.HEDGED
        assert abs(world.coins() - world.short) < D("0.0011")


@pytest.mark.parametrize("pause", [30, 120, 700])
def test_coins_that_were_booked_as_gone_are_not_left_out_again(tmp_path: Path, pause: int) -> None:
    """What was seen to be gone has been booked; then the venue takes of the short while nobody can look: all
    coins that are too many are sold.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=Category.SPOT), rules=RULES)) as world:
        exchange = held(world).exchange
        wallet, transactions = exchange.wallet, exchange.transactions
        world.venue.world.adl("BTCUSDT", D("0.5"))
        world.venue.world.auto_repay("BTC", D("0.2"))
        exchange.transactions = unreadable  # type: ignore[method-assign]
        world.writer.reconciler.run()
        exchange.transactions = transactions  # type: ignore[method-assign]
        world.clock.sleep(5 * SECOND)
        assert not world.writer.reconciler.run().mismatches
        world.clock.sleep(pause * SECOND)
        world.venue.world.adl("BTCUSDT", D("0.5"))
        exchange.wallet = unreadable  # type: ignore[method-assign]
        world.writer.reconciler.run()
        exchange.wallet = wallet  # type: ignore[method-assign]
        assert abs(world.coins() - world.short) < D("0.0011")
        assert world.short == D("0.05")


def shorts_after(world: World) -> list[Decimal]:
    """The short now, and after each order."""
    create, shorts = world.exchange.create, [world.short]

    def watched(*args: object, **named: object) -> object:
        answer = create(*args, **named)  # type: ignore[arg-type]
        shorts.append(world.short)
        return answer

    world.exchange.create = watched  # type: ignore[method-assign,assignment]
    return shorts


def repaid(world: World) -> None:
    """Half of the coins went by force."""
    world.venue.world.auto_repay("BTC", D("0.5"))


def locked(world: World) -> None:
    """An order of somebody's holds all coins."""
    quantity = D("0.2")
    world.venue.place(
        OrderSpec(
            category=Category.SPOT, symbol="BTCUSDT", side=Side.SELL, quantity=quantity, price=D(52_000)
        )
    )


@pytest.mark.parametrize("act", [repaid, locked])
@pytest.mark.parametrize("first", LEGS)
def test_an_emergency_that_sees_no_coins_buys_back_one_clip_of_contracts(
    tmp_path: Path, first: Category, act: Callable[[World], None]
) -> None:
    """Coins are denied and neither wallet nor log can be read: they may be gone, or locked. One clip of
    contracts goes, whatever is asked again, and none is opened; when the wallet can be read it ends hedged.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        exchange = held(world).exchange
        act(world)
        wallet, transactions = exchange.wallet, exchange.transactions
        exchange.wallet, exchange.transactions = unreadable, unreadable  # type: ignore[method-assign]
        shorts = shorts_after(world)
        for _ in range(3):
            world.writer.trader.close("BTC", emergency=True)
        (position,) = world.writer.store.positions.active()
        assert position.state is PositionState.EXPOSED
        assert shorts == sorted(shorts, reverse=True)
        assert position.spot_owned - position.contracts < D("0.0411")
        exchange.wallet, exchange.transactions = wallet, transactions  # type: ignore[method-assign]
        for _ in range(2):
            world.clock.sleep(61 * SECOND)
            world.writer.reconciler.run()
        (position,) = world.writer.store.positions.active()
        assert position.state is PositionState.HEDGED
        assert abs(world.coins() - world.short) < D("0.0011")


@pytest.mark.parametrize("first", LEGS)
def test_an_emergency_asks_the_wallet_alone_where_the_positions_cannot_be_read(
    tmp_path: Path, first: Category
) -> None:
    """Coins are locked, which the wallet shows: nothing is traded to and fro however often it is asked."""
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        exchange = held(world).exchange
        locked(world)
        naked, positions = naked_after(world, lambda _: int), exchange.positions
        exchange.positions = unreadable  # type: ignore[method-assign]
        for _ in range(3):
            world.writer.trader.close("BTC", emergency=True)
        exchange.positions = positions  # type: ignore[method-assign]
        assert world.short == D("0.2")
        assert max(naked, default=D(0)) < D("0.0001")


def test_a_lock_of_long_ago_explains_nothing(tmp_path: Path) -> None:
    """Coins were locked once, and the clip taken back; an hour later the venue takes them between two orders
    and nobody can look: no contracts are sold for them.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=Category.LINEAR), rules=RULES)) as world:
        exchange = held(world).exchange
        naked_after(world, lambda _: partial(locked, world))
        closed(world)
        world.venue.cancel_all(Category.SPOT)
        assert world.short == D("0.2")
        world.clock.sleep(timedelta(hours=1))
        world.writer.reconciler.run()
        wallet, transactions = exchange.wallet, exchange.transactions

        def gone() -> None:
            repaid(world)
            repaid(world)
            exchange.wallet, exchange.transactions = unreadable, unreadable  # type: ignore[method-assign]

        naked_after(world, lambda one: gone if one.category is Category.LINEAR else None)
        shorts = shorts_after(world)
        for _ in range(3):
            world.writer.trader.close("BTC", emergency=True)
        exchange.wallet, exchange.transactions = wallet, transactions  # type: ignore[method-assign]
        assert shorts == sorted(shorts, reverse=True)
