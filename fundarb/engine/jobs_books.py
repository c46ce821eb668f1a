"""The jobs that keep the books: funding collected, books reconciled, equity noted, the day summed up,
copies made, settled rates read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

from fundarb.core.events import Event
from fundarb.core.money import ZERO, fixed, plain
from fundarb.core.states import PositionState
from fundarb.engine import equity, equity_points
from fundarb.engine.account_view import coins_there, sizes_agree
from fundarb.engine.clocks import look_at_clock
from fundarb.engine.daybook import midnight
from fundarb.engine.jobs import JobParts, JobReport
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import By, ReportQuery
from fundarb.engine.safety import AT_ONCE
from fundarb.engine.shut_out import passing_over
from fundarb.errors import ConfigError, StateUnavailable, Unavailable
from fundarb.store.backup import backup, rotate

_DAY = timedelta(days=1)
_WALK_EVERY = timedelta(minutes=10)
_JUST_NOW = timedelta(seconds=5)
_RECENTLY = timedelta(minutes=11)
_HISTORY = 40
"""How many perps, by open interest, the history job keeps settled rates of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayClosed(Event):
    """The daily summary: what ``report pnl`` says of that day. Amounts in quote, ``profit`` without deposits
    and withdrawals; None where it is not known (yet). ``coverage`` tells whether all that was due is in it.
    """

    day: str
    equity: Decimal | None
    profit: Decimal | None
    funding: Decimal | None
    fees: Decimal | None
    coverage: str
    positions_open: int
    control: str


class CollectFunding:
    """``collect_funding``: book what the venue shows since the last time."""

    def __init__(self, parts: JobParts) -> None:
        """Through the desk's collector."""
        self._parts = parts

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Collect once; ``Unavailable`` if the venue does not show everything."""
        wallet = self._parts.account.wallet()
        result = self._parts.collector.collect()
        self._parts.account.booked(wallet, result)
        got = sum((item.received for item in result.funding if item.received is not None), ZERO)
        parts = [f"{len(result.funding)} settlements ({plain(got)} USDT)"] if result.funding else []
        parts += [f"{len(result.pending)} pending"] if result.pending else []
        parts += [f"{result.executions} executions"] if result.executions else []
        if not parts:
            return JobReport(result="nothing", message="nothing new")
        return JobReport(message=", ".join(parts), notable=bool(result.funding))


class Reconcile:
    """``reconcile``: books against venue, repaired as the rules say.

    The wallet is compared each time, as every trade changes it; the whole walk (sizes, orders, executions,
    the transaction log) is made when anything differs, is in flight or is not as it should be, and every
    few minutes in any case.
    """

    def __init__(self, parts: JobParts) -> None:
        """Through the desk's reconciler."""
        self._parts = parts
        self._walked: timedelta | None = None

    def run(self, arguments: Mapping[str, object]) -> JobReport:
        """Compare, and walk if need be; ``Unavailable`` says that the walk did not come to its end: what is
        naked was hedged all the same, and nothing else is decided.
        """
        wallet = None
        with passing_over(self._parts.desk):  # the walk itself says what cannot be read
            if self._unchanged():
                return JobReport(message="wallet and sizes are unchanged")
            wallet = self._parts.account.wallet()
        repair = arguments.get("repair")
        result = self._parts.reconciler.run(repair=None if repair is None else bool(repair), patience=AT_ONCE)
        found = [item.id for item in result.loud]
        if result.unread is not None:
            self._walked = None
            raise result.unread
        look_at_clock(self._parts.desk)
        self._walked = None if found else self._parts.desk.clock.monotonic()
        if found:
            return JobReport(result="mismatch", message=", ".join(found), notable=True)
        if wallet is not None:
            self._parts.account.settled(wallet)
        if result.resolved or result.repaired:
            self._parts.account.forget()
            text = f"{len(result.resolved)} orders resolved, {len(result.repaired)} positions repaired"
            return JobReport(result="repaired", message=text, notable=True)
        return JobReport(message="books and venue agree")

    def _unchanged(self) -> bool:
        """Whether nothing can have happened since the last walk, as far as wallet and sizes tell."""
        desk, account = self._parts.desk, self._parts.account
        now = desk.clock.monotonic()
        if self._walked is None or now - self._walked >= _WALK_EVERY or desk.store.intents.open():
            return False
        held = desk.store.positions.active()
        if any(position.state is not PositionState.HEDGED for position in held):
            return False
        wallet = account.wallet(_JUST_NOW)
        if account.moved(wallet) or not coins_there(held, wallet, tolerance=desk.rules.tolerance):
            return False
        return sizes_agree(held, account.positions(_RECENTLY))


