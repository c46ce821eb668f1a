"""What the jobs say is what the book is, and one coin's trouble is that coin's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Book, Category
from fundarb.core.states import PositionState
from fundarb.engine.jobs import JobReport
from fundarb.engine.trade import Trader
from fundarb.errors import BadAnswer, Unavailable
from tests.daemon.living import HOUR, SECOND, Living, make_living
from tests.engine.test_jobs import alerts, decisions, wide_feed

D = Decimal
DAY = timedelta(days=1)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office without a schedule."""
    made = make_living(tmp_path, specs=())
    yield made
    made.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Living]:
    """Three coins that all pay."""
    made = make_living(tmp_path, feed=wide_feed(3), specs=())
    yield made
    made.close()


def held(living: Living) -> set[str]:
    """The coins that are held."""
    return {item.base for item in living.store.positions.active()}


def activity(living: Living) -> str:
    """What the bot was said to be doing last."""
    last = living.store.events.last(1, kind="activity_changed")
    return str(json.loads(last[0].payload)["activity"])


def why(living: Living, base: str, decision: str) -> str:
    """The reason of a decision about a coin."""
    told = [json.loads(item.payload) for item in living.store.events.after(0, 999, kind="decision_made")]
    return next(str(item["reason"]) for item in told if (item["base"], item["decision"]) == (base, decision))


def spoil(living: Living, monkeypatch: pytest.MonkeyPatch, symbols: set[str], error: Unavailable) -> None:
    """The order books of these symbols cannot be read."""
    read: Callable[..., Book] = living.exchange.book

    def book(category: Category, symbol: str, *, depth: int) -> Book:
        if symbol in symbols:
            raise error
        return read(category, symbol, depth=depth)

    monkeypatch.setattr(living.exchange, "book", book)


# ------------------------------------------------------------------------------------------ scan_and_open


