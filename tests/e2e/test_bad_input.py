"""What may not be opened, whose database it is, who else is at work, what was mistyped: the right exit code,
every reason, and nothing sent.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.clock import SystemClock
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from tests.e2e.stage import D, Ran, Stage


def refused(stage: Stage, ran: Ran, *codes: str) -> None:
    """Exit 3 with exactly these reasons among the rest, and nothing sent."""
    assert ran.code == 3, ran.out
    assert ran.envelope["error"]["kind"] == "refused"
    assert set(codes) <= ran.codes
    assert all(reason["message"] for reason in ran.envelope["error"]["reasons"])
    assert stage.truth()["orders"] == []


@pytest.mark.parametrize(
    ("base", "code"),
    [("NOPE", "unknown_coin"), ("LONE", "no_spot")],
)
def test_a_coin_that_does_not_pair(stage: Stage, base: str, code: str) -> None:
    """Unknown, or without a spot market: refused by name."""
    refused(stage, stage.open(base), code)


@pytest.mark.parametrize(
    ("base", "notional", "codes"),
    [
        ("BTC", "3", ("below_perp_minimum", "below_spot_minimum", "below_exit_minimum")),
        ("BTC", "49", ("below_perp_minimum",)),
        ("ETH", "7.5", ("below_exit_minimum",)),
        ("PEPE", "9", ("below_perp_minimum",)),
    ],
)
def test_too_small(stage: Stage, base: str, notional: str, codes: tuple[str, ...]) -> None:
    """Below either leg's smallest order, also where only the exit would be: refused with each of them."""
    refused(stage, stage.open(base, notional), *codes)


def test_above_the_caps(stage: Stage) -> None:
    """Above max_per_coin and max_gross at once: both reasons; equality is allowed."""
    refused(stage, stage.open("BTC", "5001"), "max_per_coin", "max_gross")
    assert stage.open("BTC", "1000").code == 0


@pytest.fixture(params=["300", "450"])
def poor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Stage, str]]:
    """An account with too little for the spot leg, or enough for that and not for the margin."""
    made = Stage(tmp_path / "poor", balances={"USDT": D(request.param)})
    yield made, "insufficient_spot_balance" if request.param == "300" else "insufficient_margin"
    made.stop()


def test_not_enough_money(poor: tuple[Stage, str]) -> None:
    """Too little for the spot leg, or for the margin beside it: refused with the figures."""
    stage, code = poor
    refused(stage, stage.open("BTC", "400"), code)
    assert ("insufficient_spot_balance" in stage.open("BTC", "400").codes) is (
        code == "insufficient_spot_balance"
    )


def test_a_second_open(stage: Stage) -> None:
    """What is open is not opened again without --add, and nothing can be added to what is not."""
    assert stage.open().code == 0
    again = stage.open()
    assert (again.code, again.codes) == (3, {"already_open"})
    assert stage.open("ETH", "400", "--add").codes == {"not_open"}


# ------------------------------------------------------------------------------------------ databases


def test_a_database_of_another_mode(stage: Stage) -> None:
    """A live database given to a paper command: exit 2, both named, nothing asked of the venue."""
    assert stage.open().code == 0
    requests = len(stage.truth()["requests"])
    ran = stage.run(
        "--json", "--db", url_of(stage.database), "open", "BTC", "--notional", "400", "--yes", live=False
    )
    assert ran.code == 2, ran.out
    assert "mode" in ran.out
    assert not [row for row in stage.truth()["requests"][requests:] if row["path"] != "/sandbox/clock"]


def test_a_database_of_another_account(stage: Stage, tmp_path: Path) -> None:
    """The same place on another world: the account's uid tells, exit 2, nothing is booked."""
    assert stage.open().code == 0
    other = Stage(tmp_path / "other")
    for words in (("open", "ETH", "--notional", "400", "--yes"), ("reconcile",), ("close", "BTC", "--yes")):
        ran = other.run("--json", "--db", url_of(stage.database), *words)
        assert ran.code == 2, ran.out
        assert "uid" in ran.out
    assert other.truth()["orders"] == []
    other.stop()


def test_a_database_of_another_venue(stage: Stage) -> None:
    """A sandbox's database is refused for the demo venue before anything is sent anywhere."""
    assert stage.open().code == 0
    ran = stage.run(
        "--json", "--venue", "bybit", "--mode", "paper", "--db", url_of(stage.database), "reconcile"
    )
    assert ran.code == 2, ran.out


@pytest.mark.parametrize(
    "words", [("open", "BTC", "--notional", "400", "--yes"), ("positions",), ("reconcile",)]
)
def test_a_corrupt_database(stage: Stage, words: tuple[str, ...]) -> None:
    """Garbage where the database should be: exit 2 with the file's name and what to do."""
    stage.database.write_bytes(b"SQLite format 3\x00" + b"\xff" * 4096)
    ran = stage.json(*words)
    assert ran.code == 2, ran.out
    assert stage.database.name in ran.out
    assert stage.truth()["orders"] == []


