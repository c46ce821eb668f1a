"""The jobs one by one: scan_and_open, watch, and the keepers of the books."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.config import Settings
from fundarb.core.events import AlertRaised
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.daybook import today
from fundarb.engine.equity_points import points
from fundarb.engine.jobs_books import Reconcile
from fundarb.engine.views import concerns, position_views
from fundarb.errors import Unavailable
from tests.daemon.living import HOUR, SECOND, Living, make_living
from tests.venue.toy import ToyFeed, perp, spot
from tests.venue.toy import coin as toy_coin

D = Decimal
DAY = timedelta(days=1)
NAMES = ("BTC", "ETH", "SOL", "XRP", "ADA", "DOT", "LTC")


def wide_feed(count: int = 7) -> ToyFeed:
    """So many coins that all pay."""
    names = NAMES[:count]
    return ToyFeed(
        listed=tuple(item for name in names for item in (spot(f"{name}USDT"), perp(f"{name}USDT"))),
        prices=dict.fromkeys((f"{name}USDT" for name in names), D(50_000)),
        rate=D("0.0004"),
        coin_rules={"USDT": toy_coin("USDT", "1")} | {name: toy_coin(name, "0.9") for name in names},
    )


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office without a schedule."""
    made = make_living(tmp_path, specs=())
    yield made
    made.close()


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[Living]:
    """Seven coins that all pay."""
    made = make_living(tmp_path, feed=wide_feed(), specs=())
    yield made
    made.close()


def decisions(living: Living) -> list[tuple[str, str]]:
    """What was decided about which coin, in order."""
    found = [json.loads(item.payload) for item in living.store.events.after(0, 999, kind="decision_made")]
    return [(item["base"], item["decision"]) for item in found]


def alerts(living: Living) -> list[str]:
    """The codes of all alerts."""
    return [json.loads(e.payload)["code"] for e in living.store.events.after(0, 999, kind="alert_raised")]


# ------------------------------------------------------------------------------------------ scan_and_open


def test_it_opens_up_to_the_limits_and_no_further(wide: Living) -> None:
    """Of seven good coins as many are opened as max_positions allows, each once, each at the notional's
    cap, rounded down to whole contracts.
    """
    wide.run("scan_and_open")
    held = wide.store.positions.active()
    assert len(held) == 5
    assert all(item.notional == D("999.9") for item in held)  # 0.02 contracts at 49,995
    assert len(decisions(wide)) == len({base for base, _ in decisions(wide)}) == 5
    assert "as many as allowed" in wide.run("scan_and_open")


def test_the_gross_limit_cuts_the_last_position(tmp_path: Path) -> None:
    """With 2,500 allowed in all the third position is half as large, and a fourth is not worth opening."""
    made = make_living(tmp_path, feed=wide_feed(), specs=())
    limits = replace(made.office.desk.rules.limits, max_gross=D(2500))
    object.__setattr__(made.office.desk.rules, "limits", limits)
    made.run("scan_and_open")
    notionals = sorted(item.notional for item in made.store.positions.active())
    assert notionals == [D("499.95"), D("999.9"), D("999.9")]
    made.close()


def test_a_yield_below_the_gate_opens_nothing(tmp_path: Path) -> None:
    """A market that pays 0.2 bp per settlement is left alone, and the job says by how much it misses."""
    made = make_living(tmp_path, feed=ToyFeed(rate=D("0.00002")), specs=())
    assert "misses by" in made.run("scan_and_open")
    assert not made.store.positions.all()
    made.close()


def test_the_decision_rests_on_settled_rates(living: Living) -> None:
    """The shortlist's history is read, so that the decision is made on a shrunk forecast and not on one
    print.
    """
    living.run("scan_and_open")
    text = living.store.events.last(1, kind="decision_made")[0].payload
    assert "shrunk" in text


def test_one_print_against_the_past_opens_nothing(tmp_path: Path) -> None:
    """A single high print over a history of nothing is shrunk below the gate: no chase after one number."""
    made = make_living(tmp_path, feed=ToyFeed(rate=D("0.000001")), specs=())
    made.venue.world.funding_rate("BTCUSDT", D("0.0010"))
    made.run("scan_and_open")
    assert not made.store.positions.active()
    made.close()


