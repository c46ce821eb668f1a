"""A daemon whose state is on a PostgreSQL server: commanded through it, ended by its loss, outlived by its
books.
"""

from __future__ import annotations

from functools import partial

import pytest

from tests.cli.test_daemon import Place, at_work, place, scanned, terminated  # noqa: F401 - a fixture
from tests.postgres import Cluster

pytestmark = [pytest.mark.proof, pytest.mark.xdist_group("daemon")]

LOCK = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objid = 1
"""


@pytest.fixture(autouse=True)
def _database(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a test finds its state on the server."""
    monkeypatch.setenv("FUNDARB_DB", server_url)


def test_a_daemon_that_loses_its_lock_ends_and_the_next_goes_on(
    place: Place,  # noqa: F811 - the fixture
    cluster: Cluster,
) -> None:
    """It trades and takes commands; when its lock's connection is ended it ends by itself (6); the next one
    takes over in a new epoch, books and venue agree, and SIGTERM ends it in order.
    """
    first = place.daemon()
    before = place.until(scanned)
    assert before["writer"]["pid"] == first.pid
    second = place.run("daemon")
    assert second.exit_code == 7
    assert str(first.pid) in second.stderr
    assert place.run("pause", "--reason", "lunch").exit_code == 0
    assert place.json("jobs", "run", "snapshot")["data"]["name"] == "snapshot"
    assert place.json("jobs", "run", "backup")["data"]["name"] == "backup"
    assert place.json("resume")["data"]["control"] == "RUNNING"
    assert len(list((place.home / "backups").glob("*.postgres.backup.*Z"))) >= 1

    assert cluster.ask("postgres", LOCK) == [(True,)]
    _, messages = first.communicate(timeout=40)
    assert first.returncode == 6, messages
    assert "writer's lock is lost" in messages
    assert place.json("status")["data"]["writer"] is None or place.run("status").exit_code == 6

    third = place.daemon()
    after = place.until(partial(at_work, third))
    assert after["writer"]["epoch"] > before["writer"]["epoch"]
    assert place.json("reconcile")["data"]["clean"]
    code, messages = terminated(third)
    assert code == 0, messages
    assert place.json("audit")["data"]["clean"]


def test_a_daemon_whose_server_freezes_ends(
    place: Place,  # noqa: F811 - the fixture
    cluster: Cluster,
) -> None:
    """A server that answers nothing any more is not waited for: the daemon ends (5, as it has sent orders and
    cannot read what became of them), says so, and the next start finds everything.
    """
    first = place.daemon()
    place.until(scanned)
    cluster.freeze()
    try:
        _, messages = first.communicate(timeout=60)
    finally:
        cluster.thaw()
    assert first.returncode == 5, messages
    assert "may be live" in messages
    assert "Traceback" not in messages
    assert place.json("reconcile")["data"]["clean"]
    assert place.json("audit")["data"]["clean"]
