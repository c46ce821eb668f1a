"""The schema moves forward only, one whole step at a time, with a copy of what was before."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fundarb.errors import Locked, StateUnavailable
from fundarb.store.database import Store
from fundarb.store.flock import FileLock, lock_path
from fundarb.store.migrate import migrate
from fundarb.store.migrations import MIGRATIONS, SCHEMA_VERSION
from fundarb.store.schema import Migration, Schema
from fundarb.store.sqlite import APPLICATION_ID
from tests.store.make import clock, made, opened, process


@pytest.fixture
def backend() -> str:
    """Versions in a file's header; those of a server's schema stand in test_server."""
    return "sqlite"


def test_versions_are_numbered_without_gaps() -> None:
    """Each migration leads from the version before it to its own."""
    assert [item.version for item in MIGRATIONS] == list(range(1, SCHEMA_VERSION + 1))


def test_a_fresh_database_has_the_newest_schema(store: Store) -> None:
    """Version and mark stand in the header."""
    assert store.database.execute_sql("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
    assert store.database.execute_sql("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def test_models_and_tables_agree(store: Store) -> None:
    """Every column of a model is in its table, of the same storage and nullness, and none is missing."""
    stored = {"TEXT": "TEXT", "BIGINT": "INTEGER", "INTEGER": "INTEGER", "INT": "INTEGER", "AUTO": "INTEGER"}
    for name in type(store.tables).__dataclass_fields__:
        meta = getattr(store.tables, name)._meta
        found = {
            row[1]: (row[2], bool(row[3] or row[5]))
            for row in store.database.execute_sql(f"PRAGMA table_info({meta.table_name})").fetchall()
        }
        wanted = {
            field.column_name: (stored[field.field_type.upper()], not field.null)
            for field in meta.sorted_fields
        }
        assert found == wanted, name


EXTRA = Migration(
    SCHEMA_VERSION + 1,
    "extra",
    lambda schema: schema.run("ALTER TABLE positions ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"),
)


def versions(path: Path) -> list[str]:
    """The copies that were made before migrations."""
    return sorted(item.name for item in path.parent.glob("*.schema-*"))


def test_an_older_database_is_backed_up_and_migrated(path: Path) -> None:
    """What was in it is still there, and a copy of the old state lies beside it."""
    made(path)
    assert migrate(path, clock=clock(), migrations=(*MIGRATIONS, EXTRA)) == SCHEMA_VERSION + 1
    (copy,) = versions(path)
    assert copy.startswith(f"fundarb.db.schema-{SCHEMA_VERSION}.20261122T090000")
    with closing(sqlite3.connect(path)) as now, closing(sqlite3.connect(path.with_name(copy))) as before:
        assert now.execute("SELECT base, colour FROM positions").fetchall() == [("BTC", "red")]
        assert before.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        assert before.execute("SELECT count(*) FROM positions").fetchone()[0] == 1


def test_every_earlier_version_migrates_to_the_newest(path: Path) -> None:
    """From a database of each version the remaining steps give the very schema of a fresh one."""
    path.parent.mkdir()
    fresh = path.with_name("fresh.db")
    opened(fresh).close()
    for start in range(1, SCHEMA_VERSION + 1):
        old = path.with_name(f"old{start}.db")
        old.touch()
        assert migrate(old, clock=clock(), migrations=MIGRATIONS[:start]) == start
        opened(old).close()
        assert schema_of(old) == schema_of(fresh)


def schema_of(path: Path) -> list[tuple[str, str]]:
    """Every table, index and trigger with its text."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    """Half of a step is none of it: the version, the tables and the rows are those of before."""
    made(path)
    before = schema_of(path)

    def broken(schema: Schema) -> None:
        schema.run("CREATE TABLE half (id INTEGER) {strict}")
        schema.execute("UPDATE positions SET base = ?", ("ETH",))
        schema.run("CREATE TABLE half (id INTEGER) {strict}")

    with pytest.raises(StateUnavailable, match="already exists"):
        migrate(
            path, clock=clock(), migrations=(*MIGRATIONS, Migration(SCHEMA_VERSION + 1, "broken", broken))
        )
    assert schema_of(path) == before
    with opened(path) as store:
        assert [item.base for item in store.positions.active()] == ["BTC"]


def test_a_migration_runs_once(path: Path) -> None:
    """The second start finds nothing to do, and makes no further copy."""
    made(path)
    steps = (*MIGRATIONS, EXTRA)
    migrate(path, clock=clock(), migrations=steps)
    later = clock()
    later.advance_to(later.now().replace(hour=11))
    migrate(path, clock=later, migrations=steps)
    assert len(versions(path)) <= 2
    with closing(sqlite3.connect(path)) as now:
        assert now.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION + 1


def test_nobody_migrates_under_a_writer(path: Path) -> None:
    """While a process of the older version holds the lock, the newer one refuses and changes nothing."""
    made(path)
    lock = FileLock(lock_path(path))
    assert lock.try_acquire()
    with pytest.raises(Locked, match="migrated"):
        migrate(path, clock=clock(), migrations=(*MIGRATIONS, EXTRA))
    lock.release()
    assert versions(path) == []


CREATE = """
print("made", flush=True)
sys.stdin.readline()
"""


def test_processes_that_create_the_same_file_at_once_agree(path: Path) -> None:
    """Whoever comes second finds the schema made."""
    with process(path, CREATE) as a, process(path, CREATE) as b, process(path, CREATE) as c:
        for child in (a, b, c):
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "made"
    with opened(path) as store:
        assert store.positions.active() == ()
