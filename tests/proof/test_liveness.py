"""How long trouble may last once it could be over: doubts, naked legs, and the fees of a stormy day."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Side, WriteAnswer
from fundarb.exchange.inprocess import Loss
from fundarb.venue.rows import Directive, OrderMatch
from tests.daemon.living import HOUR, SECOND, make_living
from tests.engine.world import LIMITS, World, make_world
from tests.proof.episode import Episode

D = Decimal
LOOK = 5 * SECOND
FEE_CAP = D("0.005")
"""Fees of a day as a fraction of the equity, as in the settings, that stop every open."""


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
@pytest.mark.parametrize("outage", [2, 40, 900])
def test_a_doubt_ends_within_a_minute_of_calm(outage: int, loss: Loss, tmp_path: Path) -> None:
    """Reads fail for a while after an order was lost; once they answer, the looks of the bot resolve it
    within ``recv_window`` + 60 s.
    """
    episode = Episode(5, tmp_path)
    episode.attempt("begin", episode.recover)
    episode.life.exchange.lose(loss)
    position_id = _begin(episode)
    assert episode.life.store.intents.open(), "nothing is in doubt"
    episode.clock.sleep(outage * SECOND)
    episode.trouble.reads = 0
    calm = episode.clock.now()
    while episode.life.store.intents.open():
        assert episode.attempt("watch", lambda: episode.life.jobs.run("watch", {}))
        episode.clock.sleep(LOOK)
        assert episode.clock.now() - calm <= 62 * SECOND, "still in doubt"
    assert episode.life.store.positions.get(position_id).state.value in {"HEDGED", "CLOSED", "ABORTED"}
    episode.life.end()


def _begin(episode: Episode) -> str:
    """An open whose reads all fail from its first order on; its position."""
    life = episode.life
    create = life.exchange.create

    def then_deaf(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        life.exchange.create = create  # type: ignore[method-assign]
        episode.trouble.reads = 1.0
        return create(request, signed_at=signed_at)

    life.exchange.create = then_deaf  # type: ignore[method-assign]
    episode.command("open", {"base": "ADA", "notional": "700"})
    return life.store.positions.all()[-1].position_id


def naked_time(world: World) -> timedelta:
    """The longest time between two fills during which the legs were apart by more than a lot."""
    owned = short = D(0)
    longest, since = timedelta(), None
    for fill in sorted(world.venue.all_fills(), key=lambda item: item.time):
        sign = fill.side.sign
        if fill.category is Category.SPOT:
            owned += sign * fill.quantity
        else:
            short -= sign * fill.quantity
        apart = abs(owned - short) > D("0.002")
        if apart and since is None:
            since = fill.time
        elif not apart and since is not None:
            longest, since = max(longest, fill.time - since), None
    assert since is None, "naked at the end"
    return longest


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
@pytest.mark.parametrize("nth", [0, 1])
@pytest.mark.parametrize("way", ["open", "close", "emergency"])
def test_a_naked_leg_ends_within_t_recover(way: str, nth: int, loss: Loss, tmp_path: Path) -> None:
    """One message of either leg is lost on any way: the legs are apart for ``t_recover`` and one hedge at
    most.
    """
    world = make_world(tmp_path / "fundarb.sqlite3")
    world.writer.reconciler.run()
    if way != "open":
        world.writer.trader.open("BTC", D(4000))
    world.exchange.lose(*[None] * nth, loss)
    if way == "open":
        world.writer.trader.open("BTC", D(4000))
    else:
        world.writer.trader.close("BTC", emergency=way == "emergency")
    assert naked_time(world) <= world.rules.t_recover + world.rules.t_hedge
    world.close()


@pytest.mark.proof
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stormy_day_costs_no_more_than_its_cap(seed: int, tmp_path: Path) -> None:
    """A day in which every hour brings a jump, another rate and orders that fill in part or never: the fees
    of the coin stay below the cap; it is not opened and closed all day long.
    """
    die = Random(seed)
    living = make_living(tmp_path)
    for _ in range(24):
        living.feed.rate = D(die.choice(("0.0009", "-0.0004", "0.0004")))
        living.venue.world.jump("BTCUSDT", D(die.choice(("0.96", "1", "1.03"))))
        for side in Side:
            parts = [Directive(fill_frac=D(die.choice(("0", "0.3", "1", "1")))) for _ in range(3)]
            living.venue.force(OrderMatch(side=side), *parts)
        living.live(HOUR)
    fees = sum(
        (fill.fee * (fill.price if fill.fee_coin == "BTC" else 1) for fill in living.venue.all_fills()), D(0)
    )
    equity = living.exchange.wallet().total_equity
    assert equity is not None
    assert D(0) < fees <= FEE_CAP * equity, fees
    assert len(living.venue.all_orders()) < 24 * LIMITS.orders_per_minute
    living.close()
