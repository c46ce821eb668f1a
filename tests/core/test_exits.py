"""When to leave: a confirmed decision about the future, after the minimum hold, and never a flip-flop."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.exits import ExitDecision, ExitMemory, ExitRules, decide_exit, leave_at_once
from fundarb.core.forecast import Forecast
from tests.core.make import EIGHT_HOURS, NOW, D, funding, perp, perp_quote

RULES = ExitRules(horizon=timedelta(days=30), min_hold=timedelta(days=3), confirm=3)
DAY = timedelta(days=1)


def outlook(rate: str) -> Forecast:
    """A forecast whose mean is ``rate`` and whose reduced rate is lower."""
    mean = D(rate)
    return Forecast(
        kind="shrunk", rate=mean - D("0.0001"), predicted=mean, counted=mean, weight=D("0.1"), mean=mean
    )


def look(
    rate: str, *, period: int = 0, age: timedelta = 10 * DAY, memory: ExitMemory | None = None
) -> ExitDecision:
    """One decision in the given settlement period."""
    now = NOW + period * EIGHT_HOURS
    running = funding(rate, ahead=EIGHT_HOURS * (period + 1))
    return decide_exit(
        outlook(rate), running, now=now, opened_at=now - age, memory=memory or ExitMemory(), rules=RULES
    )


def walk(*rates: str, age: timedelta = 10 * DAY) -> list[ExitDecision]:
    """One look per settlement period, remembering."""
    seen: list[ExitDecision] = []
    for period, rate in enumerate(rates):
        seen.append(look(rate, period=period, age=age, memory=seen[-1].memory if seen else None))
    return seen


def test_one_bad_print_changes_nothing() -> None:
    """A single negative period between good ones is forgotten."""
    decisions = walk("-0.0005", "0.0001", "-0.0005", "0.0001")
    assert not any(decision.leave for decision in decisions)
    assert [decision.memory.against for decision in decisions] == [1, 0, 1, 0]
    assert [decision.reason.code for decision in decisions] == ["exit_unconfirmed", "holding_pays"] * 2


def test_three_bad_periods_in_a_row_leave() -> None:
    """Holding on that costs in exit_confirm settlements running closes the position, not earlier."""
    decisions = walk("-0.0005", "-0.0004", "-0.0003")
    assert [decision.leave for decision in decisions] == [False, False, True]
    assert decisions[-1].reason.code == "holding_costs"


def test_a_period_counts_once_however_often_it_is_looked_at() -> None:
    """Looking every fifteen minutes does not confirm faster than settlements come."""
    first = look("-0.0005")
    again = look("-0.0009", memory=look("-0.0007", memory=first.memory).memory)
    assert again.memory == first.memory == ExitMemory(1, NOW + EIGHT_HOURS)


def test_a_young_position_waits_for_its_minimum_hold() -> None:
    """Confirmed but younger than min_hold stays; at exactly min_hold it leaves."""
    young = walk("-0.0005", "-0.0005", "-0.0005", age=3 * DAY - timedelta(seconds=1))[-1]
    assert (young.leave, young.reason.code) == (False, "min_hold")
    assert walk("-0.0005", "-0.0005", "-0.0005", age=3 * DAY)[-1].leave


def test_zero_is_no_reason_to_leave() -> None:
    """Expected funding of nothing costs nothing: the exit cost would be paid for no gain."""
    assert look("0").reason.code == "holding_pays"


def test_the_mean_decides_not_the_reduced_rate() -> None:
    """Between what an open needs and what a close needs nothing happens: that is the hysteresis."""
    decision = look("0.00005")
    assert decision.rate == D("0.00005")
    assert not decision.memory.against


@pytest.mark.parametrize(
    ("age", "days", "count"),
    [(timedelta(0), 30, 90), (10 * DAY, 20, 60), (29 * DAY, 3, 9), (400 * DAY, 3, 9)],
)
def test_the_remaining_horizon_shrinks_to_the_minimum_hold(age: timedelta, days: int, count: int) -> None:
    """What is left of the planned horizon is judged, but never less than the minimum hold."""
    decision = look("0.0001", age=age)
    assert (decision.remaining, decision.settlements, decision.held) == (days * DAY, count, age)
    assert decision.expected == D("0.0001") * count


@given(st.lists(st.sampled_from(["-0.0005", "0", "0.0005"]), max_size=30))
def test_no_run_of_three_no_exit(rates: list[str]) -> None:
    """A position is left exactly when the last three periods all looked bad."""
    decisions = walk(*rates)
    for index, decision in enumerate(decisions):
        assert decision.leave == (
            index >= 2 and all(rate == "-0.0005" for rate in rates[index - 2 : index + 1])
        )


DELISTED = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_healthy_market_gives_no_cause() -> None:
    """Listed, trading, no delivery, margin below its limit or unknown: nothing to leave at once for."""
    assert leave_at_once(perp(), perp_quote(), margin_rate=D("0.69"), margin_limit=D("0.7")) == ()
    assert leave_at_once(perp(), None, margin_rate=None, margin_limit=D("0.7")) == ()


def test_urgent_causes_are_all_named() -> None:
    """A delisting in the instrument or the quote, a halted or vanished market, and the margin limit."""
    stopped = perp(status="Delivering", delivery_time=DELISTED)
    found = leave_at_once(stopped, perp_quote(), margin_rate=D("0.7"), margin_limit=D("0.7"))
    assert [reason.code for reason in found] == ["not_trading", "delisting", "margin"]
    announced = leave_at_once(
        perp(), perp_quote(delivery_time=DELISTED), margin_rate=None, margin_limit=D("0.7")
    )
    assert [reason.code for reason in announced] == ["delisting"]
    gone = leave_at_once(None, None, margin_rate=None, margin_limit=D("0.7"))
    assert [reason.code for reason in gone] == ["not_listed"]
