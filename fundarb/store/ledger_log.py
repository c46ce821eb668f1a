"""The transaction log as the venue sent it, each row kept once under its key with what became of it; and
settlements.

Owns the tables ``ledger_transactions`` and ``ledger_settlements``. Rows are facts of the venue and never
change; their state does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.instants import from_ms
from fundarb.core.transactions import SETTLEMENT
from fundarb.store.ledger_pad import Batches, Pad
from fundarb.store.ledger_sql import Insert, Lookup, encoded, stored
from fundarb.store.ledger_tables import LedgerTables, RowState
from fundarb.store.records import Records
from fundarb.store.session import Session

_COLUMNS: Final = tuple(item.name for item in fields(Transaction))
_values: Final = attrgetter(*_COLUMNS)
_CHUNK: Final = 500  # bound values per statement, well below every engine's limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A funding settlement at which a position held ``contracts`` (negative = short): expected and received,
    + = received.

    ``rate`` and ``mark`` are what was settled, None while unknown; ``expected`` follows from them.
    ``received`` None: pending, the venue has not shown it yet (never zero for that). ``source_id`` is the key
    of the row that was booked.
    """

    position_id: str
    symbol: str
    settled_at: datetime
    contracts: Decimal
    rate: Decimal | None = None
    mark: Decimal | None = None
    expected: Decimal | None = None
    received: Decimal | None = None
    source_id: str = ""

    @property
    def difference(self) -> Decimal | None:
        """Received − expected, None while either is unknown."""
        return None if self.received is None or self.expected is None else self.received - self.expected


_SETTLED: Final = tuple(item.name for item in fields(Settlement))


