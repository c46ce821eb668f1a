"""``fundarb scan`` over real HTTP on this machine: every flag and key, requests, and each kind of bad
input.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fundarb.app import App
from fundarb.cli.scan_data import COLUMNS
from fundarb.clock import SystemClock, VirtualClock
from fundarb.errors import Unavailable
from scripts.demo_market import Row
from tests.cli.conftest import Serve, Shell, Venue
from tests.factories import Reply, small_market


def rows(envelope: dict[str, object]) -> list[dict[str, object]]:
    """The opportunities of an envelope."""
    data = envelope["data"]
    assert isinstance(data, dict)
    found: list[dict[str, object]] = data["opportunities"]
    return found


@pytest.fixture
def venue(serve: Serve) -> Venue:
    """The packaged market, alive."""
    return serve()


def test_the_envelope_has_every_documented_key(shell: Shell, venue: Venue) -> None:
    """Schema, time, venue, mode, data with all keys of an opportunity, counts and requests; no error."""
    found = shell.json(*venue.words, "scan")
    assert list(found) == ["schema", "as_of", "venue", "mode", "data", "warnings", "error"]
    assert (found["schema"], found["venue"], found["mode"], found["error"]) == (
        "fundarb.scan/1",
        "sandbox",
        "paper",
        None,
    )
    assert found["as_of"].endswith("Z")
    assert set(found["data"]["counts"]) == {"listed", "paired", "eligible"}
    assert all(list(row) == list(COLUMNS) for row in rows(found))
    assert [row["rank"] for row in rows(found)] == list(range(1, len(rows(found)) + 1))


def test_figures_are_exact_strings_and_ratios_are_fractions(shell: Shell, venue: Venue) -> None:
    """No JSON number but counts and whole hours; a rate of 4.35 bp is "0.000435"; times are ISO 8601 UTC."""
    row = next(row for row in rows(shell.json(*venue.words, "scan")) if row["base"] == "WIF")
    numbers = {key for key, value in row.items() if isinstance(value, int)}
    assert numbers == {"rank", "interval_hours", "break_even_settlements"}
    assert not any(isinstance(value, float) for value in row.values())
    assert row["funding_rate"] == "0.000435"
    assert str(row["next_funding_time"]).endswith("Z")
    assert Decimal(str(row["fees"])) + Decimal(str(row["impact"])) == Decimal(str(row["round_trip_cost"]))


def test_a_cold_scan_adds_four_requests_and_a_warm_one_none(shell: Shell, venue: Venue) -> None:
    """The first scan reads the instruments, the second finds them on disk; ``requests`` counts what was
    made.
    """
    cold = shell.json(*venue.words, "scan")["data"]["requests"]
    made = venue.market_requests
    venue.server.requests.clear()
    warm = shell.json(*venue.words, "scan")["data"]["requests"]
    books = venue.market_requests.count("orderbook")
    assert venue.market_requests.count("tickers") == 2
    assert set(venue.market_requests) == {"tickers", "orderbook"}
    assert warm == 2 + books == len(venue.market_requests)
    assert cold == warm + 4
    assert made.count("instruments-info") == 4


def test_no_request_of_a_scan_is_signed(shell: Shell, venue: Venue) -> None:
    """Paper has no private side: though a key is set no request carries it."""
    shell(*venue.words, "scan", BYBIT_API_KEY="canary-key-1", BYBIT_API_SECRET="canary-secret-1")
    sent = [name.lower() for headers in venue.server.headers for name in headers]
    assert sent
    assert not any(name.startswith("x-bapi") for name in sent)


def test_a_live_scan_reckons_with_the_accounts_own_fees(shell: Shell, venue: Venue) -> None:
    """In live mode two signed requests read the account's rates and one the clock; all are counted."""
    words = ("--mode", "live", "--live", *venue.words, "scan")
    shell(*words)
    venue.server.requests.clear()
    found = shell.json(*words)["data"]
    asked = [path for path, _ in venue.server.requests]
    assert asked.count("/v5/account/fee-rate") == 2
    assert found["requests"] == len(asked) == 2 + 3 + asked.count("/v5/market/orderbook")
    assert found["fee_source"] == "account"
    assert {Decimal(row["fees"]) for row in found["opportunities"]} == {Decimal("0.0012")}
    assert "taker, this account, in and out" in shell(*words, "--why", "WIF").stdout
    paper = shell.json(*venue.words, "scan")["data"]
    assert paper["fee_source"] == "schedule"


