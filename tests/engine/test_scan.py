"""The scan: what it asks for, what it shows, what it warns of, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.clock import VirtualClock
from fundarb.config import Settings
from fundarb.core.account import FeeRates
from fundarb.core.market import Book, Category, MarketSnapshot, SettledFunding
from fundarb.core.opportunity import SortKey
from fundarb.engine.scan import NoHistory, Scanner, ScanQuery, ScanResult
from fundarb.errors import BadAnswer, ConfigError, Unavailable
from fundarb.exchange.recorded import RecordedMarket
from scripts import demo_market
from scripts.demo_market import COINS, Coin
from tests.factories import coins as many_coins

NOW = demo_market.AS_OF
QUERY = ScanQuery(notional=Decimal(1000), horizon=timedelta(days=30), min_net_apr=Decimal("0.05"))


class Counting(RecordedMarket):
    """A recorded market that counts what would be requests, and can be spoiled."""

    def __init__(self, coins: tuple[Coin, ...] = COINS) -> None:
        """Record these coins."""
        super().__init__({name: json.dumps(rows) for name, rows in demo_market.market(coins).items()})
        self.made = 0
        self.books: list[tuple[str, str]] = []
        self.change: Callable[[MarketSnapshot], MarketSnapshot] = lambda found: found
        self.spoil: Callable[[Book], Book] = lambda found: found

    @property
    def requests_made(self) -> int:
        """So many."""
        return self.made

    def snapshot(self) -> MarketSnapshot:
        """Two requests."""
        self.made += 2
        return self.change(super().snapshot())

    def book(self, category: Category, symbol: str, depth: int = 50) -> Book:
        """One request."""
        self.made += 1
        self.books.append((str(category), symbol))
        return self.spoil(super().book(category, symbol, depth=depth))


class Kept:
    """A history that is kept."""

    def __init__(self, rates: Mapping[str, tuple[SettledFunding, ...]]) -> None:
        """By symbol."""
        self.rates = rates

    def cached(self, symbols: Collection[str]) -> Mapping[str, tuple[SettledFunding, ...]]:
        """What is asked for and known."""
        return {symbol: self.rates[symbol] for symbol in symbols if symbol in self.rates}


def scanner(market: Counting, *, now: datetime = NOW, **changes: Any) -> Scanner:
    """A scanner over a market with default settings."""
    return Scanner(market, NoHistory(), clock=VirtualClock(now), settings=Settings(**changes))


def scan(market: Counting, **changes: Any) -> ScanResult:
    """One scan."""
    return scanner(market).scan(replace(QUERY, **changes))


def test_the_market_is_read_in_two_requests_and_books_only_where_needed() -> None:
    """Only legs of shown candidates whose best size is below the notional are asked for, once each."""
    market = Counting()
    found = scan(market)
    thin = {coin.name for coin in COINS if coin.top < 1000}
    shown = {item.base for item in found.opportunities}
    assert {symbol for _, symbol in market.books} <= {
        symbol
        for item in found.opportunities
        if item.base in thin
        for symbol in (item.spot_symbol, item.perp_symbol)
    }
    assert len(set(market.books)) == len(market.books)
    assert found.requests == 2 + len(market.books) <= 2 + 2 * len(thin & shown)
    assert market.books


def test_a_deep_market_needs_no_book() -> None:
    """Where every best size holds the notional a scan is two requests."""
    market = Counting()
    found = scan(market, notional=Decimal(100))
    assert (found.requests, market.books) == (2, [])


def test_a_smaller_top_asks_for_fewer_books() -> None:
    """Candidates that are not shown cost no request."""
    market = Counting()
    found = scan(market, top=1)
    assert len(found.opportunities) == 1
    assert {symbol for _, symbol in market.books} <= {
        found.opportunities[0].spot_symbol,
        found.opportunities[0].perp_symbol,
    }
    assert found.counts.eligible > 1


def test_counts_tell_the_whole_market() -> None:
    """Listed are all linear contracts, paired those with a spot market, eligible those without a refusal."""
    counts = scan(Counting()).counts
    assert (counts.listed, counts.paired, counts.eligible) == (30, 21, 9)


def test_without_all_only_the_eligible_are_shown() -> None:
    """Refused rows appear with ``refused``, each with its reasons, after the eligible ones."""
    shown = scan(Counting()).opportunities
    everything = scan(Counting(), refused=True).opportunities
    assert {item.verdict for item in shown} == {"ok"}
    assert len(everything) == 30
    assert everything[: len(shown)] == shown
    assert all(item.reasons for item in everything[len(shown) :])


def test_every_kind_of_refusal_is_in_the_recorded_market() -> None:
    """Every reason for a refusal that a whole market can show is shown by the recorded one."""
    codes = {reason.code for item in scan(Counting(), refused=True).opportunities for reason in item.reasons}
    assert codes == {
        "look_alike",
        "delisting",
        "special_treatment",
        "no_spot",
        "pre_launch",
        "stock",
        "commodity",
        "usdc_settled",
        "not_perpetual",
        "net_apr_below_minimum",
    }


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("PEPE", "PEPE"),
        ("1000PEPE", "PEPE"),
        ("SHIB1000USDT", "SHIB"),
        ("sats", "SATS"),
        ("BABYDOGE", "BABYDOGE"),
    ],
)
def test_a_coin_is_found_by_coin_contract_or_symbol(name: str, base: str) -> None:
    """A named coin is shown in any case, multiplier and capitals aside."""
    found = scan(Counting(), coins=(name,))
    assert [item.base for item in found.opportunities] == [base]


def test_a_named_coin_is_shown_though_it_is_refused() -> None:
    """Asking for a coin by name shows why it is refused; several may be named."""
    found = scan(Counting(), coins=("BTC", "HYPE", "WIF"))
    verdicts = {item.base: item.verdict for item in found.opportunities}
    assert verdicts == {"WIF": "ok", "BTC": "refused", "HYPE": "refused"}


def test_an_unknown_coin_is_an_error_with_a_suggestion() -> None:
    """All unknown names are listed at once, with what may have been meant."""
    with pytest.raises(ConfigError) as caught:
        scan(Counting(), coins=("PEPPE", "NOPE", "BTC"))
    assert str(caught.value).splitlines() == [
        "PEPPE is not listed at this venue; did you mean PEPE?",
        "NOPE is not listed at this venue; name a coin without its multiplier, like BTC or PEPE",
    ]


def test_one_coin_can_be_explained_whatever_else_is_shown() -> None:
    """``why`` brings the coin with all its terms, though it is refused, and does not change the ranking."""
    plain, found = scan(Counting()), scan(Counting(), why="LINK")
    assert [item.base for item in found.explained] == ["LINK"]
    assert found.explained[0].costs is not None
    assert found.opportunities == plain.opportunities
    assert [item.base for item in scan(Counting(), why="TSLA").explained] == ["TSLA"]


@pytest.mark.parametrize("sort", list(SortKey))
def test_the_ranking_follows_the_wanted_key(sort: SortKey) -> None:
    """Each key orders what is shown by itself."""
    found = scan(Counting(), sort=sort).opportunities
    values: dict[SortKey, list[Any]] = {
        SortKey.NET_APR: [-(item.net_apr or 0) for item in found],
        SortKey.GROSS_APR: [-(item.gross_apr or 0) for item in found],
        SortKey.RATE: [-item.funding.rate for item in found if item.funding],
        SortKey.BREAK_EVEN: [item.result.break_even_after for item in found if item.result],
    }
    assert values[sort] == sorted(values[sort])
    assert len(values[sort]) == len(found)


def test_an_empty_result_names_the_nearest_and_what_they_miss() -> None:
    """With a bar nobody clears, the best come with the distance: the bar less their yield."""
    found = scan(Counting(), min_net_apr=Decimal(3))
    assert found.opportunities == ()
    assert [near.opportunity.base for near in found.nearest][:2] == ["HYPER", "WIF"]
    assert all(near.missing_apr == 3 - (near.opportunity.net_apr or 0) for near in found.nearest)
    assert scan(Counting()).nearest == ()


def test_a_notional_above_the_caps_is_refused_before_anything_is_asked() -> None:
    """Every cap that is passed is named, and no request is made; equality is allowed."""
    market = Counting()
    found = scan(market, notional=Decimal(5001))
    assert [reason.code for reason in found.refusal] == ["notional_above_cap"] * 2
    assert (market.made, found.terms) == (0, None)
    assert scan(Counting(), notional=Decimal(1000)).refusal == ()


def test_a_notional_below_every_minimum_is_refused() -> None:
    """Four USDT are below the smallest order everywhere; ninety are below it for BTC alone."""
    assert [reason.code for reason in scan(Counting(), notional=Decimal(4)).refusal] == [
        "notional_below_minimum"
    ]
    only = scan(Counting(), notional=Decimal(90), coins=("BTC",))
    assert [reason.code for reason in only.refusal][:2] == ["notional_below_minimum", "below_perp_minimum"]
    assert scan(Counting(), notional=Decimal(90)).refusal == ()


@pytest.mark.parametrize(("seconds", "word"), [(5, "ahead of"), (-5, "behind")])
def test_a_clock_that_is_off_is_warned_of_and_distorts_nothing(seconds: int, word: str) -> None:
    """Five seconds either way are said with the remedy; every figure stays what it was."""
    late = scanner(Counting(), now=NOW + timedelta(seconds=seconds)).scan(QUERY)
    (warning,) = late.warnings
    assert warning.code == "clock"
    assert f"5 s {word} the venue's" in warning.message
    assert "NTP" in warning.message
    assert late.opportunities == scan(Counting()).opportunities


def test_a_clock_within_the_tolerance_is_not_mentioned() -> None:
    """Half a second is allowed, equality included."""
    assert scanner(Counting(), now=NOW + timedelta(milliseconds=500)).scan(QUERY).warnings == ()


def test_quotes_of_different_moments_forbid_everything() -> None:
    """Halves of the market more than the allowed age apart make no opportunity."""
    market = Counting()
    market.change = lambda found: replace(found, spot_as_of=found.spot_as_of - timedelta(seconds=6))
    found = scan(market, refused=True)
    assert found.counts.eligible == 0
    assert "quotes_apart" in {reason.code for reason in found.opportunities[0].reasons}


def test_rows_that_cannot_be_trusted_are_counted_and_left_out() -> None:
    """A bad row removes its coin and is warned of; rows of what is not listed are not."""
    market = Counting()

    def spoilt(found: MarketSnapshot) -> MarketSnapshot:
        kept = {symbol: quote for symbol, quote in found.perp.items() if symbol != "WIFUSDT"}
        return replace(found, perp=kept, unreadable={"WIFUSDT": "markPrice is empty", "GONEUSDT": "x"})

    market.change = spoilt
    found = scan(market)
    assert "WIF" not in {item.base for item in found.opportunities}
    assert [warning.message for warning in found.warnings] == [
        "quotes that cannot be trusted were left out: WIFUSDT (markPrice is empty)"
    ]


def test_a_book_that_cannot_be_trusted_refuses_its_coin_alone() -> None:
    """One bad book does not end the scan, and its coin is not shown as worth opening."""
    market = Counting()
    thin = scan(Counting(), top=50)
    victim = market_symbol(thin)

    def spoil(found: Book) -> Book:
        if found.symbol == victim:
            raise BadAnswer("cut")
        return found

    market.spoil = spoil
    found = scan(market, refused=True)
    (item,) = [
        item for item in found.opportunities if victim in {item.perp_symbol, item.spot_symbol} and item.costs
    ]
    assert "unreadable_book" in {reason.code for reason in item.reasons}
    assert found.counts.eligible == thin.counts.eligible - 1


def market_symbol(result: ScanResult) -> str:
    """The perp of a shown coin whose book was read."""
    thin = {coin.name for coin in COINS if coin.top < 1000}
    return next(item.perp_symbol for item in result.opportunities if item.base in thin)


def test_a_venue_that_dies_between_the_requests_ends_the_scan() -> None:
    """No partial ranking is shown when a book does not come at all."""
    market = Counting()

    def dead(_: Book) -> Book:
        raise Unavailable("gone")

    market.spoil = dead
    with pytest.raises(Unavailable, match="gone"):
        scan(market)


def test_a_book_that_nobody_answers_for_is_its_coins_trouble_once() -> None:
    """One symbol's book does not come, the others do: its coin is refused, the scan goes on."""
    market = Counting()
    victim = market_symbol(scan(Counting(), top=50))

    def hang(found: Book) -> Book:
        if (found.category, found.symbol) == (Category.LINEAR, victim):
            raise Unavailable("no answer")
        return found

    market.spoil = hang
    found = scan(market, refused=True)
    (item,) = [item for item in found.opportunities if item.perp_symbol == victim and item.costs]
    assert [reason.message for reason in item.reasons if reason.code == "unreadable_book"] == [
        f"the perp book of {victim} cannot be trusted: no answer"
    ]