class TransactionLog:
    """The venue's own rows in one database."""

    def __init__(self, session: Session, tables: LedgerTables, *, batches: Batches) -> None:
        """On one session; what ``batches`` holds back is written by ``flush``, or as soon as it is read."""
        self._session = session
        self._batches = batches
        self._rows = Records(session, tables.transactions, kind=Transaction)
        self._keys = Records(session, tables.transactions, kind=_keyed, names=("key", "state"))
        self._settlements = Records(session, tables.settlements, kind=Settlement)
        self._insert = Insert(session, tables.transactions, columns=(*_COLUMNS, "key", "state"))
        self._put = Insert(session, tables.settlements, columns=_SETTLED, keys=("position_id", "settled_at"))
        self._state_of = Lookup(session, tables.transactions, columns=("state",), keys=("key",))

    def keep(self, row: Transaction, state: RowState, *, known: RowState | None = None) -> None:
        """Keep a row, or change the state of one that is kept (``known`` saves looking for it)."""
        with self._batches.posting():
            if known is not None or self.state(row.key) is not None:
                self.set_state(row.key, state)
            else:
                self.add(row, state)

    def add(self, row: Transaction, state: RowState) -> None:
        """Keep a row that was never seen; part of the caller's transaction or batch."""
        kept = (*encoded(_values(row)), stored(row.key), state.value)
        pad = self._batches.pad
        if pad is None:
            self._insert([kept])
        else:
            pad.rows[row.key] = kept

    def flush(self, pad: Pad) -> None:
        """Write the rows that a batch holds back."""
        if pad.rows:
            self._insert(list(pad.rows.values()))
            pad.unseen.difference_update(pad.rows)
            pad.rows.clear()

    def look_up(self, pad: Pad, keys: Iterable[str]) -> None:
        """Learn at once which of these rows were never seen, so that ``state`` need not ask for each."""
        wanted = set(keys)
        pad.unseen |= wanted - self.states(wanted).keys()

    def _written(self) -> None:
        """Everything that was kept is in the database."""
        pad = self._batches.pad
        if pad is not None and pad.rows:
            self._batches.require_level(pad)
            self.flush(pad)

    def state(self, key: str) -> RowState | None:
        """What became of a row, None if it was never seen."""
        pad = self._batches.pad
        if pad is not None:
            if key in pad.rows:
                return RowState(pad.rows[key][-1])
            if key in pad.unseen:
                return None
        found = self._state_of(key)
        return None if found is None else found[0]

    def row(self, key: str) -> Transaction | None:
        """One row as the venue sent it, None if it was never seen."""
        return next(iter(self._many("WHERE key = ?", key)), None)

    def states(self, keys: Iterable[str]) -> dict[str, RowState]:
        """What became of those of these rows that were seen before."""
        self._written()
        wanted, found = list(keys), {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            found.update(dict(self._keys.many(f"WHERE key IN ({marks})", *part)))
        return found

    def set_state(self, key: str, state: RowState) -> None:
        """Say what became of a kept row."""
        with self._batches.posting():
            pad = self._batches.pad
            if pad is not None and key in pad.rows:
                pad.rows[key] = (*pad.rows[key][:-1], state.value)
            else:
                self._rows.update({"state": state}, "WHERE key = ?", key)

    def waiting(self) -> tuple[Transaction, ...]:
        """Trade rows whose execution is not known yet, oldest first."""
        # the very words of the partial index: SQLite uses it only for a condition it can recognise
        return self._many("WHERE state = 'waiting'")

    def booked(self) -> tuple[Transaction, ...]:
        """The rows that were booked by themselves, or as a stranger's, oldest first."""
        return self._many("WHERE state IN (?, ?)", RowState.POSTED, RowState.FOREIGN)

    def of_trade(self, trade_id: str, *states: RowState) -> tuple[Transaction, ...]:
        """The rows of one trade that are in one of these states."""
        marks = ", ".join("?" * len(states))
        return self._many(f"WHERE trade_id = ? AND state IN ({marks})", trade_id, *states) if trade_id else ()

    def of_coin(self, coin: str, *, since: datetime | None = None) -> tuple[Transaction, ...]:
        """All rows of one coin since an instant, oldest first, those before the opening excluded."""
        condition, values = "WHERE coin = ? AND state != ?", [coin, RowState.OPENING]
        if since is None:
            return self._many(condition, *values)
        return self._many(f"{condition} AND time >= ?", *values, since)

    def last_before(self, coin: str, instant: datetime) -> datetime | None:
        """The time of the newest row of a coin before an instant, None if there is none since the opening."""
        self._written()
        condition = "WHERE coin = ? AND state != ? AND time < ?"
        found = self._rows.value("max(time)", condition, coin, RowState.OPENING, instant)
        return None if found is None else from_ms(found)

    def coins(self) -> tuple[str, ...]:
        """Every coin that ever had a row."""
        self._written()
        sql = "SELECT DISTINCT coin FROM ledger_transactions ORDER BY coin"
        return tuple(coin for (coin,) in self._session.database.rows(sql, ()))

    def payments(self, symbol: str, coin: str, *, since: datetime) -> tuple[Transaction, ...]:
        """The booked payments of funding of one contract since an instant, oldest first."""
        condition = "WHERE coin = ? AND time >= ? AND kind = ? AND symbol = ? AND state = ?"
        return self._many(condition, coin, since, SETTLEMENT, symbol, RowState.POSTED)

    def _many(self, condition: str, *values: object) -> tuple[Transaction, ...]:
        self._written()
        return self._rows.many(f"{condition} ORDER BY time, id, key", *values)

    # ------------------------------------------------------------------------------------- settlements

    def put_settlement(self, settlement: Settlement) -> None:
        """Write a settlement, in place of what was known of it."""
        with self._session.transaction():
            self._put([[stored(getattr(settlement, name)) for name in _SETTLED]])

    def drop_settlement(self, position_id: str, settled_at: datetime) -> None:
        """Forget a settlement: nothing was held at it, and nothing paid for it."""
        with self._session.transaction():
            self._settlements.delete("WHERE position_id = ? AND settled_at = ?", position_id, settled_at)

    def settlement(self, position_id: str, settled_at: datetime) -> Settlement | None:
        """One settlement of a position."""
        return self._settlements.one("WHERE position_id = ? AND settled_at = ?", position_id, settled_at)

    def settlements(
        self, *, since: datetime | None = None, until: datetime | None = None, position_id: str | None = None
    ) -> tuple[Settlement, ...]:
        """The settlements of ``[since, until)``, oldest first."""
        wanted = (("settled_at >= ?", since), ("settled_at < ?", until), ("position_id = ?", position_id))
        given = [(text, value) for text, value in wanted if value is not None]
        conditions = " AND ".join(["TRUE", *(text for text, _ in given)])
        return self._settled(f"WHERE {conditions}", *(value for _, value in given))

    def unvalued_settlements(self, position_id: str, *, since: datetime) -> tuple[Settlement, ...]:
        """Those of a position since an instant whose rate or expectation is still unknown, oldest first."""
        condition = "WHERE position_id = ? AND settled_at >= ? AND (rate IS NULL OR expected IS NULL)"
        return self._settled(condition, position_id, since)

    def unmarked_settlements(self, *, since: datetime) -> tuple[Settlement, ...]:
        """Those since an instant that were paid and whose mark is still unknown, oldest first."""
        return self._settled("WHERE settled_at >= ? AND received IS NOT NULL AND mark IS NULL", since)

    def pending_settlements(self) -> tuple[Settlement, ...]:
        """Settlements at which we held and whose payment has not been seen."""
        return self._settled("WHERE received IS NULL")

    def _settled(self, condition: str, *values: object) -> tuple[Settlement, ...]:
        return self._settlements.many(f"{condition} ORDER BY settled_at, symbol, position_id", *values)


def _keyed(*, key: str, state: RowState) -> tuple[str, RowState]:
    return key, state
