"""Copies of a server's database are files that fundarb itself opens; they go back to a server as well."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.records import BlockKind
from fundarb.errors import ConfigError, Locked
from fundarb.store.backup import KEEP, backup, made, newest, rotate, verify
from fundarb.store.blocks import Control
from fundarb.store.database import Store
from fundarb.store.dump import models, table_of
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from fundarb.store.migrations import MIGRATIONS, SCHEMA_VERSION
from fundarb.store.place import place_of
from fundarb.store.restore import adopt_copy, restore
from fundarb.store.server_place import ServerPlace
from tests.postgres import Cluster
from tests.store.make import D, clock, execution, intent, opened, position
from tests.store.test_ledger_batch import books, live


def lived(store: Store) -> None:
    """An account with a position, an order, a fill and some history."""
    store.identity.create(venue="bybit", mode="paper", instance="default", uid="", tag="aaaa")
    store.positions.add(position())
    store.intents.add(intent())
    store.executions.add(execution(), position_id=position().position_id)
    for number in range(150):
        store.snapshots.add(store.clock.now(), "equity", equity=D(number) / 8, payload='{"é": 1}')
    store.commands.add("pause", "{}")


def content(store: Store) -> dict[str, Any]:
    """Every row of every table, but for the marks of a copy."""
    found: dict[str, Any] = {}
    for model in models(store.database):
        columns = ", ".join(f'"{field.column_name}"' for field in model._meta.sorted_fields)
        rows = store.database.rows(f"SELECT {columns} FROM {table_of(model)} ORDER BY 1, 2", ())
        found[table_of(model)] = [tuple(row) for row in rows if row[0] not in {"server.home", "copy.name"}]
    return found


def test_a_backup_is_a_file_with_every_row(server_url: str, tmp_path: Path) -> None:
    """Equal in every column, verified, private, alone, and readable without any server."""
    with opened(server_url) as store:
        lived(store)
        with store.transaction():
            store.meta.set("open", "not yet durable")
            copy = backup(store, tmp_path)
        store.meta.delete("open")
        wanted = content(store)
    assert copy.name == "t1.postgres.backup.20261122T090000.123Z"
    assert newest(tmp_path, "t1.postgres") == copy
    assert copy.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [copy]
    assert verify(copy) == SCHEMA_VERSION
    with opened(copy, readonly=True) as reader:
        assert content(reader) == wanted
        assert reader.intents.open()[0].quantity == intent().quantity


def test_both_engines_keep_the_same_books(server_url: str, tmp_path: Path) -> None:
    """The same facts give the same ledger hash, sums and journals, and a copy keeps them."""
    with opened(server_url) as there, opened(tmp_path / "here.db") as here:
        for store in (there, here):
            owner = store.positions.add(position())
            live(store, owner, between=lambda: None)
        assert books(there) == books(here)
        with opened(backup(there, tmp_path / "copy.db")) as copied:
            assert books(copied) == books(here)


def test_a_backup_never_overwrites_and_old_ones_go(server_url: str, tmp_path: Path) -> None:
    """As with a file's: an existing name is refused, the newest are kept."""
    (tmp_path / "x").write_text("mine")
    with opened(server_url) as store:
        with pytest.raises(ConfigError, match="exists already"):
            backup(store, tmp_path / "x")
        first = backup(store, tmp_path)
        store.clock.sleep(timedelta(hours=1))
        backup(store, tmp_path)
    assert rotate(tmp_path, "t1.postgres", keep=1) == (first,)
    assert KEEP > 1


