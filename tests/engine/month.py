"""A month of accidents on the venue engine in process, and what must hold of its books on every day."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.pnl import Coverage
from fundarb.engine import equity_points
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import By, PnlReport, ReportQuery, bounds
from tests.engine.world import World
from tests.proof.market import RoughFeed
from tests.venue.toy import perp, spot

D = Decimal
HOUR = timedelta(hours=1)
EVERYTHING = ReportQuery()


def reporter(world: World) -> Reporter:
    """Reports with the live market and account."""
    return Reporter(
        world.writer.store, world.clock, market=world.exchange, trading=world.exchange, buffer=D("0.2")
    )


def collect(world: World) -> None:
    """Bring the books up to date."""
    world.writer.collector.collect()


def snapshot(world: World) -> None:
    """Keep a point of the equity curve."""
    equity_points.take_snapshot(
        world.writer.store, world.exchange, trading=world.exchange, at=world.clock.now()
    )


def market() -> RoughFeed:
    """Bitcoin, a coin whose contract carries a multiplier, and MNT for fees; books so thin that orders are
    filled in parts.
    """
    return RoughFeed(
        listed=(
            spot(),
            perp(),
            spot("PEPEUSDT", tick_size=D("0.0000001"), qty_step=D("0.1"), max_limit_qty=D(10**12)),
            perp(
                "1000PEPEUSDT", tick_size=D("0.0001"), qty_step=D(10), min_qty=D(10), max_limit_qty=D(10**9)
            ),
            spot("MNTUSDT", tick_size=D("0.0001"), qty_step=D("0.01"), max_limit_qty=D(10**9)),
        ),
        prices={
            "BTCUSDT": D(50_000),
            "PEPEUSDT": D("0.01"),
            "1000PEPEUSDT": D(10),
            "MNTUSDT": D("0.8"),
        },
        rate=D("0.0001"),
    )


@dataclass
class Month:
    """A month of accidents, drawn from a seed."""

    world: World
    dice: random.Random

    def live(self, days: int) -> None:
        """Every six hours something happens, prices move, and the identity is checked once a day."""
        for day in range(days):
            for _ in range(4):
                self.world.clock.sleep(6 * HOUR)
                self._move_prices()
                self._act()
            collect(self.world)
            snapshot(self.world)
            require_tied(self.world, day)

    def _move_prices(self) -> None:
        prices = self.world.feed.prices
        for coin, contract, factor in (("BTCUSDT", "BTCUSDT", 1), ("PEPEUSDT", "1000PEPEUSDT", 1000)):
            step = 1 + D(self.dice.randint(-300, 300)) / 10_000
            tick = D("0.1") if factor == 1 else D("0.0000001")
            prices[coin] = (prices[coin] * step).quantize(tick)
            prices[contract] = (prices[coin] * factor).quantize(D("0.1") if factor == 1 else D("0.0001"))
        mnt = 1 + D(self.dice.randint(-300, 300)) / 10_000
        prices["MNTUSDT"] = (prices["MNTUSDT"] * mnt).quantize(D("0.0001"))
        self.world.feed.rate = D(self.dice.randint(-30, 40)) / 100_000

    def _act(self) -> None:
        """One deed of ours, of the venue or of a stranger; half of the time the books are brought up to
        date.
        """
        held = {position.base for position in self.world.writer.store.positions.active()}
        base = self.dice.choice(["BTC", "PEPE"])
        contract = "BTCUSDT" if base == "BTC" else "1000PEPEUSDT"
        trader, accidents, dice = self.world.writer.trader, self.world.venue.world, self.dice
        if base not in held:
            trader.open(base, D(dice.randint(600, 9_000)))
        else:
            deeds: list[Callable[[], object]] = [
                lambda: trader.close(base, D("0.3")),
                lambda: trader.close(base, D(1)),
                lambda: trader.open(base, D(dice.randint(300, 900)), add=True),
                lambda: accidents.transfer("USDT", D(dice.randint(-300, 900)) + D("0.00000001")),
                lambda: accidents.adl(contract, D("0.2")),
                lambda: accidents.fees(Category.SPOT, mnt=dice.random() < 0.5),
                lambda: accidents.fees(Category.LINEAR, mnt=dice.random() < 0.5),
                lambda: accidents.borrow("MNT", D(dice.randint(1, 50))),
                lambda: accidents.transfer("MNT", D(dice.randint(-40, 60) or 1)),
                lambda: accidents.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.003")),
            ]
            dice.choice(deeds)()
        if dice.random() < 0.5:
            collect(self.world)


def met(world: World) -> frozenset[str]:
    """What a month has had: the kinds of facts, the coins of its fees, the signs of its funding, orders that
    were filled in parts.
    """
    store, found = world.writer.store, set()
    for journal in store.ledger.read.journals():
        found.add(journal.fact)
        for entry in journal.entries:
            if entry.account is Account.FEES:
                found.add(f"fee in {entry.coin}")
            if entry.account is Account.FUNDING:
                found.add("funding paid" if entry.amount > 0 else "funding received")
    fills = store.executions.between(world.venue.started, world.clock.now())
    if max(Counter(fill.link_id for fill in fills if fill.link_id).values()) > 1:
        found.add("partial fills")
    return frozenset(found)


def require_tied(world: World, day: int = 0) -> None:
    """Nothing is unexplained, to the last digit, and the wallet is the ledger's, coin by coin."""
    tie_out = reporter(world).pnl(EVERYTHING).tie_out
    assert tie_out.unexplained == 0, day
    ledger = world.writer.store.ledger
    owned = {coin: held.owned for coin, held in world.exchange.wallet().coins.items() if held.owned}
    assert ledger.balances() == owned
    assert ledger.read.unbalanced() == ()
    assert ledger.chain_breaks() == ()
    require_costs(world)


