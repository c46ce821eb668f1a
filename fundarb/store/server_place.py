"""A database on a PostgreSQL server: its side of everything that is asked of a database before it is open.

Our tables are in a schema of their own. The version of the schema stands in it and changes with the migration
in one transaction, behind a lock, so that a kill at any moment leaves a database of exactly one version; the
tables as they were are kept beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import peewee

from fundarb.clock import Clock
from fundarb.errors import ConfigError, Locked, Problem, StateUnavailable
from fundarb.store import advisory
from fundarb.store.backup import COPY_MARK
from fundarb.store.dump import export, models, pour, table_of
from fundarb.store.migrations import MIGRATIONS, SCHEMA_VERSION
from fundarb.store.ports import Holder
from fundarb.store.postgres import KEY, MIGRATION, SCHEMA, Postgres
from fundarb.store.schema import POSTGRES, Migration, Schema
from fundarb.store.server import Server
from fundarb.store.server_errors import forbidden
from fundarb.store.sqlite import Sqlite
from fundarb.store.transaction import alone

OLDEST: Final = 140_000
"""The oldest server that still gets corrections, as the server numbers its versions."""
_FACTS: Final = """
    SELECT current_setting('server_version_num')::int, current_setting('server_version'),
        current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes'),
        pg_is_in_recovery()
