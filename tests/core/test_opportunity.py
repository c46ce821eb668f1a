"""The ranking: its figures, every refusal, the books it asks for, and that it is monotone."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import FeeRates
from fundarb.core.market import Category, MarketSnapshot, PerpQuote, SettledFunding, SpotQuote
from fundarb.core.opportunity import (
    Evidence,
    Opportunity,
    SortKey,
    Terms,
    assess,
    nearest,
    ordered,
    rank,
    unpaired,
)
from fundarb.core.orders import Leg
from fundarb.core.pairing import pair_market
from fundarb.core.reasons import Reason
from tests.core.make import (
    EIGHT_HOURS,
    NOW,
    D,
    book,
    funding,
    market,
    pair,
    perp,
    perp_quote,
    spot,
    spot_quote,
)

TERMS = Terms(now=NOW, notional=D(1000), horizon=timedelta(days=30), leverage=D(2), buffer=D(0))


def quotes(price: str = "100", *, half: str = "0.0005", **changes: Any) -> tuple[SpotQuote, PerpQuote]:
    """Quotes of both legs with a spread; ``spot_…`` and ``perp_…`` change one of them."""
    sides = {"bid": D(price) * (1 - D(half)), "ask": D(price) * (1 + D(half))}
    on_spot = {k.removeprefix("spot_"): v for k, v in changes.items() if k.startswith("spot_")}
    on_perp = {k.removeprefix("perp_"): v for k, v in changes.items() if k.startswith("perp_")}
    return (
        spot_quote(price=price, **{**sides, **on_spot}),
        perp_quote(price=price, **{**sides, "funding": funding("0.001"), **on_perp}),
    )


def snapshot_of(spot_side: SpotQuote, perp_side: PerpQuote) -> MarketSnapshot:
    """A market of one coin."""
    return MarketSnapshot(
        spot={spot_side.symbol: spot_side}, perp={perp_side.symbol: perp_side}, spot_as_of=NOW, perp_as_of=NOW
    )


def judged(terms: Terms = TERMS, evidence: Evidence | None = None, **changes: Any) -> Opportunity:
    """One coin's opportunity."""
    return assess(pair(), snapshot_of(*quotes(**changes)), terms=terms, evidence=evidence or Evidence())


def codes(found: Opportunity) -> list[str]:
    """The reason codes in order."""
    return [reason.code for reason in found.reasons]


def test_every_figure_of_an_opportunity() -> None:
    """A naive forecast of half of 10 bp: 45 % a year gross, the round trip 31 + 20 bp, n = 90."""
    found = judged()
    assert found.verdict == "ok"
    assert found.reasons == ()
    assert (found.spot_symbol, found.perp_symbol, found.multiplier) == ("BTCUSDT", "BTCUSDT", D(1))
    assert found.costs is not None
    assert found.result is not None
    assert found.forecast is not None
    assert found.costs.total == D("0.0051")
    assert found.forecast.kind == "naive"
    assert found.result.rate == D("0.0005")
    assert found.result.settlements == 90
    assert found.result.net == D("0.045") - D("0.0051")
    assert found.net_apr == found.result.net * 365 / D(45)
    assert found.gross_apr == D("0.0005") * 3 * 365
    assert found.result.break_even_settlements == 11
    assert (found.basis, found.expected_exit_basis) == (D(0), D(0))
    assert (found.spread_spot, found.spread_perp) == (D("0.001"), D("0.001"))
    assert found.interval_hours == 8
    assert found.turnover_24h == D(10**9)
    assert found.open_interest_notional == D(10**8)


def test_a_basis_gains_only_against_its_own_past() -> None:
    """Without history the exit basis is today's and nothing is gained; a trailing mean below it is a gain."""
    rich: dict[str, Any] = {"perp_bid": D("100.9"), "perp_ask": D("101.1")}
    alone = judged(**rich)
    known = judged(evidence=Evidence(trailing_basis=D("0.002")), **rich)
    assert alone.basis == known.basis == D("0.01")
    assert alone.expected_exit_basis == D("0.01")
    assert alone.result is not None
    assert known.result is not None
    assert alone.result.basis_gain == 0
    assert known.result.basis_gain == D("0.008")


