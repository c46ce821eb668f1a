"""A store in a file of its own, for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fundarb.store.database import Store
from tests.store.make import opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database goes; the folder does not exist yet."""
    return tmp_path / "state" / "fundarb.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An empty database, open for writing."""
    with opened(path) as made:
        yield made
