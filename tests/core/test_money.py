"""Exact amounts: parsing, rounding, printing, units, and the traps of the decimal context."""

import decimal
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.money import (
    Money,
    cash,
    ceil_to,
    dec,
    derived,
    floor_to,
    is_multiple,
    parse_duration,
    parse_money,
    parse_ratio,
    plain,
    round_to,
    seconds,
    years,
)

D = Decimal
STEPS = st.sampled_from([D("1e-8"), D("0.001"), D("0.05"), D(1), D(100)])
AMOUNTS = st.decimals(-(10**9), 10**9, places=9)


@pytest.mark.parametrize(
    ("value", "expected"), [("1.50", "1.50"), (3, "3"), (D("-2e-8"), "-2e-8"), ("1e3", "1e3"), ("-0", "-0")]
)
def test_exact_numbers_pass(value: str | int | Decimal, expected: str) -> None:
    """Text, integers and decimals become finite decimals without loss."""
    assert dec(value) == D(expected)


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "1 ",
        " 1",
        "1_000",
        "\uff11\uff12",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "abc",
        "1,5",
        "0x1",
        True,
        None,
        b"1",
        [1],
    ],
)
def test_everything_else_is_refused(value: object) -> None:
    """Empty, padded, non-finite and foreign values are one kind of error."""
    with pytest.raises(ValueError, match="number"):
        dec(value)  # type: ignore[arg-type]


def test_binary_fractions_are_refused() -> None:
    """A float is never an exact number, not even by arithmetic with one."""
    with pytest.raises(ValueError, match="not an exact number"):
        dec(0.1)  # type: ignore[arg-type]
    with pytest.raises(decimal.FloatOperation):
        D(0.1)
    with pytest.raises(TypeError):
        D(1) + 0.1  # type: ignore[operator]


def test_threads_inherit_precision_and_traps() -> None:
    """A thread that starts later computes with the same precision and refuses the same things."""
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        context = decimal.getcontext()
        seen.append((context.prec, context.traps[decimal.FloatOperation]))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(60, True)]


@given(value=AMOUNTS, step=STEPS)
def test_rounding_stays_on_the_grid_and_close(value: Decimal, step: Decimal) -> None:
    """Floor, ceiling and nearest are exact multiples, ordered, and less than one step away."""
    low, high, near = floor_to(value, step), ceil_to(value, step), round_to(value, step)
    assert all(is_multiple(rounded, step) for rounded in (low, high, near))
    assert low <= value <= high
    assert high - low in {D(0), step}
    assert abs(near - value) <= step / 2
    assert is_multiple(value, step) == (low == high)


@pytest.mark.parametrize(("value", "expected"), [("0.5", "0"), ("1.5", "2"), ("2.5", "2"), ("-0.5", "0")])
def test_halves_go_to_the_even_step(value: str, expected: str) -> None:
    """Rounding to the nearest step has no drift."""
    assert round_to(D(value), D(1)) == D(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1.000000005", "1.00000000"), ("1.000000015", "1.00000002"), ("-3", "-3.00000000")],
)
def test_cash_has_eight_places(value: str, expected: str) -> None:
    """What is booked is a multiple of 1e-8, half to even."""
    assert str(cash(D(value))) == expected


def test_quotients_keep_eighteen_digits_however_small_they_are() -> None:
    """Averages and shares are rounded half to even by digits, so that a tiny price keeps as many as a large
    one.
    """
    assert str(derived(D(1) / 3)) == "0.333333333333333333"
    assert plain(derived(D(1) / 7 * D("1e-9"))) == "0.000000000142857142857142857"
    assert derived(D("1.000000000000000005")) == 1
    assert derived(D(0)) == 0


