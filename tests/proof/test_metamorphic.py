"""The same story told otherwise: rows twice, in another order, in other windows and pages; in one clip or in
many; in other units. What must be the same is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.account import Transaction
from fundarb.core.ledger import Journal
from fundarb.core.market import Category
from fundarb.core.orders import Execution
from fundarb.core.risk import RiskLimits
from fundarb.core.states import PositionState
from fundarb.engine.desk import TradeRules
from fundarb.exchange.gateway import Gateway
from fundarb.exchange.local import LocalExchange
from fundarb.store.database import Store
from tests.e2e.stage import Stage
from tests.engine import world as worlds
from tests.engine.world import SECOND, World, make_world
from tests.venue.toy import ToyFeed, perp, spot

D = Decimal
HOUR = 3600 * SECOND
RULES = TradeRules(limits=RiskLimits(max_gross=D(50_000), max_per_coin=D(20_000), max_clip=D(1000)))
CENT = D("0.01")


# ------------------------------------------------------------------------------------- rows told otherwise


class Plain(LocalExchange):
    """As it is."""


class Doubled(LocalExchange):
    """Every row of every list twice."""

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """Each fill and its double."""
        return tuple(row for row in super().executions(category, since, until=until) for _ in range(2))

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Each row and its double."""
        return tuple(row for row in super().transactions(since, until) for _ in range(2))


class Reordered(LocalExchange):
    """Oldest first, as promised, but fills of one instant in any order."""

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """The last of an instant first."""
        rows = super().executions(category, since, until=until)[::-1]
        return tuple(sorted(rows, key=lambda row: row.time))

    def executions_of(self, category: Category, symbol: str, *, link_id: str) -> tuple[Execution, ...]:
        """The same for one order."""
        rows = super().executions_of(category, symbol, link_id=link_id)[::-1]
        return tuple(sorted(rows, key=lambda row: row.time))


class Windowed(LocalExchange):
    """Asked hour by hour; what lies on an edge comes with both windows."""

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """Window by window."""
        ask = super().executions
        return tuple(row for a, b in _hours(since, until) for row in ask(category, a, until=b))

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Window by window."""
        ask = super().transactions
        return tuple(row for a, b in _hours(since, until) for row in ask(a, b))


def _hours(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    found = []
    while since < until:
        found.append((since, min(since + timedelta(hours=1), until)))
        since = found[-1][1]
    return found


def story(world: World) -> None:
    """In, over settlements, more, a part out, deleveraging, other fees, a transfer, a restart, all out."""
    trader, venue = world.writer.trader, world.venue.world
    trader.open("BTC", D(3300))
    world.clock.sleep(9 * HOUR)
    world.writer.collector.collect()
    venue.jump("BTCUSDT", D("1.07"))
    trader.open("BTC", D(1500), add=True)
    trader.close("BTC", D("0.35"))
    venue.transfer("USDT", D(700))
    venue.fees(Category.SPOT, taker=D("0.0018"))
    venue.adl("BTCUSDT", D("0.2"))
    world.clock.sleep(9 * HOUR)
    world.writer.reconciler.run()
    world.restart()
    world.writer.reconciler.run()
    world.writer.trader.close("BTC")
    world.clock.sleep(HOUR)
    world.writer.reconciler.run()


def told(folder: Path, kind: type[LocalExchange], patch: pytest.MonkeyPatch) -> World:
    """The story, as one kind of exchange tells it."""
    folder.mkdir()
    patch.setattr(worlds, "LocalExchange", kind)
    world = make_world(folder / "fundarb.sqlite3", rules=RULES)
    world.writer.reconciler.run()
    story(world)
    return world


def by_key(store: Store) -> dict[str, Journal]:
    """Every journal, its entries in one order."""
    return {item.key: item for item in store.ledger.read.journals()}


def plans(store: Store) -> list[tuple[object, ...]]:
    """What each position's book is."""
    return [
        (item.position_id, item.state, item.spot_owned, item.contracts, item.notional)
        for item in store.positions.all()
    ]


