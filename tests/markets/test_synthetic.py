"""The synthetic market: a pure function of seed, symbol and instant, honest filters, and statistics like
real ones.
"""

import math
import statistics
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.core.market import Category, PerpInstrument
from fundarb.core.money import is_multiple
from fundarb.markets.coins import Mood
from fundarb.markets.faces import Face
from fundarb.markets.synthetic import SyntheticMarket, synthetic
from fundarb.venue.feed import BarFeed, BarKind, BarQuery, HappeningKind

START = datetime(2025, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "MTLUSDT", "WIFUSDT")


@pytest.fixture(scope="module")
def market() -> SyntheticMarket:
    """Seed 1."""
    return synthetic(1, START)


def face(market: SyntheticMarket, symbol: str) -> Face:
    """The inside of one perp."""
    return market._faces[Category.LINEAR][symbol]


# ------------------------------------------------------------------------------------------------ purity


@settings(max_examples=8)
@given(
    st.lists(
        st.tuples(st.sampled_from(SYMBOLS), st.integers(-30 * 86_400_000, 60 * 86_400_000)),
        min_size=1,
        max_size=6,
    )
)
def test_answers_do_not_depend_on_the_questions(questions: list[tuple[str, int]]) -> None:
    """Points, funding and books asked in any order equal those of a fresh market asked only once."""
    used = synthetic(1, START)
    for symbol, offset in questions:
        at = START + timedelta(milliseconds=offset)
        got = used.point(Category.LINEAR, symbol, at=at), used.funding(symbol, at)
        fresh = synthetic(1, START)
        assert got == (fresh.point(Category.LINEAR, symbol, at=at), fresh.funding(symbol, at))
        assert used.book(Category.LINEAR, symbol, at=at, depth=20) == fresh.book(
            Category.LINEAR, symbol, at=at, depth=20
        )


def test_bulk_equals_single(market: SyntheticMarket) -> None:
    """Points and fundings give for each symbol what point and funding give."""
    at = START + 5 * DAY + timedelta(minutes=17, milliseconds=333)
    for category in Category:
        points = market.points(category, at)
        assert points == {symbol: market.point(category, symbol, at=at) for symbol in points}
    fundings = market.fundings(at)
    assert fundings == {symbol: market.funding(symbol, at) for symbol in fundings}


def test_seeds_differ_and_repeat() -> None:
    """The same seed gives the same prices, another seed others."""
    at = START + 3 * DAY
    first, again, other = (synthetic(seed, START).points(Category.LINEAR, at) for seed in (1, 1, 2))
    assert first == again
    assert sum(first[symbol].mark != other[symbol].mark for symbol in first) > 40


def test_prices_are_continuous(market: SyntheticMarket) -> None:
    """Across hours and half seconds nothing jumps: within one second less than 0.2 %."""
    for symbol in SYMBOLS:
        for hour in range(-3, 3):
            edge = START + hour * HOUR
            before = market.point(Category.LINEAR, symbol, at=edge - timedelta(milliseconds=500)).mark
            after = market.point(Category.LINEAR, symbol, at=edge + timedelta(milliseconds=500)).mark
            assert abs(after / before - 1) < Decimal("0.002")


# ------------------------------------------------------------------------------------------------ form


@pytest.mark.parametrize("hours", [0, 7, 400])
def test_quotes_fit_the_filters(market: SyntheticMarket, hours: int) -> None:
    """Bid, ask, last and sizes are multiples of tick and step; bid < ask; the day's range holds the last
    price.
    """
    at = START + hours * HOUR + timedelta(seconds=11)
    for listing in market.listings():
        item = listing.instrument
        point = market.point(listing.category, item.symbol, at=at)
        assert point.bid is not None
        assert point.ask is not None
        assert Decimal(0) < point.bid < point.ask
        assert point.low_24h <= point.last <= point.high_24h
        assert all(
            is_multiple(price, item.tick_size) for price in (point.bid, point.ask, point.last, point.prev_24h)
        )
        assert all(
            is_multiple(size, item.qty_step) for size in (point.bid_size, point.ask_size, point.volume_24h)
        )
        book = market.book(listing.category, item.symbol, at=at, depth=50)
        assert (book.bids[0].price, book.asks[0].price) == (point.bid, point.ask)
        assert not book.crossed