def test_a_candidate_that_its_book_refuses_is_said() -> None:
    """When a thin book drops a candidate and others were not looked at, a warning says how to see them."""
    market = Counting()
    first = scan(Counting(), top=1).opportunities[0].base
    market.spoil = lambda found: replace(found, bids=found.bids[:1], asks=found.asks[:1])
    found = scan(market, top=1)
    assert first not in {item.base for item in found.opportunities}
    assert [warning.code for warning in found.warnings] == ["dropped"]
    assert "--top" in found.warnings[0].message


def test_kept_history_sharpens_the_forecast_without_a_request() -> None:
    """Settled rates that are kept replace the naive forecast of their coin alone."""
    rates = tuple(
        SettledFunding(
            symbol="DOGEUSDT", rate=Decimal("0.0003"), time=NOW - timedelta(hours=8 * number, minutes=72)
        )
        for number in range(60, 0, -1)
    )
    market = Counting()
    judge = Scanner(market, Kept({"DOGEUSDT": rates}), clock=VirtualClock(NOW), settings=Settings())
    found = judge.scan(replace(QUERY, refused=True))
    kinds = {item.base: item.forecast.kind for item in found.opportunities if item.forecast}
    assert kinds["DOGE"] == "shrunk"
    assert set(kinds.values()) == {"shrunk", "naive"}
    assert found.requests == 2 + len(market.books)


