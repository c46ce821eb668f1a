"""The public checks of ``doctor``: what each finds, and its remedy."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.health import Check, Level
from fundarb.core.market import Instruments
from fundarb.engine.doctor import PublicDoctor, clock_offset, unreachable
from fundarb.errors import BadAnswer, Unavailable
from fundarb.exchange.recorded import RecordedMarket, packaged
from scripts.demo_market import AS_OF


class Odd(RecordedMarket):
    """A market whose instruments are old, or do not come."""

    def __init__(self, age: timedelta | None) -> None:
        """So old; None: not at all."""
        super().__init__(packaged())
        self.age = age

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Old ones unless they are refreshed."""
        if self.age is None:
            raise Unavailable("away")
        found = super().instruments()
        return found if refresh else replace(found, as_of=found.as_of - self.age)


def checks(age: timedelta | None, *, fix: bool = False) -> dict[str, Check]:
    """All checks by name."""
    doctor = PublicDoctor(Odd(age), VirtualClock(AS_OF), tolerance=timedelta(milliseconds=500))
    return {check.id: check for check in doctor.checks("bybit", fix=fix)}


@pytest.mark.parametrize(
    ("age", "level"),
    [
        (timedelta(0), Level.OK),
        (timedelta(days=1), Level.OK),
        (timedelta(days=3), Level.WARN),
        (None, Level.FAIL),
    ],
)
def test_the_instrument_cache_is_judged_by_its_age(age: timedelta | None, level: Level) -> None:
    """Up to a day is fine, older is worth a look, none at all fails; each but the first has a remedy."""
    check = checks(age)["instruments"]
    assert check.level is level
    assert bool(check.remedy) is (level is not Level.OK)


def test_the_first_answer_warms_up_and_the_second_is_measured() -> None:
    """Loading libraries and connecting are no part of the venue's answering time, nor of the offset."""

    class Slow(Odd):
        """A market whose first question takes half a second on our side."""

        def __init__(self, clock: VirtualClock) -> None:
            super().__init__(timedelta(0))
            self.clock = clock
            self.asked = 0

        def server_time(self) -> datetime:
            """The clock of a venue that agrees with ours."""
            self.asked += 1
            began = self.clock.now()
            self.clock.sleep(timedelta(milliseconds=500 if self.asked == 1 else 20))
            return began + (self.clock.now() - began) * 3 / 2

    clock = VirtualClock(AS_OF)
    found = PublicDoctor(Slow(clock), clock, tolerance=timedelta(milliseconds=500)).checks("bybit", fix=False)
    messages = {check.id: check.message for check in found}
    assert messages["reachability"] == "bybit answered in 20 ms"
    assert messages["clock"] == "this clock is 0.01 s behind the venue's"


def test_fix_reads_the_instruments_anew() -> None:
    """After --fix an old list is fresh, and said to be mended."""
    check = checks(timedelta(days=3), fix=True)["instruments"]
    assert (check.level, check.fixed) == (Level.OK, True)


@pytest.mark.parametrize(("server", "offset"), [(0, 0), (5, 0), (10, 0), (-2, 2), (13, -3)])
def test_the_network_takes_no_part_in_the_clock_offset(server: int, offset: int) -> None:
    """A server time between sending and receiving is no offset; outside it counts from the nearer end."""
    at = [AS_OF + timedelta(seconds=seconds) for seconds in (server, 0, 10)]
    assert clock_offset(at[0], sent=at[1], received=at[2]) == timedelta(seconds=offset)


def banned(*, until: datetime | None) -> Unavailable:
    """What a venue that serves this address no more comes to."""
    error = Unavailable("HTTP 403")
    error.forbidden, error.until = True, until
    return error


def test_a_ban_is_waited_for() -> None:
    """Nothing is to be started or looked at while the address is banned: the remedy is the hour it ends."""
    check = unreachable("sandbox", banned(until=AS_OF))
    assert check.remedy == f"wait until {AS_OF:%H:%M:%S} UTC: no request is sent before"


def test_a_block_without_an_end_is_of_the_place() -> None:
    """A sandbox that answers 403 is there: starting one mends nothing."""
    assert "[venue] hostname" in unreachable("sandbox", banned(until=None)).remedy
    assert "sandbox serve" in unreachable("sandbox", Unavailable("refused")).remedy


def test_what_answers_as_no_sandbox_does_is_not_to_be_started() -> None:
    """A page of HTML where a sandbox should be: the address is wrong, nothing is to be started there."""
    remedy = unreachable("sandbox", BadAnswer("the answer is HTML")).remedy
    assert "right address" in remedy
    assert "sandbox serve" not in remedy


def test_a_ban_that_begins_in_the_middle_is_waited_for() -> None:
    """The time still came, the instruments met the ban."""

    class Late(Odd):
        """A market that is banned after the first look."""

        def instruments(self, *, refresh: bool = False) -> Instruments:
            """Not any more."""
            raise banned(until=AS_OF)

    doctor = PublicDoctor(Late(None), VirtualClock(AS_OF), tolerance=timedelta(milliseconds=500))
    found = {check.id: check for check in doctor.checks("bybit", fix=False)}
    assert found["instruments"].remedy.startswith("wait until")