def test_the_cast_is_complete(market: SyntheticMarket) -> None:
    """About forty coins with everything that bites: multipliers, a look-alike, a stock, a pre-launch, a
    delisting.
    """
    perps = {
        item.symbol: item
        for item in (listing.instrument for listing in market.listings())
        if isinstance(item, PerpInstrument)
    }
    spots = {listing.symbol for listing in market.listings() if listing.category is Category.SPOT}
    assert 40 <= len(perps) <= 60
    assert {
        "BTCUSDT",
        "ETHUSDT",
        "SOLUSDT",
        "1000PEPEUSDT",
        "SHIB1000USDT",
        "10000SATSUSDT",
        "1INCHUSDT",
    } <= perps.keys()
    assert "HYPEUSDT" not in spots
    assert perps["TSLAUSDT"].symbol_type == "stock"
    assert perps["MONUSDT"].pre_listing
    assert perps["BTCPERP"].settle_coin == "USDC"
    beam = (
        market.point(Category.SPOT, "BEAMUSDT", at=START).mark
        / market.point(Category.LINEAR, "BEAMUSDT", at=START).mark
    )
    assert not Decimal("0.5") < beam < 2
    assert {item.listed_interval // HOUR for item in perps.values()} == {2, 4, 8}


def test_perp_steps_are_the_coarser_ones(market: SyntheticMarket) -> None:
    """Of every pair the perp's step is a multiple of the spot's, mostly 10 or 100 times."""
    steps = {(listing.category, listing.symbol): listing.instrument.qty_step for listing in market.listings()}
    ratios = [
        steps[Category.LINEAR, s] / step
        for (kind, s), step in steps.items()
        if kind is Category.SPOT
        and (Category.LINEAR, s) in steps
        and s != "BEAMUSDT"  # two assets, one ticker
    ]
    assert all(ratio >= 1 and ratio == int(ratio) for ratio in ratios)
    assert statistics.median(ratios) in {10, 100}


def test_multiplied_contracts_follow_their_coin(market: SyntheticMarket) -> None:
    """1000PEPE is quoted at about a thousand times PEPE, SHIB1000 and 10000SATS likewise."""
    for perp, spot, factor in (
        ("1000PEPEUSDT", "PEPEUSDT", 1000),
        ("SHIB1000USDT", "SHIBUSDT", 1000),
        ("10000SATSUSDT", "SATSUSDT", 10_000),
    ):
        ratio = (
            market.point(Category.LINEAR, perp, at=START).mark
            / market.point(Category.SPOT, spot, at=START).mark
        )
        assert abs(ratio / factor - 1) < Decimal("0.02")


@pytest.mark.proof
def test_it_scales_to_six_hundred_pairs() -> None:
    """The generator for measurements gives so many distinct pairs, all quoted."""
    many = synthetic(1, START, pairs=600)
    spot, linear = (many.points(category, START) for category in (Category.SPOT, Category.LINEAR))
    assert len(spot) == len(linear) == 600
    assert all(point.bid is not None and point.bid > 0 for point in (*spot.values(), *linear.values()))


# ------------------------------------------------------------------------------------------------ funding


def test_the_prediction_becomes_the_settlement(market: SyntheticMarket) -> None:
    """A millisecond before the settlement the running rate is the one that is then settled, within
    rounding.
    """
    for symbol in SYMBOLS:
        at = market.funding(symbol, START + 2 * DAY).next_time
        predicted = market.funding(symbol, at - timedelta(milliseconds=1)).rate
        settled = market.settlements(symbol, at - timedelta(milliseconds=1), until=at)
        assert [row.time for row in settled] == [at]
        assert abs(settled[0].rate - predicted) <= Decimal("2e-8")


def test_settlements_lie_on_their_grid(market: SyntheticMarket) -> None:
    """Every settlement is on a full hour that divides by the interval, none is missing, next_time leads to
    the next.
    """
    for symbol in SYMBOLS:
        hours = market.funding(symbol, START).interval // HOUR
        rows = market.settlements(symbol, START - 3 * DAY, until=START)
        assert [row.time.hour % hours for row in rows] == [0] * len(rows)
        assert len(rows) == 72 // hours
        assert market.funding(symbol, rows[-1].time).next_time == rows[-1].time + hours * HOUR


def test_windows_are_half_open(market: SyntheticMarket) -> None:
    """(since, until]: a settlement at until is in, one at since is not."""
    at = market.settlements("BTCUSDT", START - DAY, until=START)[-1].time
    assert market.settlements("BTCUSDT", at, until=at + 7 * HOUR) == ()
    assert len(market.settlements("BTCUSDT", at - timedelta(milliseconds=1), until=at)) == 1


def test_an_interval_switch_is_followed(market: SyntheticMarket) -> None:
    """The coin that hits its floor goes to hourly settlements and later to four hours, each rate for its
    own hours.
    """
    note = next(item for item in market.happenings() if item.text == "interval 8h -> 1h")
    symbol, at = note.symbol, note.at
    assert market.funding(symbol, at - timedelta(milliseconds=1)).interval == 8 * HOUR
    assert market.funding(symbol, at).interval == HOUR
    rows = market.settlements(symbol, at - DAY, until=at + DAY)
    gaps = [b.time - a.time for a, b in pairwise(rows)]
    assert set(gaps) == {8 * HOUR, HOUR}
    cap = market.funding(symbol, at).cap
    assert cap is not None
    assert min(row.rate for row in rows) <= -cap / 2
    assert market.funding(symbol, at + 10 * DAY).interval == 4 * HOUR


def test_the_script_is_told_in_order(market: SyntheticMarket) -> None:
    """Notes and the delisting are sorted by time; the delisted perp is announced days ahead."""
    happenings = market.happenings()
    assert [item.at for item in happenings] == sorted(item.at for item in happenings)
    delisting = next(item for item in happenings if item.kind is HappeningKind.DELIST_ANNOUNCED)
    assert delisting.when is not None
    assert delisting.when - delisting.at > 5 * DAY


def test_hot_coins_pay_at_the_start_whatever_the_seed() -> None:
    """Four carriable coins run above 1.4 bp per eight hours in the first days; some have cooled after a
    fortnight.
    """
    for seed in range(1, 6):
        market = synthetic(seed, START)
        hot = [
            symbol
            for symbol, item in market._faces[Category.LINEAR].items()
            if item.model.coin.mood is Mood.HOT and item.model.coin.spot
        ]

        def per_eight(symbol: str, day: int, market: SyntheticMarket = market) -> float:
            rows = market.settlements(symbol, START + (day - 2) * DAY, until=START + day * DAY)
            return sum(float(row.rate) for row in rows) * 1e4 / 6

        assert sum(per_eight(symbol, 2) > 1.4 for symbol in hot) >= 4
        assert any(per_eight(symbol, 14) < 1.4 for symbol in hot if per_eight(symbol, 2) > 1.4)


# ------------------------------------------------------------------------------------------------ statistics


def autocorrelation(values: list[float], lag: int) -> float:
    """Sample autocorrelation."""
    mean = statistics.fmean(values)
    top = sum((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False))
    return top / sum((value - mean) ** 2 for value in values)


def returns(market: SyntheticMarket, symbol: str, hours: int = 1500) -> list[float]:
    """Hourly log returns after the start."""
    model = face(market, symbol).model
    logs = [model.log_price(hour) for hour in range(hours)]
    return [b - a for a, b in pairwise(logs)]


def test_returns_look_like_returns() -> None:
    """Over seeds: BTC's hourly sd 0.3 to 1 %, fat tails, clustered volatility, alts correlated 0.4 to 0.9
    with it.
    """
    for seed in (1, 2, 3):
        market = synthetic(seed, START)
        btc = returns(market, "BTCUSDT")
        sd = statistics.pstdev(btc)
        kurtosis = statistics.fmean([value**4 for value in btc]) / sd**4 - 3
        assert 0.003 < sd < 0.010
        assert kurtosis > 1.5
        assert autocorrelation([abs(value) for value in btc], 1) > 0.03
        for symbol in ("ETHUSDT", "LINKUSDT", "ATOMUSDT"):
            other = returns(market, symbol)
            assert 0.4 < statistics.correlation(btc, other) < 0.95
            assert 0.005 < statistics.pstdev(other) < 0.02


def test_funding_looks_like_funding(market: SyntheticMarket) -> None:
    """A lump at the default, more of it for dull coins; negatives for majors; persistent; capped."""
    since, until = START - 200 * DAY, START + 60 * DAY
    for symbol, lump, mean in (
        ("BTCUSDT", (0.25, 0.85), (-0.4, 1.6)),
        ("LTCUSDT", (0.8, 1.0), (0.6, 1.1)),
        ("SUIUSDT", (0.2, 0.8), (0.5, 4.0)),
    ):
        rates = [float(row.rate) * 1e4 for row in market.settlements(symbol, since, until=until)]
        share = sum(abs(rate - 1) < 1e-9 for rate in rates) / len(rates)
        assert lump[0] <= share <= lump[1], (symbol, share)
        assert mean[0] <= statistics.fmean(rates) <= mean[1], symbol
        assert autocorrelation(rates, 1) > 0.4, symbol
    thin = [float(row.rate) for row in market.settlements("COMPUSDT", since, until=until)]
    assert min(thin) < -0.001
    assert min(thin) >= -0.02


def test_a_month_of_carry_has_winners_and_losers() -> None:
    """Summed over 30 days: most pairs earn less than the 31 bp of a round trip takes, a few earn percents,
    some pay.
    """
    for seed in (1, 2, 3):
        market = synthetic(seed, START)
        sums = {
            symbol: sum(float(row.rate) for row in market.settlements(symbol, START, until=START + 30 * DAY))
            * 1e4
            for symbol, item in market._faces[Category.LINEAR].items()
            if item.model.coin.spot
        }
        values = sorted(sums.values())
        assert values[0] < -50
        assert 20 < statistics.median(values) < 120
        assert 150 < values[-1] < 700
        assert sum(value > 150 for value in values) <= len(values) // 3


def test_basis_is_small_and_returns(market: SyntheticMarket) -> None:
    """BTC's basis stays within tens of bp, is persistent from hour to hour and changes sign or size within
    weeks.
    """
    model = face(market, "BTCUSDT").model
    basis = [model.premium(hour) * 1e4 for hour in range(-1500, 1500)]
    assert max(abs(value) for value in basis) < 40
    assert autocorrelation(basis, 1) > 0.8
    assert statistics.pstdev(basis) > 1


# ------------------------------------------------------------------------------------------------ bars


def test_bars_join(market: SyntheticMarket) -> None:
    """Each bar opens where the one before closed, within its own range; volumes are on the step."""
    assert isinstance(market, BarFeed)
    bars = market.bars(
        BarQuery(
            category=Category.LINEAR,
            symbol="BTCUSDT",
            kind=BarKind.LAST,
            step=HOUR,
            start=START - DAY,
            end=START,
        )
    )
    assert len(bars) == 25
    for before, after in pairwise(bars):
        assert before.close == after.open
        assert after.low <= min(after.open, after.close) <= max(after.open, after.close) <= after.high
    assert math.isclose(
        float(bars[-1].close), float(market.point(Category.LINEAR, "BTCUSDT", at=START).mark), rel_tol=1e-4
    )


def test_books_are_nervous_when_prices_move(market: SyntheticMarket) -> None:
    """In the pump the spread of the coin is wider and its book thinner than before; never better than in
    calm.
    """
    note = next(item for item in market.happenings() if item.text == "pump")
    calm, wild = (
        market.book(Category.LINEAR, note.symbol, at=at, depth=50)
        for at in (note.at - 2 * HOUR, note.at + 2 * HOUR + timedelta(minutes=5))
    )
    spreads = [(book.asks[0].price - book.bids[0].price) / book.mid for book in (calm, wild)]
    depths = [sum(level.price * level.quantity for level in book.asks[1:20]) for book in (calm, wild)]
    assert spreads[1] > spreads[0]
    assert depths[1] < depths[0] / 2
