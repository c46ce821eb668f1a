"""Bulk tickers: what is believed, and the reason for what is not."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.exchange.parse import ParseError
from fundarb.exchange.parse_tickers import perp_quotes, spot_quotes
from fundarb.exchange.strict import Answer, read_answer
from tests.exchange.server import TIME_MS, listing

HOUR_MS = 3_600_000


def spot_row(symbol: object = "BTCUSDT", **changes: object) -> dict[str, object]:
    """A spot ticker."""
    row: dict[str, object] = {
        "symbol": symbol,
        "bid1Price": "64000",
        "bid1Size": "1.5",
        "ask1Price": "64000.1",
        "ask1Size": "2",
        "lastPrice": "64000",
        "turnover24h": "900000000.55",
        "usdIndexPrice": "64001.2",
        "volume24h": "14000",
    }
    return row | changes


def perp_row(symbol: object = "BTCUSDT", **changes: object) -> dict[str, object]:
    """A linear ticker of an hourly contract that settles in half an hour."""
    row: dict[str, object] = {
        "symbol": symbol,
        "bid1Price": "64010",
        "bid1Size": "1.5",
        "ask1Price": "64010.1",
        "ask1Size": "2",
        "lastPrice": "64010",
        "turnover24h": "900000000.55",
        "markPrice": "64010.05",
        "indexPrice": "64001",
        "openInterestValue": "4000000000",
        "fundingRate": "0.0001",
        "fundingIntervalHour": "1",
        "nextFundingTime": str(TIME_MS + HOUR_MS // 2),
        "fundingCap": "0.005",
        "deliveryTime": "0",
    }
    return row | changes


def answer(*rows: dict[str, object]) -> Answer:
    """The rows as they come off the wire."""
    return read_answer(200, listing(*rows))


def reason(row: dict[str, object]) -> str:
    """Why a row is not read at all, or why its funding is not."""
    quotes, unreadable = perp_quotes(answer(row)) if "markPrice" in row else spot_quotes(answer(row))
    if not unreadable:
        return ""
    assert len(quotes) == ("funding" in unreadable["BTCUSDT"])
    return unreadable["BTCUSDT"]


@pytest.mark.parametrize(
    "name", ["bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "turnover24h"]
)
@pytest.mark.parametrize(
    "value", ["", "NaN", "Infinity", "-1", None, "1_0", " 1", "٣", "1e30", [], {}, True, "abc"]
)
def test_a_bad_field_makes_the_row_unreadable_and_is_named(name: str, value: object) -> None:
    """Empty, not a number, negative, absurd or of a wrong type: the symbol is left out, with the field's
    name.
    """
    for row in (spot_row(**{name: value}), perp_row(**{name: value})):
        assert name in reason(row)


@pytest.mark.parametrize("name", ["bid1Price", "bid1Size", "ask1Price", "ask1Size", "lastPrice", "markPrice"])
def test_zero_is_no_price(name: str) -> None:
    """A price or a size of zero is never traded on."""
    assert f"{name} is not positive" in reason(perp_row(**{name: "0"}))


@pytest.mark.parametrize("name", ["markPrice", "indexPrice", "openInterestValue"])
def test_a_perp_needs_mark_index_and_open_interest(name: str) -> None:
    """Without them no decision about a perp is possible."""
    row = perp_row()
    del row[name]
    quotes, unreadable = perp_quotes(answer(row))
    assert (quotes, unreadable) == ({}, {"BTCUSDT": f"{name} is missing or null"})


@pytest.mark.parametrize("name", ["bid1Price", "ask1Price", "lastPrice", "markPrice", "indexPrice"])
@pytest.mark.parametrize("factor", ["1000000000", "0.000000001"])
def test_a_price_that_is_off_by_a_billion_is_refused(name: str, factor: str) -> None:
    """One field contradicts the others, in either direction."""
    wild = str(Decimal(str(perp_row()[name])) * Decimal(factor))
    assert reason(perp_row(**{name: wild}))


def test_a_whole_row_that_is_off_by_a_billion_is_absurd() -> None:
    """No market quotes sixty trillion."""
    names = ("bid1Price", "ask1Price", "lastPrice", "markPrice", "indexPrice")
    assert reason(
        perp_row(**{name: f"{perp_row()[name]}".split(".", maxsplit=1)[0] + "000000000" for name in names})
    )


@pytest.mark.parametrize("ask", ["64010", "64009"])
def test_a_crossed_quote_is_refused(ask: str) -> None:
    """Bid and ask that meet or cross say nothing about a price."""
    assert reason(perp_row(ask1Price=ask)) == f"bid 64010 is not below ask {ask}"


def test_a_symbol_that_is_listed_twice_is_not_chosen_between() -> None:
    """Neither of two rows is believed, nor a third."""
    quotes, unreadable = spot_quotes(answer(spot_row(), spot_row("ETHUSDT"), spot_row(), spot_row()))
    assert set(quotes) == {"ETHUSDT"}
    assert unreadable == {"BTCUSDT": "it is listed twice"}


def test_json_numbers_are_read_exactly() -> None:
    """A number instead of a text keeps its digits."""
    quotes, _ = spot_quotes(answer(spot_row(bid1Size=1.1, turnover24h=5)))
    assert (quotes["BTCUSDT"].bid_size, quotes["BTCUSDT"].turnover_24h) == (Decimal("1.1"), Decimal(5))


@pytest.mark.parametrize("value", ["", "0", "NaN", "-1", None])
def test_a_coin_without_a_usd_index_has_none(value: object) -> None:
    """Not collateral, not zero; the quote itself stands."""
    quotes, _ = spot_quotes(answer(spot_row(usdIndexPrice=value)))
    assert quotes["BTCUSDT"].usd_index is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fundingRate": ""}, "fundingRate is empty"),
        ({"fundingRate": "NaN"}, "fundingRate is 'NaN'"),
        ({"fundingRate": "0.9"}, "absurd"),
        ({"fundingIntervalHour": ""}, "no fundingIntervalHour"),
        ({"fundingIntervalHour": None}, "no fundingIntervalHour"),
        ({"fundingIntervalHour": "0"}, "fundingIntervalHour is absurd"),
        ({"fundingIntervalHour": "480"}, "fundingIntervalHour is absurd"),
        ({"fundingIntervalHour": "1.5"}, "invalid literal"),
        ({"nextFundingTime": ""}, "nextFundingTime"),
        ({"nextFundingTime": "0"}, "nextFundingTime"),
        ({"nextFundingTime": str(TIME_MS - 2 * HOUR_MS)}, "nextFundingTime"),
        ({"nextFundingTime": str(TIME_MS + 3 * HOUR_MS)}, "nextFundingTime"),
        ({"fundingCap": "x"}, "fundingCap"),
    ],
)
def test_funding_that_cannot_be_told_is_unknown_and_the_quote_stands(
    changes: dict[str, object], words: str
) -> None:
    """Held positions still need the mark; nothing may be opened on a rate that is a guess."""
    quotes, unreadable = perp_quotes(answer(perp_row(**changes)))
    assert quotes["BTCUSDT"].funding is None
    assert words in unreadable["BTCUSDT"]


def test_a_dated_future_has_no_funding_and_that_is_no_fault() -> None:
    """Its delivery is a time, its rate is empty."""
    dated = perp_row(
        fundingRate="", nextFundingTime="0", fundingIntervalHour="", deliveryTime=str(TIME_MS + HOUR_MS)
    )
    quotes, unreadable = perp_quotes(answer(dated))
    assert unreadable == {}
    assert quotes["BTCUSDT"].funding is None
    assert quotes["BTCUSDT"].delivery_time is not None


def test_a_cap_is_a_size_and_may_be_missing() -> None:
    """The sign of the cap does not matter, an old answer has none."""
    for cap, expected in (("-0.005", Decimal("0.005")), ("", None), (None, None), ("0", None)):
        funding = perp_quotes(answer(perp_row(fundingCap=cap)))[0]["BTCUSDT"].funding
        assert funding is not None
        assert funding.cap == expected


values: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.sampled_from(
        ["", "0", "-0", "NaN", "sNaN", "-Infinity", "1e9999", "64010", "64010.1", "0.0001", "1e-400"]
    ),
    st.text(max_size=4),
    st.lists(st.text(max_size=2), max_size=2),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(sorted(perp_row())), values, max_size=4))
def test_any_row_is_a_sound_quote_or_unreadable_with_a_reason(changes: dict[str, object]) -> None:
    """Whatever the fields say, no exception, and what is believed is finite, positive and in order."""
    body = json.loads(listing(perp_row(**changes), perp_row("ETHUSDT")), parse_float=Decimal)
    good = Answer(code=0, message="", result=body["result"], time=read_answer(200, listing()).time)
    try:
        quotes, unreadable = perp_quotes(good)
    except ParseError:
        assert "symbol" in changes  # a row without a name spoils the answer
        return
    assert "ETHUSDT" in quotes or changes.get("symbol") == "ETHUSDT"
    assert all(unreadable.values())
    for quote in quotes.values():
        assert 0 < quote.bid < quote.ask < Decimal("1e11")
        assert 0 < quote.mark < Decimal("1e11")
        assert quote.funding is None or abs(quote.funding.rate) <= Decimal("0.5")