def test_the_live_interval_comes_from_the_ticker(shell: Shell, venue: Venue) -> None:
    """A contract listed with eight hours whose ticker says one settles hourly in every figure."""
    (row,) = rows(shell.json(*venue.words, "scan", "--symbol", "HYPER"))
    assert row["interval_hours"] == 1
    assert Decimal(str(row["gross_apr"])) == Decimal(str(row["expected_rate"])) * 24 * 365


def test_json_before_and_after_the_command_is_the_same(shell: Shell, venue: Venue) -> None:
    """``--json`` may stand at either end, and wins over ``--csv``."""
    for words in (
        ("--json", *venue.words, "scan"),
        (*venue.words, "scan", "--json"),
        (*venue.words, "scan", "--csv", "--json"),
    ):
        assert json.loads(shell(*words).stdout)["schema"] == "fundarb.scan/1"


def test_csv_has_the_same_columns_and_rows(shell: Shell, venue: Venue) -> None:
    """CSV holds the keys of JSON as its header and a line for each row; reasons are in one cell."""
    table = list(csv.DictReader(io.StringIO(shell(*venue.words, "scan", "--csv", "--all").stdout)))
    found = rows(shell.json(*venue.words, "scan", "--all"))
    assert list(table[0]) == list(COLUMNS)
    assert [line["perp_symbol"] for line in table] == [row["perp_symbol"] for row in found]
    assert next(line for line in table if line["base"] == "MYRO")["reasons"].startswith(
        "MYROUSDT is delisted"
    )


def test_flags_change_what_is_asked(shell: Shell, venue: Venue) -> None:
    """Top, minimum, horizon, sort and symbol do what they say."""
    assert len(rows(shell.json(*venue.words, "scan", "--top", "2"))) == 2
    assert len(rows(shell.json(*venue.words, "scan", "--min-apr", "20%"))) == 2
    short = shell.json(*venue.words, "scan", "--horizon", "3d", "--all")["data"]
    assert short["horizon_days"] == "3"
    by_rate = rows(shell.json(*venue.words, "scan", "--sort", "rate"))
    rates = [Decimal(str(row["funding_rate"])) for row in by_rate]
    assert rates == sorted(rates, reverse=True)
    named = rows(shell.json(*venue.words, "scan", "--symbol", "btc", "--symbol", "1000PEPEUSDT"))
    assert {row["base"] for row in named} == {"BTC", "PEPE"}
    assert shell.json(*venue.words, "scan", "--notional", "250.5")["data"]["notional"] == "250.5"


def test_all_shows_the_refused_with_reasons(shell: Shell, venue: Venue) -> None:
    """Every listed contract appears with ``--all``; each refused one has coded reasons."""
    found = shell.json(*venue.words, "scan", "--all")
    assert len(rows(found)) == found["data"]["counts"]["listed"]
    refused = [row for row in rows(found) if row["verdict"] == "refused"]
    for row in refused:
        assert row["reasons"]
        for reason in row["reasons"]:  # type: ignore[attr-defined]
            assert set(reason) == {"code", "message"}


