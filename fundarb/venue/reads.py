"""Everything that can be asked of a venue without changing it: market, orders, fills, log, positions, wallet.

The reading half of ``engine.Venue``; the collaborators are put in place by its construction.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from fundarb.core.account import FeeRates, Transaction
from fundarb.core.market import Book, Category, FundingRate, PerpInstrument, SettledFunding, SpotInstrument
from fundarb.venue.account import Account
from fundarb.venue.feed import CoinRules, Listing, Point, RiskTier
from fundarb.venue.fees import Fees
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.register import Register
from fundarb.venue.rows import Fill, Order, PositionView, WalletView
from fundarb.venue.schedule import Schedule
from fundarb.venue.state import Coin, KeyState, Position, State, slot

_STABLE = frozenset({"USDT", "USDC"})


@dataclass(frozen=True, slots=True)
class Balances:
    """Coins and positions of the account at one moment."""

    coins: dict[str, Coin]
    positions: dict[str, Position]


class Reads:
    """Queries; nothing here changes the venue."""

    _state: State
    _market: Market
    _schedule: Schedule
    _account: Account
    _register: Register
    _fees: Fees
    _margin: Margin

    @property
    def now(self) -> datetime:
        """Where this venue's time stands."""
        return self._state.now

    @property
    def uid(self) -> str:
        """The account's uid."""
        return self._state.uid

    @property
    def started(self) -> datetime:
        """When this world began."""
        return self._state.start

    @property
    def key(self) -> KeyState:
        """What the world has done to the API key."""
        return self._state.key

    @property
    def version(self) -> int:
        """Grows with every order, row and notice; equal versions mean that nothing has happened."""
        return self._state.counter

    @property
    def judged_until(self) -> datetime | None:
        """Until when the account's risk was judged by everything that the market source knows of marks."""
        return self._state.checked

    @property
    def any_open(self) -> bool:
        """Whether there is an open order."""
        return self._register.any_open

    def coins_owned(self) -> tuple[str, ...]:
        """Coins with a balance, stable ones left out."""
        coins = self._account.book.coins.items()
        return tuple(name for name, coin in coins if coin.wallet and name not in _STABLE)

    def delivery(self, symbol: str) -> datetime | None:
        """When a perp is to be delivered by the world's decision (the listing's own is in the instrument)."""
        return self._state.market.deliveries.get(symbol)

    def deliveries(self) -> Mapping[str, datetime]:
        """Every announced delivery, past ones included."""
        return self._state.market.deliveries

    def delivered(self, symbol: str) -> bool:
        """Whether a perp has been delivered: it is closed for good."""
        return slot(Category.LINEAR, symbol) in self._state.market.closed

    # ------------------------------------------------------------------------------------------ market

    def points(self, category: Category) -> Mapping[str, Point]:
        """Every symbol that still has a market, now; cached per instant."""
        return self._market.points(category)

    def point(self, category: Category, symbol: str) -> Point:
        """One symbol now; ``Rejected`` (10001, spot 170121) if unknown."""
        return self._market.point(category, symbol)

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The book as a client sees it: taken liquidity is missing until it has come back."""
        self._market.listing(category, symbol)
        return self._market.book(category, symbol, depth=depth)

    def funding(self, symbol: str) -> FundingRate:
        """The running funding period, the world's changes applied; ``Rejected`` 10001 if unknown."""
        self._market.listing(Category.LINEAR, symbol)
        return self._schedule.running(symbol)

    def fundings(self) -> Mapping[str, FundingRate]:
        """The running period of every perp that still trades."""
        return self._schedule.all_running()

    def settled_funding(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """Settled in (since, min(until, now)], oldest first."""
        self._market.listing(Category.LINEAR, symbol)
        return self._schedule.settled(symbol, since, until=until)

    def instruments(self, category: Category) -> Mapping[str, SpotInstrument | PerpInstrument]:
        """As they are now: delivery time, changed filters; closed ones included (status Closed)."""
        return self._market.instruments(category)

    def listing(self, category: Category, symbol: str) -> Listing:
        """Instrument with tiers; ``Rejected`` (10001, spot 170121) if unknown."""
        return self._market.listing(category, symbol)

    def halted(self, category: Category, symbol: str) -> bool:
        """Whether the world has halted a symbol."""
        return self._state.market.halted.get(slot(category, symbol), False)

    def frozen_since(self, symbol: str) -> datetime | None:
        """When the world stopped a symbol's quotes and marks; None while they move."""
        return self._state.market.frozen.get(symbol)

    def coin_rules(self) -> Mapping[str, CoinRules]:
        """Collateral and borrowing, as they are now."""
        return self._market.coin_rules()

    def price_limits(self, category: Category, symbol: str) -> tuple[Decimal, Decimal]:
        """Highest buy and lowest sell price allowed now."""
        self._market.listing(category, symbol)
        return self._market.price_limits(category, symbol)

    def usd_price(self, coin: str) -> Decimal:
        """USD value of one coin (zero if it has no market)."""
        return self._market.usd_price(coin)

    def ticker_patch(self, category: Category, symbol: str) -> Mapping[str, str]:
        """Raw ticker fields forced by the world; usually empty."""
        return self._state.market.patches.get(slot(category, symbol), {})

    def ticker_patches(self) -> Mapping[str, Mapping[str, str]]:
        """All of them, by ``category:symbol``."""
        return self._state.market.patches

    def fee_rates(self, category: Category, symbol: str) -> FeeRates:
        """Taker and maker of this account."""
        self._market.listing(category, symbol)
        return self._fees.rates(category, symbol)

    def deducts_mnt(self, category: Category) -> bool:
        """Whether fees of this market are taken in MNT."""
        return self._fees.deducts_mnt(category)

    # --------------------------------------------------------------------------------- orders and fills

    def open_orders(self, category: Category, symbol: str | None = None) -> tuple[Order, ...]:
        """Open ones, newest first."""
        return tuple(reversed(self._register.open(category, symbol)))

    def closed_orders(self, category: Category) -> tuple[Order, ...]:
        """The latest 500 closed ones (what order/realtime may still show), newest first."""
        return self._register.recent_closed(category)

    def order_history(self, category: Category, since: datetime, *, until: datetime) -> tuple[Order, ...]:
        """Closed orders created in [since, until] that the venue still remembers, newest first."""
        return self._register.history(category, since, until=until)

    def find_order(self, category: Category, *, order_id: str = "", link_id: str = "") -> Order | None:
        """Any order, open or closed, however old (the caller applies the retention of its end point)."""
        return self._register.find(category, order_id, link_id=link_id)

    def fills(self, category: Category, since: datetime, *, until: datetime) -> tuple[Fill, ...]:
        """Execution rows of [since, until], oldest first."""
        rows = self._account.book.fills
        first = bisect_left(rows, since, key=lambda row: row.time)
        last = bisect_right(rows, until, key=lambda row: row.time)
        return tuple(row for row in rows[first:last] if row.category is category)

    def fills_of(self, order: Order) -> tuple[Fill, ...]:
        """Execution rows of one order, oldest first."""
        rows = self._account.book.fills
        first = bisect_left(rows, order.created, key=lambda row: row.time)
        last = bisect_right(rows, order.updated, key=lambda row: row.time)
        return tuple(row for row in rows[first:last] if row.order_id == order.order_id)

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """Transaction-log rows of [since, until], oldest first."""
        rows = self._account.book.log
        first = bisect_left(rows, since, key=lambda row: row.time)
        return tuple(rows[first : bisect_right(rows, until, key=lambda row: row.time)])

    def held(self) -> Mapping[str, Decimal]:
        """Signed sizes of the positions that are not flat; cheap."""
        return {item.symbol: item.size for item in self._account.held()}

    def positions(self) -> tuple[PositionView, ...]:
        """Positions with a size."""
        return self._margin.held()

    def position(self, symbol: str) -> PositionView:
        """One symbol's position, flat included."""
        return self._margin.position(symbol)

    def wallet(self) -> WalletView:
        """Balances and margin, now."""
        return self._margin.wallet()

    def balances(self) -> Balances:
        """A copy of the coins and positions of now, for ``as_it_was``; cheap."""
        book = self._account.book
        return Balances(
            {name: replace(coin) for name, coin in book.coins.items()},
            {symbol: replace(position) for symbol, position in book.positions.items()},
        )

    @contextmanager
    def as_it_was(self, then: Balances) -> Iterator[None]:
        """Within it the account is read with the coins and positions of another moment, at the prices of now;
        nothing may be written.
        """
        book = self._account.book
        now = book.coins, book.positions
        book.coins, book.positions = then.coins, then.positions
        try:
            yield
        finally:
            book.coins, book.positions = now

    def leverage(self, symbol: str) -> Decimal:
        """A symbol's leverage."""
        return self._margin.leverage(symbol)

    def tier(self, symbol: str) -> RiskTier:
        """The risk tier of the present position."""
        value = abs(self._account.size(symbol)) * self._market.point(Category.LINEAR, symbol).mark
        return self._margin.tier(symbol, value)

    # ------------------------------------------------------------------------------------------ truth

    def all_orders(self) -> tuple[Order, ...]:
        """Every order ever, oldest first."""
        return tuple(self._register.orders.values())

    def all_fills(self) -> tuple[Fill, ...]:
        """Every execution row ever, oldest first."""
        return tuple(self._account.book.fills)

    def all_transactions(self) -> tuple[Transaction, ...]:
        """The whole transaction log, oldest first."""
        return tuple(self._account.book.log)