@pytest.mark.parametrize("kind", [Doubled, Reordered, Windowed])
def test_rows_told_otherwise_are_the_same_story(
    kind: type[LocalExchange], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same final book and the same ledger, journal by journal."""
    first = told(tmp_path / "a", Plain, monkeypatch)
    other = told(tmp_path / "b", kind, monkeypatch)
    assert plans(first.writer.store) == plans(other.writer.store)
    assert plans(first.writer.store)[-1][1] is PositionState.CLOSED
    journals = by_key(first.writer.store)
    assert len(journals) > 15
    assert journals == by_key(other.writer.store)
    assert first.writer.store.ledger.balances() == other.writer.store.ledger.balances()
    first.close()
    other.close()


def facts(store: Store) -> list[tuple[object, ...]]:
    """Every journal without its key and plan, which are thrown anew in each world, and its instant: more
    pages take more time.
    """
    return sorted(
        (
            item.fact,
            item.symbol,
            tuple(sorted((e.account.value, e.coin, e.amount, e.value) for e in item.entries)),
        )
        for item in store.ledger.read.journals()
    )


def test_pages_of_two_rows_are_the_same_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the wire: every list in pages of two rows gives the same books and the same ledger."""
    ledgers = []
    real: Callable[..., list[Any]] = Gateway._pages

    def small(gateway: Gateway, endpoint: Any, params: Any, **named: Any) -> list[Any]:
        full = named.pop("full")
        cut = {**params, "limit": 2} if "limit" in params else params
        return real(gateway, endpoint, cut, full=full and 2, **named)

    for name in ("whole", "cut"):
        if name == "cut":
            monkeypatch.setattr(Gateway, "_pages", small)
        stage = Stage(tmp_path / name)
        stage.fault("fill", fractions=["0.4", "0.8", "1"])
        for words in (("open", "BTC", "--notional", "900", "--yes"), ("close", "BTC", "--yes")):
            assert stage.json(*words).code == 0
            stage.advance("9h")
            assert stage.json("reconcile").code == 0
        with stage.store() as store:
            ledgers.append(facts(store))
        stage.stop()
    assert len(ledgers[0]) > 8
    assert ledgers[0] == ledgers[1]


# ------------------------------------------------------------------------------------------- other clips


@pytest.mark.parametrize("clip", ["700", "1000", "2500"])
def test_one_clip_or_many(clip: str, tmp_path: Path) -> None:
    """One notional in one clip or in several ends in the same contracts and the same coins to a step."""
    ends = []
    for name, size in (("one", D(5000)), ("many", D(clip))):
        (tmp_path / name).mkdir()
        limits = RiskLimits(max_gross=D(50_000), max_per_coin=D(20_000), max_clip=size)
        world = make_world(tmp_path / name / "fundarb.sqlite3", rules=TradeRules(limits=limits))
        result = world.writer.trader.open("BTC", D(4900))
        position = result.position  # type: ignore[union-attr]
        ends.append((position.state, position.contracts, position.spot_owned, len(world.venue.all_orders())))
        world.close()
    (state, contracts, coins, few), (same, equal, near, many) = ends
    assert (state, contracts) == (same, equal)
    assert state is PositionState.HEDGED
    assert abs(coins - near) <= D("0.000001")
    assert few == 2 < many


# -------------------------------------------------------------------------------------------- other units


def scaled(unit: Decimal) -> ToyFeed:
    """The toy market whose coin is divided into ``unit`` smaller ones: prices down, steps and sizes up."""
    tick = D("0.1") / unit
    big: dict[str, Any] = {"max_limit_qty": 1000 * unit, "max_market_qty": 500 * unit}
    return ToyFeed(
        listed=(
            spot(tick_size=tick, qty_step=D("0.000001") * unit, **big),
            perp(tick_size=tick, qty_step=D("0.001") * unit, min_qty=D("0.001") * unit, **big),
        ),
        prices={"BTCUSDT": D(50_000) / unit},
        gap=D(10) / unit,
        size=unit,
    )


@pytest.mark.parametrize("unit", [D(10), D(1000), D(100_000)])
def test_other_units_are_the_same_trade(unit: Decimal, tmp_path: Path) -> None:
    """A coin in smaller pieces at a smaller price: the quantities scale, the money stays."""
    ends = []
    for name, size in (("whole", D(1)), ("pieces", unit)):
        (tmp_path / name).mkdir()
        world = make_world(tmp_path / name / "fundarb.sqlite3", feed=scaled(size), rules=RULES)
        world.writer.trader.open("BTC", D(3300))
        world.clock.sleep(9 * HOUR)
        world.writer.trader.close("BTC", D("0.4"))
        world.writer.reconciler.run()
        held = world.writer.store.positions.all()[0]
        money = world.writer.store.ledger.balances()["USDT"]
        orders = [(o.side, o.quantity / size, o.filled / size) for o in world.venue.all_orders()]
        ends.append((held.contracts / size, held.spot_owned / size, money, orders))
        world.close()
    (contracts, coins, money, orders), (equal, near, same, others) = ends
    assert contracts == equal
    assert abs(coins - near) <= D("0.000001")
    assert orders == others
    assert abs(money - same) <= CENT
