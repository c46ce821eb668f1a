"""``backup`` and ``restore`` on the command line: verified copies, nothing thrown away, halted afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from fundarb.clock import SystemClock
from fundarb.core.records import BlockKind
from fundarb.store.backup import rotate
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.migrate import migrate
from fundarb.store.migrations import MIGRATIONS
from tests.cli.conftest import Shell


def traded(path: Path, mark: str) -> None:
    """A database with something in it."""
    with Store.open(url_of(path), clock=SystemClock()) as store:
        store.meta.set("mark", mark)


def test_a_copy_goes_and_comes_back(shell: Shell, tmp_path: Path) -> None:
    """A backup is verified and named; after a restore the old state is back, the newer file is kept beside
    it, and opens are halted.
    """
    database, target = tmp_path / "a.db", tmp_path / "copy.db"
    place = ("--db", url_of(database))
    traded(database, "first")
    made = shell.json(*place, "backup", str(target))
    assert (made["schema"], made["error"], made["data"]["file"]) == ("fundarb.backup/1", None, str(target))
    assert made["data"]["bytes"] == target.stat().st_size
    traded(database, "second")
    asked = shell(*place, "restore", str(target))
    assert asked.exit_code == 2
    assert "--yes" in asked.stderr
    done = shell(*place, "restore", str(target), "--yes")
    assert done.exit_code == 0
    assert "resume" in done.stdout
    (former,) = tmp_path.glob("a.db.before-restore.*Z")
    with Store.open(url_of(database), clock=SystemClock()) as store:
        assert store.meta.get("mark") == "first"
        assert [block.kind for block in store.blocks.active(store.clock.now())] == [BlockKind.HALT]
    with Store.open(url_of(former), clock=SystemClock()) as store:
        assert store.meta.get("mark") == "second"


def test_a_copy_of_a_person_stays(shell: Shell, tmp_path: Path) -> None:
    """Where no target is named it lies beside those of the job, which the job's rotation alone concerns."""
    database, home = tmp_path / "a.db", tmp_path / "home"
    traded(database, "x")
    made = shell.json("--db", url_of(database), "backup", FUNDARB_HOME=str(home))["data"]["file"]
    assert Path(made).parent == home / "backups"
    assert rotate(home / "backups", "a.db", keep=0) == ()
    assert Path(made).is_file()


def test_what_cannot_be_copied_is_said(shell: Shell, tmp_path: Path) -> None:
    """No database, a target that exists, a backup that is none: each a usage error that says what is
    wrong.
    """
    database = tmp_path / "a.db"
    place = ("--db", url_of(database))
    assert shell(*place, "backup", str(tmp_path / "b.db")).exit_code == 2
    traded(database, "x")
    assert shell(*place, "backup", str(database)).exit_code == 2
    wrong = tmp_path / "wrong.db"
    wrong.write_text(json.dumps("no database"))
    refused = shell.json(*place, "restore", str(wrong), "--yes")
    assert refused["error"]["kind"] == "config_error"
    with Store.open(url_of(database), clock=SystemClock()) as store:
        assert store.meta.get("mark") == "x"


def test_an_older_database_beside_a_venue_that_is_away(shell: Shell, tmp_path: Path) -> None:
    """It is the venue that is missing (4), not a migration: no writing command is told to start one that
    writes, and a copy can be made.
    """
    database = tmp_path / "a.db"
    database.touch()
    migrate(database, clock=SystemClock(), migrations=MIGRATIONS[:1])
    place = ("--db", url_of(database), "--mode", "live", "--live")
    away = ("--venue", "sandbox", "--venue-url", "http://127.0.0.1:1")
    for words in (("reconcile",), ("close", "BTC", "--yes")):
        assert shell.json(*place, *away, *words)["error"]["kind"] == "unavailable"
    assert shell.json(*place, *away, "backup", str(tmp_path / "b.db"))["data"]["schema_version"] == 1
