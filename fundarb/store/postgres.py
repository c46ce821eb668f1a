"""The PostgreSQL connection as fundarb wants it: durable, exact, one writing transaction at a time, and
honest about what failed.

A writing transaction is READ COMMITTED behind a lock that all writers of the database take first
(``pg_advisory_xact_lock``): the semantics of SQLite's BEGIN IMMEDIATE. Its statements see everything that was
committed before it, and nobody commits beside it; under SERIALIZABLE or REPEATABLE READ the snapshot would
be older than the lock. So numbers grow in the order of the commits, and who reads events by their ids misses
none.

A writer that has lost any connection writes nothing more: what it had under way is undone by the server, or,
at a commit, of unknown fate, and only the next start finds out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import peewee
import psycopg
from psycopg.pq import TransactionStatus

from fundarb.errors import InvariantBroken, StateUnavailable
from fundarb.store.server import Connection, Server
from fundarb.store.server_errors import failed, unavailable

SCHEMA: Final = "fundarb"
"""The schema in which our tables are, whatever else the database holds."""

KEY: Final = 0x66756E64
"""``fund`` in ASCII: the first half of the keys of our advisory locks; they are of one database each."""
WRITER, WRITE, MIGRATION = 1, 2, 3
"""The second half: the writer for life, one writing transaction, a change of the schema."""

WRITE_SECONDS: Final = 15
READ_SECONDS: Final = 300
"""How long a statement of a writer, and of a reader, may take on the server."""
_MORE: Final = 5
"""So many seconds longer the client waits for the answer."""

_HOURS: Final = 6 * 3600
_PAGE: Final = 2000
"""Rows that a stream fetches at once."""

_FUNCTIONS: Final = (("dsum(", "sum("), ("dadd(", "numeric_add("))
"""NUMERIC is exact by itself: the sums that SQLite borrows from us are the server's own."""

_COMMON: Final = f"""
    SET search_path = {SCHEMA}; SET default_transaction_isolation = 'read committed';
    SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
    SET lock_timeout = '5s'; SET idle_session_timeout = 0; SET client_min_messages = 'warning';
"""
# a process that is stopped in the middle of a transaction must not keep all others waiting
_WRITER_SETTINGS: Final = f"""
    SET synchronous_commit = on; SET statement_timeout = '{WRITE_SECONDS}s';
    SET idle_in_transaction_session_timeout = '30s';
"""
_READER_SETTINGS: Final = f"""
    SET default_transaction_read_only = on; SET statement_timeout = '{READ_SECONDS}s';
    SET idle_in_transaction_session_timeout = '15min';
"""
_BEGIN: Final = f"BEGIN; SELECT pg_advisory_xact_lock({KEY}, {WRITE});"
_FENCED: Final = f"{_BEGIN} SELECT max(epoch) FROM writer"
_OPEN: Final = frozenset({TransactionStatus.INTRANS, TransactionStatus.INERROR})


