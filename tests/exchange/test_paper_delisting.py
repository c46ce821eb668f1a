"""Contracts of a paper account end when the venue ends them: announced, moved, taken back, gone at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from fundarb.core.market import Instruments, MarketSnapshot
from fundarb.core.orders import OrderRequest, Side
from fundarb.exchange.paper import PaperExchange
from fundarb.venue.feed import Bar
from tests.exchange.test_paper import Live, LiveWithBars, World, bar
from tests.venue.toy import HOUR, LINEAR, START, D

MINUTE = timedelta(minutes=1)
END = START + 2 * HOUR


class Flickering(Live):
    """A venue whose tickers lack the contract when told so; its list of instruments may be old."""

    lacks = False
    old: Instruments | None = None

    def snapshot(self) -> MarketSnapshot:
        """Without the contract, or as it is."""
        found = super().snapshot()
        return replace(found, perp={}) if self.lacks else found

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """As the cache has it, unless it is to be read anew."""
        if self.old is None or refresh:
            self.old = super().instruments(refresh=refresh)
        return self.old


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A hedged account looked at once, in a world that can flicker."""
    return World(tmp_path, Flickering)


def announce(world: World, end: datetime | None) -> None:
    """The venue says when its contract ends, or that it goes on."""
    real = world.live.real.venue
    real.advance(world.clock.now())
    if end is None:
        real.world.relist("BTCUSDT")
    else:
        real.world.delist("BTCUSDT", end)


def lived(world: World, paper: PaperExchange, minutes: int) -> None:
    """A look each minute, of the venue as of the account."""
    for _ in range(minutes):
        world.clock.sleep(MINUTE)
        world.live.real.venue.advance(world.clock.now())
        paper.wallet()


def ends(paper: PaperExchange, world: World) -> list[tuple[str, datetime]]:
    """What was delivered, and when."""
    rows = paper.executions(LINEAR, START, until=world.clock.now())
    return [(str(row.price), row.time) for row in rows if row.kind.value == "Delivery"]


def test_an_end_announced_while_the_process_lives(world: World) -> None:
    """It is known at the next look: no new short in the last half hour, and a settlement at its instant, at
    the mean of what was seen in the half hour before it.
    """
    paper = world.hedged()
    lived(world, paper, 60)
    announce(world, END)
    lived(world, paper, 35)
    short = OrderRequest(
        link_id="fa-n",
        category=LINEAR,
        symbol="BTCUSDT",
        side=Side.SELL,
        quantity=D("0.1"),
        limit_price=D(49_500),
    )
    assert paper.create(short, signed_at=world.clock.now()).code == 30228
    lived(world, paper, 23)
    world.feed.prices["BTCUSDT"] = D(53_000)
    lived(world, paper, 3)
    seen = 29 * [50_000] + [53_000]  # the last look before the end saw the new index
    assert ends(paper, world) == [(str(sum(seen) // 30), END)]
    assert paper.positions() == ()


@pytest.mark.parametrize("moved", [END + 24 * HOUR, None], ids=["postponed", "taken back"])
def test_an_end_that_does_not_come(world: World, moved: datetime | None) -> None:
    """What the venue says last counts, for a process that lives and for the next one."""
    paper = world.hedged()
    announce(world, END)
    lived(world, paper, 1)
    assert paper.venue.delivery("BTCUSDT") == END
    announce(world, moved)
    world.clock.advance_to(END + MINUTE)
    world.live.real.venue.advance(world.clock.now())
    for process in (paper, world.open()):
        assert len(process.positions()) == 1
        assert process.venue.delivery("BTCUSDT") == moved


def test_an_end_that_nobody_announced(world: World) -> None:
    """A contract without a quote is asked for in a fresh list: gone there, it has ended by now; listed there,
    nothing has happened.
    """
    assert isinstance(world.live, Flickering)
    paper = world.hedged()
    paper.wallet()
    world.live.lacks = True
    lived(world, paper, 1)
    assert len(paper.positions()) == 1
    announce(world, world.clock.now())
    lived(world, paper, 2)
    assert paper.positions() == ()
    assert len(ends(paper, world)) == 1


class Remembering(LiveWithBars):
    """A venue that lists, quotes and knows no contract that has ended, but tells its bars and its end."""

    fell: datetime | None = None

    def _over(self) -> bool:
        return self.real.venue.delivered("BTCUSDT")

    def snapshot(self) -> MarketSnapshot:
        """Without what has ended."""
        found = super().snapshot()
        return replace(found, perp={}) if self._over() else found

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Without what has ended."""
        found = super().instruments(refresh=refresh)
        return replace(found, perp={}) if self._over() else found

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """A flat market that halves when told so."""
        assert symbol
        starts = [since + number * step for number in range((until - since) // step + 1)]
        return tuple(bar(at, "50000" if self.fell is None or at < self.fell else "25000") for at in starts)

    def ended(self, symbol: str) -> datetime | None:
        """When it was delivered."""
        return self.real.venue.deliveries().get(symbol)


@pytest.mark.parametrize("seen", [True, False])
def test_an_end_while_nobody_looked_is_at_its_own_instant_and_price(tmp_path: Path, *, seen: bool) -> None:
    """Announced to a process that ended, or to nobody: a new one settles at the end, not at what the price
    has become since, and says so.
    """
    world = World(tmp_path, Remembering)
    assert isinstance(world.live, Remembering)
    paper = world.hedged()
    if seen:
        announce(world, END)
        world.clock.sleep(MINUTE)
        paper.wallet()
        assert paper.venue.delivery("BTCUSDT") == END
    else:
        announce(world, END)
    del paper
    world.clock.advance_to(END + 10 * MINUTE)
    world.live.real.venue.advance(world.clock.now())
    world.live.fell = world.clock.now()
    world.feed.prices["BTCUSDT"] = D(25_000)
    world.clock.advance_to(END + HOUR)
    world.live.real.venue.advance(world.clock.now())
    late = world.open()
    assert ends(late, world) == [("50000", END)]
    assert late.caught_up is not None
    assert (late.caught_up.liquidated, late.caught_up.delivered) == ((), ("BTCUSDT",))
    assert late.caught_up.marks == "history"
