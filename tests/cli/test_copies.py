"""``backup`` and ``restore`` on the command line: verified copies, nothing thrown away, halted afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from fundarb.clock import SystemClock
from fundarb.core.records import BlockKind
from fundarb.store.database import Store
from fundarb.store.files import url_of
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
