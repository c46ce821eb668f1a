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
from typing import Any, Final

from fundarb.core.account import Transaction
from fundarb.store.ledger_sql import Insert, Lookup
from fundarb.store.ledger_tables import LedgerTables, RowState
from fundarb.store.session import Session

_COLUMNS: Final = tuple(item.name for item in fields(Transaction))


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


class TransactionLog:
    """The venue's own rows in one database."""

    def __init__(self, session: Session, tables: LedgerTables) -> None:
        """On one session."""
        self._session = session
        self._table = tables.transactions
        self._settlements = tables.settlements
        self._insert = Insert(session, tables.transactions)
        self._state_of = Lookup(session, tables.transactions, columns=("state",), keys=("key",))

    def keep(self, row: Transaction, state: RowState, *, known: RowState | None = None) -> None:
        """Keep a row, or change the state of one that is kept (``known`` saves looking for it)."""
        with self._session.transaction():
            if known is not None or self.state(row.key) is not None:
                self.set_state(row.key, state)
                return
            values = {name: getattr(row, name) for name in _COLUMNS}
            self._insert([{**values, "key": row.key, "state": state}])

    def state(self, key: str) -> RowState | None:
        """What became of a row, None if it was never seen."""
        found = self._state_of(key)
        return None if found is None else RowState(found[0])

    def states(self, keys: Iterable[str]) -> dict[str, RowState]:
        """What became of those of these rows that were seen before."""
        table, wanted, found = self._table, list(keys), {}
        for start in range(0, len(wanted), 500):
            query = table.select(table.key, table.state).where(table.key.in_(wanted[start : start + 500]))
            found.update({row["key"]: row["state"] for row in self._session.rows(query)})
        return found

    def set_state(self, key: str, state: RowState) -> None:
        """Say what became of a kept row."""
        table = self._table
        with self._session.transaction():
            self._session.execute(table.update(state=state).where(table.key == key))

    def waiting(self) -> tuple[Transaction, ...]:
        """Trade rows whose execution is not known yet, oldest first."""
        return self._many(self._table.state == RowState.WAITING)

    def of_trade(self, trade_id: str, state: RowState) -> tuple[Transaction, ...]:
        """The rows of one trade that are in a state."""
        return self._many(self._table.trade_id == trade_id, self._table.state == state) if trade_id else ()

    def of_coin(self, coin: str, *, since: datetime | None = None) -> tuple[Transaction, ...]:
        """All rows of one coin since an instant, oldest first, those before the opening excluded."""
        table = self._table
        conditions = [table.coin == coin, table.state != RowState.OPENING]
        if since is not None:
            conditions.append(table.time >= since)
        return self._many(*conditions)

    def last_before(self, coin: str, instant: datetime) -> datetime | None:
        """The time of the newest row of a coin before an instant, None if there is none since the opening."""
        table = self._table
        earlier = (table.coin == coin, table.state != RowState.OPENING, table.time < instant)
        row = self._session.row(table.select(table.time).where(*earlier).order_by(table.time.desc()))
        return None if row is None else row["time"]

    def coins(self) -> tuple[str, ...]:
        """Every coin that ever had a row."""
        table = self._table
        return tuple(
            row["coin"]
            for row in self._session.rows(table.select(table.coin).distinct().order_by(table.coin))
        )

    def _many(self, *conditions: Any) -> tuple[Transaction, ...]:
        table = self._table
        columns = [getattr(table, name) for name in _COLUMNS]
        query = table.select(*columns).where(*conditions).order_by(table.time, table.id, table.key)
        return tuple(Transaction(**row) for row in self._session.rows(query))

    # ------------------------------------------------------------------------------------- settlements

    def put_settlement(self, settlement: Settlement) -> None:
        """Write a settlement, in place of what was known of it."""
        table = self._settlements
        values = {item.name: getattr(settlement, item.name) for item in fields(Settlement)}
        with self._session.transaction():
            self._session.execute(
                table.insert(**values).on_conflict(
                    conflict_target=[table.position_id, table.settled_at],
                    preserve=[
                        getattr(table, name) for name in values if name not in {"position_id", "settled_at"}
                    ],
                )
            )

    def settlement(self, position_id: str, settled_at: datetime) -> Settlement | None:
        """One settlement of a position."""
        table = self._settlements
        found = self._settled(table.position_id == position_id, table.settled_at == settled_at)
        return found[0] if found else None

    def settlements(
        self, *, since: datetime | None = None, until: datetime | None = None, position_id: str | None = None
    ) -> tuple[Settlement, ...]:
        """The settlements of ``[since, until)``, oldest first."""
        table, conditions = self._settlements, []
        if since is not None:
            conditions.append(table.settled_at >= since)
        if until is not None:
            conditions.append(table.settled_at < until)
        if position_id is not None:
            conditions.append(table.position_id == position_id)
        return self._settled(*conditions)

    def pending_settlements(self) -> tuple[Settlement, ...]:
        """Settlements at which we held and whose payment has not been seen."""
        return self._settled(self._settlements.received.is_null())

    def _settled(self, *conditions: Any) -> tuple[Settlement, ...]:
        table = self._settlements
        query = table.select()
        if conditions:
            query = query.where(*conditions)
        rows = self._session.rows(query.order_by(table.settled_at, table.symbol, table.position_id))
        return tuple(Settlement(**row) for row in rows)
