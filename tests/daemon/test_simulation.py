"""The same jobs on a virtual clock, in process: what a day brings, what moves, what is merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from fundarb.clock import SystemClock
from fundarb.config import JobSpec, Trigger
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.core.states import PositionState
from fundarb.daemon.month import JOBS
from fundarb.daemon.simulate import MergedClock, within
from fundarb.engine.halt_file import set_pause
from fundarb.engine.jobs import JobReport
from fundarb.errors import ConfigError, InvariantBroken, StateUnavailable, Unavailable
from fundarb.exchange.local import VenueClock
from tests.daemon.living import HOUR, SECOND, Living, make_living
from tests.venue.toy import ToyFeed
from tests.venue.toy import venue as toy_venue

D = Decimal
DAY = timedelta(days=1)
WATCH = JobSpec(name="watch", run="watch", trigger=Trigger.INTERVAL, every=15 * SECOND)
HOURLY = JobSpec(name="watch", run="watch", trigger=Trigger.CRON, cron={"minute": "40"})
COLLECT = JobSpec(name="collect", run="collect_funding", trigger=Trigger.AFTER_FUNDING, offset=90 * SECOND)
SCAN = JobSpec(name="scan", run="scan_and_open", trigger=Trigger.CRON, cron={"minute": "20"})
CLOSE = JobSpec(name="close", run="close_when_due", trigger=Trigger.AFTER_FUNDING, offset=180 * SECOND)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """A life with the demo's jobs."""
    made = make_living(tmp_path, specs=JOBS)
    yield made
    made.close()


def test_a_day_is_traded_and_ties_out(living: Living) -> None:
    """A good coin is opened at the start, each of its three settlements is booked, and the audit finds
    nothing.
    """
    living.live(DAY + HOUR)
    position = living.store.positions.active()[0]
    assert position.state is PositionState.HEDGED
    assert len(living.store.events.after(0, 1000, kind="funding_paid")) == 3
    assert [check.details for check in living.audit() if not check.ok] == []
    assert living.clock.now() - living.venue.started >= DAY


def test_a_life_that_ends_behind_the_recording_is_refused() -> None:
    """Up to its end, to the instant, or where nothing ends, it may go; beyond it the refusal names the end,
    the longest duration and the latest start, in words that can be typed.
    """
    start = datetime(2025, 8, 8, 20, tzinfo=UTC)
    end = start + timedelta(hours=19, minutes=25)
    within(None, start=start, duration=2 * DAY)
    within(end, start=start, duration=end - start)
    with pytest.raises(ConfigError) as refused:
        within(end, start=start, duration=2 * DAY)
    assert str(refused.value) == (
        "--simulate: 2d from 2025-08-08T20:00:00Z ends behind the recording, "
        "which ends at 2025-08-09T15:25:00Z; --simulate 1165m at most from there; "
        "or begin at 2025-08-07T15:25:00Z at the latest"
    )
    with pytest.raises(ConfigError, match="nothing is left from there"):
        within(end, start=end, duration=SECOND)


def test_the_same_life_twice_is_the_same(tmp_path: Path) -> None:
    """Same market, same seed: the same events with the same contents at the same instants."""
    lives = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        made = make_living(folder, specs=JOBS)
        made.live(DAY / 2)
        lives.append([(e.at, e.kind, e.payload) for e in made.store.events.after(0, 5000)])
        made.close()
    assert lives[0] == lives[1]
    assert len(lives[0]) > 20


def test_a_watch_with_nothing_held_moves_no_clock(tmp_path: Path) -> None:
    """5,760 looks at an empty book in a day cost the venue a handful of clock moves, and are recorded all
    the same.
    """
    made = make_living(tmp_path, specs=(WATCH,))
    before = made.real.moves
    made.live(DAY)
    assert made.real.moves - before <= 3
    assert made.clock.now() == made.venue.now
    assert made.store.jobs.last("watch") is not None
    made.close()


def test_a_watch_of_something_held_asks_little(tmp_path: Path) -> None:
    """With a position held, an hour of watching every 15 s asks for the wallet each time and little else."""
    made = make_living(tmp_path, specs=(WATCH,))
    made.writer.trader.open("BTC", D(1000))
    calls: list[str] = []
    for name in ("wallet", "positions", "snapshot", "executions", "transactions"):
        _count(made, name, calls)
    made.live(HOUR)
    assert calls.count("wallet") >= 240
    assert len(calls) <= 240 * 2
    made.close()


def _count(living: Living, name: str, calls: list[str]) -> None:
    real = getattr(living.exchange, name)

    def counted(*args: object, **named: object) -> object:
        calls.append(name)
        return real(*args, **named)

    setattr(living.exchange, name, counted)


def test_an_interval_that_shrinks_is_followed_within_a_cycle(tmp_path: Path) -> None:
    """When the held symbol goes from 8 h to 1 h, the very next hour is collected, not the one in seven
    hours.
    """
    made = make_living(tmp_path, specs=(WATCH, COLLECT))
    made.writer.trader.open("BTC", D(1000))
    made.live(600 * SECOND)
    made.venue.world.interval("BTCUSDT", 1)
    made.live(2 * HOUR)
    paid = [json.loads(e.payload)["settled_at"] for e in made.store.events.after(0, 100, kind="funding_paid")]
    assert paid == ["2026-01-05T01:00:00Z", "2026-01-05T02:00:00Z"]
    made.close()


