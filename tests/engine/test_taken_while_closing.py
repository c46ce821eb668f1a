"""Somebody takes of a position while a close of many clips is under way: no order of the close goes by what
was read before, so none sells the coins of contracts that are still short, and none closes more than was
asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Book, Category
from fundarb.core.orders import OrderRequest, Side, WriteAnswer
from fundarb.core.risk import RiskLimits
from fundarb.engine.desk import TradeRules
from fundarb.engine.outcome import TradeResult
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world
from tests.venue.toy import ToyFeed

D = Decimal
CLIP = D(2000)
RULES = TradeRules(
    limits=RiskLimits(max_gross=D(50_000), max_per_coin=D(20_000), max_clip=CLIP, orders_per_minute=1000)
)
LOT = D("0.0011")
MORE = ("both", "all of the short")
Act = Callable[[World], object]


def both(world: World) -> None:
    """The venue takes of both legs, not alike."""
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.venue.world.auto_repay("BTC", D("0.2"))


VENUE: dict[str, Act] = {
    "short": lambda world: world.venue.world.adl("BTCUSDT", D("0.4")),
    "coins": lambda world: world.venue.world.auto_repay("BTC", D("0.4")),
    "both": both,
    "all of the short": lambda world: world.venue.world.liquidate("BTCUSDT"),
}
HANDS: dict[str, Act] = {
    "buys back": lambda world: world.venue.world.manual_order(
        Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.07")
    ),
    "sells": lambda world: world.venue.world.manual_order(
        Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.07")
    ),
    "withdraws": lambda world: world.venue.world.transfer("BTC", D("-0.07")),
}


@dataclass
class Thin(ToyFeed):
    """A market of which one leg, the perp, has half the depth: that leg of each clip goes first."""

    thin: Category = Category.LINEAR

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """Half of it on the thin leg."""
        found = super().book(category, symbol, at, depth)
        if category is not self.thin:
            return found
        bids, asks = (
            [replace(one, quantity=one.quantity / 2) for one in side] for side in (found.bids, found.asks)
        )
        return replace(found, bids=tuple(bids), asks=tuple(asks))


@dataclass
class Judge:
    """Looks at the venue's own legs around every order, and lets somebody act after one of them."""

    world: World
    act: Act
    number: int
    loss: Loss | None = None
    slow: timedelta = timedelta()
    wrong: list[str] = field(default_factory=list)
    left: Decimal = D(0)
    """What is hedged after the act, and after the order that could not know of it: the smaller leg."""
    taken: datetime | None = None
    matched: datetime | None = None
    """When no more than a clip was naked any more."""

    def __post_init__(self) -> None:
        """From now on."""
        self._real, self._seen = self.world.exchange.create, 0
        self.world.exchange.create = self.create  # type: ignore[method-assign]

    @property
    def naked(self) -> Decimal:
        """Coins that no contract covers (+), contracts that no coin covers (−)."""
        return self.world.coins() - self.world.short

    def create(self, request: OrderRequest, **named: Any) -> WriteAnswer:
        """Judge one order: it leaves no more naked than there was, or than a clip."""
        self._seen += 1
        if self._seen == self.number and self.loss is not None:
            self.world.exchange.lose(self.loss)
        before = self.naked
        try:
            return self._real(request, **named)
        finally:
            most = max(abs(before), CLIP / 50_000 + LOT)
            unread = self._seen == self.number + 1  # nothing is read between two legs
            if abs(self.naked) > most and not unread:
                what = f"{request.side} {request.quantity} {request.category}"
                self.wrong.append(f"{what}: {before} → {self.naked}")
            self.world.clock.sleep(self.slow)
            if self._seen in {self.number, self.number + 1}:
                if self._seen == self.number:
                    self.act(self.world)
                    self.taken = self.world.clock.now()
                self.left = min(self.world.short, self.world.coins())
            elif self.taken and not self.matched and abs(self.naked) <= CLIP / 50_000 + LOT:
                self.matched = self.world.clock.now()


@pytest.fixture(params=Category)
def thin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """10,000 USDT in five clips, on a market where this leg goes first."""
    made = make_world(tmp_path / "thin.sqlite3", feed=Thin(thin=request.param), rules=RULES)
    opened(made)
    made.clock.sleep(40 * SECOND)
    yield made
    made.close()


def judged(world: World, act: Act, number: int, *, fraction: str, **terms: Any) -> tuple[Judge, TradeResult]:
    """A close with somebody's act after the create of this number."""
    judge = Judge(world, act, number, **terms)
    return judge, closed(world, fraction)


_PROOF = pytest.mark.proof
_FAST = ((1, Loss.REQUEST, "0.5"), (4, None, "1"))
WALKS = [
    pytest.param(*walk, marks=() if walk in _FAST else _PROOF)
    for walk in product((1, 2, 4), (None, Loss.REQUEST, Loss.ANSWER), ("0.5", "1"))
]
"""After which order somebody acts, what becomes of that order, and how much was to be closed."""


@pytest.mark.parametrize(("number", "loss", "fraction"), WALKS)
@pytest.mark.parametrize("what", ["short", "coins", *(pytest.param(one, marks=_PROOF) for one in MORE)])
def test_d01_d05_a_close_sells_no_coins_that_a_short_needs(
    thin: World, what: str, number: int, loss: Loss | None, fraction: str
) -> None:
    """D01, D05: the venue takes after a leg of the first clip, or between two clips, perhaps while the order
    is in doubt: every order leaves less naked than a clip or than there was, and what is left in the end is
    what was asked for, or what the venue has left.
    """
    keep = D("0.1") if fraction == "0.5" else D(0)
    judge, _ = judged(thin, VENUE[what], number, fraction=fraction, loss=loss)
    assert judge.wrong == []
    assert hedged(thin)
    assert abs(thin.short - min(keep, judge.left)) <= LOT
    consistent(thin)


@pytest.mark.parametrize("fraction", ["0.5", pytest.param("1", marks=_PROOF)])
@pytest.mark.parametrize("number", [4, pytest.param(1, marks=_PROOF)])
@pytest.mark.parametrize("what", [pytest.param(one, marks=() if one == "sells" else _PROOF) for one in HANDS])
def test_h03_a_close_goes_by_what_a_hand_has_left(thin: World, what: str, number: int, fraction: str) -> None:
    """H03: the same where a hand takes; a close of a part then leaves what is matched, and asks."""
    keep = D("0.1") if fraction == "0.5" else D(0)
    judge, result = judged(thin, HANDS[what], number, fraction=fraction)
    assert judge.wrong == []
    assert abs(judge.naked) <= LOT
    assert thin.short >= min(keep, judge.left) - LOT
    assert fraction == "1" or {"perp_size", "spot_short"} & {reason.code for reason in result.reasons}


@pytest.mark.parametrize(
    "act", [VENUE["coins"], *(pytest.param(act, marks=_PROOF) for act in HANDS.values())]
)
def test_what_was_taken_is_followed_at_once(thin: World, act: Act) -> None:
    """Answers take 0.6 s and the walk would go on for four clips: what somebody takes of a leg after the
    second clip is naked for ``t_hedge`` at most, not until the walk is over.
    """
    judge, _ = judged(thin, act, 4, fraction="1", slow=timedelta(milliseconds=600))
    assert judge.taken is not None
    assert judge.matched is not None
    assert judge.matched - judge.taken <= thin.rules.t_hedge
    assert judge.wrong == []