@pytest.mark.parametrize("kind", [BlockKind.PAUSE, BlockKind.HALT, BlockKind.BREAKER, BlockKind.STALE_DATA])
def test_any_global_block_stops_opens_before_a_request(living: Living, kind: BlockKind) -> None:
    """Under a global block the job opens nothing and asks nothing, and says which block."""
    now = living.store.clock.now()
    living.store.blocks.set(Block(scope=GLOBAL_SCOPE, kind=kind, reason="because", since=now))
    living.exchange.snapshot = None  # type: ignore[assignment,method-assign]
    assert "because" in living.run("scan_and_open")


def test_a_frozen_coin_is_left_alone(wide: Living) -> None:
    """A coin's own block keeps it out, the others are opened; the refusal is told once, not at every scan."""
    now = wide.store.clock.now()
    wide.store.blocks.set(Block(scope="BTC", kind=BlockKind.FREEZE, reason="delisting", since=now))
    wide.run("scan_and_open")
    wide.run("scan_and_open")
    held = {item.base for item in wide.store.positions.active()}
    assert "BTC" not in held
    assert len(held) == 5
    assert decisions(wide).count(("BTC", "refuse")) <= 1


def test_a_bad_day_stops_opens_until_midnight(living: Living) -> None:
    """A loss above the day's limit sets a block that ends at midnight (UTC), and nothing is opened under
    it.
    """
    living.run("snapshot")
    living.clock.sleep(HOUR)
    living.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("1.5"))
    living.clock.sleep(60 * SECOND)
    living.feed.prices["BTCUSDT"] = D(48_000)
    living.clock.sleep(60 * SECOND)
    living.run("snapshot")
    day = today(living.store)
    assert day is not None
    assert -day.profit > D("0.02") * day.equity_start
    living.run("scan_and_open")
    block = living.store.blocks.get(GLOBAL_SCOPE, BlockKind.COOL_DOWN)
    assert block is not None
    assert block.until == living.venue.started.replace(hour=0, minute=0) + DAY
    assert not living.store.positions.active()


# --------------------------------------------------------------------------------------------------- watch


def test_nothing_held_asks_nothing(living: Living) -> None:
    """A watch over an empty book is idle."""
    living.exchange.wallet = None  # type: ignore[assignment,method-assign]
    assert living.run("watch") == "nothing is held"


def test_a_quiet_watch_changes_nothing(living: Living) -> None:
    """With everything in order a watch writes no event, however often it runs."""
    living.run("scan_and_open")
    living.run("reconcile")
    before = living.store.events.newest_id()
    for _ in range(10):
        living.clock.sleep(15 * SECOND)
        assert living.run("watch") == "all is in order"
    assert living.store.events.newest_id() == before


def test_a_perp_closed_by_hand_is_seen_within_one_watch(living: Living) -> None:
    """Somebody buys the short back at the venue: the next watch reconciles, freezes the coin and alerts."""
    living.run("scan_and_open")
    living.run("watch")
    living.clock.sleep(15 * SECOND)
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(15 * SECOND)
    assert "reconciled" in living.run("watch")
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    assert "perp_size" in alerts(living)


def test_what_waits_for_an_answer_is_not_in_order(living: Living) -> None:
    """A short closed by hand stays the watch's news, look after look and without an event, until it is
    answered for; positions do not call such a book hedged to the coin.
    """
    living.run("scan_and_open")
    living.run("watch")
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(15 * SECOND)
    living.run("watch")
    before = living.store.events.newest_id()
    reports = []
    for _ in range(8):
        living.clock.sleep(15 * SECOND)
        living.clock.flush()
        reports.append(living.office.jobs.run("watch", {}))
    assert living.store.events.newest_id() == before
    quiet = [report for report in reports if report.result != "acted"]  # the others looked again
    assert len(quiet) > len(reports) / 2
    assert {(report.result, report.message) for report in quiet} == {
        ("mismatch", "BTC is frozen: reconcile: perp_size of BTCUSDT")
    }
    (view,) = position_views(living.store, living.exchange, trading=living.exchange)
    assert view.venue_contracts == 0
    assert view.perp_quantity < 0
    assert view.delta is None
    assert view.drift is None


def test_coins_sold_by_hand_leave_no_drift_to_show(living: Living) -> None:
    """The wallet holds fewer coins than our books: how far the book is from neutral is not known."""
    living.run("scan_and_open")
    (view,) = position_views(living.store, living.exchange, trading=living.exchange)
    assert view.drift is not None
    living.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.01"))
    (view,) = position_views(living.store, living.exchange, trading=living.exchange)
    assert view.drift is None
    (said,) = concerns(living.store, (view,))
    assert said.code == "venue_differs"
    assert said.message.startswith("coins of BTC: our books say 0.02000098, the venue 0.01000098: ")