class Postgres(peewee.PostgresqlDatabase):
    """One database of a server. Each thread that uses it gets its own connection; ``close_all`` closes every
    one.
    """

    returning = " RETURNING id"

    def __init__(self, server: Server, *, readonly: bool) -> None:
        """Nothing is reached for yet."""
        self.server = server
        self.name = server.name
        self.readonly = readonly
        self._opened: list[Connection] = []
        self._opened_lock = threading.Lock()
        self._lost = ""
        self._epoch = 0
        self._begin = _BEGIN
        self._texts: dict[str, str] = {}
        super().__init__(server.database, prefer_psycopg3=True)

    # ----------------------------------------------------------------------------------- connections

    def _connect(self) -> Connection:  # peewee's hook for a new connection of this thread
        seconds = READ_SECONDS if self.readonly else WRITE_SECONDS
        connection = self.server.connect(patience=seconds + _MORE)
        try:
            connection.execute(_COMMON + (_READER_SETTINGS if self.readonly else _WRITER_SETTINGS))
        except psycopg.Error as error:
            connection.close()
            raise unavailable(error, self.name) from error
        with self._opened_lock:
            self._opened.append(connection)
        return connection

    def _mine(self) -> Connection:
        """The connection of this thread; ``StateUnavailable`` once everything was closed or one was lost."""
        if self._lost:
            raise StateUnavailable(self._lost)
        if not self.autoconnect:
            raise StateUnavailable(f"database {self.name} was closed")
        untyped: Any = self
        connection: Connection = untyped.connection()  # peewee publishes half its types
        if connection.closed and not self.transaction_depth():
            self._forget(connection, "the connection was lost")
            self.require_there()
            self.dispose()  # a reader's: it may look again
            connection = untyped.connection()
        return connection

    def lose(self, why: str) -> None:
        """From now on nothing is read or written any more."""
        self._lost = self._lost or f"database {self.name}: {why}"

    def still_there(self) -> bool:
        """Whether no connection of ours was lost."""
        return not self._lost

    def require_there(self) -> None:
        """``StateUnavailable`` with what was lost."""
        if self._lost:
            raise StateUnavailable(self._lost)

    def close_all(self) -> None:
        """Close the connections of all threads; uncommitted work of theirs is lost."""
        with self._opened_lock:
            connections, self._opened = self._opened, []
            self.autoconnect = False
        for connection in connections:
            connection.close()
        self.dispose()

    # ------------------------------------------------------------------------------------ statements

    def _text(self, sql: str) -> str:
        """A statement as the server understands it."""
        text = self._texts.get(sql)
        if text is None:
            text = sql.replace("?", "%s")
            for ours, theirs in _FUNCTIONS:
                text = text.replace(ours, theirs)
            self._texts[sql] = text
        return text

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run one statement; failures are ours, and a transaction the server gave up runs nothing more."""
        connection = self._mine()
        if self.transaction_depth() and connection.pgconn.transaction_status not in _OPEN:
            raise self._given_up(connection)
        try:
            return self._run(connection, self._text(sql), params=params)
        except psycopg.Error as error:
            raise self._failed(error, connection) from error

    @staticmethod
    def _run(connection: Connection, text: str, *, params: Any) -> Any:
        try:
            return connection.execute(text, tuple(params) if params else None)
        except psycopg.DataError:
            if not params or not any(isinstance(value, str) and "\x00" in value for value in params):
                raise
        # found before anything was sent; no text of this server can hold such a character
        clean = [value.replace("\x00", "?") if isinstance(value, str) else value for value in params]
        return connection.execute(text, clean)

    def rows(self, sql: str, params: Sequence[object]) -> list[Any]:
        """Every row of a query."""
        found: list[Any] = self.execute_sql(sql, params).fetchall()
        return found

    def row(self, sql: str, params: Sequence[object]) -> Any:
        """The first row of a query, or None."""
        return self.execute_sql(sql, params).fetchone()

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows of a query one after the other, however many; inside a ``snapshot``."""
        with self._translating(), self._mine().cursor(name="stream") as cursor:
            cursor.itersize = _PAGE
            yield from cursor.execute(self._text(sql))

    def insert(self, sql: str, params: Sequence[object]) -> int:
        """Insert rows; the number of the last of them, where the table numbers its rows."""
        cursor = self.execute_sql(sql, params)
        return int(cursor.fetchall()[-1][0]) if cursor.description else 0

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise failed(error, self.name) from error

    def translated(self) -> AbstractContextManager[None]:
        """Turn what the library raises inside into ``StateUnavailable``."""
        return self._translating()

    def _failed(self, error: psycopg.Error, connection: Connection) -> Exception:
        """The exception for a failed statement; a lost connection is lost for good, to a reader for this
        once.
        """
        if connection.closed:
            self._forget(connection, f"{' '.join(str(error).split())}; the connection was lost")
        return failed(error, self.name)

    def _given_up(self, connection: Connection) -> StateUnavailable:
        if connection.closed:
            self._forget(connection, "the connection was lost")
        return StateUnavailable(f"database {self.name}: the transaction was rolled back by the server")

    def _forget(self, connection: Connection, why: str) -> None:
        with self._opened_lock:
            if connection in self._opened:
                self._opened.remove(connection)
        if not self.readonly:
            self.lose(f"{why}; nothing is recorded any more: start again, the start finds out what is live")

    # ---------------------------------------------------------------------------------- transactions

    def alive_transaction(self) -> bool:
        """Whether the server still has the transaction of this thread open, be it a failed one."""
        untyped: Any = self
        return not self.is_closed() and untyped.connection().pgconn.transaction_status in _OPEN

    def unhurried(self) -> None:
        """On this thread's connection a statement may take hours: the schema is changed, or filled."""
        self.execute_sql("SET statement_timeout = 0")
        self.execute_sql("SET lock_timeout = '60s'")
        self._mine().patience = _HOURS

    def fence(self, epoch: int) -> None:
        """From now on write only while this is the newest epoch; 0: whatever the epoch."""
        self._epoch = epoch
        self._begin = _FENCED if epoch else _BEGIN

    def begin_immediate(self) -> None:
        """Begin, behind the lock of all writers; ``StateUnavailable`` if another one keeps it for too long,
        ``InvariantBroken`` if a later writer has taken over.
        """
        connection = self._mine()
        untyped: Any = self
        try:
            cursor = connection.execute(self._begin)  # one message to the server and one back
            newest = self._newest_epoch(cursor) if self._epoch else 0
        except psycopg.Error as error:
            self._undo(connection)
            raise self._failed(error, connection) from error
        if newest != self._epoch:
            self._undo(connection)
            raise InvariantBroken(f"epoch {self._epoch} is over: another writer has taken {self.name}")
        untyped.push_transaction(self)  # peewee's own list of what is open; the entry itself is never used

    @staticmethod
    def _newest_epoch(cursor: Any) -> int:
        while cursor.nextset():
            pass  # the answer is that of the last statement
        return int(cursor.fetchone()[0] or 0)

    def commit_immediate(self) -> None:
        """Make it durable, or raise ``StateUnavailable``: nothing of it is left then, or, if the connection
        was lost on the way, nobody knows before the next start.
        """
        connection = self._mine()
        try:
            if connection.pgconn.transaction_status != TransactionStatus.INTRANS:
                raise self._given_up(connection)
            try:
                done = connection.execute("COMMIT").statusmessage
            except psycopg.Error as error:
                raise self._uncertain(error, connection) from error
            if done != "COMMIT":  # the server's whole answer to the commit of a failed transaction
                raise self._given_up(connection)
        finally:
            self.rollback_immediate()

    def _uncertain(self, error: psycopg.Error, connection: Connection) -> Exception:
        if not connection.closed:
            return self._failed(error, connection)
        why = f"{' '.join(str(error).split())}; the connection was lost during a commit"
        self._forget(connection, f"{why}, and whether it is durable is not known")
        return StateUnavailable(self._lost)

    def rollback_immediate(self) -> None:
        """End it; nothing remains of what was not committed. A server that is gone undoes it by itself."""
        untyped: Any = self
        untyped.pop_transaction()
        if not self._lost and not self.is_closed():
            self._undo(untyped.connection())

    def _undo(self, connection: Connection) -> None:
        status = connection.pgconn.transaction_status
        if status == TransactionStatus.ACTIVE:  # interrupted in the middle of an answer
            connection.close()
        if status not in _OPEN:
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads that see one and the same moment."""
        connection = self._mine()
        untyped: Any = self
        try:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        except psycopg.Error as error:
            raise self._failed(error, connection) from error
        untyped.push_transaction(self)
        try:
            yield
        finally:
            self.rollback_immediate()