class Snapshot:
    """``snapshot``: one point of the equity curve."""

    def __init__(self, parts: JobParts) -> None:
        """Through the desk's venue."""
        self._parts = parts

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Measure and keep. What another job of this moment has just read is not read again, unless something
        was booked since or a balance moved: then everything is booked first and read anew, so that a point
        and the books are of one moment.
        """
        desk, account = self._parts.desk, self._parts.account
        wallet = account.wallet(_JUST_NOW)
        if account.moved(wallet):
            account.booked(wallet, self._parts.collector.collect())
            point = equity.measure(desk.store, desk.exchange, trading=desk.exchange, at=desk.clock.now())
        else:
            prices = equity.Prices.of(desk.market.at_most(_JUST_NOW))
            reports = account.positions(_JUST_NOW).values()
            point = equity.value(desk.store, prices, wallet=wallet, reports=reports, at=desk.clock.now())
        equity_points.keep(desk.store, point)
        return JobReport(message=f"equity {point.equity:.2f}{'' if point.tied else ', provisional'}")


class Digest:
    """``digest``: yesterday in one event, which goes to people."""

    def __init__(self, parts: JobParts) -> None:
        """From the desk's store, after a last look at what the venue shows of the day."""
        self._parts = parts
        self._collect = CollectFunding(parts)

    def run(self, arguments: Mapping[str, object]) -> JobReport:
        """Sum up the last full day (UTC); where the venue cannot be read, as far as it is known."""
        with passing_over(self._parts.desk):
            self._collect.run(arguments)
        store = self._parts.desk.store
        now = store.clock.now()
        end = midnight(now)
        query = ReportQuery(by=By.DAY, since=end - _DAY, until=end)
        day = Reporter(store, store.clock).pnl(query)
        equity_then, total = day.tie_out.equity_end, day.total
        if not day.rows and equity_then is None:
            return JobReport(result="nothing", message="no equity is known for yesterday")
        event = DayClosed(
            day=(end - _DAY).date().isoformat(),
            equity=equity_then,
            profit=total.net,
            funding=total.funding,
            fees=total.fees,
            coverage=total.coverage,
            positions_open=len(store.positions.active()),
            control=store.blocks.control(now),
        )
        store.events.record(event)
        gain = "result not known" if total.net is None else f"{fixed(total.net, 2, sign=True)} USDT"
        worth = "not known" if equity_then is None else f"{equity_then:.2f} USDT"
        return JobReport(message=f"{event.day}: {gain}, equity {worth}")


class Backup:
    """``backup``: a verified copy of the database; old ones beyond a fortnight of copies are deleted."""

    def __init__(self, parts: JobParts) -> None:
        """Into the folder of the parts."""
        self._parts = parts

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Copy; ``Unavailable`` if that fails: a full backup disk is no reason to stop trading."""
        store, folder = self._parts.desk.store, self._parts.backups
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            made: Path = backup(store, folder)
            rotate(folder, store.place.label)
        except (OSError, StateUnavailable, ConfigError) as error:
            raise Unavailable(f"no copy into {folder}: {error}") from error
        return JobReport(message=f"copied to {made.name}", notable=True)


class History:
    """``history``: settled rates of the most traded perps, which sharpen the forecasts."""

    def __init__(self, parts: JobParts) -> None:
        """Onto the shelf of the parts."""
        self._parts = parts

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Read what was settled since the last time."""
        quotes = self._parts.desk.market.refresh().perp.values()
        ranked = sorted(quotes, key=lambda quote: (-quote.open_interest_notional, quote.symbol))
        running = {quote.symbol: quote.funding for quote in ranked if quote.funding is not None}
        read = self._parts.shelf.refresh(dict(islice(running.items(), _HISTORY)))
        return JobReport(message=f"{len(read)} symbols read")