class Keyed(Counting):
    """The recorded market seen with a key: its account pays half of the public rates, on BTC nothing."""

    def __init__(self) -> None:
        """Nothing was asked for."""
        super().__init__()
        self.away = False
        self.schedules: list[Category] = []

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:
        """One request."""
        self.made += 1
        self.schedules.append(category)
        if self.away:
            raise Unavailable("no permission")
        half = Decimal("0.0005") if category is Category.SPOT else Decimal("0.000275")
        listed = self.instruments().spot if category is Category.SPOT else self.instruments().perp
        rates = {symbol: FeeRates(taker=half, maker=half) for symbol in listed}
        return rates | {"BTCUSDT": FeeRates(taker=Decimal(0), maker=Decimal(0))}


def test_with_a_key_costs_are_reckoned_with_the_accounts_rates() -> None:
    """Half the fees are half the fees in every row, none are none, and the two requests are counted."""
    market = Keyed()
    found = scan(market, refused=True)
    fees = {item.base: item.costs.fees for item in found.opportunities if item.costs}
    assert fees.pop("BTC") == 0
    assert set(fees.values()) == {Decimal("0.00155")}
    assert found.fee_source == "account"
    assert found.requests == 2 + 2 + len(market.books)
    assert market.schedules == [Category.SPOT, Category.LINEAR]
    assert scan(Counting()).fee_source == "schedule"


