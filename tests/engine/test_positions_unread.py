"""``positions`` while the venue's log has not been read: what it paid since is unknown, never zero."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fundarb.cli.positions import render
from fundarb.core.market import MarketSnapshot
from fundarb.engine.collect import Collector
from fundarb.engine.views import PositionView, concerns, position_views
from tests.engine.test_collect import Bent, opened
from tests.engine.world import World

D = Decimal
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def view(world: World) -> PositionView:
    """The one open position."""
    (found,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    return found


def said(world: World) -> list[str]:
    """The codes of what is said beside the figures."""
    store = world.writer.store
    views = position_views(store, world.exchange, trading=world.exchange)
    return [reason.code for reason in concerns(store, views)]


def shown(world: World) -> str:
    """The table and the line below it, on a wide screen."""
    out = Console(file=StringIO(), width=240, color_system=None)
    session: Any = SimpleNamespace(out=out)
    render(session, (view(world),), now=world.clock.now())
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_settlements_that_passed_unread_are_unknown(world: World) -> None:
    """Nobody has read the log for sixteen hours, two settlements long: funding, what is pending and net are
    unknown, and both faces say so.
    """
    opened(world)
    world.writer.collector.collect()
    world.clock.sleep(16 * HOUR)
    found = view(world)
    assert (found.funding_received, found.funding_pending, found.net_pnl) == (None, None, None)
    assert found.unrealised_pnl is not None
    assert said(world) == ["unread"]
    assert "unread" in shown(world)
    last = shown(world).splitlines()[-1]
    assert last == "1 open, net – USDT at mid and mark; 1 of unknown value; 1 with funding unread, not in it"
    world.writer.collector.collect()
    found = view(world)
    assert (found.funding_received, found.funding_pending) == (D(2), 0)
    assert found.net_pnl is not None
    assert said(world) == []


def test_what_was_read_before_is_shown_with_what_is_not(world: World) -> None:
    """Of three settlements one has been read: that is shown and counted, and that there are more is said."""
    opened(world)
    world.clock.sleep(9 * HOUR)
    world.writer.collector.collect()
    world.clock.sleep(16 * HOUR)
    found = view(world)
    assert (found.funding_received, found.funding_pending) == (D(1), None)
    assert said(world) == ["unread"]
    assert "+1.00 +?" in shown(world)
    assert "1 with funding unread" in shown(world)


def test_no_settlement_passed_nothing_is_missing(world: World) -> None:
    """Hours in which the contract did not settle leave nothing to read: the figures are whole."""
    opened(world)
    world.writer.collector.collect()
    world.clock.sleep(7 * HOUR)
    found = view(world)
    assert (found.funding_received, found.funding_pending) == (D(0), 0)
    assert found.net_pnl is not None
    assert said(world) == []


def test_a_contract_that_tells_no_schedule_may_have_settled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the ticker tells no running funding period, each full hour may have been a settlement."""
    opened(world)
    world.writer.collector.collect()
    real = world.exchange.snapshot

    def silent() -> MarketSnapshot:
        snapshot = real()
        return replace(
            snapshot, perp={name: replace(row, funding=None) for name, row in snapshot.perp.items()}
        )

    monkeypatch.setattr(world.exchange, "snapshot", silent)
    world.clock.sleep(30 * MINUTE)
    assert view(world).funding_received == D(0)
    world.clock.sleep(HOUR)
    assert (view(world).funding_received, said(world)) == (None, ["unread"])


def test_a_first_payment_that_is_pending_is_no_zero(world: World) -> None:
    """The log was read and does not show the only payment that is due: funding and net are unknown, one is
    pending.
    """
    opened(world)
    bent = Bent(world)
    bent.rows = lambda rows: [row for row in rows if row.kind != "SETTLEMENT"]
    world.clock.sleep(8 * HOUR)
    Collector(world.writer.store, bent, clock=world.clock, market=world.exchange).collect()
    found = view(world)
    assert (found.funding_received, found.funding_pending, found.net_pnl) == (None, 1, None)
    assert "pending" in shown(world)
