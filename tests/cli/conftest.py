"""Running the command line inside the test: Typer's runner, a session of one's own, a venue on this
machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fundarb.cli.main import cli
from fundarb.cli.session import Session
from fundarb.clock import Clock, SystemClock, VirtualClock
from tests.factories import Fault, Market, MarketServer, small_market

GOLDEN = Path(__file__).parent / "golden"


@dataclass
class Shell:
    """Runs command lines; each run is a new session with the clock that is set here."""

    clock: Clock
    last: Session | None = None

    def __call__(self, *words: str, **environ: str) -> Result:
        """One command line."""
        self.last = Session(environ={**os.environ, **environ}, clock=self.clock)
        return CliRunner().invoke(cli, list(words), obj=self.last)

    def json(self, *words: str, **environ: str) -> dict[str, Any]:
        """The envelope of a command line that is run with ``--json``."""
        lines = self("--json", *words, **environ).stdout.splitlines()
        assert len(lines) == 1
        found: dict[str, Any] = json.loads(lines[0])
        return found


@pytest.fixture
def shell() -> Shell:
    """A shell whose clock stands at this moment: waits take no time."""
    return Shell(VirtualClock(SystemClock().now()))


@dataclass
class Venue:
    """A market server and the words that lead to it."""

    server: MarketServer
    url: str

    @property
    def words(self) -> tuple[str, ...]:
        """Global options."""
        return ("--venue", "sandbox", "--venue-url", self.url)

    @property
    def market_requests(self) -> list[str]:
        """The paths that were asked for, the clock's aside."""
        return [path.removeprefix("/v5/market/") for path, _ in self.server.requests]


Serve = Callable[..., Venue]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start market servers; they end with the test."""
    running = []

    def start(
        market: Market | None = None, *, skew: timedelta = timedelta(), fault: Fault | None = None
    ) -> Venue:
        server = MarketServer(market or small_market(), skew=skew, fault=fault)
        context = server.running()
        running.append(context)
        return Venue(server, context.__enter__())

    yield start
    for context in running:
        context.__exit__(None, None, None)


def golden(name: str, text: str) -> None:
    """Compare with a kept text; ``FUNDARB_GOLDEN=write`` in the environment of the test run writes it
    anew.
    """
    path = GOLDEN / name
    if WRITE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


WRITE = os.environ.get("FUNDARB_GOLDEN") == "write"  # read before the environment of the tests is cleaned
