"""Fail the Nth call: one trade from entry to exit, once for each question to the venue and each commit on its
way, with exactly that one failing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fundarb.errors import StateUnavailable
from fundarb.store.sqlite import Sqlite
from tests.proof.episode import MINUTE, Episode
from tests.proof.verdict import verdict

EVERY = 9
"""The suite fails every ninth call, the proof each of them."""


def trade(episode: Episode) -> None:
    """In, over a settlement, and out again."""
    episode.command("open", {"base": "ADA", "notional": "1700"})
    episode.clock.sleep(9 * 60 * MINUTE)
    for name in ("collect_funding", "watch", "reconcile"):
        episode.attempt(name, lambda name=name: episode.life.jobs.run(name, {}).message)  # type: ignore[misc]
    if episode.life.store.positions.active():
        episode.command("close", {"name": "ADA"})


def begun(folder: Path) -> Episode:
    """A bot at rest."""
    folder.mkdir()
    episode = Episode(1, folder)
    episode.attempt("begin", episode.recover)
    return episode


def ended(episode: Episode, what: str) -> None:
    """Calm, and everything in its place."""
    episode.heal()
    found = verdict(episode)
    episode.life.end()
    assert not found, "\n".join([what, *found, "story:", *episode.story])


def venue_fails(place: Path, number: int) -> bool:
    """One trade whose ``number``-th call of the venue fails; False if it has fewer calls."""
    episode = begun(place)
    exchange = episode.life.exchange
    exchange.fail_at = exchange.calls + number
    trade(episode)
    reached = episode.life.exchange is not exchange or exchange.calls >= exchange.fail_at
    ended(episode, f"call {number} of the venue")
    return reached


class FullDisk:
    """A disk that is full at one commit."""

    def __init__(self, database: Sqlite, number: int) -> None:
        """From now on commits are counted."""
        self.commits = 0
        self._number = number
        self._commit = database.commit_immediate

    def __call__(self) -> None:
        """A commit, or the error that SQLite gives."""
        self.commits += 1
        if self.commits == self._number:
            raise StateUnavailable("the disk is full") from sqlite3.OperationalError("disk is full")
        self._commit()


def disk_fails(place: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """One trade whose ``number``-th commit fails and ends the process; False if it has fewer commits."""
    episode = begun(place)
    database: Any = episode.life.store.database
    disk = FullDisk(database, number)
    monkeypatch.setattr(database, "commit_immediate", disk)
    trade(episode)
    ended(episode, f"commit {number}")
    return disk.commits >= number


def each(fails: Callable[[Path, int], bool], place: Path, *, step: int) -> int:
    """Every ``step``-th call until there are no more; how many were tried."""
    number = tried = 0
    while True:
        number += step
        if not fails(place / str(number), number):
            return tried
        tried += 1


def test_some_calls_of_the_venue_fail(tmp_path: Path) -> None:
    """A read that fails or a create whose message is lost, anywhere in a trade, leaves everything known."""
    assert each(venue_fails, tmp_path, step=EVERY) > 3


@pytest.mark.proof
def test_each_call_of_the_venue_fails(tmp_path: Path) -> None:
    """The same for each single call."""
    assert each(venue_fails, tmp_path, step=1) > 30


def test_some_commits_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk anywhere in a trade (G01): no order without its row, the next start finds all."""
    assert each(lambda place, number: disk_fails(place, number, monkeypatch), tmp_path, step=EVERY) > 2


@pytest.mark.proof
def test_each_commit_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for each single commit."""
    assert each(lambda place, number: disk_fails(place, number, monkeypatch), tmp_path, step=1) > 20
