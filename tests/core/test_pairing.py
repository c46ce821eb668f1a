"""Which spot belongs to which perp, and why everything else is refused."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.market import Instruments, MarketSnapshot
from fundarb.core.pairing import Pairing, pair_market, readings
from tests.core.make import NOW, D, market, perp, perp_quote, spot, spot_quote


def one(
    perp_base: str = "BTC",
    spot_base: str = "BTC",
    ratio: str = "1",
    *,
    on_spot: dict[str, Any] | None = None,
    on_perp: dict[str, Any] | None = None,
) -> Pairing:
    """The pairing of one perp and one spot pair whose prices have the given ratio."""
    contract, coin = perp(perp_base, **(on_perp or {})), spot(spot_base, **(on_spot or {}))
    return pair_market(
        *market(
            (coin, spot_quote(coin.symbol, "100"), contract, perp_quote(contract.symbol, D(100) * D(ratio)))
        )
    )


def codes(pairing: Pairing, symbol: str) -> set[str]:
    """The reason codes of a refused contract."""
    return {reason.code for reason in pairing.refused[symbol].reasons}


@pytest.mark.parametrize(
    ("name", "coin", "multiplier"),
    [
        ("BTC", "BTC", 1),
        ("1000PEPE", "PEPE", 1000),
        ("SHIB1000", "SHIB", 1000),
        ("10000SATS", "SATS", 10_000),
        ("1000000BABYDOGE", "BABYDOGE", 1_000_000),
        ("10000000AIDOGE", "AIDOGE", 10_000_000),
        ("10001INCH", "1INCH", 1000),
        ("10000X0", "X0", 10_000),
        ("10000X0", "0X0", 1000),
    ],
)
def test_multiplied_contracts_pair_with_their_coin(name: str, coin: str, multiplier: int) -> None:
    """Prefix and suffix multipliers are read from the name and confirmed by the price ratio."""
    pair = one(name, coin, str(multiplier)).pairs[coin]
    assert (pair.base, pair.multiplier, pair.perp.base_coin) == (coin, D(multiplier), name)


@pytest.mark.parametrize(
    ("name", "coin"),
    [
        ("1000000BABYDOGE", "BABYDOGE"),
        ("10000SATS", "SATS"),
        ("SHIB1000", "SHIB"),
        ("1000X0", "X0"),
        ("HYPE", "HYPE"),
        ("1INCH", "1INCH"),
    ],
)
def test_a_missing_spot_is_named_by_the_likeliest_coin(name: str, coin: str) -> None:
    """Without any spot the whole run of zeros is taken for the multiplier, not a part of it."""
    pairing = one(name, "OTHER")
    assert pairing.refused[f"{name}USDT"].base == coin
    (reason,) = pairing.refused[f"{name}USDT"].reasons
    assert (reason.code, reason.message) == ("no_spot", f"no spot pair {coin}/USDT for {name}USDT")


@pytest.mark.parametrize(
    "name", ["1INCH", "1CAT", "USD1", "C98", "API3", "AI16Z", "BANANAS31", "10SET", "100X"]
)
def test_digits_of_a_real_name_are_no_multiplier(name: str) -> None:
    """A coin whose own name carries digits pairs with itself, times one, and has no other reading."""
    assert list(readings(name)) == [(name, D(1))]
    assert one(name, name).pairs[name].multiplier == 1


@pytest.mark.parametrize("name", ["1000", "10000", "1000123", "1231000", "0001000"])
def test_a_name_of_digits_alone_has_no_multiplier(name: str) -> None:
    """Nothing but digits is no coin with a multiplier."""
    assert list(readings(name)) == [(name, D(1))]


def test_the_exact_name_goes_first_and_prices_decide() -> None:
    """With spot 1000SATS and spot SATS both listed, the one whose price fits is taken."""
    spots = (spot("1000SATS"), spot("SATS"))
    contract = perp("1000SATS")
    instruments = Instruments({s.symbol: s for s in spots}, {contract.symbol: contract}, NOW)
    for mark, base, multiplier in (("2", "1000SATS", 1), ("0.5", "SATS", 1000)):
        snapshot = MarketSnapshot(
            spot={
                "1000SATSUSDT": spot_quote("1000SATSUSDT", "2"),
                "SATSUSDT": spot_quote("SATSUSDT", "0.0005"),
            },
            perp={contract.symbol: perp_quote(contract.symbol, mark)},
            spot_as_of=NOW,
            perp_as_of=NOW,
        )
        pairing = pair_market(instruments, snapshot)
        assert {b: p.multiplier for b, p in pairing.pairs.items()} == {base: D(multiplier)}


def test_when_no_reading_fits_the_first_one_is_reported() -> None:
    """With both spot 1000SATS and spot SATS at foreign prices the refusal speaks of the exact name."""
    contract = perp("1000SATS")
    instruments = Instruments(
        {s.symbol: s for s in (spot("1000SATS"), spot("SATS"))}, {contract.symbol: contract}, NOW
    )
    snapshot = MarketSnapshot(
        spot={s: spot_quote(s, "7") for s in instruments.spot},
        perp={contract.symbol: perp_quote(contract.symbol, "1")},
        spot_as_of=NOW,
        perp_as_of=NOW,
    )
    refused = pair_market(instruments, snapshot).refused[contract.symbol]
    assert (refused.base, refused.multiplier) == ("1000SATS", D(1))
    assert [reason.code for reason in refused.reasons] == ["look_alike"]


@pytest.mark.parametrize(
    ("ratio", "paired"),
    [("0.95", True), ("1.05", True), ("0.9499", False), ("1.0501", False), ("1000", False)],
)
def test_five_percent_is_the_limit_of_likeness(ratio: str, paired: bool) -> None:
    """The price ratio may be off by 5 %, equality included; beyond it is another asset."""
    pairing = one(ratio=ratio)
    assert ("BTC" in pairing.pairs) is paired
    if not paired:
        assert codes(pairing, "BTCUSDT") == {"look_alike"}
        assert pairing.refused["BTCUSDT"].ratio == D(ratio)


def test_a_multiplied_name_without_its_price_is_a_look_alike() -> None:
    """1000PEPE at a price that is 10,000 times spot is refused, not paired with another multiplier."""
    refused = one("1000PEPE", "PEPE", "10000").refused["1000PEPEUSDT"]
    assert [reason.code for reason in refused.reasons] == ["look_alike"]
    assert (refused.base, refused.multiplier) == ("PEPE", D(1000))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol_type": "stock"}, "stock"),
        ({"symbol_type": "commodity"}, "commodity"),
        ({"symbol_type": "forex"}, "forex"),
        ({"symbol_type": "lottery"}, "unknown_type"),
        ({"status": "PreLaunch"}, "pre_launch"),
        ({"pre_listing": True}, "pre_launch"),
        ({"status": "Closed"}, "not_trading"),
        ({"delivery_time": datetime(2026, 12, 1, tzinfo=UTC)}, "delisting"),
        ({"contract_type": "LinearFutures"}, "not_perpetual"),
        ({"settle_coin": "USDC", "quote_coin": "USDC"}, "usdc_settled"),
        ({"quote_coin": "EUR"}, "not_usdt"),
        ({"settle_coin": "EUR"}, "not_usdt"),
    ],
)
def test_contracts_that_are_never_paired(changes: dict[str, Any], code: str) -> None:
    """Each property of a contract that forbids it has its own code and keeps it out of the pairs."""
    pairing = one(on_perp=changes)
    assert not pairing.pairs
    assert codes(pairing, "BTCUSDT") == {code}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"symbol_type": "xstocks"}, "xstocks"),
        ({"symbol_type": "lottery"}, "unknown_type"),
        ({"special_treatment": True}, "special_treatment"),
        ({"status": "Closed"}, "spot_not_trading"),
    ],
)
def test_spot_pairs_that_are_never_used(changes: dict[str, Any], code: str) -> None:
    """Each property of a spot pair that forbids it has its own code."""
    assert codes(one(on_spot=changes), "BTCUSDT") == {code}


@pytest.mark.parametrize("kind", ["innovation", "adventure", ""])
def test_zones_of_the_venue_are_no_reason(kind: str) -> None:
    """The innovation and adventure zones hold coins like any other."""
    assert one(on_perp={"symbol_type": kind}, on_spot={"symbol_type": kind}).pairs


def test_a_dated_future_is_known_but_refused_only_for_its_date() -> None:
    """A future's own basis is not taken for a look-alike and its expiry is no delisting."""
    pairing = one(
        ratio="1.2",
        on_perp={
            "symbol": "BTCUSDT-25DEC26",
            "contract_type": "LinearFutures",
            "delivery_time": datetime(2026, 12, 25, tzinfo=UTC),
        },
    )
    assert codes(pairing, "BTCUSDT-25DEC26") == {"not_perpetual"}


