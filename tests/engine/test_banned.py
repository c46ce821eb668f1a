"""A ban in the middle of a trade, with a leg naked: told at once, not when the doubt is given up."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.orders import OrderRequest, Outcome, WriteAnswer
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.exchange.inprocess import Loss
from fundarb.exchange.strict import NoAnswer
from tests.engine.test_resolve import alerts
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World

D = Decimal
BAN = 600 * SECOND
ROUND = 5 * SECOND
"""The longest pause between two rounds of look-ups."""
READS = (
    *("book", "executions", "executions_of", "open_orders", "order_history", "order_realtime", "positions"),
    *("server_time", "snapshot", "transactions", "wallet"),
)


@dataclass
class Banned:
    """A venue that answers HTTP 403 from an instant on, as the adapter hands it on."""

    world: World
    since: datetime | None = None
    until: datetime | None = field(default=None, init=False)

    def begin(self) -> None:
        """The venue's limit is hit now."""
        self.since = self.world.clock.now()
        self.until = self.since + BAN

    def stand_before(self, patch: pytest.MonkeyPatch) -> None:
        """Every read fails while it lasts; the adapter knows until when."""
        exchange: Any = self.world.exchange
        patch.setattr(type(exchange), "banned_until", property(lambda _: self.until))
        for name in READS:
            patch.setattr(exchange, name, self._asked(getattr(exchange, name)))

    def _asked(self, real: Callable[..., object]) -> Callable[..., object]:
        def ask(*args: Any, **named: Any) -> object:
            if self.until is None:
                return real(*args, **named)
            error = NoAnswer("HTTP 403", sent=False, repeat=False, status=403)
            error.until = self.until
            raise error

        return ask


def told_at(world: World, code: str) -> list[datetime]:
    """When a person was told of something."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [row.at for row in rows if json.loads(row.payload)["code"] == code]


@pytest.mark.parametrize("which", [1, 2])
def test_f01_a_ban_at_an_order_is_told_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """F01: the answer to the order of either leg is HTTP 403: told in that instant, with the order in doubt;
    one alert, and nothing is opened.
    """
    ban, create, sent = Banned(world), world.exchange.create, list[str]()
    ban.stand_before(monkeypatch)

    def forbidden(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        sent.append(request.link_id)
        if len(sent) < which:
            return create(request, signed_at=signed_at)
        ban.begin()
        return WriteAnswer(outcome=Outcome.UNCERTAIN, message="HTTP 403")

    monkeypatch.setattr(world.exchange, "create", forbidden)
    result = opened(world, "4000")
    assert result.reached == "uncertain"
    assert told_at(world, "ban") == [ban.since]
    assert [code for code, _ in alerts(world)].count("ban") == 1
    assert world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.BAN) is not None


@pytest.mark.parametrize("after", [0, 3, 20])
def test_f01_a_ban_while_an_order_is_looked_for_is_told_in_that_round(
    world: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """F01: the request of the second leg is lost, and a while later the looking is answered with HTTP 403:
    told at the next look, not when the doubt is given up.
    """
    ban, sleep, began = Banned(world), world.clock.sleep, world.clock.now()
    ban.stand_before(monkeypatch)

    def slept(duration: timedelta) -> None:
        sleep(duration)
        if ban.until is None and world.clock.now() >= began + after * SECOND:
            ban.begin()

    monkeypatch.setattr(world.clock, "sleep", slept)
    world.exchange.lose(None, Loss.REQUEST)
    result = opened(world, "4000")
    assert result.reached == "uncertain"
    assert ban.since is not None
    (at,) = told_at(world, "ban")
    assert ban.since <= at <= ban.since + ROUND