def test_history_and_fees_are_used_where_known() -> None:
    """Settled rates make the forecast, the account's own fees the cost."""
    history = tuple(
        SettledFunding(symbol="BTCUSDT", rate=D("0.0002"), time=NOW - EIGHT_HOURS * i)
        for i in range(9, -1, -1)
    )
    free = FeeRates(taker=D(0), maker=D(0))
    found = judged(evidence=Evidence(history=history, spot_fees=free, perp_fees=free))
    assert found.forecast is not None
    assert found.costs is not None
    assert found.forecast.kind == "shrunk"
    assert found.forecast.positive_share == 1
    assert found.costs.fees == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spot_bid": D(101), "spot_ask": D(100)}, ["crossed_quote"]),
        ({"perp_bid": D(100), "perp_ask": D(100)}, ["crossed_quote"]),
        ({"perp_funding": None}, ["no_funding"]),
        ({"perp_funding": funding("0.001", hours=0)}, ["no_interval"]),
        ({"perp_funding": funding("0.001", ahead=timedelta())}, ["next_funding_past"]),
        ({"perp_funding": funding("0.001", ahead=-EIGHT_HOURS)}, ["next_funding_past"]),
        ({"spot_bid": D(0)}, ["no_quote"]),
        ({"perp_ask": D(-1)}, ["no_quote"]),
    ],
)
def test_quotes_from_which_nothing_is_decided(changes: dict[str, Any], expected: list[str]) -> None:
    """Crossed, one-sided or past quotes refuse the coin and say so."""
    assert codes(judged(**changes)) == expected


def test_without_a_funding_period_there_is_no_yield() -> None:
    """Figures that cannot be computed are None, never zero."""
    found = judged(perp_funding=None)
    assert (found.net_apr, found.gross_apr, found.forecast, found.interval_hours) == (None,) * 4
    assert found.costs is not None


def test_a_missing_quote_refuses_the_coin() -> None:
    """A pair without quotes stays in the list, refused."""
    found = assess(pair(), MarketSnapshot(spot={}, perp={}, spot_as_of=NOW, perp_as_of=NOW), terms=TERMS)
    assert codes(found) == ["no_quote"]
    assert found.costs is None


def test_a_yield_below_the_minimum_says_by_how_much() -> None:
    """The refusal names the net APR, what is missing and the minimum."""
    found = judged(replace(TERMS, min_net_apr=D("0.9")))
    assert codes(found) == ["net_apr_below_minimum"]
    assert found.net_apr is not None
    assert f"{(D('0.9') - found.net_apr) * 100:.2f} points" in str(found.reasons[0])


def test_a_yield_at_the_minimum_is_enough() -> None:
    """Equality with the minimum is eligible."""
    apr = judged().net_apr
    assert apr is not None
    assert judged(replace(TERMS, min_net_apr=apr)).verdict == "ok"


@pytest.mark.parametrize(
    ("notional", "expected"),
    [
        ("4", ["below_perp_minimum", "below_spot_minimum"]),
        ("30", ["below_perp_minimum", "below_spot_minimum"]),
    ],
)
def test_a_notional_below_the_smallest_orders(notional: str, expected: list[str]) -> None:
    """A step of 0.001 at 100,000 is worth 100: less makes no order on the perp, and none on spot."""
    found = judged(replace(TERMS, notional=D(notional)), price="100000")
    assert [code for code in codes(found) if code.startswith("below")] == expected


def test_the_spot_minimum_alone_may_refuse() -> None:
    """A pair whose spot market asks for more than the perp does."""
    coin = pair(spot_min_notional=D(5000))
    found = assess(coin, snapshot_of(*quotes()), terms=TERMS)
    assert codes(found) == ["below_spot_minimum"]


