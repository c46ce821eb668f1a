"""The venue's lists lack something of ours while a close of many clips is under way, and no row tells why: a
missing report is never read as zero. No order gives more than a clip, no part becomes the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, WriteAnswer
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_taken_while_closing import CLIP, LOT, RULES, Thin
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
ENOUGH = 100
_PROOF = pytest.mark.proof


class Lists:
    """The venue's lists, which lack a leg for some reads after an order, the second one or the first, which
    then is in doubt; and the most that was naked after an order.
    """

    def __init__(
        self,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
        *,
        lacks: str,
        reads: int,
        loss: Loss | None = None,
    ) -> None:
        self._loss, self._number = loss, 2 if loss is None else 1
        self._create: Callable[..., WriteAnswer] = world.exchange.create
        self._positions, self._wallet = world.exchange.positions, world.exchange.wallet
        self._world, self._reads, self._left, self._sent = world, reads, 0, 0
        self.worst = D(0)
        monkeypatch.setattr(world.exchange, "create", self.create)
        if lacks == "short":
            monkeypatch.setattr(world.exchange, "positions", self.positions)
        else:
            monkeypatch.setattr(world.exchange, "wallet", self.wallet)

    def create(self, request: OrderRequest, **named: Any) -> WriteAnswer:
        """An order; what it leaves naked in truth is noted."""
        self._sent += 1
        if self._sent == self._number:
            self._left = self._reads
            if self._loss is not None:
                self._world.exchange.lose(self._loss)
        answer = self._create(request, **named)
        short = -sum((item.size for item in self._positions()), D(0))
        self.worst = max(self.worst, abs(self._wallet().owned("BTC") - short))
        return answer

    def positions(self) -> tuple[PositionReport, ...]:
        """No positions at all, for a while."""
        return () if self._lacking() else self._positions()

    def wallet(self) -> Wallet:
        """No coins but the cash, for a while."""
        found = self._wallet()
        return replace(found, coins={"USDT": found.coins["USDT"]}) if self._lacking() else found

    def heal(self) -> None:
        """Nothing is missing any more."""
        self._left = 0

    def _lacking(self) -> bool:
        self._left -= 1
        return self._left >= 0


@pytest.fixture(params=Category)
def thin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """10,000 USDT in several clips, on a market where this leg goes first."""
    made = make_world(tmp_path / "thin.sqlite3", feed=Thin(thin=request.param), rules=RULES)
    opened(made)
    made.clock.sleep(40 * SECOND)
    yield made
    made.close()


@pytest.mark.parametrize("reads", [pytest.param(2, marks=_PROOF), 4, ENOUGH])
@pytest.mark.parametrize("lacks", ["short", "coins"])
def test_what_no_row_explains_ends_a_close_of_a_part(
    thin: World, monkeypatch: pytest.MonkeyPatch, lacks: str, reads: int
) -> None:
    """F11, invariant 9: a leg is missing after the first clip: a close of a half goes on when it is there
    again, else it stops hedged and says what is missing; it never gives more than was asked.
    """
    lists = Lists(thin, monkeypatch, lacks=lacks, reads=reads)
    result = closed(thin, "0.5")
    lists.heal()
    assert lists.worst <= CLIP / 50_000 + LOT
    assert hedged(thin)
    codes = {reason.code for reason in result.reasons}
    stopped = {"perp_size", "spot_short"} & codes
    assert thin.short > D("0.1") if stopped else abs(thin.short - D("0.1")) <= LOT
    assert reads < ENOUGH or stopped
    assert closed(thin).position.state.final
    consistent(thin)


@pytest.mark.parametrize("reads", [1, *(pytest.param(reads, marks=_PROOF) for reads in (2, 6)), ENOUGH])
@pytest.mark.parametrize("lacks", ["short", "coins"])
def test_an_emergency_gives_no_more_than_a_clip_for_what_is_missing(
    thin: World, monkeypatch: pytest.MonkeyPatch, lacks: str, reads: int
) -> None:
    """The same in an emergency, which nothing holds back: it looks again, and what is still missing makes no
    clip larger; more than a clip is never naked, and with the lists whole again it ends.
    """
    lists = Lists(thin, monkeypatch, lacks=lacks, reads=reads)
    thin.writer.trader.close("BTC", D("0.5"), emergency=True)
    lists.heal()
    assert lists.worst <= CLIP / 50_000 + LOT
    assert thin.short >= D("0.1") - LOT
    thin.clock.sleep(61 * SECOND)
    thin.writer.reconciler.run()
    assert hedged(thin)
    assert closed(thin).position.state.final
    consistent(thin)


@pytest.mark.parametrize("emergency", [False, True])
@pytest.mark.parametrize("lacks", ["short", "coins"])
def test_a_doubt_between_the_legs_makes_no_second_leg_larger(
    thin: World, monkeypatch: pytest.MonkeyPatch, lacks: str, *, emergency: bool
) -> None:
    """A02, invariant 9: the answer to the first order is lost, and what is read once its fate is known lacks
    a leg: the second order matches the first one all the same.
    """
    lists = Lists(thin, monkeypatch, lacks=lacks, reads=1, loss=Loss.ANSWER)
    thin.writer.trader.close("BTC", D("0.5"), emergency=emergency)
    assert lists.worst <= CLIP / 50_000 + LOT
    assert hedged(thin)
    assert abs(thin.short - D("0.1")) <= LOT
    consistent(thin)


def test_an_emergency_goes_on_where_a_leg_is_gone_and_no_row_says_so(
    thin: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short is liquidated while neither executions nor log can be read: our book keeps it, and nothing
    brings its legs together. Each emergency close sells a clip of the coins all the same, until they are
    gone; nothing is bought, and a person is told.
    """

    def unread(*_: object, **__: object) -> None:
        message = "no answer"
        raise Unavailable(message)

    thin.venue.world.liquidate("BTCUSDT")
    for name in ("executions", "transactions"):
        monkeypatch.setattr(thin.exchange, name, unread)
    held = thin.coins()
    for _ in range(ENOUGH):
        if held < LOT:
            break
        thin.writer.trader.close("BTC", emergency=True)
        assert LOT < held - thin.coins() <= CLIP / 50_000 + LOT or thin.coins() < LOT
        held = thin.coins()
        thin.clock.sleep(SECOND)
    assert held < LOT
    assert thin.short == 0
    told = thin.writer.store.events.after(0, 999, kind="alert_raised")
    assert any("unhedged" in one.payload for one in told)
