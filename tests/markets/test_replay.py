"""The replay: recorded at the edges, nothing of the future anywhere, settled as recorded, honest about what
is made up.
"""

import itertools
import shutil
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.money import is_multiple
from fundarb.core.orders import ExecKind, Side, TimeInForce
from fundarb.errors import ConfigError
from fundarb.markets.replay import ReplayMarket, replay
from fundarb.venue.engine import Venue
from fundarb.venue.feed import BarKind, BarQuery, HappeningKind
from fundarb.venue.rows import OrderSpec, OrderType
from tests.markets.recording import START, record, write

FIVE = timedelta(minutes=5)
HOUR = timedelta(hours=1)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two hours of AAA at five minutes (its spot half as long) and ten hours of BBB without spot, hourly."""
    return record(tmp_path)


def test_edges_are_the_recorded_prices(recording: Path) -> None:
    """At the open of a bar the fair price is the recorded one in both markets; quotes enclose it on the
    tick.
    """
    market = replay(recording, START)
    for n in range(12):
        at = START + n * FIVE
        perp, spot = (
            market.point(category, "AAAUSDT", at=at) for category in (Category.LINEAR, Category.SPOT)
        )
        for point, price in ((perp, Decimal(100 + n)), (spot, Decimal("99.95") + n)):
            assert point.bid is not None
            assert point.ask is not None
            assert point.bid <= price <= point.ask
            assert is_multiple(point.bid, Decimal("0.01"))
            assert is_multiple(point.bid_size, Decimal("0.001"))


def test_inside_a_bar_the_price_stands_at_its_open(recording: Path) -> None:
    """Nothing of a bar but its open is shown before it ends; the quotes around it still flicker,
    repeatably.
    """
    market, again = replay(recording, START), replay(recording, START)
    seen = set()
    for second in range(0, 300, 10):
        at = START + timedelta(seconds=second)
        point = market.point(Category.LINEAR, "AAAUSDT", at=at)
        assert point == again.point(Category.LINEAR, "AAAUSDT", at=at)
        assert point.bid is not None
        assert point.ask is not None
        assert point.bid <= Decimal(100) <= point.ask
        seen.add((point.last, point.bid_size))
    assert len(seen) > 10


def test_the_extremes_of_finished_bars_are_told(recording: Path) -> None:
    """The range of marks holds the bars that have ended since, and nothing of the running one."""
    market = replay(recording, START)
    assert market.mark_range("AAAUSDT", START, until=START + FIVE - timedelta(seconds=1)) is None
    assert market.mark_range("AAAUSDT", START, until=START + 2 * FIVE) == (Decimal("99.5"), Decimal("102.5"))


def test_a_spike_inside_a_bar_liquidates(recording: Path) -> None:
    """A short whose margin would not have survived the high of a bar is gone when the bar has ended."""
    path = recording / "klines_perp_5m.parquet"
    rows = parquet.read_table(path).to_pylist()
    rows[3]["high"] = 500.0
    write(recording, "klines_perp_5m", rows)
    at = Venue(replay(recording, START), start=START, uid="x", balances={"USDT": Decimal(1000)})
    spec = OrderSpec(
        category=Category.LINEAR,
        symbol="AAAUSDT",
        side=Side.SELL,
        quantity=Decimal(10),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.IOC,
    )
    at.place(spec)
    at.advance(START + 4 * FIVE - timedelta(seconds=1))
    assert at.held() == {"AAAUSDT": Decimal(-10)}
    at.advance(START + 8 * FIVE)
    assert at.held() == {}
    assert at.all_fills()[-1].kind is ExecKind.BUST
    assert at.all_fills()[-1].price > 500


def test_settlements_are_the_recorded_ones(recording: Path) -> None:
    """Rates to the digit, at their instants, in half-open windows; marks at settlements to the digit."""
    market = replay(recording, START)
    rows = market.settlements("AAAUSDT", START - HOUR, until=START + HOUR)
    assert [(row.rate, row.time) for row in rows] == [
        (Decimal("-0.00015"), START),
        (Decimal("0.00023456"), START + HOUR),
    ]
    assert market.point(Category.LINEAR, "AAAUSDT", at=START).mark == Decimal("100.01")
    assert market.funding("AAAUSDT", START).next_time == START + HOUR
    assert market.funding("AAAUSDT", START + HOUR).next_time == START + 2 * HOUR
    assert market.funding("AAAUSDT", START).interval == HOUR


def view(market: ReplayMarket, at: datetime) -> list[object]:
    """Everything that can be asked at an instant."""
    seen: list[object] = [market.fundings(at), market.settlements("AAAUSDT", START - 2 * HOUR, until=at)]
    seen.append(market.mark_range("AAAUSDT", START, until=at))
    for category in Category:
        seen += [market.points(category, at), market.book(category, "AAAUSDT", at=at, depth=20)]
        for kind, step in itertools.product(BarKind, (timedelta(minutes=1), FIVE, 3 * FIVE)):
            seen.append(
                market.bars(
                    BarQuery(category=category, symbol="AAAUSDT", kind=kind, step=step, start=START, end=at)
                )
            )
    return [*seen, market.listings(), market.coins(), market.happenings()]


def spoil_the_future(folder: Path, at_ms: int, factor: float) -> None:
    """Change every recorded number that was not known at an instant; the schedule of settlements stays."""
    for name, step in (("klines_perp_5m", 300_000), ("klines_spot_5m", 300_000), ("klines_mark", 3_600_000)):
        rows = parquet.read_table(folder / f"{name}.parquet").to_pylist()
        for row in rows:
            later = ("open", "high", "low", "close", "volume") if row["ts"] > at_ms else ()
            unfinished = ("high", "low", "close", "volume") if row["ts"] + step > at_ms else ()
            for key in later or unfinished:
                row[key] *= factor
        write(folder, name, rows)
    rows = parquet.read_table(folder / "funding.parquet").to_pylist()
    for row in rows:
        if row["ts"] > at_ms:
            row["rate"] *= -factor
            row["mark_price"] = row["mark_price"] and row["mark_price"] * factor
    write(folder, "funding", rows)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(milliseconds=st.integers(0, 3_599_000), factor=st.sampled_from((0.5, 1.01, 3.0)))
def test_no_view_depends_on_what_comes_later(recording: Path, milliseconds: int, factor: float) -> None:
    """Whatever is asked at an instant is the same when everything recorded after it was different."""
    at = START + timedelta(milliseconds=milliseconds)
    with TemporaryDirectory() as folder:
        twin = Path(shutil.copytree(recording, folder, dirs_exist_ok=True))
        spoil_the_future(twin, to_ms(at), factor)
        assert view(replay(twin, START), at) == view(replay(recording, START), at)


def test_recorded_bars_are_the_recorded_ones(recording: Path) -> None:
    """Finished bars have their own open, high, low, close and volume; longer ones are joined from them."""
    market = replay(recording, START)
    query = BarQuery(
        category=Category.LINEAR,
        symbol="AAAUSDT",
        kind=BarKind.LAST,
        step=3 * FIVE,
        start=START,
        end=START + 5 * FIVE,
    )
    first, second = market.bars(query)
    assert first[1:6] == tuple(Decimal(text) for text in ("100", "103.5", "99.5", "103", "30"))
    assert second[1:6] == tuple(Decimal(text) for text in ("103", "105.5", "102.5", "105", "20"))


def test_bars_do_not_run_ahead(recording: Path) -> None:
    """A bar that is not finished closes at the price of the moment it is asked for."""
    market = replay(recording, START)
    at = START + timedelta(minutes=12)
    query = BarQuery(
        category=Category.LINEAR, symbol="AAAUSDT", kind=BarKind.LAST, step=FIVE, start=START, end=at
    )
    found = market.bars(query)
    assert [bar.start for bar in found] == [START, START + FIVE, START + 2 * FIVE]
    point = market.point(Category.LINEAR, "AAAUSDT", at=at)
    assert point.bid is not None
    assert abs(found[-1].close - point.bid) <= Decimal("0.03")


def test_bulk_equals_single(recording: Path) -> None:
    """Bulk points and fundings give what is given one by one; a book's best levels are the point's."""
    market, at = replay(recording, START, constructed=True), START + timedelta(minutes=7)
    for category in Category:
        points = market.points(category, at)
        assert points == {symbol: market.point(category, symbol, at=at) for symbol in ("AAAUSDT", "BBBUSDT")}
        for symbol, point in points.items():
            book = market.book(category, symbol, at=at, depth=10)
            assert (book.bids[0].price, book.asks[0].price) == (point.bid, point.ask)
            assert len(book.asks) == 10
    assert market.fundings(at) == {symbol: market.funding(symbol, at) for symbol in ("AAAUSDT", "BBBUSDT")}


def test_bars_of_every_kind(recording: Path) -> None:
    """Mark bars follow the mark, index bars the spot, premium bars their difference."""
    market = replay(recording, START)
    closes = {}
    for kind in BarKind:
        query = BarQuery(
            category=Category.LINEAR, symbol="AAAUSDT", kind=kind, step=FIVE, start=START, end=START + FIVE
        )
        closes[kind] = market.bars(query)[0].close
    assert closes[BarKind.LAST] == Decimal("101.00")
    assert abs(closes[BarKind.MARK] - Decimal("101.01")) < Decimal("0.02")
    assert abs(closes[BarKind.INDEX] - Decimal("100.95")) < Decimal("0.01")
    assert abs(closes[BarKind.PREMIUM] - Decimal("0.0005")) < Decimal("0.0001")


def test_the_end_is_the_last_close(recording: Path) -> None:
    """At the last edge of a recording stands its last close, and its last bar is finished; nothing of the
    settlements behind it is known there.
    """
    market = replay(recording, START)
    spot = market.point(Category.SPOT, "AAAUSDT", at=market.until)
    assert spot.bid is not None
    assert spot.ask is not None
    assert spot.bid <= Decimal("111.95") <= spot.ask
    assert market.point(Category.LINEAR, "AAAUSDT", at=market.until).mark == Decimal("112.25")
    query = BarQuery(
        category=Category.SPOT,
        symbol="AAAUSDT",
        kind=BarKind.LAST,
        step=FIVE,
        start=market.until - FIVE,
        end=market.until,
    )
    assert [bar.close for bar in market.bars(query)] == [Decimal("111.95")]


def test_the_end_is_a_halt(recording: Path) -> None:
    """Where the shorter recording ends both markets are halted."""
    market = replay(recording, START)
    assert market.until == START + HOUR
    halts = [item for item in market.happenings() if item.kind is HappeningKind.HALT]
    assert {(item.category, item.at) for item in halts} == {(category, START + HOUR) for category in Category}


def test_a_coin_without_spot_is_only_taken_on_request(recording: Path) -> None:
    """By default only recorded pairs; constructed spots are labelled, no collateral, and follow the last
    settled rate.
    """
    assert {listing.symbol for listing in replay(recording, START).listings()} == {"AAAUSDT"}
    market = replay(recording, START, constructed=True)
    assert market.constructed == {"BBBUSDT"}
    assert "BBB" not in market.coins()
    notes = [item for item in market.happenings() if item.kind is HappeningKind.NOTE]
    assert [item.symbol for item in notes] == ["BBBUSDT"]
    perp = market.point(Category.LINEAR, "BBBUSDT", at=START).last
    spot = market.point(Category.SPOT, "BBBUSDT", at=START).last
    # −1.5 bp an hour is −12 bp per eight hours: a premium of −17 bp
    assert abs(perp / spot - 1 + Decimal("0.0017")) < Decimal("0.0007")


def test_only_the_stretch_around_the_start_counts(recording: Path) -> None:
    """BBB has a hole after four hours: a start behind it uses the later stretch, one inside it finds
    nothing.
    """
    market = replay(recording, START + 7 * HOUR, symbols=["BBBUSDT"], constructed=True)
    assert market.until == START + 10 * HOUR
    with pytest.raises(ConfigError):
        replay(recording, START + 5 * HOUR, symbols=["BBBUSDT"], constructed=True)


def test_tiers_are_continuous(recording: Path) -> None:
    """The recorded brackets get deductions so that the maintenance margin does not jump."""
    listing = replay(recording, START).listings()[1]
    first, second = listing.tiers
    assert (
        first.limit * first.mm_rate - first.mm_deduction == first.limit * second.mm_rate - second.mm_deduction
    )


@pytest.mark.parametrize("offset", [-HOUR, 3 * HOUR, 400 * HOUR])
def test_a_start_outside_the_recording(recording: Path, offset: timedelta) -> None:
    """Named as such, with where to look."""
    with pytest.raises(ConfigError, match="recorded"):
        replay(recording, START + offset)


def test_an_unknown_symbol_and_an_empty_folder(recording: Path, tmp_path: Path) -> None:
    """A symbol that was not recorded and a folder without data are configuration errors."""
    with pytest.raises(ConfigError, match="CCCUSDT"):
        replay(recording, START, symbols=["CCCUSDT"])
    with pytest.raises(ConfigError, match="no recording"):
        replay(tmp_path / "nowhere", START)


def test_a_broken_file(recording: Path) -> None:
    """A file that is no parquet is named."""
    (recording / "klines_perp_5m.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ConfigError, match="klines_perp_5m"):
        replay(recording, START)


def test_without_pyarrow(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional extra is named when it is missing."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"fundarb\[data\]"):
        replay(recording, START)


# ------------------------------------------------------------ the real recording


@pytest.fixture(scope="module")
def real(shared_dir: Path) -> ReplayMarket:
    """BTC, ETH and SOL at five minutes from May 2025."""
    if not (shared_dir / "data" / "bybit").is_dir():
        pytest.skip(f"needs the recorded data in {shared_dir / 'data'}")
    return replay(shared_dir / "data", START)


def test_the_recorded_months(real: ReplayMarket) -> None:
    """Three pairs until 9 August with recorded steps; the first settlement and its mark are the exchange's
    own.
    """
    assert {listing.symbol for listing in real.listings()} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert real.until == datetime(2025, 8, 9, 15, 25, tzinfo=UTC)
    rows = real.settlements("BTCUSDT", START - timedelta(milliseconds=1), until=START + 8 * HOUR)
    assert [row.rate for row in rows] == [Decimal("-4.8E-7"), Decimal("0.00005255")]
    assert real.point(Category.LINEAR, "BTCUSDT", at=START).mark == Decimal(94118)


def test_the_recorded_basis(real: ReplayMarket) -> None:
    """Perp against spot has the mean and the spread that the statistics tell: about −4 bp, 2 bp."""
    basis = []
    for number in range(400):
        at = START + number * 6 * HOUR
        if at >= real.until:
            break
        perp, spot = (
            real.point(category, "BTCUSDT", at=at).mark for category in (Category.LINEAR, Category.SPOT)
        )
        basis.append(float(perp / spot - 1) * 1e4)
    assert -5.0 < sum(basis) / len(basis) < -2.5


def test_the_prediction_is_near_and_not_the_rate_itself(real: ReplayMarket) -> None:
    """Just before a settlement the running rate misses the recorded one by tenths of a basis point, not by
    nothing.
    """
    errors = []
    for number in range(1, 200):
        at = START + number * 8 * HOUR
        predicted = real.funding("BTCUSDT", at - timedelta(seconds=1)).rate
        settled = real.settlements("BTCUSDT", at - timedelta(seconds=1), until=at)[0].rate
        errors.append(abs(float(predicted - settled)) * 1e4)
    assert 0.02 < sum(errors) / len(errors) < 0.5


@pytest.mark.proof
def test_another_exchange_s_recording(shared_dir: Path) -> None:
    """Binance: recorded spot and perp of six coins by the hour, its own settlements and steps."""
    if not (shared_dir / "data" / "binance").is_dir():
        pytest.skip(f"needs the recorded data in {shared_dir / 'data'}")
    begin = datetime(2021, 5, 1, tzinfo=UTC)
    market = replay(shared_dir / "data" / "binance", begin)
    assert {listing.symbol for listing in market.listings()} == {
        "ADAUSDT", "BTCUSDT", "ETHUSDT", "LTCUSDT", "XRPUSDT",
    }  # fmt: skip
    crash = datetime(2021, 5, 19, 16, tzinfo=UTC)
    (row,) = market.settlements("ADAUSDT", crash - HOUR, until=crash)
    assert row.rate < Decimal("-0.004")


@pytest.mark.proof
def test_constructed_coins_of_the_wide_set(shared_dir: Path) -> None:
    """Sixty perps of 2024 with a made-up spot, all labelled; one whose settlements begin later is left
    out.
    """
    if not (shared_dir / "data" / "bybit").is_dir():
        pytest.skip(f"needs the recorded data in {shared_dir / 'data'}")
    begin = datetime(2024, 5, 2, tzinfo=UTC)
    market = replay(shared_dir / "data", begin, constructed=True)
    assert len(market.constructed) == len(market.listings()) / 2 > 50
    assert "ALPHAUSDT" not in market.constructed
    for funding in market.fundings(begin + 31 * HOUR).values():
        assert funding.next_time - begin <= 40 * HOUR