def test_all_reasons_are_given() -> None:
    """Reasons of the whole market, of the quotes, of the order size and of the yield stand side by side."""
    terms = replace(
        TERMS, notional=D(1), min_net_apr=D(9), market_reasons=(Reason("stale_quotes", "the quotes are old"),)
    )
    found = judged(terms, price="100000", perp_ask=D(90_000))
    assert codes(found) == [
        "stale_quotes",
        "crossed_quote",
        "below_perp_minimum",
        "below_spot_minimum",
        "net_apr_below_minimum",
    ]


# ------------------------------------------------------------------------------------------------------ books


@pytest.mark.parametrize(
    ("changes", "legs"),
    [
        ({}, ()),
        ({"spot_ask_size": D(9)}, (Leg.SPOT,)),
        ({"spot_bid_size": D(9)}, (Leg.SPOT,)),
        ({"perp_bid_size": D(9), "spot_ask_size": D(9)}, (Leg.SPOT, Leg.PERP)),
        ({"perp_ask_size": D("10.1")}, ()),
    ],
)
def test_a_book_is_asked_for_where_the_best_size_is_small(
    changes: dict[str, Any], legs: tuple[Leg, ...]
) -> None:
    """Only a leg whose best size, on either side, is worth less than the notional needs its book."""
    found = judged(**changes)
    assert found.needs_book == legs
    assert found.verdict == "ok"


def test_a_book_replaces_the_best_size() -> None:
    """With the book known the impact is its average price and nothing more is asked for."""
    thin: dict[str, Any] = {"spot_ask_size": D(1)}
    deep = book(Category.SPOT, "BTCUSDT", [("99.9", "50")], [("100.1", "1"), ("100.2", "50")])
    found = judged(evidence=Evidence(spot_book=deep), **thin)
    assert found.needs_book == ()
    assert found.costs is not None
    assert D("0.001") < found.costs.spot_buy < D("0.002")
    assert found.verdict == "ok"


def test_a_book_too_thin_for_the_notional_refuses() -> None:
    """The depth within the price cap, on the thinnest side, must hold the notional."""
    shallow = book(Category.LINEAR, "BTCUSDT", [("99.9", "5"), ("99", "900")], [("100.1", "900")])
    found = judged(evidence=Evidence(perp_book=shallow))
    assert codes(found) == ["depth_too_small"]
    assert found.depth_notional == D("499.5")
    assert "500.50 less" in str(found.reasons[0])


def test_a_crossed_book_refuses() -> None:
    """A crossed or one-sided book is no ground for a decision."""
    crossed = book(Category.SPOT, "BTCUSDT", [("101", "50")], [("100", "50")])
    assert "crossed_book" in codes(judged(evidence=Evidence(spot_book=crossed)))


# --------------------------------------------------------------------------------------------------- ranking


def market_of(**rates: str) -> tuple[Any, MarketSnapshot]:
    """A market whose coins differ in their running rate only."""
    coins = []
    for base, rate in rates.items():
        on_spot, on_perp = quotes(perp_funding=funding(rate))
        coins.append(
            (
                spot(base),
                replace(on_spot, symbol=f"{base}USDT"),
                perp(base),
                replace(on_perp, symbol=f"{base}USDT"),
            )
        )
    return market(*coins)


def test_the_best_comes_first_and_the_refused_last() -> None:
    """Eligible coins by net APR, then the refused ones by theirs, equal ones by name."""
    instruments, snapshot = market_of(LOW="0.0002", HIGH="0.002", BAD="-0.001", TOO="0.002")
    ranked = rank(
        pair_market(instruments, snapshot),
        snapshot,
        terms=replace(TERMS, min_net_apr=D("0.01")),
        evidence={"LOW": Evidence(trailing_basis=D(0))},
    )
    assert [(found.base, found.verdict) for found in ranked] == [
        ("HIGH", "ok"),
        ("TOO", "ok"),
        ("LOW", "ok"),
        ("BAD", "refused"),
    ]