def test_a_delisting_seen_in_the_quotes_counts_at_once() -> None:
    """The ticker may announce a delisting before the cached instrument list does."""
    contract, coin = perp(), spot()
    quote = perp_quote(delivery_time=datetime(2026, 12, 1, tzinfo=UTC))
    assert codes(pair_market(*market((coin, spot_quote(), contract, quote))), "BTCUSDT") == {"delisting"}


def test_all_reasons_are_given() -> None:
    """A contract with several faults lists each of them, those of its spot pair included."""
    pairing = one(
        ratio="3",
        on_perp={"symbol_type": "stock", "status": "Closed", "settle_coin": "USDC", "quote_coin": "USDC"},
        on_spot={"special_treatment": True},
    )
    assert codes(pairing, "BTCUSDT") == {
        "stock",
        "not_trading",
        "usdc_settled",
        "special_treatment",
        "look_alike",
    }


def test_a_usdc_contract_is_known_by_its_coin() -> None:
    """BTCPERP is labelled with its coin and its spot pair although it is never a candidate."""
    pairing = one(on_perp={"symbol": "BTCPERP", "settle_coin": "USDC", "quote_coin": "USDC"})
    refused = pairing.refused["BTCPERP"]
    assert (refused.base, refused.spot and refused.spot.symbol) == ("BTC", "BTCUSDT")
    assert pairing.refusals("BTC") == pairing.refusals("BTCPERP") == (refused,)
    assert pairing.find("BTC") is None


