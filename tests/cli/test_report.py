"""``report`` in all its forms, against files that a person has looked at; and the HTML in a real browser."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fundarb.app import App
from fundarb.cli.report_view import render
from fundarb.cli.session import Session
from fundarb.clock import VirtualClock
from fundarb.core.lots import LotMethod
from fundarb.core.pnl import Coverage
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import PnlReport, ReportQuery
from fundarb.engine.report_tax import TaxReport
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.cli.conftest import Shell, golden
from tests.engine.month import collect, reporter, snapshot
from tests.engine.world import World, make_world

D = Decimal
KINDS = ("pnl", "funding", "trades", "equity", "ledger", "tax")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
Say = Callable[..., str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Twelve days of one position and one that was closed, with prices that move."""
    made = make_world(tmp_path_factory.mktemp("report") / "report.sqlite3")
    made.feed.rate = D("0.0003")
    made.writer.trader.open("BTC", D(5_000))
    for day in range(12):
        made.clock.sleep(timedelta(hours=23, minutes=59))
        made.feed.prices["BTCUSDT"] += D((day * 7) % 5 * 40 - 70)
        collect(made)
        snapshot(made)
        made.clock.sleep(timedelta(minutes=1))
        if day == 4:
            made.writer.trader.close("BTC", D("0.5"))
    made.venue.world.transfer("USDT", D(250))
    collect(made)
    yield made
    made.close()


@pytest.fixture
def say(world: World, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What ``report`` says of that world; position ids, which are drawn, are made equal."""

    @contextmanager
    def lent(_app: App) -> Iterator[Reporter]:
        yield reporter(world)

    monkeypatch.setattr(App, "reporter", lent)
    shell = Shell(VirtualClock(world.clock.now()))

    def run(*words: str, width: int = 80) -> str:
        result = shell("report", *words, COLUMNS=str(width), FUNDARB_HOME="/nowhere")
        assert result.exit_code == 0, result.output
        return _plain(result.stdout)

    return run


def _plain(text: str) -> str:
    """Without what a seed or the venue's counters draw anew."""
    text = re.sub(r"p-[0-9A-Z]{10}", "p-0000000001", text)
    text = re.sub(r"[0-9a-z]{4}-[0-9A-Z]{10}-([sp]\d+)", r"link-\1", text)
    return re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "venue-id", text)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_each_report_in_each_form(say: Say, kind: str, form: str) -> None:
    """Table, CSV and JSON of every kind are as they were; the table fits 80 columns and no figure is cut."""
    found = say(kind, "--format", form)
    if form == "table":
        for line in found.splitlines():
            assert len(line.rstrip()) <= 80, line
            assert "…" not in line
    if form == "json":
        found = json.dumps(json.loads(found)["data"], indent=1, ensure_ascii=False) + "\n"
    suffix = {"table": "-80.txt", "csv": ".csv", "json": ".json"}[form]
    golden(f"report-{kind}{suffix}", found)


@pytest.mark.parametrize("by", ["symbol", "day", "month"])
def test_each_grouping(say: Say, by: str) -> None:
    """By symbol, day and month, on 80 columns."""
    golden(f"report-pnl-{by}-80.txt", say("pnl", "--by", by))


def test_a_wide_screen_shows_gross_and_both_bases(say: Say) -> None:
    """On 180 columns: gross beside net, and the yields on notional beside those on capital."""
    golden("report-pnl-180.txt", say("pnl", width=180))


def test_a_plot_is_drawn_with_dots(say: Say) -> None:
    """The curve stands above its figures and fits the screen."""
    golden("report-equity-plot-80.txt", say("equity", "--plot"))


@pytest.mark.parametrize("words", [("pnl", "--by", "day"), ("funding",), ("tax",)])
def test_what_adds_up_over_time_is_drawn(say: Say, words: tuple[str, ...]) -> None:
    """What was gained up to each row stands above the table, from its smallest to its largest value."""
    drawn, table = say(*words, "--plot"), say(*words)
    assert drawn.endswith(table)
    above = drawn.removesuffix(table).splitlines()
    assert len(above) == 10
    assert all(re.fullmatch(r"[-\d,. ]{12} [\u2800-\u28ff]*", line) for line in above), above
    assert above[0].split()[0] == {"pnl": "25.12", "funding": "38.25", "tax": "25.62"}[words[0]]


@pytest.mark.parametrize("words", [("pnl",), ("trades",), ("ledger",), ("pnl", "--by", "symbol")])
def test_what_has_no_curve_says_so(world: World, words: tuple[str, ...]) -> None:
    """A curve that does not exist is not silently left out: exit 2, with what has one."""
    result = Shell(VirtualClock(world.clock.now()))("report", *words, "--plot", FUNDARB_HOME="/nowhere")
    assert result.exit_code == 2
    assert "--by day or month" in result.stderr


