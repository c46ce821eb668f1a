"""The ports of the use cases: as narrow as their consumer needs, satisfied structurally by adapters that
``app`` introduces.

Every value that crosses a port is a core type. Reads raise ``Unavailable`` (or ``BadAnswer``) when they could
not be completed: never a partial list, never a zero in place of a missing answer. Writes never raise for what
the venue or the network did: they answer with a classified ``WriteAnswer``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from fundarb.core.account import AccountInfo, KeyInfo, PositionReport, Transaction, Wallet
from fundarb.core.events import Event
from fundarb.core.market import Category
from fundarb.core.market_data import MarketData
from fundarb.core.orders import Execution, OrderReport, OrderRequest, WriteAnswer

__all__ = ["Exchange", "Ids", "MarketData", "Notifier", "Trading"]


class Trading(Protocol):
    """The private side of a venue: one account."""

    def urgent(self, patience: timedelta) -> AbstractContextManager[None]:
        """While a leg is naked: within it each read of this thread, of either side of the venue, comes before
        all others and ends after ``patience`` at the latest, repetitions included. Writes keep their own
        deadline.
        """

    def belong(self, uid: str) -> None:
        """From now on every answer from which something is booked or decided must be of this account:
        ``OtherAccount`` (whatever was asked) where the venue names another. What is asked while a leg is
        naked is not held up for it.
        """

    def sure(self) -> bool:
        """Whether the venue is known to be that account's, with no connection lost since; asks nobody. Always
        true before ``belong``.
        """

    def stamp(self) -> datetime:
        """The timestamp for a write to be signed now: our estimate of the venue's clock, biased to the
        past.
        """

    def account(self) -> AccountInfo:
        """Whose account this is and how it is set up."""

    def key_info(self) -> KeyInfo:
        """What the key may do."""

    def wallet(self) -> Wallet:
        """All balances."""

    def positions(self) -> tuple[PositionReport, ...]:
        """All open linear positions (USDT and USDC settled), complete."""

    def prepare_symbol(self, symbol: str, leverage: Decimal) -> None:
        """Verify one-way mode and cross margin, set the leverage; raises ``Rejected`` if the symbol cannot be
        used so.
        """

    def create(self, request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        """Send one order whose intent is committed; ``signed_at`` is that intent's."""

    def cancel(self, category: Category, symbol: str, *, link_id: str) -> WriteAnswer:
        """Ask to cancel an order by our link id."""

    def order_realtime(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Look one order up among the open and the latest closed ones."""

    def order_history(self, category: Category, symbol: str, *, link_id: str) -> OrderReport | None:
        """Look one order up in the history."""

    def executions_of(self, category: Category, symbol: str, *, link_id: str) -> tuple[Execution, ...]:
        """Every execution of one order, oldest first, each once."""

    def open_orders(self, category: Category) -> tuple[OrderReport, ...]:
        """All open orders of one market, complete."""

    def executions(self, category: Category, since: datetime, *, until: datetime) -> tuple[Execution, ...]:
        """Every execution row of a window (cut into the venue's windows as needed), oldest first, all
        kinds.
        """

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Every transaction-log row of a window, oldest first, complete."""


class Exchange(MarketData, Trading, Protocol):
    """A venue with both sides."""


class Notifier(Protocol):
    """Where events go after they are recorded; must return at once and never raise."""

    def tell(self, event: Event) -> None:
        """Hand one event on."""


class Ids(Protocol):
    """Where identifiers come from: random in production, seeded in simulation; never row numbers."""

    def plan_id(self) -> str:
        """Ten characters of 0-9 and A-Z."""

    def tag(self) -> str:
        """Four characters of 0-9 and a-z."""