def test_a_position_that_costs_is_left_after_confirmation(tmp_path: Path) -> None:
    """Funding that turns against us is left only after three settlements agree and the minimum hold is
    over.
    """
    made = make_living(tmp_path, specs=(HOURLY, COLLECT, CLOSE))
    made.writer.trader.open("BTC", D(1000))
    made.venue.world.funding_rate("BTCUSDT", D("-0.003"))
    made.live(3 * DAY - HOUR)
    assert made.store.positions.active(), "left before the minimum hold"
    made.live(3 * DAY)
    assert not made.store.positions.active()
    decisions = [json.loads(e.payload) for e in made.store.events.after(0, 100, kind="decision_made")]
    assert [item["decision"] for item in decisions] == ["close"]
    assert [check.details for check in made.audit() if not check.ok] == []
    made.close()


def test_one_bad_settlement_does_not_close(tmp_path: Path) -> None:
    """A single negative period, then good ones: the position is kept."""
    made = make_living(tmp_path, specs=(HOURLY, COLLECT, CLOSE))
    made.writer.trader.open("BTC", D(1000))
    made.live(4 * DAY)
    made.venue.world.funding_rate("BTCUSDT", D("-0.0002"))
    made.live(8 * HOUR)
    made.venue.world.funding_rate("BTCUSDT", None)
    made.live(DAY)
    assert len(made.store.positions.active()) == 1
    made.close()


def test_a_pause_opens_nothing_for_a_day(tmp_path: Path) -> None:
    """Under a pause the scan job opens nothing and asks the market nothing."""
    made = make_living(tmp_path, specs=(SCAN,))
    set_pause(made.store, "holidays")
    made.live(DAY)
    assert not made.store.positions.all()
    row = made.store.jobs.last("scan")
    assert row is not None
    assert "holidays" in row.message
    made.close()


def test_a_stop_request_ends_early(tmp_path: Path) -> None:
    """Asked to stop, the simulation ends after the item under way, and claims no time that it did not live
    through.
    """
    made = make_living(tmp_path, specs=(WATCH,))
    made.office.desk.stop.requested = True
    begin = made.clock.now()
    made.live(DAY)
    assert made.clock.now() - begin < HOUR
    assert made.store.jobs.last("watch") is None
    row = made.store.jobs.last("recovery")
    assert row is not None
    assert row.result == "ok"
    made.close()


def test_a_life_goes_on_where_it_ended(living: Living) -> None:
    """Two halves of a day bring what one day brings: a restart loses no settlement."""
    living.live(DAY / 2)
    living.live(DAY / 2 + HOUR)
    assert len(living.store.events.after(0, 1000, kind="funding_paid")) == 3
    assert [check.details for check in living.audit() if not check.ok] == []


def test_a_command_is_executed_in_virtual_time(tmp_path: Path) -> None:
    """A row that another process inserts is executed between two rings."""
    made = make_living(tmp_path, specs=(WATCH,))
    wish = json.dumps({"base": "BTC", "notional": "1000", "add": False})
    number = made.store.commands.add("open", wish, at=SystemClock().now())
    made.live(HOUR)
    assert made.store.commands.get(number).exit_code == 0
    assert made.store.positions.active()[0].base == "BTC"
    made.close()


def test_a_broken_invariant_ends_the_simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would end the daemon ends the simulation, with the same halt."""
    made = make_living(tmp_path, specs=(SCAN,))

    def broken(*_args: object, **_named: object) -> None:
        raise InvariantBroken("two plans of one coin")

    monkeypatch.setattr(made.writer.trader, "open", broken)
    with pytest.raises(InvariantBroken):
        made.live(DAY)
    assert made.store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT) is not None
    made.close()


def test_a_bug_in_the_first_walk_is_not_called_a_silent_venue(tmp_path: Path) -> None:
    """Only a venue that does not answer is said not to answer, and that is tried again; a bug is raised as
    what it is.
    """
    made = make_living(tmp_path, specs=(WATCH,))
    tries: list[type[Exception]] = []

    def broken(kind: type[Exception]) -> JobReport:
        tries.append(kind)
        raise kind("gone")

    for kind in (NameError, Unavailable):
        made.office = replace(made.office, recover=partial(broken, kind))
        with pytest.raises(kind, match="gone"):
            made.live(HOUR)
    assert tries.count(NameError) == 1
    assert tries.count(Unavailable) > 1
    made.close()


def test_a_full_disk_is_named_safe_and_recoverable(tmp_path: Path) -> None:
    """When nothing can be written nothing more is sent; with room again the next start brings the book in
    order.
    """
    made = make_living(tmp_path, specs=(SCAN,))
    made.store.database.execute_sql("PRAGMA max_page_count = 1")
    with pytest.raises(StateUnavailable, match="disk is full"):
        made.live(DAY)
    links = {order.link_id for order in made.venue.all_orders()}
    assert all(made.store.intents.find(link) is not None for link in links)
    made.store.database.execute_sql("PRAGMA max_page_count = 100000")
    made.office.desk.stop.requested = False
    made.live(HOUR / 4)
    assert [check.details for check in made.audit() if not check.ok] == []
    assert all(item.state is not PositionState.EXPOSED for item in made.store.positions.active())
    made.close()


def test_merged_moves_arrive_in_one(tmp_path: Path) -> None:
    """Several postponed moves are made in one; a wait makes them all first."""
    venue = toy_venue(ToyFeed())
    clock = MergedClock(VenueClock(venue))
    start = clock.now()
    clock.move_to(start + HOUR)
    clock.move_to(start + 2 * HOUR)
    clock.move_to(start + HOUR)
    assert clock.now() == start + 2 * HOUR
    assert venue.now == start
    clock.sleep(SECOND)
    assert venue.now == start + 2 * HOUR + SECOND
    assert clock.monotonic() == 2 * HOUR + SECOND
    clock.flush()
    assert venue.now == start + 2 * HOUR + SECOND
