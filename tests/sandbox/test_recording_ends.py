"""Where a recording ends the sandbox that replays it ends too: no clock gets behind it, so nobody is shown a
price, a settlement or a fill of which nothing is known.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fundarb.core.instants import iso, to_ms
from fundarb.errors import ConfigError, Unavailable
from fundarb.exchange.sandbox_clock import SandboxClock
from fundarb.markets.replay import replay
from fundarb.sandbox.house import House
from fundarb.sandbox.options import ClockKind
from tests.markets.recording import START, record
from tests.sandbox.harness import OPTIONS, InProcess, OverHttp, over_http

HOUR = timedelta(hours=1)
END = START + HOUR


@pytest.fixture
def http(tmp_path: Path) -> Iterator[OverHttp]:
    """A server that replays an hour, on a virtual clock."""
    with over_http(market=partial(replay, record(tmp_path)), start=START) as client:
        yield client


@pytest.mark.parametrize("body", [{"advance": "60m1s"}, {"to": iso(END + HOUR)}])
def test_time_does_not_go_behind_the_end(http: OverHttp, body: dict[str, str]) -> None:
    """A step across the end is refused with where it is, and nothing has moved; up to it all is well."""
    answer = http.session.post(f"{http.url}/sandbox/clock", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json() == {"error": f"the recording ends at {iso(END)}", "path": next(iter(body))}
    clock = http.session.get(f"{http.url}/sandbox/clock", timeout=10).json()
    assert (clock["now"], clock["until"]) == (to_ms(START), to_ms(END))
    arrived = http.session.post(f"{http.url}/sandbox/clock", json={"to": iso(END)}, timeout=10)
    assert arrived.json() == {"now": to_ms(END)}


def test_a_client_that_waits_across_the_end_hears_of_it(http: OverHttp) -> None:
    """Its sleep fails as a venue that cannot be had, in words; its time is what it was."""
    clock = SandboxClock(http.url)
    assert clock.until() == END
    with pytest.raises(Unavailable, match="the recording ends at 2025-05-01T01:00:00Z"):
        clock.sleep(2 * HOUR)
    assert clock.now() == START
    clock.close()


def test_the_real_clock_cannot_be_held_at_an_end(tmp_path: Path) -> None:
    """A recording on the real clock is refused, even one that would cover the present."""
    folder = record(tmp_path)
    options = replace(
        OPTIONS, market=lambda _: replay(folder, START), replay="hour", clock=ClockKind.REAL, start=None
    )
    with pytest.raises(ConfigError, match="would run past the end of the recording") as refused:
        House(options)
    assert "--clock virtual" in str(refused.value)


def test_no_snapshot_leads_behind_the_end(tmp_path: Path) -> None:
    """A state that was taken later than its recording goes on is refused; nothing changes."""
    folder = record(tmp_path)
    desk = InProcess(replace(OPTIONS, market=partial(replay, folder), start=START))
    desk.house.venue.advance(END + HOUR)
    late = desk.house.snapshot()
    fresh = InProcess(replace(OPTIONS, market=partial(replay, folder), start=START))
    with pytest.raises(ValueError, match="behind the end of the recording"):
        fresh.desk.restore(late)
    assert fresh.house.venue.now == START