def test_a_coin_without_spot_is_refused_under_its_own_name() -> None:
    """Without a spot pair the refusal names the coin, stripped of the multiplier."""
    pairing = one("1000RATS", "BTC")
    refused = pairing.refused["1000RATSUSDT"]
    assert (refused.base, refused.spot, refused.multiplier) == ("RATS", None, None)
    assert codes(pairing, "1000RATSUSDT") == {"no_spot"}


def test_only_spot_pairs_quoted_in_usdt_count() -> None:
    """A coin that trades on spot against another quote coin has no spot pair here."""
    assert codes(one(on_spot={"quote_coin": "EUR"}), "BTCUSDT") == {"no_spot"}


@pytest.mark.parametrize(
    ("spot_price", "unreadable", "expected"),
    [
        (None, {}, "no_quote"),
        (None, {"BTCUSDT": "bid is NaN"}, "unreadable_quote"),
        ("0", {}, "unreadable_quote"),
    ],
)
def test_without_a_price_nothing_is_paired(
    spot_price: str | None, unreadable: dict[str, str], expected: str
) -> None:
    """A missing, unreadable or zero quote refuses the contract instead of trusting its name."""
    instruments, snapshot = market((spot(), spot_quote(), perp(), perp_quote()))
    quotes = {} if spot_price is None else {"BTCUSDT": spot_quote(price=spot_price)}
    pairing = pair_market(instruments, replace(snapshot, spot=quotes, unreadable=unreadable))
    assert codes(pairing, "BTCUSDT") == {expected}
    assert all("BTCUSDT" in reason.message for reason in pairing.refused["BTCUSDT"].reasons)


def test_a_missing_perp_quote_is_named_once() -> None:
    """Two rows of the same symbol missing for the same cause give one reason."""
    instruments, snapshot = market((spot(), spot_quote(), perp(), perp_quote()))
    pairing = pair_market(instruments, replace(snapshot, spot={}, perp={}))
    assert [reason.code for reason in pairing.refused["BTCUSDT"].reasons] == ["no_quote"]


def test_without_a_snapshot_names_alone_pair() -> None:
    """For offline use the names are believed."""
    instruments, _ = market((spot("PEPE"), spot_quote(), perp("1000PEPE"), perp_quote()))
    assert pair_market(instruments).pairs["PEPE"].multiplier == 1000


