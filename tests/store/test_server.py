"""A PostgreSQL database before it is open: the address and its secrets, what is refused with which remedy,
the schema and its migrations.
"""

import os
import sys
from contextlib import closing
from decimal import Decimal
from typing import Any

import peewee
import psycopg
import pytest

from fundarb.errors import ConfigError, Locked, StateUnavailable
from fundarb.store import server_place
from fundarb.store.database import Store, exists
from fundarb.store.dump import models, table_of
from fundarb.store.fields import DecimalText
from fundarb.store.lock import WriterLock
from fundarb.store.migrations import MIGRATIONS, SCHEMA_VERSION
from fundarb.store.place import place_of
from fundarb.store.schema import Migration, Schema
from fundarb.store.server import Server
from fundarb.store.server_place import ServerPlace, version_of
from tests.postgres import Cluster
from tests.store.make import clock, opened, position, process
from tests.store.test_ledger_batch import books, live

# ------------------------------------------------------------------------------------------ the address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bot:s3cret@127.0.0.1:5433/funds", "postgresql://bot@127.0.0.1:5433/funds"),
        ("postgres://bot:s3cret@localhost/funds", "postgresql://bot@localhost/funds"),
        ("postgresql:///funds?host=/run/pg&password=s3cret", "postgresql:///funds?host=/run/pg"),
        ("postgresql://b%40t:s3cret@[::1]:5/f%20x", "postgresql://b%40t@[::1]:5/f%20x"),
        ("postgresql://h.example/f?sslmode=require", "postgresql://h.example/f?sslmode=require"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """Name and URL lead to the same database and carry no password, wherever it stood."""
    server = Server(url)
    assert server.name == server.url == shown
    assert "s3cret" not in repr(vars(server)) or server._settings["password"] == "s3cret"
    assert Server(shown).database == server.database


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://127.0.0.1:5432/", "names no database"),
        ("postgresql://127.0.0.1/x?options=-csynchronous_commit%3Doff", "'options' has no place"),
        ("postgresql://127.0.0.1/x?service=live", "'service' has no place"),
        ("postgresql://one,two/x", "several servers"),
        ("postgresql://127.0.0.1/x?nonsense=1", "is no PostgreSQL URL"),
        ("postgresql://bot:s3cret@[::1/x", "is no PostgreSQL URL"),
        ("postgresql://db.example.com/x?sslmode=prefer", "falls back to no encryption"),
        ("postgresql://db.example.com/x?sslmode=allow", "falls back to no encryption"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, words: str) -> None:
    """What is wrong with it is said, with the right form, and no secret."""
    with pytest.raises(ConfigError, match=words) as caught:
        place_of(url)
    assert "s3cret" not in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://db.example.com/x", "verify-full"),
        ("postgresql://10.0.0.5/x", "verify-full"),
        ("postgresql://db.example.com/x?sslmode=require", "require"),
        ("postgresql://db.example.com/x?sslmode=disable", "disable"),
        ("postgresql://127.0.0.1/x", None),
        ("postgresql://localhost/x", None),
        ("postgresql:///x?host=/run/postgresql", None),
        ("postgresql://localhost/x?hostaddr=10.0.0.5", "verify-full"),
        ("postgresql://[::1]/x?sslmode=require", "require"),
    ],
)
def test_another_machine_is_reached_encrypted_and_verified(url: str, mode: str | None) -> None:
    """Unless the URL says otherwise in so many words; an own machine needs nothing."""
    settings = Server(url)._settings
    assert settings.get("sslmode") == mode
    assert (mode == "verify-full") == ("sslrootcert" in settings)