def test_a_market_that_cannot_be_read_stops_opens_until_it_can(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed look is an error of the job and a block for opens; the next good look lifts it."""
    living.run("scan_and_open")

    def gone() -> None:
        raise Unavailable("the venue is away")

    with monkeypatch.context() as patch:
        patch.setattr(living.exchange, "wallet", gone)
        living.clock.sleep(15 * SECOND)
        with pytest.raises(Unavailable):
            living.run("watch")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.STALE_DATA) is not None
    living.run("watch")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.STALE_DATA) is None


def test_margin_warns_once_and_then_reduces_both_legs(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the warning rate there is one alert; at the reduce rate both legs shrink together and stay
    neutral.
    """
    living.run("scan_and_open")
    position = living.store.positions.active()[0]
    real = living.exchange.wallet

    def at(rate: str) -> None:
        monkeypatch.setattr(
            living.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D(rate))
        )

    at("0.55")
    for _ in range(3):
        living.clock.sleep(15 * SECOND)
        living.run("watch")
    assert alerts(living).count("margin") == 1
    assert living.store.positions.get(position.position_id).contracts == position.contracts
    at("0.75")
    living.clock.sleep(15 * SECOND)
    assert "reduced" in living.run("watch")
    after = living.store.positions.get(position.position_id)
    assert after.contracts < position.contracts
    assert after.spot_owned < position.spot_owned
    assert after.state is PositionState.HEDGED


def test_an_announced_delisting_closes_and_freezes(living: Living) -> None:
    """A delivery time on the perp's ticker: the position is closed, the coin frozen, one alert."""
    living.run("scan_and_open")
    living.venue.world.delist("BTCUSDT", living.venue.now + DAY)
    for _ in range(3):
        living.clock.sleep(60 * SECOND)
        living.run("watch")
    assert not living.store.positions.active()
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    assert alerts(living).count("delisting") == 1


def test_borrowing_is_told_once(living: Living) -> None:
    """A borrowed coin costs interest: one alert, however long it lasts."""
    living.run("scan_and_open")
    living.venue.world.borrow("USDT", D(100))
    for _ in range(3):
        living.clock.sleep(60 * SECOND)
        living.run("watch")
    assert alerts(living).count("borrowed") == 1