def test_why_gives_each_term(shell: Shell, venue: Venue) -> None:
    """The explanation's terms add up to the net yield, in JSON and as words."""
    (found,) = shell.json(*venue.words, "scan", "--why", "WIF")["data"]["why"]
    terms = {key: Decimal(value) for key, value in found["terms"].items() if isinstance(value, str)}
    assert terms["net"] == terms["funding"] - terms["cost"] + terms["basis_gain"]
    text = shell(*venue.words, "scan", "--why", "WIF").stdout
    for word in ("running rate", "expected rate", "settlements n", "fees", "impact", "capital", "break-even"):
        assert word in text


def test_watch_prints_an_envelope_a_line_until_interrupted(venue: Venue) -> None:
    """Three scans are three lines, then Ctrl-C ends with 130; between them the clock is waited on."""
    clock = Interrupted(times=3)
    result = Shell(clock)(*venue.words, "scan", "--watch", "--every", "45s", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["schema"] for line in lines] == ["fundarb.scan/1"] * 3
    assert (result.exit_code, clock.slept) == (130, [timedelta(seconds=45)] * 3)


def test_watch_as_text_and_csv(venue: Venue) -> None:
    """On a pipe tables follow each other; CSV has one header; a question that is refused ends it at once."""
    text = Shell(Interrupted(times=2))(*venue.words, "scan", "--watch", "--top", "1")
    assert (text.exit_code, text.stdout.count("net APR ≥ 5 %")) == (130, 2)
    table = Shell(Interrupted(times=2))(*venue.words, "scan", "--watch", "--csv", "--top", "1")
    assert [line.partition(",")[0] for line in table.stdout.splitlines()] == ["rank", "1", "1"]
    clock = Interrupted(times=2)
    refused = Shell(clock)(*venue.words, "scan", "--watch", "--notional", "2000")
    assert (refused.exit_code, clock.slept) == (3, [])


def test_watch_survives_a_venue_that_is_away_for_a_while(serve: Serve) -> None:
    """A scan that fails is said and the next one is tried."""
    calls = []

    def flaky(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        calls.append(path)
        return b"<html>maintenance</html>" if path.endswith("tickers") and 5 < len(calls) < 12 else None

    place = serve(fault=flaky)
    result = Shell(Interrupted(times=4))(*place.words, "scan", "--watch", "--json", "--notional", "100")
    kinds = [(json.loads(line)["error"] or {}).get("kind") for line in result.stdout.splitlines()]
    assert None in kinds
    assert kinds[-1] is None
    text = Shell(Interrupted(times=1))(*serve(fault=html).words, "scan", "--watch")
    assert "trying again" in text.stderr


class Interrupted(VirtualClock):
    """A clock on which somebody presses Ctrl-C during the n-th wait of more than ten seconds."""

    def __init__(self, *, times: int) -> None:
        """After so many waits."""
        super().__init__(SystemClock().now())
        self.times = times
        self.slept: list[timedelta] = []

    def sleep(self, duration: timedelta) -> None:
        """Wait, or be interrupted."""
        if duration > timedelta(seconds=10):
            self.slept.append(duration)
            if len(self.slept) == self.times:
                raise KeyboardInterrupt


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--symbol", "PEPPE"), 2, "PEPPE is not listed at this venue; did you mean PEPE?"),
        (("--why", "XYZ"), 2, "XYZ is not listed at this venue"),
        (("--symbol", ""), 2, "'' is not listed at this venue"),
        (("--notional", "0"), 2, "0 is not above zero"),
        (("--notional", "-5"), 2, "-5 is not above zero"),
        (("--notional", "NaN"), 2, "'NaN' is not an amount"),
        (("--notional", "1e400000000"), 2, "'1e400000000' is not an amount"),
        (("--notional", "lots"), 2, "'lots' is not an amount"),
        (("--notional", "4"), 3, "below the smallest order of every coin"),
        (("--notional", "1001"), 3, "above [risk] max_per_coin = 1000"),
        (("--min-apr", "5"), 2, "not a ratio with its unit"),
        (("--horizon", "30"), 2, "not a duration with its unit"),
        (("--horizon", "0d"), 2, "no time at all"),
        (("--every", "5 min"), 2, "not a duration with its unit"),
        (("--top", "0"), 2, "--top"),
        (("--sort", "luck"), 2, "--sort"),
        (("--nonsense",), 2, "No such option: --nonsense"),
        (("extra",), 2, "extra"),
    ],
)
def test_a_bad_question_is_answered_with_cause_and_code(
    shell: Shell, venue: Venue, words: tuple[str, ...], code: int, sentence: str
) -> None:
    """Each bad value gives its exit code and one sentence, as text on stderr and as an envelope on stdout."""
    result = shell(*venue.words, "scan", *words)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.output
    found = shell.json(*venue.words, "scan", *words)
    assert found["schema"] == "fundarb.scan/1"
    assert found["error"]["kind"] == ("refused" if code == 3 else "config_error")
    assert any(sentence in reason["message"] for reason in found["error"]["reasons"])


