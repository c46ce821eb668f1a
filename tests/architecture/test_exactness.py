"""Money never meets binary floating point."""

import pytest

from tests.architecture.source import floats, module, modules

EXACT_ROOMS = frozenset({"core", "venue", "store", "engine"})


def test_no_float_where_money_lives() -> None:
    """The rooms that compute or keep money hold no float: no name, no annotation, no literal, no call."""
    found = [
        f"{source.path}:{line} {what}"
        for source in modules()
        if source.room in EXACT_ROOMS
        for line, what in floats(source.tree)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "x = 0.5",
        "x = -1e3",
        "x = float(y)",
        "x: float",
        "x: 'float | None' = None",
        "def f(x: float): ...",
        "def f() -> list[float]: ...",
        "isinstance(x, (int, float))",
        "x = 2j",
    ],
)
def test_each_kind_of_float_is_seen(text: str) -> None:
    """The search finds a float as a literal, call, annotation, quoted annotation and plain name."""
    assert list(floats(module(text).tree))


@pytest.mark.parametrize(
    "text", ["'''Says float and 0.5.'''", "x = Decimal('0.5')", "x = 5", "x = y.float_step"]
)
def test_exact_code_is_left_alone(text: str) -> None:
    """Text, integers, Decimals and longer names are no floats."""
    assert list(floats(module(text).tree)) == []
