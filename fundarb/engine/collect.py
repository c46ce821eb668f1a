"""The collector: brings the books up to what the venue shows, fact by fact, each exactly once.

Reads executions and transaction log since the last cursor with an overlap, decides whose each row is, and
books what is missing: fills that nobody saw (a forced reduction, an answer that was lost), funding,
interest, transfers, strangers' trades. All reads come first; if one fails nothing is booked. It sends no
orders and judges no position: that is ``reconcile``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fundarb.clock import Clock
from fundarb.core.account import Transaction
from fundarb.core.events import AlertRaised
from fundarb.core.ledger import Account, ChainBreak
from fundarb.core.market import Category
from fundarb.core.money import CASH_STEP
from fundarb.core.orders import ExecKind, Execution, Leg
from fundarb.core.shares import shared_out
from fundarb.core.transactions import MATCHED_KINDS, SETTLEMENT, account_of, execution_key
from fundarb.crash import Point
from fundarb.engine.booking import book_execution
from fundarb.engine.coin_prices import learn, wanted
from fundarb.engine.forced import taken_from, tell_forced, tell_stranger
from fundarb.engine.funding import MARK_PATIENCE, FundingBook
from fundarb.engine.held import Coming, nobody_knows
from fundarb.engine.holes import DEEPEST, holes, judge
from fundarb.engine.late import book_own
from fundarb.engine.opening import SOURCES, Opening
from fundarb.engine.parked import Parked
from fundarb.engine.ports import MarketData, Trading
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement
from fundarb.store.ledger_tables import RowState

OVERLAP: Final = timedelta(minutes=10)
"""How far each reading reaches back behind the last one: rows appear late."""
PATIENCE: Final = timedelta(minutes=10)
"""How long a trade row may wait for its execution before it counts as unexplained."""
_AHEAD: Final = timedelta(minutes=1)
_BATCH: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectResult:
    """What one reading found. ``pending``: settlements at which we held and that the venue has not shown
    yet.

    ``forced`` are executions that no order of ours made (ADL, liquidation, delivery); ``unknown`` the
    kinds of rows that went to suspense.
    """

    executions: int
    foreign: int
    transactions: int
    forced: tuple[Execution, ...]
    funding: tuple[Settlement, ...]
    pending: tuple[Settlement, ...]
    unknown: tuple[str, ...]
    chain_breaks: tuple[ChainBreak, ...]

    @property
    def changed(self) -> bool:
        """Whether anything new was booked."""
        return bool(self.executions or self.foreign or self.transactions)


@dataclass(slots=True)
class _Tally:
    """What a reading has done so far."""

    executions: int = 0
    foreign: int = 0
    transactions: int = 0
    forced: list[Execution] = field(default_factory=list)
    funding: list[Settlement] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class Collector:
    """Books everything the venue shows. One per writer."""

    def __init__(
        self,
        store: Store,
        trading: Trading,
        *,
        clock: Clock,
        market: MarketData | None = None,
        coming: Coming = nobody_knows,
    ) -> None:
        """``market`` gives the settled rates for the expected funding, without which expectations stay
        unknown, and the prices of coins; ``coming`` tells when a symbol settles next.
        """
        self._store = store
        self._trading = trading
        self._clock = clock
        self._market = market
        self._funding = FundingBook(store, market, coming=coming)
        self._parked = Parked(store)
        self._opening = Opening(store, trading, market=market)

    def open_books(self) -> bool:
        """Book the opening balances, once in the life of a database; True if that was now."""
        return self._opening.open_books()

    # --------------------------------------------------------------------------------------- reading

    def book_fills(self) -> None:
        """Book the executions of both markets alone, so that what is naked is known while the transaction log
        cannot be read. The cursors stay: ``collect`` reads them again with the log. ``Unavailable``: nothing
        was booked.
        """
        self.open_books()
        self._book_executions(self._executions(self._trading.stamp()), _Tally())

    def collect(self, *, most_rates: int | None = None) -> CollectResult:
        """Read everything since the last time and book what is missing; repeating it changes nothing.

        ``Unavailable``: a reading failed and nothing was booked. ``most_rates`` bounds the requests for
        settled rates, one for each symbol that is due; whoever is left out is asked for the next time.
        """
        self.open_books()
        until = self._trading.stamp()
        waiting = self._store.ledger.log.waiting()
        executions, since = self._executions(until), self._log_since(until, waiting)
        rows = self._trading.transactions(since, until + _AHEAD)
        coins = wanted(self._store, executions=executions, rows=rows)
        learn(self._store, coins, trading=self._trading, market=self._market, at=until)
        tally = _Tally()
        self._book_executions(executions, tally)
        self._parked.take_back_found()
        self._book_rows((*self._store.ledger.log.waiting(), *rows), until, tally=tally)
        breaks = self._prove_chain(rows, since, until=until)
        previous = self.cursor("transactions")
        pending = self._funding.expect(until, previous=previous, at_most=most_rates)
        with self._store.transaction(before=Point.CURSOR_BEFORE_COMMIT, after=Point.CURSOR_AFTER_COMMIT):
            for source in SOURCES:
                self._store.meta.set(f"collect.{source}", until.isoformat())
        return CollectResult(
            executions=tally.executions,
            foreign=tally.foreign,
            transactions=tally.transactions,
            forced=tuple(tally.forced),
            funding=tuple(tally.funding),
            pending=pending,
            unknown=tuple(tally.unknown),
            chain_breaks=breaks,
        )

    def _executions(self, until: datetime) -> list[Execution]:
        """Those since the last time, and as far back as a trade of the log still lacks its execution, or a
        payment the mark of its settlement.
        """
        log = self._store.ledger.log
        early = [*(row.time for row in log.waiting()), *self._parked.times()]
        marks = [item.settled_at for item in log.unmarked_settlements(since=until - MARK_PATIENCE)]
        return [
            row
            for category, wanted in ((Category.SPOT, early), (Category.LINEAR, [*early, *marks]))
            for row in self._trading.executions(
                category, self._since(category, until, wanted=wanted), until=until + _AHEAD
            )
        ]

    def _log_since(self, until: datetime, waiting: Sequence[Transaction]) -> datetime:
        """Where the log is read from: the last time, or as far back as something of it is still missing."""
        early = (row.time for row in waiting)
        pending = (item.settled_at for item in self._store.ledger.log.pending_settlements())
        lost = (hole.since for hole in holes(self._store) if hole.due(until))
        return self._since("transactions", until, wanted=[*early, *pending, *lost])

    def unbooked(self) -> tuple[tuple[Execution, ...], tuple[Transaction, ...]]:
        """What the venue shows and the books lack: executions and log rows; books nothing."""
        until = self._trading.stamp()
        executions = self._executions(until)
        rows = self._trading.transactions(self._log_since(until, ()), until + _AHEAD)
        known = self._store.executions.known(row.key for row in executions)
        seen = self._store.ledger.log.states(row.key for row in rows)
        return (
            tuple(row for row in executions if row.key not in known),
            tuple(row for row in rows if row.key not in seen),
        )

    def cursor(self, source: str) -> datetime | None:
        """Until when a source (``spot``, ``linear``, ``transactions``) has been read; None if never."""
        return read_until(self._store, source)

    def _since(self, source: str, until: datetime, *, wanted: Iterable[datetime]) -> datetime:
        """Where to begin: behind the cursor by the overlap, or earlier where something is still missing; what
        was not read yet is read however long ago that is.
        """
        cursor, deepest = self.cursor(source) or until, until - DEEPEST
        return min((until, cursor, *(max(moment, deepest) for moment in wanted))) - OVERLAP

    # ------------------------------------------------------------------------------------ executions

    def _book_executions(self, rows: Sequence[Execution], tally: _Tally) -> None:
        """Book the new ones, oldest first, a batch in each transaction."""
        known = self._store.executions.known(row.key for row in rows)
        new = sorted((row for row in rows if row.key not in known), key=lambda row: (row.time, row.exec_id))
        for start in range(0, len(new), _BATCH):
            with self._store.transaction(before=Point.FILL_BEFORE_COMMIT, after=Point.FILL_AFTER_COMMIT):
                for row in new[start : start + _BATCH]:
                    self._book_execution(row, tally)

    def _book_execution(self, row: Execution, tally: _Tally) -> None:
        intent = self._store.intents.find(row.link_id) if row.link_id else None
        if intent is not None:
            ours = book_own(self._store, row, intent=intent)
            tally.executions += ours
            tally.foreign += not ours
            return
        forced = taken_from(self._store, row)
        if forced is not None:
            position, held = forced
            mine, rest = shared_out(row, held)
            if book_execution(self._store, mine, position=position, leg=Leg.PERP, forced=True):
                tally.executions += 1
                tell_forced(self._store, mine, position=position)
            tally.forced.append(mine)
            tally.foreign += rest is not None and self._store.executions.add(rest)
            return
        # funding rows are kept for their settlement mark, and are nobody's trade
        added = self._store.executions.add(row)
        if added:
            tell_stranger(self._store, row)
        tally.foreign += added and row.kind is not ExecKind.FUNDING

    # ------------------------------------------------------------------------------- transaction log

    def _book_rows(self, rows: Sequence[Transaction], until: datetime, *, tally: _Tally) -> None:
        """Book or match each row once, oldest first, a batch in each transaction."""
        log = self._store.ledger.log
        unique = {row.key: row for row in rows}
        states = log.states(unique)
        contained = self._opening.contained(row for key, row in unique.items() if key not in states)
        todo = [row for key, row in unique.items() if states.get(key, RowState.WAITING) is RowState.WAITING]
        todo.sort(key=lambda row: (row.time, row.id, row.key))
        for start in range(0, len(todo), _BATCH):
            block = self._store.transaction(
                before=Point.FUNDING_BEFORE_COMMIT, after=Point.FUNDING_AFTER_COMMIT
            )
            part = todo[start : start + _BATCH]
            with block, self._store.ledger.batch(row.key for row in part):
                for row in part:
                    if row.key in contained:
                        log.keep(row, RowState.OPENING)
                    else:
                        self._book_row(row, until, tally=tally)

    def _book_row(self, row: Transaction, until: datetime, *, tally: _Tally) -> None:
        ledger = self._store.ledger
        if row.kind in MATCHED_KINDS:
            tally.transactions += self._match(row, until, tally=tally)
        elif row.kind == SETTLEMENT:
            settlement = self._funding.book(row)
            if settlement is not None:
                tally.funding.append(settlement)
            tally.transactions += 1
        else:
            self._warn_unknown(row, tally)
            tally.transactions += ledger.post_transaction(row)

    def _match(self, row: Transaction, until: datetime, *, tally: _Tally) -> bool:
        """Match a trade row with its execution; without one it waits, and after a while it is unexplained.

        A row under the link id of an order in doubt waits for as long as the doubt lasts: it is proof that
        the order traded, and no stranger's.
        """
        ledger = self._store.ledger
        key = execution_key(row)
        if self._store.executions.known([key]):
            owner, _ = self._store.executions.owner(key)
            difference = ledger.match_trade(row, key if owner is not None else None)
            if abs(difference) > CASH_STEP:
                self._alert(
                    "ledger_difference",
                    row,
                    message=f"the venue's {row.kind} moved {row.change} {row.coin}, we booked "
                    f"{row.change - difference}; the rest is in suspense",
                )
            return True
        intent = self._store.intents.find(row.link_id) if row.link_id else None
        in_doubt = intent is not None and not intent.state.terminal
        if in_doubt or until - row.time <= PATIENCE:
            ledger.log.keep(row, RowState.WAITING)
            return False
        self._warn_unknown(row, tally)
        self._parked.add(row)
        return ledger.post_transaction(row)

    def _warn_unknown(self, row: Transaction, tally: _Tally) -> None:
        """Say once that a row goes to suspense: its kind is unknown, or no execution belongs to it."""
        if account_of(row.kind) is Account.SUSPENSE:
            tally.unknown.append(row.kind)
            self._alert(
                "unknown_transaction",
                row,
                message=f"{row.kind} of {row.change} {row.coin} at {row.time.isoformat()} is booked "
                "to suspense: nobody has said what it is",
            )

    def _alert(self, code: str, row: Transaction, *, message: str) -> None:
        self._store.events.record(AlertRaised(code=code, subject=row.key, message=message))

    # ----------------------------------------------------------------------------------------- chain

    def _prove_chain(
        self, rows: Sequence[Transaction], since: datetime, *, until: datetime
    ) -> tuple[ChainBreak, ...]:
        """Prove the balance chain of every coin that moved and of every one with a hole, which is remembered
        and read again.
        """
        if not rows:
            return ()
        coins = {row.coin for row in rows} | {hole.coin for hole in holes(self._store)}
        breaks = self._store.ledger.chain_breaks(coins, since=since)
        judge(self._store, breaks, since=since, now=until)
        return breaks


def read_until(store: Store, source: str) -> datetime | None:
    """Until when a source (``spot``, ``linear``, ``transactions``) has been read; None if never."""
    text = store.meta.get(f"collect.{source}")
    return None if text is None else datetime.fromisoformat(text)