def require_costs(world: World) -> None:
    """What the holdings cost is what the entries say that the wallet's coins are worth: an unrealised result
    is reckoned from them, so no error of a cost can hide in it.
    """
    read = world.writer.store.ledger.read
    coins: dict[str, tuple[Decimal, Decimal]] = {}
    for item in read.totals():
        if item.account is Account.WALLET and item.coin not in QUOTE_COINS:
            amount, value = coins.get(item.coin, (D(0), D(0)))
            coins[item.coin] = (amount + item.amount, value + item.value)
    for coin, booked in coins.items():
        held = [holding for key, holding in read.holdings().items() if key.asset == coin]
        assert booked == (sum((i.quantity for i in held), D(0)), sum((i.cost for i in held), D(0))), coin


def require_same_facts(report: PnlReport) -> None:
    """The rows, the account's among them, add up to the total, and the total is what the identity explains.
    Where prices of a row were not measured, all figures but those add up.
    """
    tie_out, parts, total = report.tie_out, report.tie_out.parts, report.total
    assert parts is not None
    assert total.net is not None
    assert tie_out.equity_start is not None
    assert tie_out.equity_end is not None
    figures = ["realised", "fees", "interest", "funding"]
    if all(row.unrealised is not None for row in report.rows):
        figures.append("unrealised")
    for figure in figures:
        found = sum((getattr(row, figure) or D(0) for row in report.rows), D(0))
        assert found == getattr(total, figure), figure
    assert tie_out.explained == total.net + parts.external + parts.suspense
    assert tie_out.equity_end - tie_out.equity_start == tie_out.explained
    assert (tie_out.pending, tie_out.unexplained) == (D(0), D(0))


def require_spans_add_up(world: World, dice: random.Random) -> None:
    """Wherever time is cut: each span ties out over its own facts, whatever a row stands for, and two that
    adjoin are the whole. A span without a point of the curve in it has no identity to show, and only what
    was booked adds up.
    """
    begun, now = world.venue.started, world.clock.now()
    opened = world.writer.store.ledger.opened_at or now
    first_point = equity_points.points(world.writer.store)[0].at
    for _ in range(4):
        at = begun + (now - begun) * dice.randint(-10, 110) / 100
        measured = (at > first_point, at < now)
        for by in By:
            first = reporter(world).pnl(ReportQuery(by=by, until=at))
            second = reporter(world).pnl(ReportQuery(by=by, since=at))
            whole = reporter(world).pnl(ReportQuery(by=by))
            if at < opened:  # nothing is known of that time
                assert (first.rows, first.total.coverage) == ((), Coverage.MISSING)
            assert tuple(item.tie_out.explained is not None for item in (first, second)) == measured, at
            for report, is_measured in zip((first, second), measured, strict=True):
                if is_measured:
                    require_same_facts(report)
            figures = ["fees", "realised", "interest", "slippage"]
            if all(measured):
                assert first.tie_out.equity_end == second.tie_out.equity_start
                figures.append("unrealised")
            for figure in figures:
                early = D(0) if at < opened else getattr(first.total, figure)
                parts = early + getattr(second.total, figure)
                assert parts == getattr(whole.total, figure), (figure, at, by)


def require_days_alone(world: World, dice: random.Random | None = None, *, most: int = 6) -> None:
    """Every day and month (with dice: at most so many of each) says what the report of it alone says, to the
    last digit of every figure.
    """
    now = world.clock.now()
    for by in (By.DAY, By.MONTH):
        rows = reporter(world).pnl(ReportQuery(by=by)).rows
        for row in rows if dice is None else dice.sample(rows, min(len(rows), most)):
            since, until = bounds(row.key)
            query = ReportQuery(by=by, since=since, until=until if until < now else None)
            (alone,) = reporter(world).pnl(query).rows
            assert alone == row, row.key


def require_good_books(world: World, dice: random.Random) -> None:
    """Every grouping has the same total, made of the facts that the identity explains, wherever time is cut;
    and nothing but roundings stands in suspense.
    """
    reports = {by: reporter(world).pnl(ReportQuery(by=by)) for by in By}
    whole = reports[By.POSITION].total
    for by, report in reports.items():
        for figure in (
            "net",
            "funding",
            "fees",
            "interest",
            "realised",
            "unrealised",
            "slippage",
            "fees_by_coin",
            "gross",
        ):
            assert getattr(report.total, figure) == getattr(whole, figure), (by, figure)
        for figure in ("net_apr_on_capital", "gross_apr_on_notional"):
            one, other = getattr(report.total, figure), getattr(whole, figure)
            assert (one is None) == (other is None), (by, figure)
            assert one is None or abs(one - other) <= D("1e-11"), (by, figure)
        assert report.tie_out == reports[By.POSITION].tie_out
        require_same_facts(report)
    require_spans_add_up(world, dice)
    require_days_alone(world, dice)
    for journal in world.writer.store.ledger.read.journals():
        parts = [entry.amount for entry in journal.entries if entry.account is Account.SUSPENSE]
        assert all(abs(amount) <= D("1e-8") for amount in parts), journal.key