@pytest.mark.parametrize("with_quotes", [True, False])
def test_of_two_contracts_on_one_coin_one_is_taken(with_quotes: bool) -> None:
    """The contract with more open interest wins, without quotes the smaller multiplier; the other
    is refused.
    """
    instruments, snapshot = market(
        (spot("PEPE"), spot_quote("PEPEUSDT", "0.01"), perp("PEPE"), perp_quote("PEPEUSDT", "0.01")),
        (
            spot("PEPE"),
            spot_quote("PEPEUSDT", "0.01"),
            perp("1000PEPE"),
            perp_quote("1000PEPEUSDT", "10", open_interest_notional=D(10**12)),
        ),
    )
    pairing = pair_market(instruments, snapshot if with_quotes else None)
    winner, loser = ("1000PEPEUSDT", "PEPEUSDT") if with_quotes else ("PEPEUSDT", "1000PEPEUSDT")
    assert pairing.pairs["PEPE"].perp.symbol == winner
    assert codes(pairing, loser) == {"second_contract"}


@pytest.mark.parametrize("name", ["PEPE", "1000PEPE", "1000PEPEUSDT", "PEPEUSDT"])
def test_a_pair_is_found_by_any_of_its_names(name: str) -> None:
    """People may say the coin, the contract's base or a symbol."""
    pair = one("1000PEPE", "PEPE", "1000").find(name)
    assert pair is not None
    assert pair.base == "PEPE"


def test_an_unknown_name_finds_nothing() -> None:
    """A name that is not listed gives neither a pair nor a refusal."""
    pairing = one()
    assert pairing.find("NOPE") is None
    assert pairing.refusals("NOPE") == ()


@given(
    coin=st.text("ABCXYZ", min_size=1, max_size=6),
    zeros=st.integers(3, 8),
    suffix=st.booleans(),
    noise=st.decimals("-0.049", "0.049", places=4),
    price=st.decimals("0.00000001", "1000", places=8),
)
def test_every_power_of_ten_is_found_again(
    coin: str, zeros: int, suffix: bool, noise: Decimal, price: Decimal
) -> None:
    """Whatever coin, power, name form and basis below 5 %: base and multiplier come out as they went in."""
    power = 10**zeros
    contract = perp(f"{coin}{power}" if suffix else f"{power}{coin}")
    pairing = pair_market(
        *market(
            (
                spot(coin),
                spot_quote(f"{coin}USDT", price),
                contract,
                perp_quote(contract.symbol, price * power * (1 + noise)),
            )
        )
    )
    assert {base: pair.multiplier for base, pair in pairing.pairs.items()} == {coin: D(power)}


@given(st.text("10XU", min_size=1, max_size=12))
def test_every_contract_ends_in_exactly_one_place(name: str) -> None:
    """Each listed contract is either paired or refused with at least one reason."""
    pairing = one(name, "X")
    symbol = f"{name}USDT"
    paired = [pair for pair in pairing.pairs.values() if pair.perp.symbol == symbol]
    refused = pairing.refused.get(symbol)
    assert len(paired) + (refused is not None) == 1
    assert refused is None or refused.reasons


def test_an_empty_base_name_is_refused_not_an_accident() -> None:
    """A row without a base coin has no reading but itself."""
    assert list(readings("")) == [("", D(1))]


def test_the_whole_market_pairs_as_counted(shared_dir: Path) -> None:
    """Of 606 recorded USDT perps 342 have a spot pair of the same coin, 21 of them with a multiplier; 264
    have none.
    """
    rows = pyarrow.parquet.read_table(shared_dir / "data" / "bybit" / "instruments.parquet").to_pylist()
    names = [
        (row["market"], row["market_ticker"].removesuffix("USDT"))
        for row in rows
        if row["quote_currency"] == "USDT"
    ]
    pairing = pair_market(
        Instruments(
            {name: spot(name) for market_, name in names if market_ == "spot"},
            {name: perp(name) for market_, name in names if market_ == "perp"},
            NOW,
        )
    )
    assert (len(pairing.pairs), len(pairing.refused)) == (342, 264)
    assert sum(pair.multiplier != 1 for pair in pairing.pairs.values()) == 21
    assert {reason.code for item in pairing.refused.values() for reason in item.reasons} == {"no_spot"}