def test_a_named_authority_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A private authority stands in the URL; the environment does not weaken what the URL leaves open."""
    monkeypatch.setenv("PGSSLMODE", "disable")
    settings = Server("postgresql://db.example.com/x?sslrootcert=/etc/own.pem")._settings
    assert (settings["sslmode"], settings["sslrootcert"]) == ("verify-full", "/etc/own.pem")


def test_an_environment_that_names_another_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL without a host goes where PGHOST says, and is encrypted accordingly."""
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert Server("postgresql:///x")._settings["sslmode"] == "verify-full"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed the extra is told how."""
    for name in [name for name in sys.modules if name.startswith("fundarb.store.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'fundarb\[postgres\]'"):
        place_of("postgresql://127.0.0.1/x")


# ------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def bare(cluster: Cluster, server_url: str) -> str:
    """The name of a database in which nothing was made yet."""
    return cluster.database()


def test_nothing_is_made_by_looking(cluster: Cluster, bare: str) -> None:
    """A reader finds nothing and leaves nothing; the first writer makes everything."""
    url = cluster.address(bare)
    assert exists(url) is False
    assert place_of(url).look() == 0
    with pytest.raises(ConfigError, match="nothing of fundarb"):
        opened(url, readonly=True)
    assert exists(url) is False
    with opened(url) as store:
        assert store.positions.active() == ()
    assert exists(url) is True
    assert place_of(url).look() == SCHEMA_VERSION


def test_a_wrong_password_is_told_apart(cluster: Cluster, bare: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, a wrong one and the right one; it comes from the environment, and no message repeats it."""
    roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'guarded'"
    if cluster.ask("postgres", roles) == [(0,)]:
        cluster.ask("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'r1ghtone'")
    cluster.ask("postgres", f"GRANT CREATE ON DATABASE {bare} TO guarded")
    url = cluster.address(bare, "guarded")
    for wrong in ("", "wr0ngone"):
        monkeypatch.setenv("PGPASSWORD", wrong)
        with pytest.raises(ConfigError, match="PGPASSWORD") as caught:
            exists(url)
        assert "wr0ngone" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", "r1ghtone")
    with opened(url) as store:
        assert "r1ghtone" not in repr(vars(store))
        assert store.url == url
    monkeypatch.delenv("PGPASSWORD")
    with opened(url.replace("guarded@", "guarded:r1ghtone@")) as store:
        assert store.url == store.name == url


@pytest.mark.parametrize(
    ("database", "user", "words"),
    [
        ("nowhere", "postgres", 'database "nowhere" does not exist; create it'),
        ("postgres", "nobody_at_all", 'role "nobody_at_all" does not exist; create the role'),
        ("postgres?sslmode=require", "postgres", "does not support SSL.*sslmode=disable"),
    ],
)
def test_each_mistake_has_its_remedy(cluster: Cluster, database: str, user: str, words: str) -> None:
    """Unknown database, unknown role, a server without encryption: configuration errors, in words."""
    with pytest.raises(ConfigError, match=words):
        exists(cluster.address(database, user))


def test_a_server_that_is_down_may_come_back() -> None:
    """Nobody listens: that is no mistake of the configuration."""
    with pytest.raises(StateUnavailable, match=r"Connection refused.*start the server"):
        exists("postgresql://postgres@127.0.0.1:1/x")


def test_too_few_rights_are_named(cluster: Cluster, bare: str) -> None:
    """A role that may not make the schema is told what to grant; one that may only read can read."""
    roles = [name for (name,) in cluster.ask("postgres", "SELECT rolname FROM pg_roles")]
    for name in {"poor", "watcher"} - set(roles):
        cluster.ask("postgres", f"CREATE ROLE {name} LOGIN")
    with pytest.raises(ConfigError, match=r"permission denied.*GRANT CREATE ON DATABASE"):
        opened(cluster.address(bare, "poor"))
    with opened(cluster.address(bare)) as store:
        store.positions.add(position())
    with pytest.raises(ConfigError, match="GRANT USAGE ON SCHEMA"):
        opened(cluster.address(bare, "watcher"), readonly=True)
    cluster.ask(
        bare,
        "GRANT USAGE ON SCHEMA fundarb TO watcher",
        "GRANT SELECT ON ALL TABLES IN SCHEMA fundarb TO watcher",
    )
    with opened(cluster.address(bare, "watcher"), readonly=True) as reader:
        assert len(reader.positions.active()) == 1