def test_next_in_line_for_deleveraging_is_told(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The highest deleveraging rank is an alert."""
    living.run("scan_and_open")
    real = living.exchange.positions
    monkeypatch.setattr(
        living.exchange, "positions", lambda: tuple(replace(item, adl_rank=5) for item in real())
    )
    living.clock.sleep(60 * SECOND)
    living.run("watch")
    assert "adl_rank" in alerts(living)


# --------------------------------------------------------------------------------------------- the books


def test_reconcile_walks_only_when_something_may_have_happened(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unchanged wallet spares the walk, a changed one brings it, and it is made every few minutes
    anyway.
    """
    living.run("scan_and_open")
    walks: list[int] = []
    job = living.office.jobs.kinds["reconcile"]
    assert isinstance(job, Reconcile)
    real = living.writer.reconciler.run

    def counted(**named: Any) -> object:
        walks.append(1)
        return real(**named)

    monkeypatch.setattr(living.writer.reconciler, "run", counted)
    living.run("reconcile")
    for _ in range(3):
        living.clock.sleep(60 * SECOND)
        living.run("reconcile")
    assert len(walks) == 1
    living.venue.world.transfer("USDT", D(5))
    living.clock.sleep(60 * SECOND)
    living.run("reconcile")
    assert len(walks) == 2
    living.clock.sleep(660 * SECOND)
    living.run("reconcile")
    assert len(walks) == 3


def test_a_clock_that_is_off_stops_opens(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue clock two seconds away is a block until it agrees again."""
    with monkeypatch.context() as patch:
        patch.setattr(living.exchange, "server_time", lambda: living.clock.now() + 2 * SECOND)
        living.run("reconcile")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.CLOCK) is not None
    living.clock.sleep(660 * SECOND)
    living.run("reconcile")
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.CLOCK) is None


@pytest.mark.parametrize("holding", [True, False])
def test_a_clock_that_jumped_is_seen_by_the_next_watch(
    living: Living, monkeypatch: pytest.MonkeyPatch, holding: bool
) -> None:
    """What is known of the venue's clock anyway tells it, with or without positions, and as soon that it is
    right again; the venue is asked for its time at the two changes alone.
    """
    if holding:
        living.run("scan_and_open")
    asked, off = [], 2 * SECOND

    def server_time() -> datetime:
        asked.append(off)
        return living.clock.now() + off

    monkeypatch.setattr(living.exchange, "server_time", server_time)
    monkeypatch.setattr(type(living.exchange), "clock_offset", property(lambda _: off))
    for _ in range(3):
        living.run("watch")
        living.clock.sleep(15 * SECOND)
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.CLOCK) is not None
    assert "clock" in living.run("scan_and_open")
    off = SECOND / 10
    for _ in range(3):
        living.run("watch")
        living.clock.sleep(15 * SECOND)
    assert living.store.blocks.get(GLOBAL_SCOPE, BlockKind.CLOCK) is None
    assert asked == [2 * SECOND, SECOND / 10]


def test_funding_is_collected_once(living: Living) -> None:
    """After a settlement the payment is booked; collecting again finds nothing new."""
    living.run("scan_and_open")
    living.clock.sleep(8 * HOUR)
    assert "1 settlements" in living.run("collect_funding")
    assert living.run("collect_funding") == "nothing new"


def test_snapshots_make_the_equity_curve_and_the_day(living: Living) -> None:
    """Each snapshot is a point; the day's figures are the difference, deposits left out."""
    living.run("snapshot")
    living.run("scan_and_open")
    living.clock.sleep(9 * HOUR)
    living.venue.world.transfer("USDT", D(500))
    living.clock.sleep(60 * SECOND)
    living.run("snapshot")
    assert len(points(living.store)) == 2
    day = today(living.store)
    assert day is not None
    assert abs(day.profit) < D(10)
    assert day.fees > 0
    assert day.funding > 0


def test_the_digest_sums_up_yesterday(living: Living) -> None:
    """After midnight the digest tells yesterday's result in one event; before there is a yesterday it says
    so.
    """
    assert "no equity" in living.run("digest")
    for _ in range(26):
        living.run("snapshot")
        living.clock.sleep(HOUR)
    assert living.run("digest").startswith("2026-01-05: 0.00 USDT")
    assert len(living.store.events.last(9, kind="day_closed")) == 1


def test_a_backup_is_a_verified_copy_and_old_ones_go(living: Living, tmp_path: Path) -> None:
    """Each backup is a file in the backups folder; beyond a fortnight of copies the oldest is deleted."""
    for _ in range(16):
        living.run("backup")
        living.clock.sleep(HOUR)
    assert len(list((tmp_path / "backups").iterdir())) == 14


def test_a_backup_that_fails_is_no_reason_to_stop(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup folder that cannot be written fails the job with a repeatable error, not the process."""
    from fundarb.engine import jobs_books
    from fundarb.errors import StateUnavailable

    def full(*_: object) -> Path:
        raise StateUnavailable("the copy could not be written")

    monkeypatch.setattr(jobs_books, "backup", full)
    with pytest.raises(Unavailable, match="could not be written"):
        living.run("backup")


def test_history_reads_each_perp_once_per_settlement(wide: Living) -> None:
    """The history job reads every perp, and then none again until something was settled."""
    assert wide.run("history") == "7 symbols read"
    wide.clock.sleep(HOUR)
    assert wide.run("history") == "0 symbols read"
    wide.clock.sleep(8 * HOUR)
    assert wide.run("history") == "7 symbols read"


def test_rules_come_from_the_settings(tmp_path: Path) -> None:
    """What fundarb.toml says about strategy and margin reaches the jobs."""
    from fundarb.app.unattended import job_rules

    settings = Settings(home=tmp_path)
    rules = job_rules(settings)
    assert rules.min_net_apr == settings.strategy.min_net_apr
    assert rules.margin_reduce == settings.risk.margin_reduce
    assert rules.notional == settings.risk.max_per_coin


def test_an_alert_is_an_event_like_any_other(living: Living) -> None:
    """Alerts are found by their code in the audit trail."""
    living.store.events.record(AlertRaised(code="x", subject="y", message="z"))
    assert alerts(living) == ["x"]