def test_the_accounts_rates_are_kept_for_some_hours() -> None:
    """A tier changes once a day at most: the next scans do not ask again, one after half a day does."""
    market, clock = Keyed(), VirtualClock(NOW)
    judge = Scanner(market, NoHistory(), clock=clock, settings=Settings())
    for _ in range(3):
        judge.scan(QUERY)
    assert len(market.schedules) == 2
    clock.sleep(timedelta(hours=12))
    judge.scan(QUERY)
    assert len(market.schedules) == 4


def test_rates_that_cannot_be_read_are_said_and_the_public_ones_stand_in() -> None:
    """The ranking is that of the public schedule, with a warning; the next scan asks again."""
    market = Keyed()
    market.away = True
    judge = scanner(market)
    found = judge.scan(QUERY)
    assert found.opportunities == scan(Counting()).opportunities
    assert [warning.code for warning in found.warnings] == ["fee_rates"]
    assert "no permission" in found.warnings[0].message
    market.away = False
    assert judge.scan(QUERY).fee_source == "account"


def test_the_usual_question_comes_from_the_settings() -> None:
    """A thousand USDT, or the cap of a coin where that is less; horizon and bar of the strategy."""
    assert scanner(Counting()).query() == QUERY
    small = scanner(
        Counting(), risk={"max_per_coin": Decimal(400)}, strategy={"horizon": timedelta(days=7)}
    ).query()
    assert (small.notional, small.horizon) == (Decimal(400), timedelta(days=7))


@pytest.mark.proof
def test_a_market_of_six_hundred_pairs_is_ranked() -> None:
    """All pairs of a large drawn market are judged, and the ranking shows the wanted number."""
    market = Counting(many_coins(600))
    found = scan(market)
    assert found.counts.paired == 600
    assert len(found.opportunities) <= 20
    assert found.counts.eligible > 20
    assert found.requests <= 2 + 2 * 20