"""
_HOME: Final = "server.home"
"""Where the database was first written: the server's own number, and that of the database there."""
_WHERE: Final = """
    SELECT control.system_identifier || '/' || base.oid
    FROM pg_control_system() AS control, pg_database AS base WHERE base.datname = current_database()
"""
_PUT: Final = (
    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_TABLES: Final = "SELECT tablename FROM pg_tables WHERE schemaname = ? ORDER BY tablename"
_TEXTS: Final = """
    SELECT table_name, array_agg(column_name::text) FROM information_schema.columns
    WHERE table_schema = ? AND data_type = 'text' GROUP BY table_name ORDER BY table_name
"""
_MAKE: Final = (
    "the role must own the database, or: GRANT CREATE ON DATABASE … TO the role (once, to make the schema)"
)
_READ: Final = (
    f"GRANT USAGE ON SCHEMA {SCHEMA} TO the role; GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO the role"
)


class ServerPlace:
    """The place of one database of a server."""

    file: Path | None = None

    def __init__(self, url: str) -> None:
        """``ConfigError`` if the URL is none; nothing is reached for yet."""
        self.server = Server(url)
        self.name = self.url = self.server.name
        self.label = f"{re.sub(r'[^A-Za-z0-9_-]', '_', self.server.database)}.postgres"

    def exists(self) -> bool:
        """Whether our tables have been made; ``ConfigError`` or ``StateUnavailable`` if the server does not
        tell.
        """
        with self._opened(readonly=True) as database:
            return version_of(database) > 0

    def look(self) -> int:
        """The version of its schema; ``ConfigError`` with everything that makes the server unfit."""
        with self._opened(readonly=True) as database:
            found = list(problems(database, readonly=False))
            if found:
                raise ConfigError(*found)
            return version_of(database)

    def require_sound(self) -> None:
        """``StateUnavailable`` unless every row can be read. The server itself finds damage where its pages
        have checksums; whether indexes agree with their tables only its extension amcheck can tell.
        """
        for _ in self.search(()):
            pass

    def about(self) -> str:
        """The server's version, and whether the way to it is encrypted."""
        with self._opened(readonly=True) as database:
            version = database.row("SELECT current_setting('server_version')", ())[0]
            way = database.row("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()", ())
        encrypted = f"encrypted ({way[1]})" if way and way[0] else "not encrypted"
        return f"PostgreSQL {version}, {'this machine' if self.server.local else encrypted}"

    def prepare(self, *, clock: Clock, readonly: bool) -> None:
        """Leave it of this program's schema; a writer makes our schema if it is missing and migrates an older
        one (the tables as they were are kept). Sound, as far as the server's settings promise it.
        """
        with self._opened(readonly=readonly) as database:
            for problem in problems(database, readonly=readonly):
                raise ConfigError(problem)
            version = version_of(database)
            self._require_version(version, readonly=readonly)
            if version == SCHEMA_VERSION:
                if not readonly:
                    notice_copy(database)
                return
        self.migrate(clock=clock)

    def _require_version(self, version: int, *, readonly: bool) -> None:
        if version > SCHEMA_VERSION:
            message = f"{self.name} has schema {version}, this program knows {SCHEMA_VERSION}"
            raise ConfigError(
                Problem("--db", f"{message}: it belongs to a newer fundarb", "install that version")
            )
        if readonly and version == 0:
            remedy = "it is made by the first command that writes, or name the right one with --db"
            raise ConfigError(Problem("--db", f"there is nothing of fundarb in {self.name}", remedy))
        if readonly and version != SCHEMA_VERSION:
            message = f"{self.name} has schema {version}, this program reads {SCHEMA_VERSION}"
            remedy = "start the daemon or any writing command of this version: it migrates"
            raise ConfigError(Problem("--db", message, remedy))

    def migrate(self, *, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS) -> int:
        """Apply what is missing, in one transaction; the version afterwards. ``Locked`` if a writer of the
        older schema is at work.
        """
        lock = advisory.AdvisoryLock(self.server)
        try:
            with self._opened(readonly=False) as database:
                if 0 < version_of(database) < migrations[-1].version and not lock.try_acquire():
                    pid = (advisory.holder(self.server) or Holder()).pid or "unknown"
                    raise Locked(
                        f"{self.name} must be migrated, but process {pid} of an older fundarb works on it: "
                        "end it first"
                    )
                with _unhurried(database):
                    version = _migrate(database, migrations, stamp=_stamp(clock.now()))
                    notice_copy(database)
                return version
        finally:
            lock.release()

    def connect(self, *, readonly: bool) -> Postgres:
        """Open it, and connect at once."""
        database = Postgres(self.server, readonly=readonly)
        database.execute_sql("SELECT 1")
        return database

    def lock(self) -> advisory.AdvisoryLock:
        """The writer's lock."""
        return advisory.AdvisoryLock(self.server)

    def holder(self) -> Holder | None:
        """Who has the writer's lock; None if nobody."""
        return advisory.holder(self.server)

    def copy_to(self, target: Path, *, name: str, clock: Clock) -> None:
        """Fill an empty file with every committed row, as of one moment."""
        with self._opened(readonly=True) as database:
            self._require_version(version_of(database), readonly=True)
            export(database, target, name=name, clock=clock)

    def put(self, fresh: Path, at: datetime) -> str:
        """Put the rows of a database file in the place of what is here, in one transaction; the name of the
        schema in which the former tables are kept.
        """
        rows = Sqlite(fresh, readonly=True)
        try:
            with self._opened(readonly=False) as database, _unhurried(database):
                former = ""
                if version_of(database):
                    former = f"{SCHEMA}_before_restore_{_stamp(at)}"
                    database.execute_sql(f"ALTER SCHEMA {SCHEMA} RENAME TO {former}")
                _migrate(database, MIGRATIONS, stamp=_stamp(at))
                pour(rows, database)
                for statement in _numbering(database):
                    database.execute_sql(statement)
                database.execute_sql("DELETE FROM meta WHERE key = ?", (_HOME,))
            return former
        finally:
            rows.close_all()

    def search(self, needles: Iterable[bytes]) -> Iterator[str]:
        """The columns in which any of these bytes stands. Looked for here: a statement that named them would
        stand in the server's log.
        """
        wanted = tuple(needles)
        with self._opened(readonly=True) as database, database.snapshot():
            for table, names in database.rows(_TEXTS, (SCHEMA,)):
                columns = ", ".join(f'"{name}"' for name in names)
                found: set[str] = set()
                for row in database.stream(f'SELECT {columns} FROM "{table}"'):
                    found.update(name for name, text in zip(names, row, strict=True) if _has(text, wanted))
                yield from (f"{table}.{name}" for name in sorted(found))

    @contextmanager
    def _opened(self, *, readonly: bool) -> Iterator[Postgres]:
        """The database for a moment; a right that the role lacks is the configuration's problem."""
        database = Postgres(self.server, readonly=readonly)
        try:
            yield database
        except StateUnavailable as error:
            problem = forbidden(error, self.name, remedy=_READ if readonly else _MAKE)
            if problem is None:
                raise
            raise problem from error
        finally:
            database.close_all()


def _has(text: str | None, needles: Iterable[bytes]) -> bool:
    """Whether a text has any of these bytes in it."""
    return text is not None and any(needle in text.encode() for needle in needles)


_KNOWN_SCHEMA = "SELECT count(*) FROM pg_namespace WHERE nspname = ?"
"""Read from the table: ``to_regnamespace`` answers from a cache that may be older than the lock."""


def version_of(database: Postgres) -> int:
    """The version of our schema, 0 if it was not made yet; ``ConfigError`` if it is somebody else's."""
    if not database.row(_KNOWN_SCHEMA, (SCHEMA,))[0]:
        return 0
    tables = [name for (name,) in database.rows(_TABLES, (SCHEMA,))]
    if "schema_info" in tables:
        return int(database.row(f"SELECT version FROM {SCHEMA}.schema_info", ())[0])
    if tables:
        message = f"the schema {SCHEMA!r} of {database.name} belongs to another program"
        raise ConfigError(Problem("--db", message, "name another database"))
    return 0


def problems(database: Postgres, *, readonly: bool) -> Iterator[Problem]:
    """Why this server cannot be trusted with money, each with its remedy."""
    number, version, encoding, fsync, whole_pages, standby = database.row(_FACTS, ())
    name = database.name
    if number < OLDEST:
        yield Problem("--db", f"{name} is PostgreSQL {version}", f"fundarb needs {OLDEST // 10_000} or newer")
    if encoding != "UTF8":
        remedy = "create it with ENCODING 'UTF8' (createdb -E UTF8 -T template0 NAME)"
        yield Problem("--db", f"{name} has the encoding {encoding}", remedy)
    if readonly:
        return
    if standby:
        yield Problem("--db", f"{name} is a standby: it cannot be written", "name the primary server")
    if fsync != "on" or whole_pages != "on":
        off = "fsync" if fsync != "on" else "full_page_writes"
        message = f"{name} runs with {off} = off: a power cut would lose orders that were sent"
        yield Problem("--db", message, f"set {off} = on in postgresql.conf and reload")


@contextmanager
def _unhurried(database: Postgres) -> Iterator[None]:
    """One transaction, however long it takes, alone among all who write or change the schema."""
    database.unhurried()
    with alone(database):
        database.execute_sql(f"SELECT pg_advisory_xact_lock({KEY}, {MIGRATION})")
        yield


def _migrate(database: Postgres, migrations: Sequence[Migration], *, stamp: str) -> int:
    """Every missing step with its record, in the transaction around; the version afterwards."""
    version = version_of(database)  # read under the lock: another process may have been faster
    if version == 0:
        _make_schema(database)
    elif version < migrations[-1].version:
        _keep_tables(database, f"{SCHEMA}_schema_{version}_{stamp}")
    for migration in migrations:
        if version < migration.version:
            migration.apply(Schema(database, POSTGRES))
            database.execute_sql("UPDATE schema_info SET version = ?", (migration.version,))
            version = migration.version
    return version


def _stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dt%H%M%S%f")


def _numbering(database: Postgres) -> Iterator[str]:
    """What lets the numbers of each table go on behind its last row."""
    for model in models(database):
        if isinstance(model._meta.primary_key, peewee.AutoField):  # noqa: SLF001 - peewee's documented place
            table = table_of(model)
            yield (
                f"SELECT setval(pg_get_serial_sequence('{SCHEMA}.{table}', 'id'), max(id)) "
                f"FROM {table} HAVING max(id) IS NOT NULL"
            )


def notice_copy(database: Postgres) -> None:
    """Mark a database that was copied here from another server or another name: somebody may still trade with
    the original. The next writer's start treats it as a restored backup.
    """
    home = database.row(_WHERE, ())[0]
    known = database.row("SELECT value FROM meta WHERE key = ?", (_HOME,))
    if known is not None and known[0] == home:
        return
    with nullcontext() if database.in_transaction() else alone(database):
        database.execute_sql(_PUT, (_HOME, home))
        if known is not None:
            database.execute_sql(_PUT, (COPY_MARK, "a copy of another server's database"))


def _make_schema(database: Any) -> None:
    if not database.row(_KNOWN_SCHEMA, (SCHEMA,))[0]:
        database.execute_sql(f"CREATE SCHEMA {SCHEMA}")
    database.execute_sql(f"CREATE TABLE {SCHEMA}.schema_info (version BIGINT NOT NULL)")
    database.execute_sql(f"INSERT INTO {SCHEMA}.schema_info VALUES (0)")


def _keep_tables(database: Any, name: str) -> None:
    """A copy of every table as it is, in a schema of its own, within the same transaction."""
    database.execute_sql(f"CREATE SCHEMA {name}")
    for (table,) in database.rows(_TABLES, (SCHEMA,)):
        database.execute_sql(f'CREATE TABLE {name}."{table}" AS TABLE {SCHEMA}."{table}"')
