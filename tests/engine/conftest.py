"""A writer's world for each test of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.world import World, make_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own."""
    made = make_world(tmp_path / "fundarb.sqlite3")
    yield made
    made.close()
