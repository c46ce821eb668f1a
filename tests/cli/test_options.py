"""Instants on the command line: at the edges of the calendar, and where clocks are put on or back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import typer

from fundarb.cli.options import instant


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in Berlin: on 2026-03-29 two o'clock becomes three, on 2026-10-25 three becomes two."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00+12:00",
        "0001-01-01 00:00 local",
    ],
)
def test_an_instant_beyond_the_calendar_is_misuse(text: str) -> None:
    """In UTC it would lie outside the years 1 to 9999: a wrong value, no bug."""
    with pytest.raises(typer.BadParameter, match="outside the years 1 to 9999"):
        instant(text)


def test_a_local_time_that_never_was_is_refused() -> None:
    """Half past two in the night that loses an hour: no instant has that name."""
    with pytest.raises(typer.BadParameter, match="never happens here") as refused:
        instant("2026-03-29 02:30 local")
    assert "write UTC or an offset" in str(refused.value)


def test_a_local_time_that_happens_twice_is_refused() -> None:
    """Half past two in the night that gains one: both instants are named, neither is taken."""
    with pytest.raises(typer.BadParameter, match="happens twice here") as refused:
        instant("2026-10-25 02:30 local")
    assert "2026-10-25T00:30:00Z or 2026-10-25T01:30:00Z" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-29 01:59 local", datetime(2026, 3, 29, 0, 59, tzinfo=UTC)),
        ("2026-03-29 03:00 local", datetime(2026, 3, 29, 1, tzinfo=UTC)),
        ("2026-10-25 01:59 local", datetime(2026, 10, 24, 23, 59, tzinfo=UTC)),
        ("2026-10-25 03:00 local", datetime(2026, 10, 25, 2, tzinfo=UTC)),
        ("2026-10-25 02:30+01:00", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("2026-03-29 02:30", datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
    ],
)
def test_around_the_change_every_instant_can_be_written(text: str, utc: datetime) -> None:
    """Just before and after the change ``local`` is certain; an offset and UTC are so always."""
    assert instant(text) == utc