@pytest.mark.parametrize("sort", list(SortKey))
def test_every_sort_key_ranks_the_better_first(sort: SortKey) -> None:
    """Whatever the key, a higher rate stands before a lower one, and a coin without figures comes last."""
    instruments, snapshot = market_of(A="0.0005", B="0.002", C="0.001", D="-0.001")
    found = rank(pair_market(instruments, snapshot), snapshot, terms=replace(TERMS, min_net_apr=D(-9)))
    blank = replace(found[0], base="NONE", perp_symbol="NONEUSDT", funding=None, result=None)
    assert [item.base for item in ordered([blank, *found], sort)] == ["B", "C", "A", "D", "NONE"]


def test_the_nearest_misses_come_with_what_they_lack() -> None:
    """An empty result shows who misses by least: yield alone first, then the others; what has no figure is
    left out.
    """
    terms = replace(TERMS, min_net_apr=D(5))
    best, worse = judged(terms), judged(terms, perp_funding=funding("0.0002"))
    crossed = judged(terms, perp_funding=funding("0.01"), perp_ask=D(99), perp_bid=D(99))
    blank = judged(terms, perp_funding=None)
    near = nearest([worse, blank, crossed, judged(), best], 3, min_net_apr=D(5))
    assert [item.opportunity for item in near] == [best, worse, crossed]
    assert best.net_apr is not None
    assert near[0].missing_apr == D(5) - best.net_apr
    assert len(nearest([worse, best], 1, min_net_apr=D(5))) == 1


def test_unpaired_contracts_are_shown_with_what_is_known() -> None:
    """A refused contract keeps its reasons, its rate and its quotes; without quotes everything
    else is None.
    """
    instruments, snapshot = market(
        (spot(), quotes()[0], perp(symbol_type="stock"), quotes()[1]),
    )
    (item,) = pair_market(instruments, snapshot).refused.values()
    shown = unpaired(item, snapshot)
    assert codes(shown) == ["stock"]
    assert shown.funding == funding("0.001")
    assert (shown.spread_spot, shown.spread_perp) == (D("0.001"), D("0.001"))
    (alone,) = pair_market(replace(instruments, spot={})).refused.values()
    blank = unpaired(alone, MarketSnapshot(spot={}, perp={}, spot_as_of=NOW, perp_as_of=NOW))
    assert (blank.spot_symbol, blank.funding, blank.spread_spot, blank.turnover_24h) == (None,) * 4
    assert blank.verdict == "refused"


@given(
    rate=st.decimals("-0.005", "0.005", places=6),
    more=st.decimals(0, "0.005", places=6),
    fee=st.decimals(0, "0.01", places=5),
    extra=st.decimals(0, "0.01", places=5),
    size=st.integers(1, 50),
    deeper=st.integers(1, 10),
)
def test_net_apr_is_monotone(
    *, rate: Decimal, more: Decimal, fee: Decimal, extra: Decimal, size: int, deeper: int
) -> None:
    """Never lower with a higher rate or a deeper book, never higher with a higher fee; None of them without a
    reason.
    """

    def apr(income: Decimal, taker: Decimal, factor: int) -> Decimal:
        levels = [(str(100 - i), str(size * factor)) for i in range(1, 6)]
        asks = [(str(100 + i), str(size * factor)) for i in range(1, 6)]
        rates = FeeRates(taker=taker, maker=taker)
        known = Evidence(
            spot_fees=rates,
            perp_fees=rates,
            spot_book=book(Category.SPOT, "BTCUSDT", levels, asks),
            perp_book=book(Category.LINEAR, "BTCUSDT", levels, asks),
        )
        terms = replace(TERMS, notional=D(400))
        value = judged(terms, known, perp_funding=funding(str(income))).net_apr
        assert value is not None
        return value

    here = apr(rate, fee, 1)
    assert apr(rate + more, fee, 1) >= here
    assert apr(rate, fee + extra, 1) <= here
    assert size < 5 or apr(rate, fee, deeper) >= here