def test_a_schema_of_another_program_is_left_alone(cluster: Cluster, bare: str) -> None:
    """Tables that are not ours in a schema of our name: refused, and untouched."""
    cluster.ask(bare, "CREATE SCHEMA fundarb", "CREATE TABLE fundarb.theirs (id int)")
    with pytest.raises(ConfigError, match="belongs to another program"):
        opened(cluster.address(bare))
    assert cluster.ask(bare, "SELECT tablename FROM pg_tables WHERE schemaname = 'fundarb'") == [("theirs",)]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, 130_010, "needs 14 or newer"),
        (2, "SQL_ASCII", "has the encoding SQL_ASCII"),
        (3, "off", "fsync = off: a power cut would lose"),
        (4, "off", "full_page_writes = off"),
        (5, True, "is a standby"),
    ],
)
def test_a_server_that_cannot_be_trusted_is_refused(
    server_url: str, monkeypatch: pytest.MonkeyPatch, place: int, value: object, words: str
) -> None:
    """Too old, another encoding, commits that a power cut undoes, a standby: no writer starts."""
    facts = server_place._FACTS.replace("SELECT", "").partition("\n    FROM")[0]
    names = ["number", "version", "encoding", "fsync", "pages", "standby"]
    query = f"SELECT {', '.join(names)} FROM (SELECT {facts}) AS f ({', '.join(names)})"
    literal = value if isinstance(value, int) else f"'{value}'"
    monkeypatch.setattr(server_place, "_FACTS", query.replace(names[place], str(literal), 1))
    with pytest.raises(ConfigError, match=words):
        opened(server_url)
    with pytest.raises(ConfigError, match=words):
        place_of(server_url).look()