def test_lots_at_average_cost(say: Say) -> None:
    """The other method, with the sums of both."""
    golden("report-tax-average-80.txt", say("tax", "--lots", "average"))


def test_times_may_name_their_zone(say: Say) -> None:
    """An offset, Z, ``local`` or nothing (UTC): the same instant, the same report."""
    utc = say("funding", "--since", "2026-01-08T08:00")
    assert utc.count("\n") < say("funding").count("\n")
    assert say("funding", "--since", "2026-01-08T08:00Z") == utc
    assert say("funding", "--since", "2026-01-08T10:00+02:00") == utc
    here = datetime(2026, 1, 8, 8, tzinfo=UTC).astimezone().replace(tzinfo=None).isoformat()
    assert say("funding", "--since", f"{here} local") == utc


def test_a_time_of_two_zones_is_refused() -> None:
    """``local`` after an offset or a Z contradicts it: exit 2, naming what was written."""
    shell = Shell(VirtualClock(datetime(2026, 1, 8, tzinfo=UTC)))
    for text in ("2026-01-07T00:00+02:00 local", "2026-01-07T00:00Z local"):
        refused = shell("report", "funding", "--since", text, FUNDARB_HOME="/nowhere")
        assert refused.exit_code == 2
        assert f"'{text}' names two zones" in " ".join(refused.stderr.split())


def test_nothing_is_valued_where_nothing_was_kept(shell: Shell) -> None:
    """Without a database there is no snapshot whose prices could be named, and nothing is known of the
    result: null and missing, not zero, and each kind of report says why.
    """
    result = shell("report", "pnl")
    assert result.exit_code == 0
    assert "nothing was held" in result.stdout
    assert "snapshot" not in result.stdout + result.stderr
    total = shell.json("report")["data"]["total"]
    figures = [total[name] for name in ("net", "funding", "fees", "interest", "gross")]
    assert (figures, total["coverage"]) == ([None] * 5, "missing")
    assert shell.json("report", "tax")["data"]["coverage"] == "missing"
    for kind in KINDS:
        (said,) = shell.json("report", kind)["warnings"]
        assert "nothing has been traded here yet" in said["message"], kind


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_said_whose_books_they_are(shell: Shell, kind: str, tmp_path: Path) -> None:
    """A report of another venue's books names that venue and its mode, in the envelope and on the page, and
    warns that they are not the ones asked for, once, whether or not the venue can be reached.
    """
    url = url_of(tmp_path / "other.sqlite3")
    with Store.open(url, clock=shell.clock) as store:
        store.identity.create(venue="bybit", mode="live", instance="main", uid="7", tag="abcd")
    words = ("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "--db", url, "report", kind)
    found = shell.json(*words)
    assert (found["venue"], found["mode"]) == ("bybit", "live")
    (said,) = (one["message"] for one in found["warnings"] if "belongs to venue 'bybit'" in one["message"])
    page = shell(*words, "--format", "html").stdout
    assert '<p class="place">bybit (live), ' in page
    assert f'<p class="note">{escape(said)}</p>' in page


# ---------------------------------------------------------------------------------------------------- HTML


@pytest.mark.parametrize("kind", KINDS)
def test_html_stands_alone(say: Say, kind: str, tmp_path: Path) -> None:
    """One file with everything inside: its policy forbids any request, and it names no other place."""
    target = tmp_path / "report.html"
    say(kind, "--format", "html", "-o", str(target))
    text = target.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href|action)\s*=\s*["']""", text)
    assert not re.search(r"@import|url\(", text)
    found = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert len(found["rows"]) == len(json.loads(say(kind, "--json"))["data"]["rows"])


@pytest.mark.parametrize("kind", KINDS)
def test_html_holds_what_it_held(say: Say, kind: str) -> None:
    """The page's structure, its notes and every figure of its table and charts are as they were; style and
    scripts, which are files of their own, are left out.
    """
    page = say(kind, "--format", "html")
    data = page.split('id="data">')[1].split("</script>")[0]
    told = json.dumps(json.loads(data), indent=1, ensure_ascii=False)
    page = page.replace(data, f"\n{told}\n")
    page, scripts = re.subn(r"<script>.*?</script>", "<script>…</script>", page, flags=re.DOTALL)
    page, styles = re.subn(r"<style>.*?</style>", "<style>…</style>", page, flags=re.DOTALL)
    assert (scripts, styles) == (2, 1)
    golden(f"report-{kind}.html", page)