def test_a_restore_puts_the_rows_back_and_halts(cluster: Cluster, server_url: str, tmp_path: Path) -> None:
    """The state is the backup's, numbers go on behind it, the former tables are kept, opens wait for a
    person.
    """
    name = server_url.rpartition("/")[2]
    with opened(server_url) as store:
        lived(store)
        wanted = content(store)
        copy = backup(store, tmp_path)
        store.meta.set("later", "x")
    later = clock()
    later.sleep(timedelta(hours=2))
    former = restore(copy, server_url, clock=later, tag="bbbb")
    try:
        assert former.startswith("fundarb_before_restore_20261122t11")
        assert cluster.ask(name, f"SELECT value FROM {former}.meta WHERE key = 'later'") == [("x",)]
        with opened(server_url, clock=later) as store:
            found = content(store)
            for table in ("positions", "intents", "executions", "snapshots", "commands"):
                assert found[table] == wanted[table]
            identity = store.identity.require()
            assert (identity.tag, identity.old_tags) == ("bbbb", ("aaaa",))
            assert store.blocks.control(later.now()) is Control.HALTED
            (block,) = store.blocks.active(later.now())
            assert block.kind is BlockKind.HALT
            assert adopt_copy(store, "cccc") is False
            assert store.snapshots.add(later.now(), "equity") == 151
            assert store.meta.get("later") is None
    finally:
        cluster.ask(name, f"DROP SCHEMA {former} CASCADE")


def test_a_file_moves_to_a_server_and_back(cluster: Cluster, server_url: str, tmp_path: Path) -> None:
    """A backup of either kind fills a database of the other: nobody is bound to a choice."""
    with opened(tmp_path / "old.db") as store:
        lived(store)
        wanted = content(store)["snapshots"]
        copy = backup(store, tmp_path / "copies.db")
    empty = cluster.address(cluster.database())
    assert restore(copy, empty, clock=clock(), tag="bbbb") == ""
    with opened(empty) as store:
        assert content(store)["snapshots"] == wanted
        again = backup(store, tmp_path / "again.db")
    assert restore(again, url_of(tmp_path / "new.db"), clock=clock(), tag="cccc") == ""
    with opened(tmp_path / "new.db") as store:
        assert content(store)["snapshots"] == wanted
        assert store.identity.require().old_tags == ("aaaa", "bbbb")


def test_an_older_schema_is_migrated_before_it_is_copied(cluster: Cluster, tmp_path: Path) -> None:
    """What this program cannot read as a whole it does not copy in part."""
    place = place_of(cluster.address(cluster.database()))
    assert isinstance(place, ServerPlace)
    place.migrate(clock=clock(), migrations=MIGRATIONS[:1])
    with pytest.raises(ConfigError, match="it migrates"):
        made(place, tmp_path / "copy.db", clock=clock())
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_restored_under_a_writer(server_url: str, tmp_path: Path) -> None:
    """While the lock is held the database stays, and a bad backup is refused before anything moves."""
    with opened(server_url) as store:
        lived(store)
        copy = backup(store, tmp_path)
        lock = WriterLock(store, clock=store.clock)
        lock.acquire("daemon")
        with pytest.raises(Locked, match="then restore"):
            restore(copy, server_url, clock=clock(), tag="bbbb")
        lock.release()
        (tmp_path / "text").write_text("hello")
        for source in (tmp_path / "text", tmp_path / "none"):
            with pytest.raises(ConfigError):
                restore(source, server_url, clock=clock(), tag="bbbb")
        assert store.identity.require().tag == "aaaa"


def test_a_database_that_was_copied_by_other_means_is_noticed(cluster: Cluster, server_url: str) -> None:
    """Made from a dump or a template, it still has the original's tag: the next start draws a new one and
    halts, once.
    """
    source, target = cluster.database(), cluster.database()
    with opened(cluster.address(source)) as store:
        lived(store)
    cluster.ask("postgres", f"DROP DATABASE {target}", f"CREATE DATABASE {target} TEMPLATE {source}")
    with opened(cluster.address(source)) as store:
        assert adopt_copy(store, "bbbb") is False
    with opened(cluster.address(target)) as store:
        assert adopt_copy(store, "bbbb") is True
        assert store.blocks.control(clock().now()) is Control.HALTED
    with opened(cluster.address(target)) as store:
        assert adopt_copy(store, "cccc") is False
        assert store.identity.require().tag == "bbbb"


def test_no_secret_is_found_and_one_that_stands_there_is(server_url: str) -> None:
    """Every text of every table is looked through, here and not by the server."""
    with opened(server_url) as store:
        lived(store)
        assert list(store.place.search([b"s3cretvalue"])) == []
        store.commands.add("open", '{"note": "s3cretvalue"}')
        assert list(store.place.search([b"s3cretvalue"])) == ["commands.arguments"]
