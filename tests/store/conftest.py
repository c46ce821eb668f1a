"""An empty database for each test: once as a file, once on a real PostgreSQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.store.make import opened


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database that a test runs against."""
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database file goes; the folder does not exist yet."""
    return tmp_path / "state" / "fundarb.db"


@pytest.fixture
def url(backend: str, path: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a database that does not exist yet, or is empty."""
    return url_of(path) if backend == "sqlite" else str(request.getfixturevalue("server_url"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty database, open for writing."""
    with opened(url) as made:
        yield made


@pytest.fixture
def anew(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Makes the URL of one more empty database at each call."""
    if backend == "sqlite":
        numbers = iter(range(1000))
        return lambda: url_of(tmp_path / f"more{next(numbers)}.db")
    request.getfixturevalue("server_url")
    server = request.getfixturevalue("cluster")
    return lambda: str(server.address(server.database()))
