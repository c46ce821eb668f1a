"""The public side of a venue as a port: what the use cases read, and what the paper account is fed by.

It stands in the core because its two consumers, the engine and the paper account below it, may not import
each other. Satisfied structurally by adapters; nothing in it is ever signed but the fee reads of an adapter
with a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol

from fundarb.core.account import FeeRates
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot, SettledFunding


class MarketData(Protocol):
    """The public side of a venue."""

    @property
    def requests_made(self) -> int:
        """HTTP requests since the start (zero for a venue in process)."""

    @property
    def clock_offset(self) -> timedelta | None:
        """The venue's clock less ours (positive: ours is behind), as last measured; None before that."""

    @property
    def banned_until(self) -> datetime | None:
        """When requests may go out again, by our clock, while the venue serves this address no more; else
        None.
        """

    def server_time(self) -> datetime:
        """The venue's clock; measures the offset as well."""

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Every spot pair and linear contract; from the cache unless it is old or ``refresh``."""

    def snapshot(self) -> MarketSnapshot:
        """All quotes of both markets, in two requests."""

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The order book of one symbol."""

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """Settled rates, oldest first; without ``since`` the newest 200 (at most)."""

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """The account's rates with a key, else the public schedule."""

    def fee_schedule(self, category: Category) -> Mapping[str, FeeRates]:
        """The account's rates of every symbol, in one request; empty without a key: the public schedule
        holds.
        """
