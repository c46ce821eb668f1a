"""How a scan looks: the recorded market, which is the same every time, as JSON, tables and words."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from fundarb.cli.scan_view import explanation
from fundarb.clock import VirtualClock
from fundarb.config import Settings
from fundarb.core.market import SettledFunding
from fundarb.engine.scan import Scanner
from fundarb.exchange.recorded import RecordedMarket, packaged
from scripts.demo_market import AS_OF
from tests.cli.conftest import Shell, golden

RECORDED = ("scan", "--recorded")


def test_the_recorded_market_is_the_same_every_time(shell: Shell) -> None:
    """Envelope, CSV, narrow and wide table, explanation and the empty face, byte for byte."""
    golden("scan.json", shell("--json", *RECORDED).stdout)
    golden("scan-all.json", shell("--json", *RECORDED, "--all").stdout)
    golden("scan-all.csv", shell(*RECORDED, "--all", "--csv").stdout)
    golden("scan-80.txt", shell(*RECORDED, COLUMNS="80").stdout)
    golden("scan-all-160.txt", shell(*RECORDED, "--all", COLUMNS="160").stdout)
    golden("scan-why-pepe-120.txt", shell(*RECORDED, "--why", "PEPE", COLUMNS="120").stdout)
    golden("scan-empty-80.txt", shell(*RECORDED, "--min-apr", "300%", COLUMNS="80").stdout)


def test_the_recorded_market_needs_no_network_no_key_and_no_file(shell: Shell) -> None:
    """It makes no request and writes nothing."""
    assert shell.json(*RECORDED)["data"]["requests"] == 0
    assert list(Path.cwd().iterdir()) == []
    assert not Path(os.environ["FUNDARB_HOME"]).exists()


@pytest.mark.parametrize("width", [80, 120, 160])
def test_tables_fit_their_width_and_are_aligned(shell: Shell, width: int) -> None:
    """No line of the table is wider than the terminal, and the intervals stand below each other."""
    lines = shell(*RECORDED, COLUMNS=str(width)).stdout.splitlines()
    body = [line for line in lines if line.lstrip()[:1].isdigit() and "/" in line]
    assert len(body) == 9
    assert max(map(len, body)) <= width
    assert len({line.index("/") for line in body}) == 1


def test_wide_terminals_show_more(shell: Shell) -> None:
    """At 160 columns depth, spreads and the contract's name are there; at 80 they are not."""
    wide, narrow = shell(*RECORDED, COLUMNS="160").stdout, shell(*RECORDED, COLUMNS="80").stdout
    for word in ("depth", "spread", "1000PEPEUSDT"):
        assert word in wide
        assert word not in narrow


def test_a_narrow_table_gives_its_reasons_below(shell: Shell) -> None:
    """Where there is no column for reasons each refused coin has a line of its own."""
    text = shell(*RECORDED, "--symbol", "NEIRO", "--symbol", "LINK", COLUMNS="80").stdout
    assert "NEIRO: NEIROUSDT at 0.02528 is 118.441 times spot" in text
    assert "LINK: net APR 1.49 points below the minimum" in text


def test_an_explanation_says_for_what_it_holds(shell: Shell) -> None:
    """Place, time, size and horizon stand above the terms: impact and net depend on them."""
    first = shell(*RECORDED, "--why", "PEPE", "--notional", "400").stdout.splitlines()[0]
    assert first.startswith("recorded  2026-11-20 09:12:07 UTC  400 USDT a leg, 30 days")


@pytest.mark.parametrize("width", [80, 160])
def test_reasons_are_given_once(shell: Shell, width: int) -> None:
    """A coin that was named and is refused has its reason in the column or below, not in both."""
    text = shell(*RECORDED, "--symbol", "LINK", COLUMNS=str(width)).stdout
    assert text.count("net APR 1.49 points below") == 1


def test_figures_without_order_books_are_bounds(shell: Shell) -> None:
    """Where a needed book was not read cost, yield and depth are marked as bounds; else they are not."""
    text = shell(*RECORDED, "--all", COLUMNS="160").stdout
    line = next(line for line in text.splitlines() if "1INCH" in line)
    for figure in ("≤ +3.23", "≥ 44.9", "≥ 14.9", "≥ 620"):
        assert figure in " ".join(line.split())
    assert "≤ ≥ order books not read" in text
    by_base = {
        row["base"]: row["unread_books"]
        for row in shell.json(*RECORDED, "--all")["data"]["opportunities"]
        if row["net_apr"]
    }
    assert by_base["1INCH"] == ["spot", "perp"]
    assert by_base["HYPER"] == by_base["BTC"] == []
    assert "≤" not in shell(*RECORDED, COLUMNS="160").stdout
    empty = shell(*RECORDED, "--min-apr", "300%", COLUMNS="80").stdout
    assert "≤ +45.06" in empty
    assert "≥ 254.94" in empty


@pytest.mark.parametrize(
    ("horizon", "words"), [("30d", "30 days"), ("36h", "36 hours"), ("90s", "90 seconds"), ("1d", "1 day")]
)
def test_the_horizon_is_said_in_a_fitting_unit(shell: Shell, horizon: str, words: str) -> None:
    """A horizon of hours is not called 0 days."""
    assert f"a leg, {words}, net" in shell(*RECORDED, "--horizon", horizon).stdout


def test_what_is_shown_of_the_eligible_is_said(shell: Shell) -> None:
    """Two of nine are called so."""
    assert "9 eligible (2 shown) of 21 pairs and 30 contracts" in shell(*RECORDED, "--top", "2").stdout


def test_an_explanation_of_a_contract_without_spot_says_why(shell: Shell) -> None:
    """Even where nothing can be reckoned the reasons are given."""
    text = shell(*RECORDED, "--why", "TSLA", COLUMNS="100").stdout
    assert "refused" in text
    assert "TSLAUSDT is of type stock" in text


def test_a_forecast_from_history_is_put_into_words() -> None:
    """With settled rates the explanation names weight, mean, error and how many settlements it rests on."""
    rates = tuple(
        SettledFunding(symbol="DOGEUSDT", rate=Decimal("0.0003"), time=AS_OF - timedelta(hours=8 * number))
        for number in range(60, 0, -1)
    )
    market = RecordedMarket(packaged())
    judge = Scanner(market, Kept(rates), clock=VirtualClock(AS_OF), settings=Settings())
    result = judge.scan(replace(judge.query(), why="DOGE"))
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(explanation(result.explained[0], result))
    assert "shrunk:" in captured.get()
    assert "(60 settlements, 100 % positive)" in captured.get()


class Kept:
    """A history of one symbol."""

    def __init__(self, rates: tuple[SettledFunding, ...]) -> None:
        """These."""
        self.rates = rates

    def cached(self, symbols: Collection[str]) -> Mapping[str, tuple[SettledFunding, ...]]:
        """Them."""
        return {self.rates[0].symbol: self.rates}


def test_the_empty_face_names_no_more_than_asked_for(shell: Shell) -> None:
    """``--top 3`` means three of the nearest, too, on the screen and for scripts."""
    words = (*RECORDED, "--min-apr", "300%", "--top", "3")
    assert len(shell.json(*words)["data"]["nearest"]) == 3
    assert "ENA" not in shell(*words, COLUMNS="80").stdout
