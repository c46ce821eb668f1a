"""A sandbox in process, one over HTTP on a virtual clock, one on the real clock."""

from collections.abc import Iterator

import pytest

from fundarb.sandbox.options import ClockKind
from tests.sandbox.harness import InProcess, OverHttp, over_http


@pytest.fixture
def desk() -> InProcess:
    """The desk without sockets, on a virtual clock."""
    return InProcess()


@pytest.fixture
def http() -> Iterator[OverHttp]:
    """A server on a virtual clock."""
    with over_http() as client:
        yield client


@pytest.fixture
def real() -> Iterator[OverHttp]:
    """A server on the wall clock, without request limits."""
    with over_http(clock=ClockKind.REAL, start=None, limits=False) as client:
        yield client


@pytest.fixture(scope="module")
def untouched() -> Iterator[OverHttp]:
    """A server on a virtual clock for tests in which every request is refused: they all see the same
    world.
    """
    with over_http() as client:
        yield client