def test_an_explanation_has_no_csv_form(shell: Shell, venue: Venue) -> None:
    """It is not dropped for the list of all: exit 2, and nothing is asked; JSON, which wins, has it."""
    refused = shell(*venue.words, "scan", "--why", "WIF", "--csv")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--why: has no CSV form" in refused.stderr
    assert shell.json(*venue.words, "scan", "--why", "WIF", "--csv")["data"]["why"]


def test_a_venue_that_is_not_there_is_unavailable(shell: Shell) -> None:
    """Nobody listens: exit 4, the cause and what to do, and nothing on stdout."""
    result = shell("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "scan")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "127.0.0.1:9" in result.stderr
    assert "fundarb doctor" in result.stderr


def test_a_ban_is_waited_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no request is sent nobody is told to try again, but until when."""

    def banned(_app: App) -> None:
        error = Unavailable("no request is sent for another 600 s")
        error.forbidden, error.until = True, datetime(2026, 3, 1, 12, 10, tzinfo=UTC)
        raise error

    monkeypatch.setattr(App, "scanner", property(banned))
    result = shell("scan")
    assert result.exit_code == 4
    assert "Wait until 12:10:00 UTC" in result.stderr
    assert "ry again" not in result.stderr


def html(path: str, query: Mapping[str, str], answer: Row) -> Reply:
    """A maintenance page for every tickers request."""
    return b"<html>maintenance</html>" if path.endswith("tickers") else None


def spoilt(path_end: str, body: bytes) -> object:
    """A fault that replaces the answers of one endpoint."""

    def fault(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        return body if path.endswith(path_end) else None

    return fault


GARBAGE = (
    b"<html>maintenance</html>",
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"retCode":0}',
    b'{"retCode":0,"retMsg":"OK","result":{}}',
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":null}}',
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":{}}}',
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":["x"]}}',
    b'{"retCode":"zero","result":{"list":[]}}',
    b'{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"symbol":"BTCUSDT","bid1Pri',
    b'{"retCode":10001,"retMsg":"params error","result":{}}',
)


@pytest.mark.parametrize("path_end", ["tickers", "instruments-info"])
@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_never_an_empty_market(shell: Shell, serve: Serve, path_end: str, body: bytes) -> None:
    """HTML, empty, cut and wrong-typed answers end with 4 and a reason, never with "no opportunities"."""
    place = serve(fault=spoilt(path_end, body))
    result = shell(*place.words, "scan", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["data"]) == (4, None)
    assert found["error"]["kind"] in {"bad_answer", "unavailable"}


ABSURD: tuple[object, ...] = (
    "",
    "NaN",
    "Infinity",
    "-1",
    "0",
    "1e9x",
    None,
    [],
    {},
    "9" * 400,
    "1e999999999",
    True,
)
FIELDS = [
    *(("spot", key) for key in ("bid1Price", "ask1Price", "bid1Size", "ask1Size")),
    *(("linear", key) for key in ("bid1Price", "ask1Price", "bid1Size", "markPrice", "fundingRate")),
]


@pytest.mark.parametrize(("category", "key"), FIELDS)
def test_one_absurd_field_never_makes_an_opportunity(
    shell: Shell, serve: Serve, category: str, key: str
) -> None:
    """A row with a field that cannot be is refused with a reason; every other coin is ranked as before."""
    coins = ("BTC", "ETH", "XRP", "DOGE", "WIF", "ENA", "ADA", "LINK", "SUI", "TIA", "JUP", "1INCH")
    bad = {f"{coin}USDT": value for coin, value in zip(coins, ABSURD, strict=True)}

    def fault(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        if path.endswith("tickers") and query["category"] == category:
            for row in answer["result"]["list"]:
                if row["symbol"] in bad:
                    row[key] = bad[row["symbol"]]
        return None

    found = shell.json(*serve(fault=fault).words, "scan", "--all")
    by_symbol = {str(row["perp_symbol"]): row for row in rows(found)}
    assert {base for row in rows(found) if row["verdict"] == "ok" for base in [row["base"]]} == {
        "HYPER",
        "SATS",
        "PEPE",
        "PENDLE",
    }
    for symbol in bad:
        assert by_symbol[symbol]["reasons"], symbol


@pytest.mark.parametrize("factor", [Decimal(10) ** 9, Decimal(10) ** -9])
@pytest.mark.parametrize("category", ["spot", "linear"])
def test_prices_a_billionfold_off_are_refused(
    shell: Shell, serve: Serve, category: str, factor: Decimal
) -> None:
    """A market whose prices jumped by 1e9 on one side pairs with nothing."""

    def fault(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        if path.endswith("tickers") and query["category"] == category:
            for row in answer["result"]["list"]:
                for key in ("bid1Price", "ask1Price", "lastPrice", "markPrice", "indexPrice"):
                    if key in row:
                        row[key] = format(Decimal(row[key]) * factor, "f")
        return None

    found = shell.json(*serve(fault=fault).words, "scan", "--all")
    assert found["data"] is None or found["data"]["counts"]["eligible"] == 0


@pytest.mark.parametrize("seconds", [5, -5])
def test_a_clock_five_seconds_off_is_said_with_its_remedy(shell: Shell, serve: Serve, seconds: int) -> None:
    """The scan goes by the venue's time and warns, in the envelope and on stderr."""
    place = serve(skew=timedelta(seconds=seconds))
    found = shell.json(*place.words, "scan")
    assert [warning["code"] for warning in found["warnings"]] == ["clock"]
    assert found["data"]["counts"]["eligible"] > 0
    assert "NTP" in shell(*place.words, "scan").stderr


def test_nothing_eligible_has_a_face(shell: Shell, serve: Serve) -> None:
    """A market without carry says so, names the nearest and by how much they miss; exit 0."""
    place = serve(
        small_market(**{coin.name: {"rate": Decimal("0.5"), "hours": 8} for coin in small_market().coins})
    )
    result = shell(*place.words, "scan")
    assert result.exit_code == 0
    assert "Nothing is worth opening" in result.stdout
    assert "misses by" in result.stdout
    data = shell.json(*place.words, "scan")["data"]
    assert data["opportunities"] == []
    assert len(data["nearest"]) == 5
    assert all(Decimal(near["missing_apr"]) > 0 for near in data["nearest"])


def test_every_without_watch_is_a_mistake(shell: Shell, venue: Venue) -> None:
    """``--every`` alone: exit 2 says that --watch is missing, and nothing is asked of the venue."""
    found = shell.json(*venue.words, "scan", "--every", "30s")
    assert found["error"]["kind"] == "config_error"
    assert "--watch" in found["error"]["message"]
    assert shell(*venue.words, "scan", "--every", "30s").exit_code == 2
