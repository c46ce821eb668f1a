"""A stage for each test: its own sandbox, its own home."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.app import venues
from fundarb.config import Settings
from fundarb.exchange.hosts import BybitSettings
from tests.e2e.stage import Stage


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that hangs is given up after a third of a second instead of five: nobody waits for it
    here.
    """
    where = venues.where

    def impatient(settings: Settings) -> BybitSettings:
        return replace(where(settings), write_timeout=timedelta(milliseconds=300))

    monkeypatch.setattr(venues, "where", impatient)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A sandbox with 100,000 USDT."""
    made = Stage(tmp_path / "home")
    yield made
    made.stop()