@given(
    price=st.decimals(D("1e-9"), D("1e6"), allow_nan=False).filter(bool),
    parts=st.lists(st.tuples(st.integers(1, 10**12), st.integers(0, 500)), min_size=1, max_size=6),
)
def test_an_average_price_is_that_of_its_fills_at_any_price(
    price: Decimal, parts: list[tuple[int, int]]
) -> None:
    """From 1e-9 to 1e6, over several levels: average times quantity is the value to within 5e-18 of it."""
    fills = [(D(quantity), price * (1 + D(bp) / 10_000)) for quantity, bp in parts]
    quantity = sum((amount for amount, _ in fills), D(0))
    value = sum((amount * level for amount, level in fills), D(0))
    average = derived(value / quantity)
    assert abs(average * quantity - value) <= D("5e-18") * value
    assert min(level for _, level in fills) * (1 - D("5e-18")) <= average
    assert average <= max(level for _, level in fills) * (1 + D("5e-18"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "0"),
        ("-0.00", "0"),
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("1e-9", "0.000000001"),
        ("-100", "-100"),
    ],
)
def test_plain_notation(value: str, text: str) -> None:
    """No exponent, no trailing zeros, no negative zero; zeros before the point stay."""
    assert plain(D(value)) == text


@given(AMOUNTS)
def test_plain_text_comes_back_exactly(value: Decimal) -> None:
    """What is printed parses to the same amount."""
    assert dec(plain(value)) == value


def test_money_keeps_its_coin() -> None:
    """Amounts of one coin add, subtract, negate and print with it."""
    two, three = Money(D("2.50"), "USDT"), Money(D(3), "USDT")
    assert two + three == Money(D("5.5"), "USDT")
    assert two - three == Money(D("-0.5"), "USDT")
    assert -two == Money(D("-2.5"), "USDT")
    assert str(two) == "2.5 USDT"


def test_coins_do_not_mix() -> None:
    """Adding or subtracting another coin is an error."""
    with pytest.raises(ValueError, match="cannot mix USDT and BTC"):
        Money(D(1), "USDT") + Money(D(1), "BTC")
    with pytest.raises(ValueError, match="cannot mix BTC and USDT"):
        Money(D(1), "BTC") - Money(D(1), "USDT")


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("2%", "0.02"), ("200bp", "0.02"), ("1 bps", "0.0001"), ("-0.5 %", "-0.005"), (" +3% ", "0.03")],
)
def test_ratios_with_their_unit(text: str, fraction: str) -> None:
    """Percent and basis points become fractions."""
    assert parse_ratio(text) == D(fraction)


@pytest.mark.parametrize("text", ["0.02", "2", "", "%", "2 percent", "1e2%", "2%%", "٢%"])
def test_bare_ratios_are_refused(text: str) -> None:
    """A number without its unit could mean two things a hundredfold apart."""
    with pytest.raises(ValueError, match="ratio with its unit"):
        parse_ratio(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("8h", timedelta(hours=8)),
        ("30d", timedelta(days=30)),
        ("200ms", timedelta(milliseconds=200)),
        ("0.5 s", timedelta(milliseconds=500)),
    ],
)
def test_durations_with_their_unit(text: str, expected: timedelta) -> None:
    """Every unit from milliseconds to days."""
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["90", "-1s", "1w", "", "4000d", "999999999999d", "1h30m"])
def test_bad_durations_are_refused(text: str) -> None:
    """No unit, negative, unknown or absurd."""
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


def test_amounts_with_their_coin() -> None:
    """An amount and its coin are read together or not at all."""
    assert parse_money("10000 USDT") == Money(D(10_000), "USDT")
    assert parse_money("0.5BTC") == Money(D("0.5"), "BTC")
    for text in ("10000", "USDT", "10 usdt", "1e3 USDT", "10 USDT EUR"):
        with pytest.raises(ValueError, match="amount with its coin"):
            parse_money(text)


def test_durations_in_formulas() -> None:
    """Seconds are exact and a year has 365 days."""
    assert seconds(timedelta(milliseconds=1500)) == D("1.5")
    assert years(timedelta(days=73)) == D("0.2")
