"""Numbers on the screen."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.cli import figures, money_view


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "now"), (0, "now"), (59, "0m 59s"), (2873, "47m 53s"), (24473, "6h 47m"), (97200, "1d 03h")],
)
def test_countdowns_use_two_units(seconds: int, text: str) -> None:
    """Days and hours, hours and minutes, minutes and seconds; nothing negative."""
    assert figures.countdown(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=30), "30 days"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(milliseconds=1500), "1.5 seconds"),
        (timedelta(milliseconds=500), "0.5 seconds"),
    ],
)
def test_spans_are_in_the_unit_they_fill(duration: timedelta, text: str) -> None:
    """One of a unit is singular."""
    assert figures.span(duration) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("999", "999"),
        ("1234", "1.23k"),
        ("45678", "45.7k"),
        ("640000000", "640M"),
        ("9.8e9", "9.80B"),
        ("2e12", "2.00T"),
    ],
)
def test_amounts_are_short(amount: str, text: str) -> None:
    """Three significant figures with a unit."""
    assert figures.short(Decimal(amount)) == text


def test_what_is_not_known_is_a_dash() -> None:
    """No figure is invented for a missing value, and it has no colour."""
    shown = [
        figures.percent(None),
        figures.points(None),
        figures.share(None),
        figures.short(None),
        figures.countdown(None),
        figures.days(None),
    ]
    assert shown == [figures.MISSING] * 6
    assert figures.signed("x", None).style == ""


@pytest.mark.parametrize(("value", "style"), [("0.1", "green"), ("-0.1", "red"), ("0", "")])
def test_colour_follows_the_sign(value: str, style: str) -> None:
    """Gains green, losses red, nothing plain."""
    assert figures.signed("x", Decimal(value)).style == style


def test_ratios_become_percent_and_points() -> None:
    """4.79 % and one basis point, with their sign."""
    assert figures.percent(Decimal("0.04786")) == "+4.79"
    assert figures.points(Decimal("-0.0001")) == "-1.00"
    assert figures.points(Decimal("0.0031"), 1, sign=False) == "31.0"
    assert figures.share(Decimal("0.2")) == "20 %"
    assert figures.hours(timedelta(minutes=30)) == "0.5h"


@pytest.mark.parametrize("value", ["0", "-0", "0.001", "-0.001", "-0.0049"])
def test_what_rounds_to_zero_has_no_sign(value: str) -> None:
    """Neither a gain nor a loss is told by a sign before nothing but zeros."""
    number = Decimal(value)
    assert money_view.amount(number) == money_view.amount(number, sign=True) == "0.00"
    assert figures.percent(number / 100) == figures.percent(number / 100, sign=False) == "0.00"
    assert figures.points(number / 10_000) == figures.points(number / 10_000, sign=False) == "0.00"


@pytest.mark.parametrize(
    ("value", "text"), [("-0.006", "-0.01"), ("0.006", "+0.01"), ("-1234.5", "-1,234.50"), ("100", "+100.00")]
)
def test_what_does_not_keeps_it(value: str, text: str) -> None:
    """The first digit that is seen brings the sign."""
    assert money_view.amount(Decimal(value), sign=True) == text
