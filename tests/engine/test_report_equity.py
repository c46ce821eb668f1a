"""The equity curve's figures: a deposit or withdrawal is no gain, no loss, and changes no rate of return."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core import returns
from fundarb.engine import equity_points
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report import Reporter
from fundarb.engine.report_days import EquityRow, daily_returns
from fundarb.engine.report_equity import METHOD, EquityReport, equity
from fundarb.engine.report_rows import ReportQuery
from fundarb.errors import Unavailable
from tests.engine.month import collect, reporter, snapshot
from tests.engine.world import World

D = Decimal
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MIDNIGHT = datetime(2026, 1, 5, tzinfo=UTC)
ONE = Fraction(1)


def lived(world: World, *changes: tuple[str, str]) -> EquityReport:
    """A day for each pair, of a gain that nobody traded for and then a deposit: a point after each of both.

    Coins of nobody make the gain: their price moves by what a whole coin is to bring.
    """
    collect(world)
    snapshot(world)
    for gain, flow in changes:
        world.clock.sleep(DAY)
        world.feed.prices["BTCUSDT"] += D(gain)
        collect(world)
        snapshot(world)
        if D(flow):
            world.venue.world.transfer("USDT", D(flow))
            world.clock.sleep(timedelta(minutes=1))
            collect(world)
            snapshot(world)
    return equity(world.writer.store, ReportQuery(), live=None, buffer=D(0))


def coin(world: World) -> None:
    """One whole coin on the account, at 50,000; with the 100,000 USDT the account is worth 150,000."""
    world.feed.prices["BTCUSDT"] = D(50_000)
    world.writer.store.ledger.set_price("BTC", D(50_000))
    world.venue.world.transfer("BTC", D(1))


@pytest.mark.parametrize("flow", ["0", "850000", "-90000"])
def test_a_deposit_changes_no_return(world: World, flow: str) -> None:
    """Up ten per cent, then money comes or goes, then down a tenth of a coin: the return is the product of
    both days' and the fall the second day's, of what was there then; the first equity plays no part.
    """
    coin(world)
    found = lived(world, ("15000", flow), ("-5000", "0"))
    second = Fraction(-5000) / (Fraction(165_000) + Fraction(flow))
    assert found.total_return is not None
    assert abs(Fraction(found.total_return) - (Fraction(11, 10) * (1 + second) - 1)) < Fraction(1, 10**11)
    assert found.max_drawdown is not None
    assert abs(Fraction(found.max_drawdown) + second) < Fraction(1, 10**11)
    years = Fraction(int(found.days * 10**6), 10**6 * 365)
    assert found.annual_return is not None
    assert abs(Fraction(found.annual_return) - Fraction(found.total_return) / years) < Fraction(1, 10**5)
    assert found.method == METHOD
    assert found.rows[-1].result == found.rows[1].result + 10_000


def test_money_that_came_and_went_before_a_loss_does_not_hide_it(world: World) -> None:
    """A loss of a third after a large withdrawal is a fall of a third, not of a part of the first equity."""
    coin(world)
    found = lived(world, ("0", "-90000"), ("-20000", "90000"), ("0", "0"))
    assert found.max_drawdown == (D(20_000) / 60_000).quantize(D("1e-12"))
    assert found.total_return == -found.max_drawdown


def test_an_account_without_equity_has_no_return(world: World) -> None:
    """After everything went a gain is a gain on nothing: null, never zero, and said so; idle it stays as it
    was.
    """
    coin(world)
    found = lived(world, ("1500", "0"))
    assert found.total_return == D("0.01")
    points = list(equity_points.points(world.writer.store))
    store, at = world.writer.store, world.clock.now()
    empty = EquityPoint(at=at + DAY, equity=D(0), unrealised=D(0), booked_until=points[-1].booked_until)
    for later, worth, known in ((1, 0, True), (2, 0, True), (3, 5, False), (4, 6, False)):
        equity_points.keep(store, _moved(empty, at + DAY * later, D(worth)))
        found = equity(store, ReportQuery(), live=None, buffer=D(0))
        assert (found.total_return is not None) is known, later
        assert (found.max_drawdown is not None) is known
        assert (found.annual_return is not None) is known
        assert any(note.startswith("returns: ") for note in found.notes) is not known
    assert [row.index is not None for row in found.rows[-4:]] == [True, True, False, False]


def _moved(point: EquityPoint, at: datetime, worth: Decimal) -> EquityPoint:
    return EquityPoint(at=at, equity=worth, unrealised=D(0), booked_until=point.booked_until)


def row(hours: float, equity: str, result: str | None = None) -> EquityRow:
    """A firm point so long after midnight."""
    worth = D(equity)
    return EquityRow(
        time=MIDNIGHT + timedelta(hours=hours),
        equity=worth,
        result=worth if result is None else D(result),
        provisional=False,
        pending=D(0),
    )


def test_days_are_chained_from_point_to_point() -> None:
    """Within a day a deposit between two points changes the base from there on, not the return before it."""
    rows = [
        row(23, "1000"),
        row(30, "1100"),
        row(31, "11100", "1100"),
        row(47, "12210", "2210"),
        row(60, "1"),
    ]
    (day,) = daily_returns(rows)
    assert (day.day, day.result, day.rate) == ("2026-01-06", D(1210), D("0.21"))


def test_a_point_at_midnight_ends_its_day() -> None:
    """What midnight measures is the day before; a day that ends there is a full one."""
    rows = [row(1, "1000"), row(24, "1010"), row(48, "1111"), row(72, "1111")]
    found = [(day.day, day.result, day.rate) for day in daily_returns(rows)]
    assert found == [("2026-01-06", D(101), D("0.1")), ("2026-01-07", D(0), D(0))]


def test_a_day_that_was_not_measured_is_null() -> None:
    """Without a point at its end a day has no return, nor has the next one; neither is zero."""
    rows = [row(20, "1000"), row(40, "1010"), row(90, "1020"), row(110, "1030"), row(130, "1030")]
    found = [(day.day[-2:], day.result, day.rate is None) for day in daily_returns(rows)]
    assert found == [("06", D(10), False), ("07", None, True), ("08", None, True), ("09", D(10), False)]


def test_a_day_on_nothing_has_no_rate() -> None:
    """No equity at all: the result of the day is zero, its rate unknown."""
    rows = [row(20, "0"), row(40, "0"), row(60, "0")]
    assert [(day.result, day.rate) for day in daily_returns(rows)] == [(D(0), None)]


def test_no_point_no_day() -> None:
    """Nothing measured, nothing returned."""
    assert daily_returns([]) == ()


moves = st.lists(
    st.tuples(st.decimals("-0.5", "0.5", places=4), st.decimals("-400", "5000", places=2)), max_size=12
)


@given(moves)
def test_flows_never_change_what_was_earned(steps: list[tuple[Decimal, Decimal]]) -> None:
    """Whatever is paid in and out, money that grew at given rates has grown by their product."""
    worth, grown, expected = D(1000), D(1), Fraction(1)
    for rate, flow in steps:
        paid = max(flow, -worth / 2)
        gain = (worth + paid) * rate
        factor = returns.growth(worth, flow=paid, gain=gain)
        assert factor is not None
        grown *= factor
        expected *= ONE + Fraction(rate)
        worth += paid + gain
    assert abs(Fraction(grown) - expected) < Fraction(1, 10**20) * max(expected, ONE)


@pytest.mark.parametrize(
    ("equity", "flow", "gain", "factor"),
    [
        ("100", "0", "0", "1"),
        ("0", "50", "5", "1.1"),
        ("100", "-100", "3", None),
        ("100", "-150", "3", None),
        ("0", "0", "0", "1"),
        ("-5", "0", "1", None),
        ("100", "0", "-120", "-0.2"),
    ],
)
def test_growth_needs_something_to_grow(equity: str, flow: str, gain: str, factor: str | None) -> None:
    """Gain over the equity before and what came to it; None where that is nothing."""
    found = returns.growth(D(equity), flow=D(flow), gain=D(gain))
    assert found == (None if factor is None else D(factor))


def test_the_curve_says_why_it_ends_early(world: World) -> None:
    """Where the account cannot be read, the curve ends at the last snapshot and says why."""
    snapshot(world)

    class Down:
        """A venue that does not answer."""

        def __getattr__(self, name: str) -> object:
            raise Unavailable("maintenance")

    world.clock.sleep(HOUR)
    assert reporter(world).equity(ReportQuery()).warnings == ()
    blind = Reporter(world.writer.store, world.clock, market=world.exchange, trading=Down())  # type: ignore[arg-type]
    (said,) = blind.equity(ReportQuery()).warnings
    assert "maintenance" in said
    assert "last snapshot" in said


def untied(world: World, *, later: timedelta) -> EquityPoint:
    """A live point at which the wallet is ahead of the ledger, which was not read since."""
    begun = equity_points.opening(world.writer.store)
    assert begun is not None
    return replace(begun, at=world.clock.now() + later, equity=begun.equity + 1, tied=False)


@pytest.mark.parametrize("kept", [False, True])
def test_firm_points_of_one_moment_measure_nothing(world: World, *, kept: bool) -> None:
    """The opening, perhaps a snapshot with it, and a live point that does not tie a day later: the span is
    told, every rate is unknown, none is zero, and what would end it is named.
    """
    collect(world)
    if kept:
        snapshot(world)
    live = untied(world, later=timedelta(hours=25))
    found = equity(world.writer.store, ReportQuery(), live=live, buffer=D(0))
    assert (len(found.rows), found.provisional) == (2 + kept, 1)
    assert found.days >= 1
    assert (found.total_return, found.annual_return, found.max_drawdown) == (None, None, None)
    assert "returns: none without firm points of two moments" in found.notes
    assert "the last point is provisional: run `fundarb reconcile`" in found.notes
    assert not any("less than a day" in note for note in found.notes)


def test_what_is_measured_ends_before_a_provisional_end(world: World) -> None:
    """With two firm points the rates are of these, and it is said up to when; the days are those shown."""
    coin(world)
    firm = lived(world, ("15000", "0"))
    first, last = firm.rows[0].time, firm.rows[-1].time
    found = equity(world.writer.store, ReportQuery(), live=untied(world, later=DAY), buffer=D(0))
    assert found.total_return == firm.total_return == D("0.1")
    assert found.annual_return == firm.annual_return
    assert found.days == firm.days + 1
    assert f"returns: measured {first:%Y-%m-%d %H:%M} → {last:%Y-%m-%d %H:%M} UTC" in found.notes
    assert "the last point is provisional: run `fundarb reconcile`" in found.notes
    assert not any("provisional" in note or "measured" in note for note in firm.notes)