def test_a_page_says_what_a_person_is_warned_of(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands under a table as a warning stands in the page too, harmless whatever is in it."""
    told = Reporter.pnl

    def warned(self: Reporter, query: ReportQuery) -> PnlReport:
        return replace(told(self, query), warnings=("BTC: closed by <hand>",))

    monkeypatch.setattr(Reporter, "pnl", warned)
    assert '<p class="note">BTC: closed by &lt;hand&gt;</p>' in say("pnl", "--format", "html")


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one sale it is not known what it brought."""
    told = Reporter.tax

    def forgetful(self: Reporter, query: ReportQuery, method: LotMethod = LotMethod.FIFO) -> TaxReport:
        found = told(self, query, method)
        number = next(number for number, row in enumerate(found.rows) if row.kind == "sale")
        row = replace(found.rows[number], proceeds=None, gain=None)
        rows = (*found.rows[:number], row, *found.rows[number + 1 :])
        return replace(found, rows=rows, unknown=1, coverage=Coverage.PARTIAL)

    monkeypatch.setattr(Reporter, "tax", forgetful)


@pytest.mark.usefixtures("unknown")
def test_a_tax_report_with_an_unknown_gain_in_each_form(say: Say) -> None:
    """A sale of unknown proceeds is a dash, an empty cell, a null; the curve goes on without it, and how many
    there are is said.
    """
    table, drawn = say("tax"), say("tax", "--plot")
    assert "1 disposal of unknown proceeds: in no sum" in table
    assert drawn.endswith(table)
    assert drawn.splitlines()[0].split()[0] == "23.62"
    assert re.search(r"sale +BTC .* – ", table)
    (sold, _) = (line for line in say("tax", "--format", "csv").splitlines() if ",sale," in line)
    assert sold.split(",")[5] == sold.split(",")[7] == ""
    page = json.loads(say("tax", "--format", "html").split('id="data">')[1].split("</script>")[0])
    (sale, _) = (row for row in page["rows"] if row[1] == "sale")
    assert (sale[5], sale[7]) == (None, None)
    assert ["disposals of unknown proceeds, in no sum", "1"] in page["figures"]
    values = page["charts"][0]["series"][0]["values"]
    assert (len(values), values[-1]) == (len(page["rows"]), "23.621616")
    assert None not in values


@pytest.mark.proof
@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: Debian's chromium, which .ci/run installs")
@pytest.mark.usefixtures("unknown")
def test_an_unknown_gain_in_a_browser(say: Say, tmp_path: Path) -> None:
    """The page with a null among its figures is drawn and filled as any other."""
    target = tmp_path / "report.html"
    say("tax", "--format", "html", "-o", str(target))
    found = browsed(target, tmp_path / "profile")
    assert 'data-ready="47"' in found
    assert found.count("<canvas") == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [80, 160])
def test_large_figures_and_long_names_are_never_cut(world: World, kind: str, width: int) -> None:
    """Millions of a coin with the longest name there is: columns are left out, no figure is cut."""
    found = getattr(reporter(world), kind)(ReportQuery())
    shown = Session(environ={}, clock=world.clock)
    paper = io.StringIO()
    shown.out = Console(file=paper, width=width)
    render(shown, kind, found=_large(found))
    lines = paper.getvalue().splitlines()
    assert len(lines) > 2
    assert not [line for line in lines if "…" in line or len(line.rstrip()) > width]


def _large(value: Any) -> Any:
    """A report with every amount a hundred thousand times as large, and of a coin with a long name."""
    if isinstance(value, Decimal):
        return value * D("123456.7")
    if isinstance(value, tuple):
        return tuple(map(_large, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _large(getattr(value, item.name)) for item in fields(value)})
    return (
        {"BTCUSDT": "1000000MOGUSDT", "BTC": "1000000MOG"}.get(value, value) if type(value) is str else value
    )


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: Debian's chromium, which .ci/run installs")
@pytest.mark.parametrize("kind", KINDS)
def test_html_in_a_browser(say: Say, kind: str, tmp_path: Path) -> None:
    """A headless browser draws the charts and fills the table; nothing fails and nothing is asked for."""
    target = tmp_path / "report.html"
    say(kind, "--format", "html", "-o", str(target))
    rows = json.loads(target.read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])["rows"]
    found = browsed(target, tmp_path / "profile")
    assert f'data-ready="{len(rows)}"' in found
    assert found.count("<canvas") == (0 if kind == "ledger" else 1)
    assert found.count("<tr") >= len(rows) + 1


def browsed(page: Path, profile: Path) -> str:
    """The document of a page after its scripts have run."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--virtual-time-budget=4000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90)
    return done.stdout