def test_one_unreadable_book_keeps_no_other_coin_from_being_opened(
    three: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first coin's book is an HTML page: it is passed over with coin and endpoint, the others are
    opened.
    """
    spoil(three, monkeypatch, {"BTCUSDT"}, BadAnswer("an HTML page instead of JSON"))
    said = three.run("scan_and_open")
    assert held(three) == {"ETH", "SOL"}
    assert "opened ETH, SOL" in said
    assert "BTC passed over: the order book of spot BTCUSDT cannot be read: an HTML page" in said
    assert "BTCUSDT" in why(three, "BTC", "pass_over")
    assert activity(three) == "MONITORING"
    three.run("scan_and_open")
    assert decisions(three).count(("BTC", "pass_over")) == 1


def test_a_venue_that_is_away_stops_the_scan_at_once(three: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the ranking nothing can be read any more: one coin is tried, then the job fails, and the activity
    returns.
    """
    asked = []
    read = three.exchange.snapshot

    def gone() -> object:
        asked.append(1)
        if len(asked) > 2:
            raise Unavailable("the venue is away")
        return read()

    monkeypatch.setattr(three.exchange, "snapshot", gone)
    with pytest.raises(Unavailable, match="the venue is away"):
        three.run("scan_and_open")
    assert len(asked) == 4
    assert not held(three)
    assert activity(three) == "IDLE"


def test_a_coin_whose_orders_the_venue_rejects_is_not_called_opened(three: Living) -> None:
    """Its perp takes no orders: what was bought is given back, and both job and decision say so and why."""
    three.venue.world.halt(Category.LINEAR, "BTCUSDT", on=True)
    said = three.run("scan_and_open")
    assert held(three) == {"ETH", "SOL"}
    assert "opened ETH, SOL" in said
    assert "BTC not opened: " in said
    assert "ABORTED: nothing is held" in said
    assert "BTCUSDT" in why(three, "BTC", "open_incomplete")
    assert "net APR" in why(three, "BTC", "open_incomplete")


def test_nothing_opened_is_never_ok(living: Living) -> None:
    """Where every open was given back the result is no success."""
    living.venue.world.halt(Category.LINEAR, "BTCUSDT", on=True)
    report = living.office.jobs.run("scan_and_open", {})
    assert (report.result, report.notable) == ("incomplete", True)
    assert not held(living)


# ------------------------------------------------------------------------------- watch and close_when_due


def halted(living: Living) -> None:
    """Neither market of BTC takes orders."""
    for category in Category:
        living.venue.world.halt(category, "BTCUSDT", on=True)


def watched(living: Living) -> JobReport:
    """What one look says."""
    living.clock.flush()
    return living.office.jobs.run("watch", {})


def test_a_delisting_that_cannot_be_left_is_an_alert_and_no_success(living: Living) -> None:
    """Delisted with both markets halted: the job says that the position is held, and a person is told
    once.
    """
    living.run("scan_and_open")
    living.venue.world.delist("BTCUSDT", living.venue.now + DAY)
    halted(living)
    report = JobReport()
    for _ in range(3):
        living.clock.sleep(60 * SECOND)
        report = watched(living)
    assert "BTC not closed (delisting): " in report.message
    assert "HEDGED" in report.message
    assert report.result == "incomplete"
    assert alerts(living).count("not_closed") == 1
    assert decisions(living).count(("BTC", "close")) == 1
    for category in Category:
        living.venue.world.halt(category, "BTCUSDT", on=False)
    living.clock.sleep(60 * SECOND)
    report = watched(living)
    assert "BTC closed (delisting)" in report.message
    assert report.result == "acted"
    assert not held(living)


def test_a_margin_that_cannot_be_reduced_is_an_alert(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both markets are halted while the margin runs out: nothing is called reduced, and a person is told."""
    living.run("scan_and_open")
    real = living.exchange.wallet
    monkeypatch.setattr(living.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D("0.75")))
    halted(living)
    living.clock.sleep(15 * SECOND)
    report = watched(living)
    assert "BTC not reduced: " in report.message
    assert "BTC reduced" not in report.message
    assert report.result == "incomplete"
    assert alerts(living).count("not_reduced") == 1


def closes_all(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first order of a job is long in doubt, and the other positions are closed in the meantime."""
    real = Trader.close

    def close(self: Trader, position_id: str, *arguments: Any, **options: Any) -> object:
        monkeypatch.setattr(Trader, "close", real)
        for other in living.store.positions.active():
            if other.position_id != position_id:
                self.close(other.position_id)
        return real(self, position_id, *arguments, **options)

    monkeypatch.setattr(Trader, "close", close)


def test_what_was_closed_meanwhile_is_not_reduced(three: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first position is reduced the others are closed: none of them is decided on or missed."""
    three.run("scan_and_open")
    real = three.exchange.wallet
    monkeypatch.setattr(three.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D("0.75")))
    closes_all(three, monkeypatch)
    three.clock.sleep(15 * SECOND)
    said = three.run("watch")
    assert said.count("reduced") == 1
    assert "not reduced" not in said
    assert "not_reduced" not in alerts(three)
    assert [decision for _, decision in decisions(three)].count("reduce") == 1


def test_what_was_closed_meanwhile_is_not_left(three: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """All coins are delisted, and while the first is closed so are the others: nobody is told of one that
    cannot be left.
    """
    three.run("scan_and_open")
    for coin in ("BTC", "ETH", "SOL"):
        three.venue.world.delist(f"{coin}USDT", three.venue.now + DAY)
    closes_all(three, monkeypatch)
    three.clock.sleep(60 * SECOND)
    said = three.run("watch")
    assert said.count("closed (delisting)") == 1
    assert "not closed" not in said
    assert "not_closed" not in alerts(three)
    assert not held(three)


def test_an_exit_that_fails_is_told(living: Living) -> None:
    """Funding turned and both markets are halted: the position is not among what is kept, nor closed."""
    living.run("scan_and_open")
    living.feed.rate = D("-0.002")
    halted(living)
    report = JobReport()
    for _ in range(40):
        living.clock.sleep(8 * HOUR)
        report = living.office.jobs.run("close_when_due", {})
        if "not closed" in report.message:
            break
    assert "BTC not closed: " in report.message
    assert report.result == "incomplete"
    assert alerts(living).count("not_closed") == 1
    assert living.store.positions.active()[0].state is PositionState.HEDGED
    assert activity(living) == "MONITORING"
