"""Coins of the account that nobody can price: never a gain, a loss, or a worth that is not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.lots import LotMethod
from fundarb.core.market import MarketSnapshot
from fundarb.core.pnl import Coverage
from fundarb.engine import equity_points, report_tax
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from fundarb.store.files import url_of
from tests.engine.test_coins_gone import EVERYTHING, HOUR, moved
from tests.engine.world import World, make_world
from tests.store.make import NOW
from tests.store.make import opened as open_store
from tests.store.test_ledger import wallet

D = Decimal
DAY = timedelta(days=1)


@dataclass
class Eyes:
    """The venue as it shows itself: what it says that NEW is worth (None: nothing), and whose pairs it has
    not.
    """

    world: World
    worth: Decimal | None = None
    gone: frozenset[str] = frozenset()

    def snapshot(self) -> MarketSnapshot:
        """Without the pairs that are gone."""
        found = self.world.exchange.snapshot()
        return replace(
            found, spot={symbol: row for symbol, row in found.spot.items() if symbol[:-4] not in self.gone}
        )

    def wallet(self) -> Wallet:
        """With what the books have of NEW."""
        found = self.world.exchange.wallet()
        held = self.world.writer.store.ledger.balances().get("NEW", D(0))
        known = {
            coin: replace(item, usd_value=None if coin in self.gone else item.usd_value)
            for coin, item in found.coins.items()
        }
        value = None if self.worth is None else held * self.worth
        new = replace(
            found.coins["USDT"], coin="NEW", wallet=held, equity=held, usd_value=value, borrowed=D(0)
        )
        return replace(found, coins=known | {"NEW": new})

    def positions(self) -> tuple[PositionReport, ...]:
        """As they are."""
        return self.world.exchange.positions()

    def point(self) -> EquityPoint:
        """Keep a point of the curve."""
        self.world.writer.collector.collect()
        return equity_points.take_snapshot(
            self.world.writer.store,
            self,  # type: ignore[arg-type]
            trading=self,  # type: ignore[arg-type]
            at=self.world.clock.now(),
        )

    def days(self, count: int) -> None:
        """So many days pass, with a point each six hours."""
        for _ in range(4 * count):
            self.world.clock.sleep(6 * HOUR)
            self.point()

    def reporter(self) -> Reporter:
        """Reports of what is stored."""
        return Reporter(self.world.writer.store, self.world.clock)


@pytest.fixture
def eyes(tmp_path: Path) -> Iterator[Eyes]:
    """A world whose account has USDT alone, its books open."""
    world = make_world(tmp_path / "unpriced.sqlite3")
    world.writer.collector.collect()
    yield Eyes(world)
    world.close()


def priced(eyes: Eyes, worth: str) -> None:
    """The venue says what NEW is worth, and the books learn it, as with the next fact of that coin."""
    eyes.worth = D(worth)
    eyes.world.writer.store.ledger.set_price("NEW", eyes.worth)


def test_a_first_price_is_no_gain(eyes: Eyes) -> None:
    """Coins that nobody could price get one: from before it on no result is known, of the account, the day,
    the total and the curve; later spans know theirs.
    """
    moved(eyes.world, "AIRDROP", 100)
    eyes.days(1)
    since = eyes.world.clock.now()
    eyes.days(1)
    quiet = eyes.reporter().pnl(ReportQuery(since=since))
    assert (quiet.total.net, quiet.total.coverage) == (D(0), Coverage.PARTIAL)
    assert any("what NEW is worth: carried at cost" in said for said in quiet.warnings)
    notes = eyes.reporter().equity(ReportQuery(since=since)).notes
    assert any("what NEW is worth: carried at cost" in note for note in notes)
    priced(eyes, "7")
    eyes.days(1)
    then = eyes.world.clock.now()
    for by in By:
        report = eyes.reporter().pnl(ReportQuery(by=by, since=since))
        assert (report.total.net, report.total.coverage) == (None, Coverage.PARTIAL), by
        assert any("NEW" in said for said in report.warnings)
    (account,) = eyes.reporter().pnl(ReportQuery(since=since)).rows
    assert (account.key, account.unrealised, account.net) == (ACCOUNT_ROW, None, None)
    curve = eyes.reporter().equity(ReportQuery(since=since))
    assert (curve.total_return, curve.max_drawdown) == (None, None)
    assert any("NEW" in note for note in curve.notes)
    assert {day.result for day in curve.daily if day.rate is None} == {None}
    priced(eyes, "8")
    eyes.days(2)
    later = eyes.reporter().pnl(ReportQuery(since=then)).total
    assert (later.net, later.coverage) == (D(100), Coverage.COMPLETE)
    assert eyes.reporter().equity(ReportQuery(since=then)).total_return is not None


def test_a_price_that_nobody_renews_is_none(eyes: Eyes) -> None:
    """A coin's pair disappears: the wallet's word counts; without that the last price keeps the equity from
    jumping for a day, and from then on what it is worth is not known, nor what was gained.
    """
    moved(eyes.world, "AIRDROP", 100, price=10)
    priced(eyes, "10")
    first = eyes.point()
    assert (first.equity, first.unpriced) == (D(101_000), ())
    eyes.world.clock.sleep(HOUR)
    since = eyes.world.clock.now()
    eyes.worth = D(9)
    assert eyes.point().equity == D(100_900)
    eyes.worth = None
    eyes.world.clock.sleep(HOUR)
    point = eyes.point()
    assert (point.equity, point.unpriced) == (D(100_900), ()), "nobody said for an hour"
    eyes.days(2)
    point = eyes.point()
    assert (point.equity, point.unpriced, point.tied) == (D(100_900), ("NEW",), True)
    report = eyes.reporter().pnl(ReportQuery(since=since))
    assert (report.total.net, report.total.coverage, report.tie_out.unexplained) == (
        None,
        Coverage.PARTIAL,
        None,
    )
    assert any("no price of NEW" in said for said in report.warnings)
    curve = eyes.reporter().equity(ReportQuery(since=since))
    assert (curve.total_return, curve.max_drawdown) == (None, None)
    eyes.worth = D(6)
    point = eyes.point()
    assert (point.equity, point.unpriced) == (D(100_600), ())
    assert eyes.reporter().pnl(ReportQuery(since=since)).total.net == D(-300)


def test_what_is_not_held_needs_no_price(eyes: Eyes) -> None:
    """The wallet lists a coin of which there is nothing: it is not named."""
    assert eyes.point().unpriced == ()


def test_an_unknown_row_of_a_coin_never_seen_is_not_complete(eyes: Eyes) -> None:
    """Coins that came nobody knows why, and whose worth nobody knows: account and total are partial, nothing
    is called their result, now or when a price comes; the tax export does not know what they cost.
    """
    moved(eyes.world, "NEVER_HEARD_OF", 50)
    eyes.days(1)
    report = eyes.reporter().pnl(EVERYTHING)
    (account,) = report.rows
    assert (account.key, account.coverage, account.net) == (ACCOUNT_ROW, Coverage.PARTIAL, None)
    assert (report.total.coverage, report.total.net) == (Coverage.PARTIAL, None)
    assert any("suspense in NEW" in said for said in report.warnings)
    priced(eyes, "7")
    eyes.days(1)
    assert eyes.reporter().pnl(EVERYTHING).total.net is None
    assert eyes.reporter().equity(EVERYTHING).total_return is None
    told = eyes.reporter().tax(EVERYTHING)
    assert ([lot.cost for lot in told.held], told.coverage) == ([None], Coverage.PARTIAL)


def test_a_day_of_nothing_else_has_a_row(eyes: Eyes) -> None:
    """A day on which only coins of unknown worth came is there, and its result is not known."""
    moved(eyes.world, "AIRDROP", 50)
    eyes.days(1)
    for by in By:
        rows = {row.key: row for row in eyes.reporter().pnl(ReportQuery(by=by)).rows}
        assert rows, by
        assert next(iter(rows.values())).net is None, by


@pytest.mark.parametrize("method", list(LotMethod))
def test_coins_that_came_at_an_unknown_worth_have_no_known_cost(eyes: Eyes, method: LotMethod) -> None:
    """They are held at a cost that is null, what they bring is no gain of so much, and is counted; averaged
    with others they make the average unknown. In the order of their coming the others keep theirs.
    """
    moved(eyes.world, "AIRDROP", 100)
    told = eyes.reporter().tax(EVERYTHING, method)
    assert [(lot.quantity, lot.cost) for lot in told.held] == [(D(100), None)]
    assert (told.unknown, told.coverage) == (0, Coverage.PARTIAL)
    moved(eyes.world, "AIRDROP", 20, price=2)
    moved(eyes.world, "INTEREST", -40, price=3)
    told = eyes.reporter().tax(EVERYTHING, method)
    (paid,) = (row for row in told.rows if row.quantity)
    assert (paid.quantity, paid.proceeds, paid.cost, paid.gain) == (D(40), D(120), None, None)
    assert (told.unknown, told.coverage) == (1, Coverage.PARTIAL)
    costs = [(lot.quantity, lot.cost) for lot in told.held]
    known = [(D(60), None), (D(20), D(40))]
    assert costs == (known if method is LotMethod.FIFO else [(D(80), None)])
    moved(eyes.world, "TRANSFER_OUT", -80, price=3)
    told = eyes.reporter().tax(EVERYTHING, method)
    assert {row.gain for row in told.rows if row.kind == "transfer"} == {D(0)}
    assert [lot.outside for lot in told.held] == [True] * len(known if method is LotMethod.FIFO else [1])
    assert told.unknown == 1


def test_suspense_that_cancels_in_value_is_shown(eyes: Eyes) -> None:
    """A purchase that nobody has explained, 100 NEW for 1,000 USDT, is worth nothing in sum: both amounts are
    named, and account and total are partial.
    """
    moved(eyes.world, "NEVER_HEARD_OF", 100, price=10)
    store = eyes.world.writer.store
    (row,) = (item for item in store.ledger.log.of_coin("NEW"))
    paid = replace(row, coin="USDT", change=D(-1_000), cash_flow=D(-1_000))
    assert store.ledger.post_transaction(paid)
    eyes.world.writer.collector.collect()
    for by in By:
        report = eyes.reporter().pnl(ReportQuery(by=by))
        assert (report.total.suspense, report.total.coverage) == (D(0), Coverage.PARTIAL), by
        assert report.rows[-1].coverage is Coverage.PARTIAL
        assert any("100 NEW, -1000 USDT" in said for said in report.warnings)


@pytest.mark.parametrize("stale", [False, True])
def test_what_was_paid_in_coins_of_unknown_worth_is_in_no_sum(eyes: Eyes, *, stale: bool) -> None:
    """Interest and fees are taken in a coin that had no price for days, or never one: what it brought and
    what was paid are null and counted, not nothing and not what it was worth another day.
    """
    moved(eyes.world, "AIRDROP", 20, price=2)
    if stale:
        priced(eyes, "3")
        eyes.world.clock.sleep(2 * DAY)
    moved(eyes.world, "INTEREST", -5)
    moved(eyes.world, "FEE_REFUND", -4)
    for method in LotMethod:
        told = eyes.reporter().tax(EVERYTHING, method)
        assert {(row.kind, row.quantity, row.proceeds, row.gain) for row in told.rows} == {
            ("interest", D(5), None, None),
            ("interest", D(0), D(0), None),
            ("fee", D(4), None, None),
            ("fee", D(0), D(0), None),
        }
        assert [row.expense for row in told.rows if row.kind == "fee" and not row.quantity] == [None]
        assert (told.unknown, told.gains[method.value]) == (4, D(0))
        assert told.coverage is Coverage.PARTIAL


@pytest.mark.parametrize("price", [None, D("0.00001")])
def test_dust_at_the_opening_has_a_worth_if_it_has_a_price(tmp_path: Path, price: Decimal | None) -> None:
    """What is worth less than a rounding is worth nothing, and that is known; what has no price is not."""
    with open_store(url_of(tmp_path / "dust.sqlite3")) as store:
        held = wallet(USDT="1000", NEW="0.00001")
        store.ledger.post_opening(held, NOW, prices={} if price is None else {"NEW": price})
        begun = equity_points.opening(store)
        assert begun is not None
        assert begun.unpriced == (("NEW",) if price is None else ())
        told = report_tax.tax(store, EVERYTHING, method=LotMethod.FIFO)
    known = (None, Coverage.PARTIAL) if price is None else (D(0), Coverage.COMPLETE)
    assert ([lot.cost for lot in told.held], told.coverage) == ([known[0]], known[1])
