"""While an order of one coin is in doubt, or its walk has many clips, a leg that the venue takes of another
one does not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.orders import OrderRequest, WriteAnswer, parse_link_id
from fundarb.core.risk import RiskLimits
from fundarb.core.states import IntentState
from fundarb.engine.commands import Arguments
from fundarb.engine.desk import TradeRules
from fundarb.exchange.inprocess import Loss
from tests.engine.world import SECOND, World, make_world
from tests.proof.market import RoughFeed

D = Decimal
AFTER = 8 * SECOND
"""So long after the doubt began the venue takes of the other coin."""
LOOK = 5 * SECOND
"""The longest pause between two look-ups."""
PROVED = 33 * SECOND
"""No absence is proved sooner: the lease, and misses over half a minute."""
DEEDS: dict[str, tuple[str, Arguments]] = {
    "add": ("open", {"base": "BTC", "notional": "500", "add": True}),
    "close": ("close", {"name": "BTC"}),
}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    """BTC and ADA are held."""
    made = make_world(tmp_path / "two.sqlite3", feed=RoughFeed())
    for base in ("BTC", "ADA"):
        assert made.writer.executor.execute("open", {"base": base, "notional": "3000"}).exit_code == 0
    made.clock.sleep(SECOND)
    yield made
    made.close()


def deleveraged_meanwhile(
    world: World, patch: pytest.MonkeyPatch, *losses: Loss, share: str = "0.4", symbol: str = "ADAUSDT"
) -> list[datetime]:
    """The first sleep that ends ``AFTER`` from now or later finds a share of a short gone (ADA's), and the
    next orders meet these ``losses``; when that was.
    """
    began, sleep, taken = world.clock.now(), world.clock.sleep, list[datetime]()

    def slept(duration: timedelta) -> None:
        sleep(duration)
        if not taken and world.clock.now() >= began + AFTER:
            taken.append(world.clock.now())
            world.venue.world.adl(symbol, D(share))
            world.exchange.lose(*losses)

    patch.setattr(world.clock, "sleep", slept)
    return taken


def sent(world: World, base: str, *, since: datetime) -> list[datetime]:
    """When orders of ours for a coin came to the venue, from an instant on."""
    rows = [order.report() for order in world.venue.all_orders()]
    ours = [row for row in rows if row.symbol == f"{base}USDT" and parse_link_id(row.link_id) is not None]
    return sorted(row.created for row in ours if row.created >= since)


def matched(world: World, base: str) -> bool:
    """Whether the legs of a coin agree within a lot."""
    position = world.writer.store.positions.active_for(base)
    return (
        position is None or abs(position.spot_owned - position.contracts) <= D("0.02") * position.spot_owned
    )


@pytest.mark.parametrize("deed", DEEDS)
def test_d01_another_coin_is_hedged_during_a_doubt(
    two: World, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    """D01, A01: an order of BTC is lost, and ADA is deleveraged while it is looked for: its coins follow
    within one pause and ``t_hedge``; nothing is sent for BTC before the absence of its order is proved.
    """
    began = two.clock.now()
    taken = deleveraged_meanwhile(two, monkeypatch)
    two.exchange.lose(Loss.REQUEST)
    two.writer.executor.execute(*DEEDS[deed])
    assert two.clock.now() >= began + PROVED
    (at,) = taken
    assert sent(two, "ADA", since=at)[0] <= at + LOOK + two.rules.t_hedge
    assert all(moment >= began + PROVED for moment in sent(two, "BTC", since=began))
    assert matched(two, "ADA")
    two.writer.reconciler.run()
    assert matched(two, "BTC")
    told = two.writer.store.events.after(0, 1000, kind="alert_raised")
    assert [json.loads(row.payload)["code"] for row in told] == ["adl"]


def test_a17_a_doubt_within_a_doubt_does_not_hold_the_first_up(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A17: the hedge of the other coin is lost too: it is looked up once and left to the walk that follows,
    the first doubt ends when it would have ended alone, and then the second.
    """
    began = two.clock.now()
    deleveraged_meanwhile(two, monkeypatch, Loss.REQUEST)
    two.exchange.lose(Loss.REQUEST)
    two.writer.executor.execute(*DEEDS["add"])
    assert began + PROVED <= two.clock.now() <= began + PROVED + 2 * LOOK
    (waiting,) = two.writer.store.intents.open()
    assert (waiting.symbol, waiting.state) == ("ADAUSDT", IntentState.UNCERTAIN)
    two.writer.reconciler.run()
    assert not two.writer.store.intents.open()
    assert matched(two, "ADA")
    assert matched(two, "BTC")


def test_what_ended_meanwhile_is_no_failure_of_a_close_of_all(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01: all of ADA's short is taken while BTC's order is looked for, and its coins sold at once: when its
    turn comes it is closed already, which is what was wanted.
    """
    deleveraged_meanwhile(two, monkeypatch, share="1")
    two.exchange.lose(Loss.REQUEST)
    answer = two.writer.executor.execute("close", {"all": True})
    assert [row["state"] for row in answer.data["closed"]] == ["CLOSED", "CLOSED"], answer
    assert (answer.exit_code, answer.reasons) == (0, ())  # BTC's was sent once more


def hidden(world: World, patch: pytest.MonkeyPatch) -> None:
    """The next order's answer is lost, and nobody finds it by its link id for twice ``AFTER``."""
    world.exchange.lose(Loss.ANSWER)
    until = world.clock.now() + 2 * AFTER
    for name, nothing in (("order_realtime", None), ("order_history", None), ("executions_of", ())):
        real = getattr(world.exchange, name)

        def look(*args: Any, real: Any = real, nothing: object = nothing, **named: Any) -> object:
            return nothing if world.clock.now() < until else real(*args, **named)

        patch.setattr(world.exchange, name, look)


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "found"])
def test_d01_what_is_taken_of_the_very_coin_is_not_restored(
    two: World, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """D01, A01, A02: BTC itself is deleveraged while an addition's order is looked for, which books it:
    whether that order never was or is found, what went is not shorted anew, and no coins are sold that a
    short needs.
    """
    taken = deleveraged_meanwhile(two, monkeypatch, symbol="BTCUSDT")
    if lost:
        two.exchange.lose(Loss.REQUEST)
    else:
        hidden(two, monkeypatch)
    real, short, naked = two.exchange.create, list[Decimal](), list[Decimal]()

    def create(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        try:
            return real(request, signed_at=signed_at)
        finally:
            sizes = {item.symbol: item.size for item in two.exchange.positions()}
            short.append(-sizes.get("BTCUSDT", D(0)))
            naked.append(two.coins() - short[-1])

    monkeypatch.setattr(two.exchange, "create", create)
    two.writer.executor.execute(*DEEDS["add"])
    assert len(taken) == 1
    assert max(short[1:]) <= short[0] * D("0.6") + D("0.001")
    assert min(naked[1:]) >= D("-0.001")
    assert matched(two, "BTC")
    two.writer.reconciler.run()
    told = two.writer.store.events.after(0, 1000, kind="alert_raised")
    assert [json.loads(row.payload)["code"] for row in told] == ["adl"]


def slowly(world: World, patch: pytest.MonkeyPatch) -> None:
    """Every create takes as long as at a venue far away."""
    real = world.exchange.create

    def create(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        answer = real(request, signed_at=signed_at)
        world.clock.sleep(0.3 * SECOND)
        return answer

    patch.setattr(world.exchange, "create", create)


WALKS: dict[str, tuple[str, Arguments]] = {
    "open": ("open", {"base": "BTC", "notional": "6000", "add": True}),
    "close": ("close", {"name": "BTC"}),
}


@pytest.mark.parametrize("walk", WALKS)
def test_d01_another_coin_is_hedged_between_two_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, walk: str
) -> None:
    """D01: ADA is deleveraged in the middle of a walk of many clips of BTC, of which each goes well: its
    coins follow within the pause of a doubt and a clip, and the walk comes to its end.
    """
    limits = RiskLimits(
        max_gross=D(50_000), max_per_coin=D(20_000), max_clip=D(200), orders_per_minute=10_000
    )
    world = make_world(tmp_path / "many.sqlite3", feed=RoughFeed(), rules=TradeRules(limits=limits))
    for base, notional in (("BTC", "6000"), ("ADA", "3000")):
        wanted: Arguments = {"base": base, "notional": notional}
        assert world.writer.executor.execute("open", wanted).exit_code == 0
    world.clock.sleep(SECOND)
    slowly(world, monkeypatch)
    began = world.clock.now()
    (taken,) = (deleveraged_meanwhile(world, monkeypatch, share="1"),)
    assert world.writer.executor.execute(*WALKS[walk]).exit_code == 0
    assert world.clock.now() >= began + AFTER + LOOK + 2 * SECOND
    assert sent(world, "ADA", since=taken[0])[0] <= taken[0] + LOOK + 2 * SECOND
    assert matched(world, "ADA")
    assert matched(world, "BTC")
    world.close()


def test_d01_another_coin_is_hedged_while_a_settlement_is_waited_for(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D01, E08: the same while an open of BTC waits for a settlement to pass."""
    two.clock.sleep(8 * 3600 * SECOND - 60 * SECOND - 30 * SECOND)
    two.writer.reconciler.run()
    two.clock.sleep(datetime(2026, 1, 5, 7, 59, 50, tzinfo=UTC) - two.clock.now())
    began = two.clock.now()
    taken = deleveraged_meanwhile(two, monkeypatch)
    assert two.writer.executor.execute(*DEEDS["add"]).exit_code == 0
    assert two.clock.now() >= began + 25 * SECOND
    assert sent(two, "ADA", since=taken[0])[0] <= taken[0] + LOOK + two.rules.t_hedge
    assert matched(two, "ADA")
    assert matched(two, "BTC")