def test_fsync_is_really_asked(cluster: Cluster, server_url: str) -> None:
    """The server's own setting decides: turned off for real, the writer does not start, a reader does."""
    opened(server_url).close()
    try:
        cluster.ask("postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        cluster.ask("postgres", "SELECT pg_sleep(0.2)")
        with pytest.raises(ConfigError, match="fsync = off"):
            opened(server_url)
        opened(server_url, readonly=True).close()
    finally:
        cluster.ask("postgres", "ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")
        cluster.ask("postgres", "SELECT pg_sleep(0.2)")


def test_a_writers_commits_are_synchronous(cluster: Cluster, server_url: str) -> None:
    """Whatever the server's, the role's or the environment's default is."""
    name = server_url.rpartition("/")[2]
    try:
        cluster.ask(name, f"ALTER DATABASE {name} SET synchronous_commit = off")
        with opened(server_url) as store:
            shown = store.database.row("SHOW synchronous_commit", ())[0]
        assert shown == "on"
    finally:
        cluster.ask(name, f"ALTER DATABASE {name} RESET synchronous_commit")


# --------------------------------------------------------------------------------------------- schema


def test_models_and_tables_agree(server_url: str) -> None:
    """Every column of a model is in its table, of its storage and nullness: money NUMERIC, times BIGINT."""
    stored = {"TEXT": "text", "BIGINT": "bigint", "INTEGER": "bigint", "INT": "bigint", "AUTO": "bigint"}
    with opened(server_url) as store:
        for model in models(store.database):
            found = {
                name: (kind, nullable == "YES", collation)
                for name, kind, nullable, collation in store.database.rows(
                    "SELECT column_name, data_type, is_nullable, collation_name "
                    "FROM information_schema.columns WHERE table_schema = 'fundarb' AND table_name = ?",
                    (table_of(model),),
                )
            }
            for field in model._meta.sorted_fields:
                kind, nullable, collation = found.pop(field.column_name)
                if isinstance(field, DecimalText):
                    assert kind == "numeric"
                else:
                    assert kind in {stored[field.field_type.upper()], "smallint"}
                assert nullable == field.null
                assert collation == ("C" if kind == "text" else None)
            assert found == {}


def test_partial_indexes_are_there(server_url: str) -> None:
    """What is open or active is found without a look at everything that ever was."""
    with opened(server_url) as store:
        texts = store.database.rows(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'fundarb' AND indexdef LIKE '% WHERE %'", ()
        )
    partial = " ".join(text for (text,) in texts)
    for name in ("positions_active", "intents_open", "commands_unfinished", "events_notable"):
        assert name in partial


def test_the_ledger_is_append_only_in_the_engine_too(server_url: str) -> None:
    """Plain SQL can neither change, remove nor empty an entry."""
    with opened(server_url) as store:
        database = store.database
        journal = (
            "INSERT INTO ledger_journals (key, fact, at, booked_at, symbol) VALUES ('k', 'f', 1, 1, 's')"
        )
        number = database.insert(f"{journal} RETURNING id", ())
        database.execute_sql(
            "INSERT INTO ledger_entries (journal_id, account, coin, amount, value) "
            "VALUES (?, 'wallet', 'BTC', '1.50', '2')",
            (number,),
        )
        for statement in (
            "UPDATE ledger_entries SET amount = 2",
            "DELETE FROM ledger_entries",
            "TRUNCATE ledger_entries",
        ):
            with pytest.raises(peewee.IntegrityError, match="append-only"):
                database.execute_sql(statement)
        assert database.row("SELECT amount, value FROM ledger_entries", ()) == ("1.5", "2")


def test_money_is_exact_and_plain(server_url: str) -> None:
    """The smallest and the largest amounts come back as the very text that SQLite would keep."""
    amounts = [
        Decimal("1e-18"),
        Decimal("-123456789012345678901234567890.123456789"),
        Decimal(0),
        Decimal(100),
    ]
    with opened(server_url) as store:
        for amount in amounts:
            store.snapshots.add(store.clock.now(), "x", equity=amount)
        found = store.database.rows("SELECT equity FROM snapshots ORDER BY id", ())
        assert [text for (text,) in found] == [format(amount, "f") for amount in amounts]
        with pytest.raises(StateUnavailable, match="invalid input syntax"):
            store.database.execute_sql("UPDATE snapshots SET equity = 'many'")


EXTRA = Migration(
    SCHEMA_VERSION + 1,
    "extra",
    lambda schema: schema.run("ALTER TABLE positions ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"),
)


def migrated(url: str, *more: Migration, first: int = SCHEMA_VERSION) -> int:
    """The version after these migrations."""
    place = place_of(url)
    assert isinstance(place, ServerPlace)
    return place.migrate(clock=clock(), migrations=(*MIGRATIONS[:first], *more))


def test_an_older_schema_is_kept_and_migrated(cluster: Cluster, bare: str) -> None:
    """What was in it is still there, and its tables as they were stand beside it."""
    url = cluster.address(bare)
    with opened(url) as store:
        store.positions.add(position())
    assert migrated(url, EXTRA) == SCHEMA_VERSION + 1
    assert migrated(url, EXTRA) == SCHEMA_VERSION + 1
    kept = cluster.ask(bare, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fundarb_schema_%'")
    assert kept == [(f"fundarb_schema_{SCHEMA_VERSION}_20261122t090000123456",)]
    assert cluster.ask(bare, "SELECT base, colour FROM fundarb.positions") == [("BTC", "red")]
    assert cluster.ask(bare, f"SELECT base FROM {kept[0][0]}.positions") == [("BTC",)]
    with pytest.raises(ConfigError, match="newer fundarb"):
        opened(url)
    with pytest.raises(ConfigError, match="newer fundarb"):
        opened(url, readonly=True)


def test_every_earlier_version_migrates_to_the_newest(cluster: Cluster, server_url: str) -> None:
    """From each version the remaining steps give the columns of a fresh database."""
    opened(server_url).close()
    columns = (
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'fundarb' ORDER BY 1, 2"
    )
    fresh = cluster.ask(server_url.rpartition("/")[2], columns)
    for start in range(1, SCHEMA_VERSION):
        name = cluster.database()
        assert migrated(cluster.address(name), first=start) == start
        with pytest.raises(ConfigError, match="it migrates"):
            opened(cluster.address(name), readonly=True)
        opened(cluster.address(name)).close()
        assert cluster.ask(name, columns) == fresh


def test_what_was_booked_is_added_up_by_migrations(cluster: Cluster, bare: str) -> None:
    """The running sums of a database that had none are those that a newer one kept, digit by digit."""
    url = cluster.address(bare)
    with opened(url) as store:
        live(store, store.positions.add(position()), between=lambda: None)
        before = books(store), store.ledger.read.by_day()
    older = "UPDATE fundarb.schema_info SET version = 2"
    cluster.ask(bare, "DROP TABLE fundarb.ledger_totals, fundarb.ledger_days", older)
    with opened(url) as store:
        assert (books(store), store.ledger.read.by_day()) == before


def test_a_migration_that_fails_changes_nothing(cluster: Cluster, bare: str) -> None:
    """Half of a step is none of it, and no copy is left behind."""
    url = cluster.address(bare)
    with opened(url) as store:
        store.positions.add(position())

    def broken(schema: Schema) -> None:
        schema.run("CREATE TABLE half (id INTEGER) {strict}")
        schema.execute("UPDATE positions SET base = ?", ("ETH",))
        schema.run("CREATE TABLE half (id INTEGER) {strict}")

    with pytest.raises(StateUnavailable, match="already exists"):
        migrated(url, Migration(SCHEMA_VERSION + 1, "broken", broken))
    assert cluster.ask(bare, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'fundarb%'") == [(1,)]
    assert cluster.ask(bare, "SELECT to_regclass('fundarb.half') IS NULL") == [(True,)]
    with opened(url) as store:
        assert [item.base for item in store.positions.active()] == ["BTC"]


def test_nobody_migrates_under_a_writer(server_url: str) -> None:
    """While a writer of the older version is at work, the newer one refuses and says who it is."""
    with opened(server_url) as store:
        lock = WriterLock(store, clock=store.clock)
        lock.acquire("daemon")
        with pytest.raises(Locked, match=f"process {os.getpid()} of an older fundarb"):
            migrated(server_url, EXTRA)
        lock.release()


def test_processes_that_make_the_same_database_at_once_agree(cluster: Cluster, bare: str) -> None:
    """Whoever comes second finds the schema made."""
    url = cluster.address(bare)
    script = "print('made', flush=True)\n"
    with process(url, script) as a, process(url, script) as b:
        for child in (a, b):
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "made"
    assert place_of(url).look() == SCHEMA_VERSION


def test_versions_are_read_as_they_stand(server_url: str) -> None:
    """The record is a row that changes with the migration's own transaction."""
    with opened(server_url) as store:
        database: Any = store.database
        assert version_of(database) == SCHEMA_VERSION


def test_two_writers_rows_have_growing_numbers(server_url: str) -> None:
    """A number is given behind the lock of all writers: who has seen one will never see a smaller one
    appear.
    """
    with opened(server_url) as one, opened(server_url) as other:
        numbers = [store.commands.add("pause", "{}") for _ in range(3) for store in (one, other)]
    assert numbers == sorted(set(numbers))


def test_a_character_that_no_text_can_hold_is_replaced(server_url: str) -> None:
    """A venue's message with a NUL in it is kept all the same."""
    with opened(server_url) as store:
        store.meta.set("cut", "a\x00b")
        assert store.meta.get("cut") == "a?b"


def test_another_owner_of_the_name_is_no_harm(cluster: Cluster, bare: str) -> None:
    """A table of our name elsewhere on the search path is not taken for ours."""
    with closing(psycopg.connect(cluster.address(bare), autocommit=True)) as other:
        other.execute("CREATE TABLE public.meta (key text, value text)")
    with Store.open(cluster.address(bare), clock=clock()) as store:
        store.meta.set("a", "1")
    assert cluster.ask(bare, "SELECT count(*) FROM public.meta") == [(0,)]