@pytest.mark.parametrize("words", [("close", "BTC", "--yes"), ("positions",), ("report",)])
def test_a_newer_schema(stage: Stage, words: tuple[str, ...]) -> None:
    """A database that a later version wrote: exit 2, unchanged."""
    import sqlite3

    assert stage.open().code == 0
    connection = sqlite3.connect(stage.database)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = stage.database.read_bytes()
    ran = stage.json(*words)
    assert ran.code == 2, ran.out
    assert stage.database.read_bytes() == before


# ------------------------------------------------------------------------------------------ others at work


@pytest.fixture
def holder(stage: Stage) -> Iterator[WriterLock]:
    """Somebody who holds the writer's lock as a command."""
    assert stage.json("reconcile").code == 0
    with Store.open(url_of(stage.database), clock=SystemClock()) as store:
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("command")
        yield lock
        lock.release()


def test_another_command_is_at_work(stage: Stage, holder: WriterLock) -> None:
    """Exit 7 after --lock-wait, naming process and role; looking needs no lock."""
    ran = stage.open("BTC", "400", "--lock-wait", "100ms")
    assert ran.code == 7, ran.out
    assert ran.envelope["error"]["kind"] == "locked"
    assert "command" in ran.envelope["error"]["message"]
    for words in (
        ("positions",),
        ("report",),
        ("report", "trades"),
        ("open", "BTC", "--notional", "400", "--dry-run"),
    ):
        assert stage.json(*words).code == 0
    assert stage.truth()["orders"] == []


def test_a_command_waits_for_another(stage: Stage, holder: WriterLock) -> None:
    """Within --lock-wait it goes on as soon as the other one is done, and the venue's time does not move for
    it.
    """
    before = stage.truth()["now"]
    timer = threading.Timer(0.3, holder._lock.release)
    timer.start()
    ran = stage.open("BTC", "400", "--lock-wait", "5s")
    timer.join()
    assert ran.code == 0, ran.out
    assert stage.truth()["now"] - before < timedelta(seconds=2) / timedelta(milliseconds=1)


# ------------------------------------------------------------------------------------------ words

BAD_WORDS = [
    ("open", "BTC", "--notional", "abc", "--yes"),
    ("open", "BTC", "--notional", "-5", "--yes"),
    ("open", "BTC", "--notional", "0", "--yes"),
    ("open", "BTC", "--notional", "nan", "--yes"),
    ("open", "BTC", "--notional", "1e999999", "--yes"),
    ("open", "BTC", "--yes"),
    ("open", "BTC", "--notional", "400", "--yes", "--lock-wait", "soon"),
    ("open", "BTC", "--notional", "400", "--yes", "--wait", "5"),
    ("open", "BTC", "--notional", "400"),
    ("close", "--yes"),
    ("close", "BTC", "--all", "--yes"),
    ("close", "BTC", "--fraction", "50", "--yes"),
    ("close", "BTC", "--fraction", "0%", "--yes"),
    ("close", "BTC", "--fraction", "150%", "--yes"),
    ("close", "BTC", "--fraction", "half", "--yes"),
    ("close", "--all", "--fraction", "50%", "--yes"),
    ("close", "BTC"),
    ("close", "ETH", "--yes"),
    ("close", "p-AAAAAAAAAA", "--yes"),
    ("report", "pnl", "--since", "yesterday"),
    ("report", "pnl", "--since", "2026-02-01", "--until", "2026-01-01"),
    ("report", "gains"),
]


def test_mistyped_words(stage: Stage) -> None:
    """Wrong amounts, ratios, durations, names, a question that nobody can answer: exit 2 each, and nothing
    sent.
    """
    assert stage.open().code == 0
    orders = len(stage.truth()["orders"])
    for words in BAD_WORDS:
        ran = stage.json(*words)
        assert ran.code == 2, (words, ran.out)
        assert ran.envelope["error"]["kind"] == "config_error", words
        assert ran.envelope["error"]["message"], words
    assert len(stage.truth()["orders"]) == orders


@pytest.mark.parametrize(("venue", "uid"), [("bybit", "1"), ("bybit-testnet", ""), ("bybit-demo", "")])
def test_x09_no_live_trading_on_a_real_venue_by_accident(stage: Stage, venue: str, uid: str) -> None:
    """X09: on the exchange not even with a key, a uid and every confirmation, on testnet and demo not without
    the uid in the file: exit 2.
    """
    (stage.home / "fundarb.toml").write_text(f'mode = "live"\n[account]\nuid = "{uid}"\n')
    keys = {"BYBIT_API_KEY": "k" * 18, "BYBIT_API_SECRET": "s" * 36, "FUNDARB_LIVE": "yes"}
    ran = stage.elsewhere(
        "--venue", venue, "--live", "--json", "open", "BTC", "--notional", "400", "--yes", environ=keys
    )
    assert ran.code == 2, ran.out
    assert "k" * 18 not in ran.out + ran.err
